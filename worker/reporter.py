"""Sends the lines of a training process by pipe. Knows nothing of what they tell."""

import os
import threading

from app.contract.messages import ReportLine


class Reporter:
    """Thread-safe: a line is never torn by another. A reader that has gone ends the process, which has no use then."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)  # the pipe ends with us, not with a compiler that we started
        self._pipe = os.fdopen(descriptor, "wb", buffering=0)
        self._lock = threading.Lock()

    def send(self, line: ReportLine) -> None:
        data = memoryview(line.model_dump_json().encode() + b"\n")
        with self._lock:
            while data:
                data = data[self._pipe.write(data) :]
