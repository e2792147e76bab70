"""Fixtures for the tests of services that Authmint protects. Found by pytest as soon as `authmint` is installed.

A test suite says which resource server is under test, once, in its conftest.py:

@pytest.fixture
def authmint_auth(): return auth

Then a test names the token that it wants: `client.get("/orders", headers=authmint_expired_headers)`. Tokens are really verified,
without a server and without a network. All but `authmint_missing_scope_headers` have every scope of the resource server, so
each has exactly one fault.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from authmint.resource_server import ResourceServer
from authmint.testing import Headers, Tokens


@pytest.fixture
def authmint_testing() -> Iterator[Callable[[ResourceServer], Tokens]]:
    """`tokens = authmint_testing(auth)`: until the test ends `auth` believes tokens of a throw-away key, and no others."""
    with ExitStack() as stack:
        yield lambda auth: stack.enter_context(auth.testing())


@pytest.fixture
def authmint_auth() -> ResourceServer:
    """The resource server under test. To be overridden."""
    raise pytest.UsageError("Say which ResourceServer is under test: define a fixture authmint_auth that returns it.")


@pytest.fixture
def authmint_tokens(authmint_auth: ResourceServer, authmint_testing: Callable[[ResourceServer], Tokens]) -> Tokens:
    """Makes any token for the resource server under test."""
    return authmint_testing(authmint_auth)


@pytest.fixture
def authmint_user_headers(authmint_tokens: Tokens, authmint_auth: ResourceServer) -> Headers:
    """A person who may do everything."""
    return authmint_tokens.user(scopes=authmint_auth.scopes)


@pytest.fixture
def authmint_service_headers(authmint_tokens: Tokens, authmint_auth: ResourceServer) -> Headers:
    """A service that may do everything, and acts for itself."""
    return authmint_tokens.machine(scopes=authmint_auth.scopes)


@pytest.fixture
def authmint_missing_scope_headers(authmint_tokens: Tokens) -> Headers:
    """A person without any scope."""
    return authmint_tokens.user()


@pytest.fixture
def authmint_expired_headers(authmint_tokens: Tokens, authmint_auth: ResourceServer) -> Headers:
    """A token that expired a moment ago, beyond the leeway."""
    return authmint_tokens.expired(scopes=authmint_auth.scopes)


@pytest.fixture
def authmint_wrong_audience_headers(authmint_tokens: Tokens, authmint_auth: ResourceServer) -> Headers:
    """A good token for another service."""
    return authmint_tokens.wrong_audience(scopes=authmint_auth.scopes)


@pytest.fixture
def authmint_unknown_key_headers(authmint_tokens: Tokens, authmint_auth: ResourceServer) -> Headers:
    """A token of a key that the issuer never had."""
    return authmint_tokens.unknown_key(scopes=authmint_auth.scopes)


@pytest.fixture
def authmint_rotated_key_headers(authmint_tokens: Tokens, authmint_auth: ResourceServer) -> Headers:
    """A person's token of a key that signs no more and is still published: it is good."""
    headers = authmint_tokens.user(scopes=authmint_auth.scopes)
    authmint_tokens.rotate()
    return headers
