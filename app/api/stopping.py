"""Hears that the server is told to stop, before it waits for its open requests to end.

uvicorn tells its application only afterwards, so streams that end by themselves only with their job would hold it up.
"""

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def when_told_to_stop(act: Callable[[], None]) -> Iterator[None]:
    """Within an event loop: run `act` in it at a stop signal, which the server's own handler gets all the same.

    Where nobody handles signals, or another thread is the main one, nothing is changed.
    """
    loop = asyncio.get_running_loop()
    handlers = {}
    if threading.current_thread() is threading.main_thread():
        handlers = {number: handler for number in STOP_SIGNALS if callable(handler := signal.getsignal(number))}

    def pass_on(number: int, frame: FrameType | None) -> Any:
        loop.call_soon_threadsafe(act)
        return handlers[signal.Signals(number)](number, frame)

    for number in handlers:
        signal.signal(number, pass_on)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            if signal.getsignal(number) is pass_on:
                signal.signal(number, handler)
