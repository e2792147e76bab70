"""Values that are made many times for each request: frozen for the type checker, and plain at run time.

`dataclass(frozen=True)` sets each field through `object.__setattr__`, ten times as slow as an assignment. A refresh makes such
values with eighty fields in all. What others receive of this library (`Principal`) is frozen at run time as well.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def value_type(*, kw_only: bool = False, repr: bool = True) -> Callable[[type[T]], type[T]]:  # noqa: A002 - as `dataclass` has it
    """Make a class a dataclass with slots whose fields a type checker lets nobody set. It cannot be hashed."""
    return dataclass(slots=True, kw_only=kw_only, repr=repr)
