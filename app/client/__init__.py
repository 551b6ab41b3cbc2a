"""A small client of the HTTP API, for the demo and the smoke test. Knows the API, and nothing of what is behind it."""

from app.client.api import Api, ApiError, ClientError, Event
from app.client.following import JobDidNotSucceed, follow_to_success

__all__ = ["Api", "ApiError", "ClientError", "Event", "JobDidNotSucceed", "follow_to_success"]
