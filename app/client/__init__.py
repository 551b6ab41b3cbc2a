"""A small client of the HTTP API, for the demo and the smoke test. Knows the API, and nothing of what is behind it."""

from app.client.api import Api, ApiError, ClientError, Event

__all__ = ["Api", "ApiError", "ClientError", "Event"]
