"""Where things lie in the artifact store. A key begins with the project and with whom the file belongs to.

{project}/blobs/{sha256}
{project}/models/{model}/...                                       of imported models
{project}/jobs/{job}/attempt-{number}/step-{step}/...              checkpoints
{project}/jobs/{job}/attempt-{number}/artifacts/...
"""


def blob_key(project_id: str, sha256: str) -> str:
    return f"{project_id}/blobs/{sha256}"


def model_prefix(project_id: str, model_id: str) -> str:
    return f"{project_id}/models/{model_id}"


def job_prefix(project_id: str, job_id: str) -> str:
    return f"{project_id}/jobs/{job_id}"


def attempt_prefix(project_id: str, job_id: str, attempt: int) -> str:
    """Two attempts never write the same key."""
    return f"{job_prefix(project_id, job_id)}/attempt-{attempt}"
