"""`python -m app.records.validate`: judges one uploaded file in a process of its own, whose memory is limited.

It imports everything, says that it is ready, waits for one request on stdin, answers one line, and ends. A file that
kills it kills nothing else.
"""

import importlib
import os
import resource
import sys
import traceback
from pathlib import Path

from app.contract.errors import FieldError
from app.processes import die_with_parent
from app.records.limits import MIB
from app.records.messages import READY_LINE, Invalid, Unreadable, Valid, ValidationRequest, Verdict
from app.records.types import InvalidDataset

READERS = "app.records.inspection"


def main() -> None:
    die_with_parent()
    inspection = importlib.import_module(READERS)
    _say(READY_LINE)
    line = sys.stdin.buffer.readline()
    if not line:
        return
    request = ValidationRequest.model_validate_json(line)
    _limit(request.memory_bytes)
    _say(_judged(inspection.inspect, request).model_dump_json().encode() + b"\n")
    os._exit(0)  # the answer is out; an orderly end of the interpreter takes longer than judging a small file


def _limit(memory_bytes: int) -> None:
    """Address space may grow by this much; nothing may be written to disk, and no core is dumped."""
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGESIZE")
    for what, limit in (
        (resource.RLIMIT_AS, in_use + memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(what, (allowed, allowed))


def _judged(inspect: object, request: ValidationRequest) -> Verdict:
    assert callable(inspect)
    try:
        report = inspect(Path(request.path), request.filename, request.kind, request.columns)
    except InvalidDataset as error:
        return Invalid(errors=list(error.errors), total=error.total)
    except MemoryError:
        message = f"Reading the file takes more than {request.memory_bytes // MIB:,} MiB of memory. Split it up."
        return _refused(message)
    except OSError as error:
        if error.errno is not None:
            return Unreadable(message=str(error))
        return _refused(f"The file cannot be read: {error}.")
    except Exception as error:  # noqa: BLE001  whatever a hostile file raises is that file's fault; we keep the trace
        traceback.print_exc()
        return _refused(f"The file cannot be read: {type(error).__name__}.")
    return Valid(
        kind=report.kind,
        columns=report.columns,
        num_examples=report.num_examples,
        profile=report.profile,
        warnings=report.warnings,
    )


def _refused(message: str) -> Invalid:
    return Invalid(errors=[FieldError(location="file", message=message)], total=1)


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
