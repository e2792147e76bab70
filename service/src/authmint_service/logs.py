"""Logs: one event a line, JSON for programs or coloured text for people. No secret is ever passed to a logger.

Control and direction characters are escaped in both forms, so that no value can begin a line of its own.
"""

import json
import logging
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any

import orjson
import structlog

from authmint_service.request_log import current_fields

# JSON leaves these as they are, and a terminal acts on them: controls, line separators, characters that turn the direction.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
MAX_LENGTH = 500
"""Characters of a value; the rest is cut off."""
MAX_CAUSES = 10
MAX_FRAMES = 8

_LEVELS = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}
_processors: list[structlog.types.Processor] = []


def configure_logging(level: str, form: str) -> None:
    """Write events of `level` and above to standard error, those of other libraries too. `form`: `json` or `console`."""
    shared: list[structlog.types.Processor] = [structlog.processors.TimeStamper(fmt="iso", utc=True), _make_safe]
    renderer: structlog.types.Processor = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    if form == "json":
        renderer = _render_json
    # A logger keeps the list that it was first used with, so the list stays the same object.
    _processors[:] = [_threshold(level), _add_fields, *shared, renderer]
    # Our own lines do not go through `logging`, which takes three times as long: there is one for each request.
    structlog.configure(
        processors=_processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=_LineWriter,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                _add_request_fields, structlog.stdlib.add_logger_name, structlog.processors.add_log_level, *shared,
            ],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )  # fmt: skip
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # At DEBUG these log what goes over the wire, which no log may hold.
    for library in ("asyncio", "passlib", "httpcore2", "httpx2", "uvicorn.access", "alembic", "sqlalchemy"):
        logging.getLogger(library).setLevel(max(logging.WARNING, logging.getLevelName(level)))
    # It repeats what the request's own line has.
    logging.getLogger("authmint.token_verifier").setLevel(logging.CRITICAL)


def error_locations(error: BaseException) -> list[str]:
    """Return the types of an error and of its causes, each with the lines that it came through.

    The texts are left out: libraries like to fill them with the values that they were given.
    """
    chain: list[str] = []
    current: BaseException | None = error
    while current is not None and len(chain) < MAX_CAUSES:
        frames = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(current.__traceback__)[-MAX_FRAMES:]]
        chain.append(f"{type(current).__module__}.{type(current).__qualname__} at {' < '.join(reversed(frames))}")
        current = current.__cause__ or current.__context__
    return chain


def _add_fields(logger: "_LineWriter", level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    # One step instead of structlog's three, as it runs for each request.
    return {**current_fields(), **event, "logger": logger.name, "level": level}


def _add_request_fields(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {**current_fields(), **event}


def _threshold(level: str) -> structlog.types.Processor:
    minimum = logging.getLevelName(level)

    def drop(_: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if _LEVELS[method] < minimum:
            raise structlog.DropEvent
        return event

    return drop


class _LineWriter:
    """Writes each event at once, to where `logging` writes as well."""

    def __init__(self, name: str = "", *_: object) -> None:
        self.name = name

    def msg(self, line: str) -> None:
        # A full disk or a reader that has gone must end neither a request nor a background task. `logging` does the same.
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{line}\n")

    debug = info = warning = error = critical = msg


def _render_json(_: Any, __: str, event: Mapping[str, Any]) -> str:
    try:
        return orjson.dumps(event, default=repr).decode()
    except orjson.JSONEncodeError:
        # Half a surrogate pair, or a number beyond 64 bits, shall not cost the line.
        return json.dumps(event, default=repr)


def _make_safe(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        # Nearly every value is printable ASCII, and needs no replacement.
        if isinstance(value, str) and (len(value) > MAX_LENGTH or not (value.isascii() and value.isprintable())):
            event[name] = _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", value[:MAX_LENGTH])
    # Another library's traceback ends with the text of the error; the locations do without it.
    error = event.pop("exc_info", None)
    if isinstance(error, tuple) and isinstance(error[1], BaseException):
        event["error_locations"] = error_locations(error[1])
    return event
