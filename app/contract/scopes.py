"""What a key may do in its project. A route asks for one scope; `app.api.deps` has the words for it."""

from collections.abc import Collection
from enum import StrEnum


class Scope(StrEnum):
    """Each opens what it says and nothing else, but for `admin`, which opens everything."""

    #: And the project's keys, which no other scope opens.
    ADMIN = "admin"
    #: Upload, import, ask for jobs, steer them, name and delete.
    WRITE = "write"
    #: Look at data sets, jobs, models and figures, and download them; the pages of the dashboard.
    READ = "read"
    #: Ask models: predict, generate, embed, and what OpenAI's clients call completions and embeddings.
    PREDICT = "predict"


def permits(held: Collection[Scope], needed: Scope) -> bool:
    return needed in held or Scope.ADMIN in held
