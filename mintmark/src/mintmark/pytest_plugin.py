"""Fixtures for the tests of services that Mintmark protects. Found by pytest as soon as `mintmark` is installed."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from mintmark.resource_server import ResourceServer
from mintmark.testing import Tokens


@pytest.fixture
def mintmark_testing() -> Iterator[Callable[[ResourceServer], Tokens]]:
    """`tokens = mintmark_testing(auth)`: for the rest of this test `auth` believes tokens of a throw-away key, and no others.

    Real verification, no server, no network. `tokens` makes the headers: `user`, `machine`, `expired`, `wrong_audience`,
    `unknown_key`, and `rotate` for a new key; a missing scope is a token made without it.
    """
    with ExitStack() as stack:
        yield lambda auth: stack.enter_context(auth.testing())
