"""A grant that is defined here and registered with one line is everywhere where grants are. So is a grant that you add."""

from urllib.parse import urlencode

import httpx2
import pytest
from typer.testing import CliRunner

from authmint.errors import InvalidGrant
from authmint_service import cli
from authmint_service.grants import Grant, GrantParameter, GrantRequest, ScopeSource, registry
from authmint_service.tokens import Authorization
from tests.service.conftest import Service, StartService
from tests.service.test_metrics import sample

pytestmark = pytest.mark.anyio

NAME = "urn:example:params:oauth:grant-type:sum"


class SumGrant(Grant):
    """Issues a token to a client that can add up."""

    name = NAME
    parameters = (GrantParameter("sum", "The sum."), GrantParameter("term", "A term of it.", repeatable=True))
    interactive, confidential_only, scopes_from = False, False, ScopeSource.REQUEST

    async def authorize(self, request: GrantRequest) -> Authorization:
        if request.required("sum") != str(sum(map(int, request.values("term")))):
            raise InvalidGrant("The sum is wrong.", extra={"terms": len(request.values("term"))})
        subject, client = request.client.subject, request.client.client_id
        return Authorization(
            subject=subject,
            subject_profile="service",
            client_id=client,
            scopes=request.scopes,
            audiences=request.audiences,
            reading=await self._parts.changes.epoch(),
        )


@pytest.fixture
async def service(start_service: StartService, monkeypatch: pytest.MonkeyPatch) -> Service:
    monkeypatch.setattr(registry, "GRANTS", (*registry.GRANTS, SumGrant))
    return await start_service()


async def token(service: Service, *pairs: tuple[str, str]) -> httpx2.Response:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    return await service.http.post("/token", content=urlencode([("grant_type", NAME), *pairs]), headers=form)


async def test_it_issues_a_token_and_is_counted(service: Service) -> None:
    client = await service.add_client(grants=frozenset({NAME}))
    who = ("client_id", client.client_id)
    answer = await token(service, who, ("sum", "6"), ("term", "1"), ("term", "2"), ("term", "3"))
    assert (200, "Bearer") == (answer.status_code, answer.json()["token_type"])
    of_it = (await service.http.get("/account/v1", headers={"Authorization": f"Bearer {answer.json()['access_token']}"})).json()
    assert (client.subject, client.client_id) == (of_it["id"], of_it["client_id"])
    text = (await service.internal("/metrics")).text
    assert 1 == sample(text, f'authmint_tokens_issued_total{{grant_type="{NAME}"}}')


async def test_it_is_refused_to_a_client_that_lacks_it_and_its_requests_are_checked(service: Service, secret: str) -> None:
    client, other = await service.add_client(grants=frozenset({NAME})), await service.add_client(secret)
    who, good = ("client_id", client.client_id), (("sum", "3"), ("term", "1"), ("term", "2"))
    for pairs, error in (
        ((("client_id", other.client_id), ("client_secret", secret), *good), "unauthorized_client"),
        ((who, ("term", "1")), "invalid_request"),
        ((who, ("sum", "1")), "invalid_request"),
        ((who, *good, ("sum", "3")), "invalid_request"),
        ((who, *good, ("scope", "admin")), "invalid_scope"),
        ((who, *good, ("resource", "other")), "invalid_target"),
        ((who, ("sum", "9"), ("term", "1")), "invalid_grant"),
    ):
        answer = await token(service, *pairs)
        assert (400, error) == (answer.status_code, answer.json()["error"]), pairs
        assert (error == "invalid_grant") == ("terms" in answer.json())
    text = (await service.internal("/metrics")).text
    assert 1 == sample(text, f'authmint_oauth_errors_total{{error="invalid_grant",grant_type="{NAME}"}}')


async def test_another_grant_still_refuses_its_repeatable_parameter_when_it_is_repeated(service: Service, secret: str) -> None:
    robot = await service.add_client(secret)
    body = urlencode({"grant_type": "client_credentials", "client_id": robot.client_id, "client_secret": secret, "term": "1"})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for content, status in ((body, 200), (f"{body}&term=2", 400)):
        assert status == (await service.http.post("/token", content=content, headers=form)).status_code


async def test_metadata_openapi_and_the_help_of_the_command_name_it(service: Service) -> None:
    metadata = (await service.http.get("/.well-known/oauth-authorization-server")).json()
    assert NAME in metadata["grant_types_supported"]
    form = (await service.http.get("/openapi.json")).json()["components"]["schemas"]["TokenRequest"]["properties"]
    assert NAME in form["grant_type"]["enum"]
    assert {"type": "string", "description": f"For `{NAME}`. The sum."} == form["sum"]
    assert {"type": "array", "items": {"type": "string"}, "description": f"For `{NAME}`. A term of it."} == form["term"]
    shown = CliRunner().invoke(cli.app, ["clients", "add", "--help"], env={"COLUMNS": "200"})
    assert 0 == shown.exit_code
    text = " ".join(shown.output.replace("│", " ").split())
    assert f"refresh_token, client_credentials (confidential clients alone), {NAME}." in text


def test_the_command_that_adds_clients_accepts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="A grant is one of"):
        registry.offered_grants().check_client({NAME}, confidential=False)
    monkeypatch.setattr(registry, "GRANTS", (*registry.GRANTS, SumGrant))
    registry.offered_grants().check_client({NAME}, confidential=False)
