"""A service with several audiences and issuers, and one without scopes: in tests, in its metadata, at the command line.

Kinds: of several, only one counts; a form that the standard wants.
"""

import json
from pathlib import Path
from typing import Annotated

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from authmint import InvalidToken, Issuer, Principal, ResourceServer
from authmint.cli import main
from tests.library.conftest import Issuer as Signing

ISSUERS = ["https://a.example", "https://b.example"]
METADATA = "/.well-known/oauth-protected-resource"


@pytest.fixture
def auth(issuer: Signing) -> ResourceServer:
    return ResourceServer(issuers=[Issuer(url=url, jwks=issuer.jwks) for url in ISSUERS], audience=["orders", "not-orders"])


def verify(auth: ResourceServer, headers: dict[str, str]) -> Principal:
    return auth.verify_sync(headers["Authorization"].removeprefix("Bearer "))


def test_a_wrong_audience_in_a_test_is_none_of_several(auth: ResourceServer) -> None:
    with auth.testing() as tokens, pytest.raises(InvalidToken) as refused:
        verify(auth, tokens.wrong_audience())
    assert "wrong_audience" == refused.value.reason


def test_a_test_can_have_tokens_of_each_issuer_and_of_no_other(auth: ResourceServer) -> None:
    with auth.testing() as tokens:
        assert ISSUERS == [verify(auth, tokens.user(iss=url)).issuer for url in ISSUERS]
        with pytest.raises(InvalidToken):
            verify(auth, tokens.user(iss="https://c.example"))


@pytest.mark.parametrize("scopes", [None, {}, {"orders:read": "Read orders"}])
def test_the_metadata_of_a_service_has_no_empty_member_and_is_there_for_head(issuer: Signing, scopes: dict[str, str]) -> None:
    """RFC 9728, section 3.2; RFC 9110, section 9.1."""
    server = ResourceServer(issuer=ISSUERS[0], jwks=issuer.jwks, audience="orders", scopes=scopes)
    app = FastAPI()
    app.include_router(server.metadata_router("https://orders.example"))

    @app.get("/orders")
    async def orders(caller: Annotated[Principal, server.requires()]) -> None:
        """Serve nothing."""

    client = TestClient(app)
    assert [] == [name for name, value in client.get(METADATA).json().items() if not value]
    assert bool(scopes) == ("scopes_supported" in client.get(METADATA).json())
    assert (200, b"") == ((head := client.head(METADATA)).status_code, head.content)
    assert ["/orders"] == list(client.get("/openapi.json").json()["paths"])


@pytest.mark.parametrize(("audiences", "passed"), [(["orders", "orders-v2"], True), (["x", "y"], False)])
def test_explain_knows_several_audiences(
    issuer: Signing, tmp_path: Path, capsys: pytest.CaptureFixture[str], audiences: list[str], passed: bool
) -> None:
    file = tmp_path / "token"
    file.write_text(issuer.token(aud="orders"))
    main(["explain", str(file), "--json", *(word for one in audiences for word in ("--audience", one))])
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert passed is checks["audience"]["passed"]
    assert passed or "you are x, y" in checks["audience"]["message"]
