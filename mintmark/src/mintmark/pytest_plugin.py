"""Fixtures for the tests of services that Mintmark protects. Found by pytest as soon as `mintmark` is installed.

A test suite says which resource server is under test, once, in its conftest.py:

@pytest.fixture
def mintmark_auth(): return auth

Then a test names the token it wants, as headers: `client.get("/orders", headers=mintmark_expired)`. Real verification, no
server, no network. All but `mintmark_missing_scope` allow every scope that the resource server lists, so each has one fault.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from mintmark.resource_server import ResourceServer
from mintmark.testing import Headers, Tokens


@pytest.fixture
def mintmark_testing() -> Iterator[Callable[[ResourceServer], Tokens]]:
    """`tokens = mintmark_testing(auth)`: until the test ends `auth` believes tokens of a throw-away key, and no others."""
    with ExitStack() as stack:
        yield lambda auth: stack.enter_context(auth.testing())


@pytest.fixture
def mintmark_auth() -> ResourceServer:
    """The resource server under test. To be overridden."""
    raise pytest.UsageError("Say which ResourceServer is under test: define a fixture mintmark_auth that returns it.")


@pytest.fixture
def mintmark_tokens(mintmark_auth: ResourceServer, mintmark_testing: Callable[[ResourceServer], Tokens]) -> Tokens:
    """Makes any token for the resource server under test."""
    return mintmark_testing(mintmark_auth)


@pytest.fixture
def mintmark_user(mintmark_tokens: Tokens, mintmark_auth: ResourceServer) -> Headers:
    """A person who may do everything."""
    return mintmark_tokens.user(scopes=mintmark_auth.scopes)


@pytest.fixture
def mintmark_machine(mintmark_tokens: Tokens, mintmark_auth: ResourceServer) -> Headers:
    """A service that may do everything, and acts for itself."""
    return mintmark_tokens.machine(scopes=mintmark_auth.scopes)


@pytest.fixture
def mintmark_missing_scope(mintmark_tokens: Tokens) -> Headers:
    """A person without any scope."""
    return mintmark_tokens.user()


@pytest.fixture
def mintmark_expired(mintmark_tokens: Tokens, mintmark_auth: ResourceServer) -> Headers:
    """A token that expired a moment ago, beyond the leeway."""
    return mintmark_tokens.expired(scopes=mintmark_auth.scopes)


@pytest.fixture
def mintmark_wrong_audience(mintmark_tokens: Tokens, mintmark_auth: ResourceServer) -> Headers:
    """A good token for another service."""
    return mintmark_tokens.wrong_audience(scopes=mintmark_auth.scopes)


@pytest.fixture
def mintmark_unknown_key(mintmark_tokens: Tokens, mintmark_auth: ResourceServer) -> Headers:
    """A token of a key that the issuer never had."""
    return mintmark_tokens.unknown_key(scopes=mintmark_auth.scopes)


@pytest.fixture
def mintmark_rotated_key(mintmark_tokens: Tokens, mintmark_auth: ResourceServer) -> Headers:
    """A person's token of a key that signs no more and is still published: it is good."""
    headers = mintmark_tokens.user(scopes=mintmark_auth.scopes)
    mintmark_tokens.rotate()
    return headers
