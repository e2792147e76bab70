"""A wrong setting fails where it is made, as a ConfigurationError that names it.

Kind: a setting that fails with another error, or in the first request. Where a list is wanted, one text is refused: to Python
it is a list of letters.
"""

from typing import Any

import pytest

from authmint import ConfigurationError, Issuer, ResourceServer, ResourceServerMiddleware, ServiceAuth, StaticKeySet
from tests.library.conftest import AUDIENCE, ISSUER
from tests.library.conftest import Issuer as Signing

KNOWN: dict[str, Any] = {"issuer": ISSUER, "audience": AUDIENCE}

WRONG: dict[str, list[Any]] = {
    "audience": [None, 1, b"orders", [1], [None], ["orders", ""], {"orders": 1}, "", [], set()],
    "issuer": [None, 1, [ISSUER], b"https://auth.example", " https://auth.example", ""],
    "issuers": [ISSUER, [ISSUER], [None], 1],
    "scopes": ["orders:read", ["orders:read"], (), {"a b": "x"}, {1: "x"}, {"a": None}, {"a": 1}],
    "jwks": ["{}", [], 1, {}, {"keys": {}}, {"keys": []}],
    "jwks_file": [1, b"jwks.json", "nowhere.json", ["jwks.json"]],
    "shared_secret": [1, ["x"], "", "short"],
    "key_set": [{"keys": []}, "x", object()],
    "leeway": ["30", None, 1.5, -1, 301],
    "max_lifetime": ["300", None, 0, -1],
    "cache_size": ["10", None, 1.5, -1],
    "revocation_list": [None, "yes", 1, object()],
    "revocation_list_fail": [None, "close", "Closed", True],
    "scheme_name": [1, "", "two words", "ä"],
    "token_url": [1, ["/token"]],
    "sole_audience": [None, "no"],
    "observer": [1, "print"],
    "clock": [1],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_setting_of_a_resource_server_is_named(name: str, value: Any) -> None:
    settings = {**KNOWN, name: value}
    if name == "issuers":
        del settings["issuer"]
    words = "key set" if name == "jwks" and isinstance(value, dict) else name
    with pytest.raises(ConfigurationError, match=words):
        ResourceServer(**settings)


def test_a_wrong_setting_is_no_other_error_where_it_is_used_elsewhere(server: ResourceServer) -> None:
    app: Any = None
    wrong: list[Any] = [
        lambda: Issuer(url=1),  # type: ignore[arg-type]  # wrong on purpose: it must be refused
        lambda: Issuer(url=ISSUER, jwks="x"),  # type: ignore[arg-type]  # wrong on purpose: it must be refused
        lambda: StaticKeySet([]),  # type: ignore[arg-type]  # wrong on purpose: it must be refused
        lambda: server.requires(["orders:read"]),  # type: ignore[arg-type]  # wrong on purpose: it must be refused
        lambda: server.requires(None),  # type: ignore[arg-type]  # wrong on purpose: it must be refused
        lambda: server.metadata_router(["https://orders.example"]),  # type: ignore[arg-type]  # wrong on purpose: it must be refused
        lambda: ResourceServerMiddleware(app, auth=None),  # type: ignore[arg-type]  # wrong on purpose: it must be refused
        lambda: ResourceServerMiddleware(app, auth=server, scopes="orders:read"),
        lambda: ResourceServerMiddleware(app, auth=server, scopes=["orders read"]),
        lambda: ResourceServerMiddleware(app, auth=server, open_paths="/livez"),
        lambda: ResourceServerMiddleware(app, auth=server, open_paths=["livez"]),
    ]
    for make in wrong:
        with pytest.raises(ConfigurationError):
            make()
    with server.testing() as tokens, pytest.raises(ConfigurationError, match="scopes"):
        tokens.user("u1", "orders:read")


SERVICE_AUTH: dict[str, Any] = {"issuer": ISSUER, "client_id": "orders", "client_secret": "s" * 43, "audience": "billing"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("issuer", None), ("issuer", 1), ("audience", ["billing", "stock"]), ("audience", 1), ("scopes", "billing:write"),
        ("scopes", None), ("scopes", [1]), ("scopes", ["a b"]), ("token_url", 1),
    ],
)  # fmt: skip
def test_a_wrong_setting_of_a_service_auth_is_named(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=name):
        ServiceAuth(**{**SERVICE_AUTH, name: value})


@pytest.mark.parametrize("audience", ["orders", ["orders", "orders-v2"], ("orders",), {"orders"}], ids=repr)
def test_an_audience_is_taken_in_each_form(issuer: Signing, audience: Any) -> None:
    assert "orders" in ResourceServer(issuer=ISSUER, audience=audience, jwks=issuer.jwks).audiences


def test_several_audiences_in_the_environment_have_commas_between_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHMINT_ISSUER", ISSUER)
    monkeypatch.setenv("AUTHMINT_AUDIENCE", "orders, orders-v2")
    assert ("orders", "orders-v2") == ResourceServer.from_env().audiences
    monkeypatch.setenv("AUTHMINT_AUDIENCE", "orders,")
    with pytest.raises(ConfigurationError, match="audience"):
        ResourceServer.from_env()
