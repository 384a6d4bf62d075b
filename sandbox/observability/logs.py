"""Logs of the service: one JSON object a line on standard error, or lines for people on a terminal.

What is bound with `structlog.contextvars` (the submission, the attempt, the run) is in every line of the run.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

import structlog

_LIBRARIES: Final = {"rq.worker": logging.WARNING, "rq.job": logging.WARNING, "alembic": logging.WARNING}
"""What chatters at `info`: each run is told by our own lines."""


def _without_colours(_logger: object, _method: str, event: Any) -> Any:  # noqa: ANN401 - structlog's signature
    # uvicorn says some things a second time, with escape sequences in it.
    event.pop("color_message", None)
    return event


def configure(level: int = logging.INFO, *, json: bool | None = None) -> None:
    """Send our logs and those of libraries to standard error.

    Args:
        level: The least that is shown.
        json: Whether as JSON; None for where nobody reads at a terminal.
    """
    # Plain tracebacks: the other formatters show local variables, and those may be bait or a password.
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
        _without_colours,
    ]
    if json if json is not None else not sys.stderr.isatty():
        last: list[Any] = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    else:
        last = [
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    structlog.configure(
        processors=[shared[0], shared[1], *shared[3:], *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(max(level, logging.INFO))
    for name, least in _LIBRARIES.items():
        logging.getLogger(name).setLevel(max(level, least))
