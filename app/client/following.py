"""Follows a job to its end: what it reports on the way, and the finished view."""

from collections.abc import Callable

from app.client.api import Api, ClientError, Event, Json


class JobDidNotSucceed(ClientError):
    """The job's own error is the message."""


def follow_to_success(api: Api, job_id: str, on_event: Callable[[Event], None] = lambda _event: None) -> Json:
    """The view of the succeeded job. Raises JobDidNotSucceed."""
    for event in api.follow(job_id):
        on_event(event)
    view = api.job(job_id)
    if view["status"] != "succeeded":
        error = view.get("error") or {"code": view["status"], "message": "it was stopped"}
        raise JobDidNotSucceed(f"{view.get('name') or job_id} {view['status']} ({error['code']}): {error['message']}")
    return view
