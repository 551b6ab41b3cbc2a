"""A model's verified files on the local disk while it is loaded, and what a caller is told where they cannot be had."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.contract.errors import Unavailable
from app.contract.inference import ModelReference
from app.contract.model_folder import model_digest
from worker.local_copies import Corrupted, LocalCopies
from worker.serving.errors import ModelCorrupted

RETRY_SECONDS = 5


@contextmanager
def model_files(copies: LocalCopies, reference: ModelReference) -> Iterator[Path]:
    """The folder, as long as the block runs. Raises ModelCorrupted, or Unavailable where the store does not answer."""
    if model_digest(reference.files) != reference.digest:
        raise ModelCorrupted(f"The files listed for {reference.model_id} do not make its digest.")
    try:
        entry = copies.model(reference)
    except Corrupted as error:
        raise ModelCorrupted(f"{reference.model_id} is not what was registered: {error}.") from error
    except OSError as error:
        raise Unavailable(
            f"The files of {reference.model_id} cannot be fetched now: {error.strerror}.",
            retry_after_seconds=RETRY_SECONDS,
        ) from error
    with entry:
        yield entry.path
