"""What judges files, in processes of its own."""

from collections.abc import Iterator

import pytest

from app.processes import ChildStarter
from app.records.pool import ValidatorPool


@pytest.fixture(scope="module")
def validators() -> Iterator[ValidatorPool]:
    made = ValidatorPool(ChildStarter(), memory_bytes=64 << 20, timeout_seconds=60)
    yield made
    made.close()
