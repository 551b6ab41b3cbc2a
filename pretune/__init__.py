"""The client of a Pretune service, for programs that wait and for programs that do not.

    import pretune

    with pretune.Client("http://127.0.0.1:8080") as client:
        text = client.datasets.upload("plays.txt")
        parent = client.jobs.pretrain(text.id, "causal_language_model")
        reviews = client.datasets.upload("reviews.csv")
        job = client.jobs.finetune(parent.id, reviews.id, "classification").wait(on_metric=print)
        print(job.model().predict(["A film to remember."]))

Needs httpx2 and pydantic, and neither torch nor anything of the service.
"""

from pretune._async.client import AsyncClient
from pretune._async.datasets import AsyncDataset
from pretune._async.jobs import AsyncJob
from pretune._async.models import AsyncModel
from pretune._async.sweeps import AsyncSweep
from pretune._sync.client import Client
from pretune._sync.datasets import Dataset
from pretune._sync.jobs import Job
from pretune._sync.models import Model
from pretune._sync.sweeps import Sweep
from pretune.errors import (
    ApiError,
    Conflict,
    Forbidden,
    InvalidRequest,
    JobDidNotSucceed,
    NoAnswer,
    NotFound,
    PretuneError,
    TooManyRequests,
    Unauthenticated,
)

__all__ = [
    "ApiError",
    "AsyncClient",
    "AsyncDataset",
    "AsyncJob",
    "AsyncModel",
    "AsyncSweep",
    "Client",
    "Conflict",
    "Dataset",
    "Forbidden",
    "InvalidRequest",
    "Job",
    "JobDidNotSucceed",
    "Model",
    "NoAnswer",
    "NotFound",
    "PretuneError",
    "Sweep",
    "TooManyRequests",
    "Unauthenticated",
]
