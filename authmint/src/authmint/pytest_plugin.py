"""Fixtures for the tests of services that Authmint protects. pytest finds them as soon as `authmint` is installed.

A test suite names its resource server once, in its conftest.py:

@pytest.fixture
def authmint_auth(): return auth

Then a test names the token that it needs: `client.get("/orders", headers=authmint_expired_headers)`. Verification is real,
without a server or a network. All but `authmint_missing_scope_headers` have every scope of the resource server, so
each has exactly one fault.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from authmint.resource_server import ResourceServer
from authmint.testing import Headers, Tokens


@pytest.fixture
def authmint_testing() -> Iterator[Callable[[ResourceServer], Tokens]]:
    """`tokens = authmint_testing(auth)`: until the test ends `auth` trusts tokens of a throw-away key, and no others."""
    with ExitStack() as stack:
        yield lambda auth: stack.enter_context(auth.testing())


@pytest.fixture
def authmint_auth() -> ResourceServer:
    """Return the resource server under test. To be overridden."""
    raise pytest.UsageError("Define a fixture authmint_auth that returns the ResourceServer under test.")


@pytest.fixture
def authmint_tokens(authmint_auth: ResourceServer, authmint_testing: Callable[[ResourceServer], Tokens]) -> Tokens:
    """Return a maker of any token for the resource server under test."""
    return authmint_testing(authmint_auth)


@pytest.fixture
def authmint_user_headers(authmint_tokens: Tokens, authmint_auth: ResourceServer) -> Headers:
    """Return headers with a user's token that has every scope."""
    return authmint_tokens.user(scopes=authmint_auth.scopes)


@pytest.fixture
def authmint_service_headers(authmint_tokens: Tokens, authmint_auth: ResourceServer) -> Headers:
    """Return headers with a service's token that has every scope."""
    return authmint_tokens.service(scopes=authmint_auth.scopes)


@pytest.fixture
def authmint_missing_scope_headers(authmint_tokens: Tokens) -> Headers:
    """Return headers with a user's token without any scope."""
    return authmint_tokens.user()


@pytest.fixture
def authmint_expired_headers(authmint_tokens: Tokens, authmint_auth: ResourceServer) -> Headers:
    """Return headers with a token that expired a second ago, beyond the leeway."""
    return authmint_tokens.expired(scopes=authmint_auth.scopes)


@pytest.fixture
def authmint_wrong_audience_headers(authmint_tokens: Tokens, authmint_auth: ResourceServer) -> Headers:
    """Return headers with a good token for another service."""
    return authmint_tokens.wrong_audience(scopes=authmint_auth.scopes)


@pytest.fixture
def authmint_unknown_key_headers(authmint_tokens: Tokens, authmint_auth: ResourceServer) -> Headers:
    """Return headers with a token of a key that the issuer never had."""
    return authmint_tokens.unknown_key(scopes=authmint_auth.scopes)


@pytest.fixture
def authmint_rotated_key_headers(authmint_tokens: Tokens, authmint_auth: ResourceServer) -> Headers:
    """Return headers with a good token, of a key that no longer signs and is still published."""
    headers = authmint_tokens.user(scopes=authmint_auth.scopes)
    authmint_tokens.rotate()
    return headers
