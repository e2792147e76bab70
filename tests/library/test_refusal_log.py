"""The reason of a refused token reaches the operator's log, and no client can fill that log."""

import logging
from collections.abc import Callable
from typing import Any

import pytest

from authmint import InvalidToken, ResourceServer
from tests.library.conftest import AUDIENCE, ISSUER, Issuer
from tests.library.web import Clock


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def refuse(issuer: Issuer, clock: Clock, caplog: pytest.LogCaptureFixture) -> Callable[..., None]:
    # A service in the same process silences this logger: its own line of a request has the reason.
    caplog.set_level(logging.WARNING, "authmint.token_verifier")
    server = ResourceServer(issuer=ISSUER, audience=AUDIENCE, jwks=issuer.jwks, clock=clock)

    def refuse(**claims: Any) -> None:
        with pytest.raises(InvalidToken):
            server.verify_sync(issuer.token(**claims))

    return refuse


def test_the_reason_of_a_refused_token_is_a_warning(refuse: Callable[..., None], caplog: pytest.LogCaptureFixture) -> None:
    """Kind: what an operator has to know is logged below the level that logs have without any configuration."""
    refuse(aud="secret-audience")
    refuse(exp=1)
    assert [
        ("authmint.token_verifier", logging.WARNING, "access token refused: wrong_audience"),
        ("authmint.token_verifier", logging.WARNING, "access token refused: expired"),
    ] == caplog.record_tuples


def test_a_reason_is_logged_once_a_minute_with_the_number_of_the_others(
    refuse: Callable[..., None], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Kind: a line for each bad request, with which a client fills the disk."""
    for _ in range(1000):
        refuse(aud="other")
    refuse(exp=1)
    assert 2 == len(caplog.records)
    clock.now += 59.9
    refuse(aud="other")
    assert 2 == len(caplog.records)
    clock.now += 0.1
    refuse(aud="other")
    refuse(aud="other")
    assert ["access token refused: wrong_audience (1000 more since the last such line)"] == caplog.messages[2:]


def test_a_clock_that_was_set_back_silences_no_reason(
    refuse: Callable[..., None], clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    refuse(aud="other")
    clock.now -= 86_400
    refuse(aud="other")
    assert 2 == len(caplog.records)
