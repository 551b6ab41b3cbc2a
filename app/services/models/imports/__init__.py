"""Models that come as a Hugging Face folder in a zip: judged wholly by what their files say, then registered."""

from app.services.models.imports.service import ImportForm, Imports

__all__ = ["ImportForm", "Imports"]
