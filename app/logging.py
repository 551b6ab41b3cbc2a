"""The log of a process: JSON lines, or lines for people where a terminal is. Every library's records go through it.

Nobody here or elsewhere logs keys, bodies or queries.
"""

import logging
import sys
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor

#: They tell of every message and request at INFO.
_TALKATIVE = ("celery", "kombu", "amqp", "httpx2", "httpcore2", "asyncio")
_SERVER = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")

_ENRICH: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.stdlib.ExtraAdder(),
]


def configure_logging(level: int = logging.INFO) -> None:
    """Once at the start of a process; a second time changes nothing. Records go to stderr."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            *_ENRICH,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    # No line of ours tells these, and a tenth of the time of a line goes into looking for its caller.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001  as Python's own documentation has it
    root = logging.getLogger()
    if not any(isinstance(handler, StderrHandler) for handler in root.handlers):
        root.addHandler(StderrHandler())
    root.setLevel(level)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    _take_over_the_server()


def _take_over_the_server() -> None:
    """uvicorn's own handlers go; its access log too, because `app.api.requests` tells more."""
    for name in _SERVER:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"


class StderrHandler(logging.StreamHandler[TextIO]):
    """Writes to whatever `sys.stderr` is now: tests and supervisors replace it."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(_formatter(sys.stderr.isatty()))

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _formatter(for_people: bool) -> logging.Formatter:
    """What is raised is told as text in both; the console's own pretty traces would show local variables, with keys."""
    renderer: Any = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    if not for_people:
        renderer = structlog.processors.JSONRenderer(default=str)
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_ENRICH,
        processors=[
            _without_colored_copy,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *([] if for_people else [structlog.processors.format_exc_info]),
            renderer,
        ],
    )


def _without_colored_copy(_logger: Any, _method: str, event: EventDict) -> EventDict:
    """uvicorn's records carry their message twice."""
    event.pop("color_message", None)
    return event
