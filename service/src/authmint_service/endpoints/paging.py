"""Lists that may grow are sent in pages: `limit` and `cursor` in the query, `items` and `next_cursor` in the response.

A cursor is the place of the last item in an order that never changes, so that nothing is listed twice, and what was there from
the first page to the last one is never left out. It is no secret and opens nothing: the route decides whose items are listed.
"""

import struct
import uuid
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

from fastapi import Depends, Query
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request

DEFAULT_LIMIT, MAX_LIMIT = 100, 500
"""Items of a page. Each takes the event loop some 40 microseconds."""
_FORM = struct.Struct(">q16s")

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Position:
    """The place of an item in a list with the newest first."""

    microseconds: int
    """Of its beginning, since the epoch."""
    id: str

    @classmethod
    def of(cls, seconds: float, item_id: str) -> "Position":
        return cls(round(seconds * 1_000_000), item_id)

    @classmethod
    def from_cursor(cls, cursor: str) -> "Position":
        """Read a cursor of 32 characters of base64url."""
        microseconds, raw_id = _FORM.unpack(urlsafe_b64decode(cursor))
        return cls(microseconds, str(uuid.UUID(bytes=raw_id)))

    def to_cursor(self) -> str:
        return urlsafe_b64encode(_FORM.pack(self.microseconds, uuid.UUID(self.id).bytes)).decode()


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What a request asks for: at most `limit` items after a position; None for the first ones."""

    limit: int
    after: Position | None

    def cut(self, found: Sequence[Item], position: Callable[[Item], Position]) -> tuple[Sequence[Item], str | None]:
        """Return the items of the page, and the cursor of the next one. `found`: one more than `limit`, if there is one."""
        items = found[: self.limit]
        return items, position(items[-1]).to_cursor() if len(found) > self.limit else None


def _read_page(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Items of a page, at most.")] = DEFAULT_LIMIT,
    cursor: Annotated[
        str | None, Query(pattern=r"^[A-Za-z0-9_-]{32}$", description="The `next_cursor` of the page before.")
    ] = None,
) -> PageRequest:
    repeated = [name for name in ("limit", "cursor") if len(request.query_params.getlist(name)) > 1]
    if repeated:
        raise RequestValidationError([{"type": "repeated", "loc": ("query", name)} for name in repeated])
    return PageRequest(limit, None if cursor is None else Position.from_cursor(cursor))


AskedPage = Annotated[PageRequest, Depends(_read_page)]
"""The page that a request asks for, as a parameter of a route."""
