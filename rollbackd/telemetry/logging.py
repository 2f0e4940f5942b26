"""One pipeline for every log line of the process: ours and the libraries', scrubbed, to stderr.

It writes JSON for machines and short lines on a terminal. It never writes a local variable of a
traceback, and it lets no library write around it.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterable
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from rollbackd.telemetry.events import LIBRARY_LOGGED
from rollbackd.telemetry.redact import Scrubber

LEVELS = ("debug", "info", "warning", "error", "critical")
FORMATS = ("auto", "json", "console")

# Chatty at info: a line per request or per job would drown the decisions.
_CHATTY = ("uvicorn", "uvicorn.error", "uvicorn.access", "apscheduler", "httpx", "httpcore")
_SILENT = ("uvicorn.access",)


def configure(
    level: str = "info",
    format: str = "auto",  # noqa: A002 -- the word of the configuration
    secrets: Iterable[str] = (),
    *,
    count: Callable[[str], None] | None = None,
    stream: TextIO | None = None,
) -> None:
    """Set the pipeline up, for structlog and for the standard library. May be called again.

    `secrets` are exact values to take out; `count` is told the level of every line written.
    """
    out = stream if stream is not None else sys.stderr
    number = logging.getLevelNamesMapping()[level.upper()]
    scrubber = Scrubber(secrets)
    structlog.configure(
        processors=[*_common(scrubber, count), *_ending(format, out)],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(file=out),
        cache_logger_on_first_use=False,  # the demo and reloads configure twice
    )
    _route_libraries(number)


def _common(scrubber: Scrubber, count: Callable[[str], None] | None) -> list[Processor]:
    def counted(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if count is not None:
            count(str(event.get("level", method)))
        return event

    def scrubbed(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return dict(scrubber.fields(event))

    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        counted,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        # Text before scrubbing: a traceback carries messages, and messages carry tokens.
        structlog.processors.format_exc_info,
        scrubbed,
    ]


def _ending(format: str, out: TextIO) -> list[Processor]:  # noqa: A002 -- as above
    if format == "console" or (format == "auto" and out.isatty()):
        return [
            structlog.dev.ConsoleRenderer(
                colors=out.isatty(),
                timestamp_key="at",
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    return [structlog.processors.JSONRenderer(default=str)]


class _Handover(logging.Handler):
    """Gives a library's record to our pipeline, so that it is scrubbed and shaped like ours."""

    def emit(self, record: logging.LogRecord) -> None:
        log = structlog.get_logger()
        fields = {"logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            log.log(record.levelno, LIBRARY_LOGGED, exc_info=record.exc_info, **fields)
        else:
            log.log(record.levelno, LIBRARY_LOGGED, **fields)


def _route_libraries(number: int) -> None:
    root = logging.getLogger()
    root.handlers[:] = [h for h in root.handlers if not isinstance(h, logging.StreamHandler)]
    root.handlers[:] = [h for h in root.handlers if not isinstance(h, _Handover)]
    root.addHandler(_Handover())
    root.setLevel(max(number, logging.WARNING))
    for name in _CHATTY:
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = name not in _SILENT
        library.setLevel(max(number, logging.WARNING))
    logging.captureWarnings(capture=True)
