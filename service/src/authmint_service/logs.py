"""Logs: one event a line, JSON for programs or coloured text for people. No secret gets here, because none is passed.

Control and direction characters are escaped in both forms, so that nothing that was sent can begin a line of its own.
"""

import json
import logging
import re
import sys
import traceback
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any

import orjson
import structlog

# What JSON leaves as it is and a terminal acts upon: controls, line separators, and characters that turn the direction.
_UNSAFE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
LONGEST = 500

_LEVELS = {name.lower(): number for name, number in logging.getLevelNamesMapping().items()}
_steps: list[structlog.types.Processor] = []
_facts: ContextVar[dict[str, object]] = ContextVar("facts", default={})  # noqa: B039 - never written: `tell_of` sets another


def tell_of(facts: dict[str, object]) -> None:
    """From here on, every line of this task says this as well; whoever learns more adds it with `tell_also`."""
    _facts.set(facts)


def tell_also(**facts: object) -> None:
    """Says this as well, on every further line of the request that is being answered."""
    _facts.get().update(facts)


def tell_outcome(event: str, **facts: object) -> None:
    """What the request has come to. The one line that is written of it, at its end, says so."""
    _facts.get().update(facts, event=event)


def outcome() -> str:
    """The event of the request's line."""
    return str(_facts.get().get("event", "request"))


def configure_logging(level: str, form: str) -> None:
    """`form`: `json` or `console`. Everything that other libraries log takes the same way."""
    shared: list[structlog.types.Processor] = [
        _add_facts,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _make_safe,
    ]
    renderer: structlog.types.Processor = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    if form == "json":
        renderer = _render_json
    # Loggers keep the list that they were first used with, so it stays the same one.
    _steps[:] = [_threshold(level), *shared, renderer]
    # Our own lines do not go through `logging`, which takes three times as long; there is one for each request.
    structlog.configure(
        processors=_steps,
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
        logger_factory=_Lines,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    # These tell at DEBUG what goes over the wire, and that is not for logs; the last tells what the request's own line says.
    loud = ("asyncio", "passlib", "httpcore2", "httpx2", "uvicorn.access", "alembic", "sqlalchemy", "authmint.token_verifier")
    for library in loud:
        logging.getLogger(library).setLevel(max(logging.WARNING, logging.getLevelName(level)))


def where(error: BaseException) -> list[str]:
    """The kinds of an error and its causes, and the lines it came through: enough to mend it.

    Not its text, which libraries like to fill with the values that they were given.
    """
    chain: list[str] = []
    current: BaseException | None = error
    while current is not None and len(chain) < 10:
        frames = [f"{frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(current.__traceback__)[-8:]]
        chain.append(f"{type(current).__module__}.{type(current).__qualname__} at {' < '.join(reversed(frames))}")
        current = current.__cause__ or current.__context__
    return chain


def _add_facts(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    return {**_facts.get(), **event}


def _threshold(level: str) -> structlog.types.Processor:
    least = logging.getLevelName(level)

    def drop(_: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if _LEVELS[method] < least:
            raise structlog.DropEvent
        return event

    return drop


class _Lines:
    """Writes each event as it comes, where `logging` writes to as well."""

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, line: str) -> None:
        sys.stderr.write(f"{line}\n")

    debug = info = warning = error = critical = msg


def _render_json(_: Any, __: str, event: Mapping[str, Any]) -> str:
    try:
        return orjson.dumps(event, default=repr).decode()
    except orjson.JSONEncodeError:
        # Half a surrogate pair, or a number beyond 64 bits: a line is never lost for that.
        return json.dumps(event, default=repr)


def _make_safe(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in event.items():
        # Printable ASCII, which is nearly everything, needs no closer look.
        if isinstance(value, str) and (len(value) > LONGEST or not (value.isascii() and value.isprintable())):
            event[name] = _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", value[:LONGEST])
    # Another library's traceback ends with the error's text; ours say where, without it.
    error = event.pop("exc_info", None)
    if isinstance(error, tuple) and isinstance(error[1], BaseException):
        event["error_locations"] = where(error[1])
    return event
