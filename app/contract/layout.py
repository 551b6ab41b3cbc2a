"""Where things lie in the artifact store. A key begins with the project and with whom the file belongs to.

{project}/blobs/{sha256}
{project}/models/{model}/...                                       of imported models
{project}/jobs/{job}/attempt-{number}/step-{step}/...              checkpoints
{project}/jobs/{job}/attempt-{number}/artifacts/...
"""

from typing import Literal, NamedTuple, cast

OwnerKind = Literal["blobs", "models", "jobs"]


class Owner(NamedTuple):
    """Whom a file belongs to: a blob is its own."""

    project_id: str
    kind: OwnerKind
    id: str


def owner_of(key: str) -> Owner | None:
    """None for a key that is not laid out as above."""
    match key.split("/", maxsplit=3):
        case [project_id, "blobs", name]:
            return Owner(project_id, "blobs", name)
        case [project_id, "models" | "jobs" as kind, owner_id, _]:
            return Owner(project_id, cast("OwnerKind", kind), owner_id)
        case _:
            return None


def blob_key(project_id: str, sha256: str) -> str:
    return f"{project_id}/blobs/{sha256}"


def model_prefix(project_id: str, model_id: str) -> str:
    return f"{project_id}/models/{model_id}"


def job_prefix(project_id: str, job_id: str) -> str:
    return f"{project_id}/jobs/{job_id}"


def attempt_prefix(project_id: str, job_id: str, attempt: int) -> str:
    """Two attempts never write the same key."""
    return f"{job_prefix(project_id, job_id)}/attempt-{attempt}"
