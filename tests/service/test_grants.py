"""The grants: what each says about itself, which clients may have it, and which requests it refuses.

`MATRIX` has a row for each grant. A grant without a row fails the first test.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx2
import pytest

from authmint_service.errors import InvalidValue, SettingsError
from authmint_service.grants import PasswordGrant, ScopeSource, offered_grants
from tests.service.conftest import PASSWORD, Service, StartService

pytestmark = pytest.mark.anyio

NAMES = ("password", "refresh_token", "client_credentials")
KINDS = ("public", "confidential")


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a grant says about itself, and requests that it refuses, with their errors."""

    interactive: bool
    scopes_from: ScopeSource
    for_clients: tuple[str, ...]
    default_for: tuple[str, ...]
    secret: frozenset[str] = frozenset()
    refused: tuple[tuple[Mapping[str, str | None], str], ...] = ()
    """Changes of a good request (None: the parameter is missing), and the error."""
    good: Mapping[str, str] = field(default_factory=dict)


SCOPES = (({"scope": "admin"}, "invalid_scope"), ({"scope": 'a"b'}, "invalid_scope"), ({"resource": "other"}, "invalid_target"))
MATRIX = {
    "password": Row(
        interactive=True,
        scopes_from=ScopeSource.REQUEST,
        for_clients=("public", "confidential"),
        default_for=("public",),
        secret=frozenset({"password"}),
        refused=(
            ({"username": None}, "invalid_request"), ({"password": None}, "invalid_request"),
            ({"username": "no one of this name"}, "invalid_grant"), ({"password": "wrong"}, "invalid_grant"),
            ({"password": "a\0b"}, "invalid_grant"), ({"username": "a\0b"}, "invalid_grant"), *SCOPES,
        ),
    ),
    "refresh_token": Row(
        interactive=False,
        scopes_from=ScopeSource.STORED,
        for_clients=("public", "confidential"),
        default_for=("public",),
        secret=frozenset({"refresh_token"}),
        refused=(
            ({"refresh_token": None}, "invalid_request"), ({"refresh_token": "amrt_x"}, "invalid_grant"),
            ({"refresh_token": "\0"}, "invalid_grant"), *SCOPES,
        ),
    ),
    "client_credentials": Row(
        interactive=False,
        scopes_from=ScopeSource.REQUEST,
        for_clients=("confidential",),
        default_for=("confidential",),
        refused=SCOPES,
    ),
}  # fmt: skip


def error_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


async def flows_of(service: Service) -> set[str]:
    """Return the flows that the button *Authorize* of `/docs` offers."""
    components = (await service.http.get("/openapi.json")).json()["components"]
    return set(components["securitySchemes"]["Authmint"]["flows"])


async def good_form(service: Service, grant: str, client_id: str, secret: str | None) -> dict[str, str]:
    """Return a request of a client, which has all grants, that gets a token."""
    form = {"grant_type": grant, "client_id": client_id} | ({} if secret is None else {"client_secret": secret})
    if grant == "client_credentials":
        return form
    person = {"username": (await service.add_account()).username, "password": PASSWORD}
    if grant == "password":
        return form | person
    tokens = (await service.token(**form | person | {"grant_type": "password"})).json()
    return form | {"refresh_token": tokens["refresh_token"]}


def test_every_grant_has_a_row_in_the_matrix_and_describes_itself_as_it_says() -> None:
    registry = offered_grants()
    assert NAMES == registry.names
    assert set(NAMES) == set(MATRIX)
    for grant in registry:
        row = MATRIX[grant.name]
        assert (row.interactive, row.scopes_from) == (grant.interactive, grant.scopes_from)
        assert row.secret == {parameter.name for parameter in grant.parameters if parameter.secret}
        defaults = {kind for kind in KINDS if grant.name in registry.defaults(confidential=kind == "confidential")}
        assert set(row.default_for) == defaults


