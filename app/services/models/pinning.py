"""The rule of pins: every replica keeps all pinned models in memory, so together they must fit into the smallest.

All replicas and not the model's own alone: then one that dies, starts or comes beside leaves no request waiting for a
load, and what fits can be told by adding up.
"""

from sqlalchemy.orm import Session

from app.contract.errors import ErrorCode, InvalidRequest
from app.contract.inference import ModelReference
from app.db import models, workers
from app.db.session import now
from app.db.tables import ModelRow
from app.settings import Settings


def pin(session: Session, row: ModelRow, settings: Settings) -> None:
    """Pin a model that the caller has locked; one that is pinned stays so. Raises InvalidRequest where no more fits."""
    if row.pinned_at is not None:
        return
    at = now(session)
    capacity = _smallest_replica(session, settings)
    pinned = {other.digest: _size(other) for other in models.pinned(session)}
    needed = sum((pinned | {row.digest: _size(row)}).values())
    if needed > capacity:
        raise InvalidRequest(
            f"{row.id} has {_size(row):,} bytes, and {needed - _size(row):,} bytes of models are pinned already; the "
            f"smallest replica holds {capacity:,} bytes (PRETUNE_INFERENCE_CACHE_BYTES). Unpin others, or raise that.",
            code=ErrorCode.TOO_LARGE,
        )
    row.pinned_at = at


def _smallest_replica(session: Session, settings: Settings) -> int:
    """In bytes of models; where none lives, as much as one of our own settings would hold.

    Locking the replicas lets those who pin at once take turns: neither adds up without the other.
    """
    replicas = workers.live(session, "inference", now(session) - settings.silence, lock="update")
    return min((row.cache_bytes for row in replicas if row.cache_bytes), default=settings.inference_cache_bytes)


def _size(row: ModelRow) -> int:
    return ModelReference.model_validate(row.reference).size_bytes
