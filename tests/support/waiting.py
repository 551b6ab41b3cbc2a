"""Waiting for what another thread or process does, with a deadline that fails the test."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.02


def wait_until(predicate: Callable[[], T | None], timeout_seconds: float, message: str) -> T:
    """The first truthy answer of `predicate`. Fails with `message` when none came in time."""
    deadline = time.monotonic() + timeout_seconds
    while not (answer := predicate()):
        assert time.monotonic() < deadline, f"not within {timeout_seconds:g} s: {message}"
        time.sleep(POLL_SECONDS)
    return answer