@pytest.mark.parametrize("grant", NAMES)
@pytest.mark.parametrize("kind", ["public", "confidential"])
async def test_a_grant_is_for_the_clients_that_the_matrix_names(service: Service, secret: str, grant: str, kind: str) -> None:
    given = secret if kind == "confidential" else None
    client = await service.add_client(given, grants=frozenset(NAMES))
    answer = await service.token(**await good_form(service, grant, client.client_id, given))
    expected = 200 if kind in MATRIX[grant].for_clients else 400
    assert expected == answer.status_code
    if expected == 400:
        assert "unauthorized_client" == answer.json()["error"]
        with pytest.raises(InvalidValue, match=rf"^A public client cannot use {grant}\.$"):
            offered_grants().check_client({grant}, confidential=False)
    else:
        offered_grants().check_client({grant}, confidential=kind == "confidential")
        without = await service.add_client(given, grants=frozenset(NAMES) - {grant})
        form = await good_form(service, grant, client.client_id, given)
        assert (400, "unauthorized_client") == error_of(await service.token(**form | {"client_id": without.client_id}))


@pytest.mark.parametrize("grant", NAMES)
async def test_a_grant_refuses_what_the_matrix_says_and_then_serves_the_right_request(
    service: Service, secret: str, grant: str
) -> None:
    client = await service.add_client(secret, grants=frozenset(NAMES))
    form = await good_form(service, grant, client.client_id, secret)
    for changes, error in MATRIX[grant].refused:
        changed = {name: value for name, value in (form | dict(changes)).items() if value is not None}
        assert (400, error) == error_of(await service.token(**changed)), changes
    for parameter in {one.name for _, one in offered_grants().parameters}:
        body = "&".join((httpx2.QueryParams(form | {parameter: "x"}).__str__(), f"{parameter}=y"))
        answer = await service.http.post("/token", content=body, headers={"Content-Type": "application/x-www-form-urlencoded"})
        assert (400, "invalid_request") == error_of(answer), parameter
    assert 200 == (await service.token(**form)).status_code


def test_there_is_one_interactive_grant_as_the_refresh_token_grant_says_of_every_session() -> None:
    assert [PasswordGrant] == [grant for grant in offered_grants() if grant.interactive]


def test_an_unknown_grant_of_a_client_is_refused_with_the_names_of_the_known_ones() -> None:
    with pytest.raises(InvalidValue, match=rf"^A grant is one of {', '.join(NAMES)}\.$") as raised:
        offered_grants().check_client({"password", "implicit"}, confidential=True)
    assert "grants" == raised.value.field


async def test_a_client_with_a_grant_that_the_service_does_not_have_still_loads(service: Service) -> None:
    client = await service.add_client(grants=frozenset({"password", "urn:example:other"}))
    assert 200 == (await service.sign_in(client, await service.add_account())).status_code
    answer = await service.token(grant_type="urn:example:other", client_id=client.client_id)
    assert (400, "unsupported_grant_type") == (answer.status_code, answer.json()["error"])


async def test_a_setting_switches_grants_off_and_clients_that_have_them_still_load(
    start_service: StartService, secret: str
) -> None:
    service = await start_service(grants="password, client_credentials")
    client = await service.add_client(grants=frozenset({"password", "refresh_token"}))
    signed_in = await service.sign_in(client, await service.add_account())
    assert (200, False) == (signed_in.status_code, "refresh_token" in signed_in.json())
    assert (400, "unsupported_grant_type") == error_of(await service.refresh(client, "amrt_x"))
    metadata = (await service.http.get("/.well-known/oauth-authorization-server")).json()
    assert ["client_credentials", "password"] == metadata["grant_types_supported"]
    form = (await service.http.get("/openapi.json")).json()["components"]["schemas"]["TokenRequest"]["properties"]
    assert ["password", "client_credentials"] == form["grant_type"]["enum"]
    assert "refresh_token" not in form
    assert {"password", "clientCredentials"} == await flows_of(service)
    assert {"clientCredentials"} == await flows_of(await start_service(grants="client_credentials"))
    assert 'grant_type="refresh_token"' not in (await service.internal("/metrics")).text


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("password,refresh-token", "entry 2 is not a grant. Did you mean refresh_token? The grants are password, "),
        ("canary", "entry 1 is not a grant. The grants are password, refresh_token, client_credentials."),
    ],
)
async def test_an_unknown_grant_in_the_setting_stops_the_start_and_is_not_repeated(
    start_service: StartService, names: str, message: str
) -> None:
    with pytest.raises(SettingsError, match=f"^AUTHMINT_GRANTS is wrong: {message.replace('?', '[?]')}") as raised:
        await start_service(grants=names)
    assert "canary" not in str(raised.value)
