"""The rules of registered models."""

from app.services.models.service import Models
from app.services.models.views import Lineage, ModelPage, ModelView

__all__ = ["Lineage", "ModelPage", "ModelView", "Models"]
