"""The last release and today's code together: one database, and the library of the one at the service of the other.

The names of the tests say what the previous version was. Until there is a tag it is the same tree.
"""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import Running, environment, fetch, free_ports, running
from tests.e2e.test_embedded_postgres import dsn_of, hold, release
from tests.project.releases import NO_RELEASE, Installation, current_installation, install_release, last_release, previous_tag
from tests.service.test_settings import GOOD, OTHER

pytestmark = [pytest.mark.process, pytest.mark.timeout(600), pytest.mark.xdist_group("compatibility")]

PASSWORD = "seven green parrots in a boat"
PREVIOUS = previous_tag()

LIBRARY = """
import asyncio, json, sys
import authmint, httpx2

async def main():
    given = json.load(sys.stdin)
    issuer = given["issuer"]
    auth = authmint.ResourceServer(issuer=issuer, audience="orders", scopes={"orders:read": "Read"}, revocation_list=True)
    found = {"file": authmint.__file__}
    async with auth.lifespan():
        caller = await auth.verify(given["token"])
        found |= {"is_user": caller.is_user, "client_id": caller.client_id, "scopes": sorted(caller.scopes)}
        head, body, signature = given["token"].split(".")
        try:
            await auth.verify(".".join((head, body, signature[::-1])))
        except authmint.InvalidToken:
            found["a changed token"] = "refused"
        own = authmint.ServiceAuth(issuer=issuer, client_id="robot", client_secret=given["secret"], audience="orders")
        async with httpx2.AsyncClient(auth=own, trust_env=False) as http:
            sent = (await http.get(issuer + "/livez")).request.headers["Authorization"]
            found["is_service"] = (await auth.verify(sent.removeprefix("Bearer "))).is_service
            form = {"token": given["token"], "client_id": "app"}
            found["revocation"] = (await http.post(issuer + "/revoke", data=form, auth=None)).status_code
        for _ in range(200):
            try:
                await auth.verify(given["token"])
            except authmint.InvalidToken:
                found["a revoked token"] = "refused"
                break
            await asyncio.sleep(0.1)
    print(json.dumps(found))

asyncio.run(main())
"""


class Deployment:
    """One database with a person and two clients, and the settings that all services on it share."""

    def __init__(self, folder: Path, dsn: str, made_by: Installation) -> None:
        self.folder = folder
        self._env = environment(
            AUTHMINT_DATABASE_URL=dsn, AUTHMINT_KEY_ENCRYPTION_KEYS=GOOD, AUTHMINT_REFRESH_TOKEN_KEYS=OTHER,
            AUTHMINT_DRAIN_SECONDS="0", PYTHONPATH="",
        )  # fmt: skip
        (port,) = free_ports(1)
        self.issuer = f"http://127.0.0.1:{port}"
        self._env["AUTHMINT_ISSUER"] = self.issuer
        made_by.run("migrate", env=self._env, cwd=folder)
        made_by.run("accounts", "add", "ada", "--password-stdin", env=self._env, cwd=folder, text=PASSWORD)
        may = ("--resource", "orders", "--scope", "orders:read")
        app = ("--public", "--grant", "password", "--grant", "refresh_token", "--resource", self.issuer)
        made_by.run("clients", "add", "app", *app, *may, env=self._env, cwd=folder)
        robot = ("clients", "add", "robot", "--confidential", "--grant", "client_credentials", "--json")
        self.secret: str = json.loads(made_by.run(*robot, *may, env=self._env, cwd=folder))["client_secret"]

    def migrate(self, version: Installation) -> None:
        version.run("migrate", env=self._env, cwd=self.folder)

    @contextmanager
    def serving(self, version: Installation, *, url: str | None = None) -> Iterator[tuple[str, Running]]:
        """Serve with one version, at the issuer's address or another, and return the address."""
        at = url or self.issuer
        env = {**self._env, "AUTHMINT_PORT": at.rpartition(":")[2]}
        output = self.folder / f"{version.name}-{env['AUTHMINT_PORT']}.log"
        with running(*version.command("serve"), cwd=self.folder, env=env, output=output) as process:
            process.wait_for(f"{at}/readyz", 120)
            yield at, process


def post(url: str, **form: str) -> dict[str, str]:
    """Send a form to the token endpoint, and return the tokens. A refusal fails the test."""
    status, body, _ = fetch(f"{url}/token", data={"client_id": "app", **form})
    assert 200 == status, body
    tokens: dict[str, str] = json.loads(body)
    return tokens


def sign_in(url: str, **form: str) -> dict[str, str]:
    return post(url, grant_type="password", username="ada", password=PASSWORD, **form)


def refresh(url: str, tokens: dict[str, str], **form: str) -> dict[str, str]:
    return post(url, grant_type="refresh_token", refresh_token=tokens["refresh_token"], **form)


def key_ids(url: str) -> set[str]:
    return {key["kid"] for key in json.loads(fetch(f"{url}/.well-known/jwks.json")[1])["keys"]}


def profile_status(url: str, tokens: dict[str, str]) -> int:
    return fetch(f"{url}/account/v1", headers={"Authorization": f"Bearer {tokens['access_token']}"})[0]


@pytest.fixture(scope="module", params=[PREVIOUS], ids=[PREVIOUS or NO_RELEASE])
def previous(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Installation:
    return install_release(request.param, tmp_path_factory.mktemp("previous"))


@pytest.fixture(scope="module")
def current() -> Installation:
    return current_installation()


@pytest.fixture
def dsn(tmp_path: Path) -> Iterator[str]:
    holder = hold(tmp_path / "database")
    yield dsn_of(holder)
    release(holder)


@pytest.mark.parametrize(
    ("tags", "current", "expected"),
    [
        ([], "0.1.0", None), (["v0.1.0"], "0.1.0", None), (["v0.1.0"], "0.1.1", "v0.1.0"),
        (["v0.9.0", "v0.10.0"], "0.11.0", "v0.10.0"),
        (["v0.1.0", "v0.2.0"], "0.2.0", "v0.1.0"), (["v1.0.0", "v0.9.9"], "1.1.0", "v1.0.0"), (["v2.0.0"], "1.0.0", None),
        (["v1.0.0rc1", "v0.3.0"], "1.0.0", "v0.3.0"), (["vendor", "v-next", "0.1.0", "v0.1.x"], "9.0.0", None),
    ],
)  # fmt: skip
def test_the_last_release_is_the_newest_tag_below_the_current_version(
    tags: list[str], current: str, expected: str | None
) -> None:
    assert expected == last_release(tags, current)


@pytest.mark.clients
def test_an_upgrade_signs_no_one_out_and_both_versions_serve_one_database(
    previous: Installation, current: Installation, dsn: str, tmp_path: Path
) -> None:
    deployment = Deployment(tmp_path, dsn, previous)
    (port,) = free_ports(1)
    account = {"resource": deployment.issuer}  # what the profile asks for
    with deployment.serving(previous) as (old, _):
        tokens = sign_in(old, **account)
        deployment.migrate(current)
        tokens = refresh(old, tokens, **account)  # the old version on the new schema
        with deployment.serving(current, url=f"http://127.0.0.1:{port}") as (new, _):
            assert key_ids(old) == key_ids(new)
            assert 200 == profile_status(new, tokens)
            tokens = refresh(new, tokens, **account)
            assert 200 == profile_status(old, tokens)
            tokens = refresh(old, tokens, **account)
            assert 200 == profile_status(new, sign_in(new, **account))
            assert 200 == fetch(f"{old}/readyz")[0]
    with deployment.serving(current) as (new, _):
        assert 200 == profile_status(new, refresh(new, tokens, **account))


@pytest.mark.clients
@pytest.mark.parametrize("library_is_older", [True, False], ids=["older-library", "newer-library"])
def test_a_library_verifies_requests_and_follows_revocations_at_a_service_of_the_other_version(
    previous: Installation, current: Installation, dsn: str, tmp_path: Path, *, library_is_older: bool
) -> None:
    library, service = (previous, current) if library_is_older else (current, previous)
    deployment = Deployment(tmp_path, dsn, service)
    with deployment.serving(service) as (issuer, _):
        given = {"issuer": issuer, "token": sign_in(issuer)["access_token"], "secret": deployment.secret}
        done = subprocess.run(
            [str(library.python), "-c", LIBRARY], input=json.dumps(given), capture_output=True, text=True, timeout=120,
            check=False, env=environment(), cwd=tmp_path,
        )  # fmt: skip
        doctor = [str(library.python.with_name("authmint")), "doctor", "--issuer", issuer]
        checked = subprocess.run(
            doctor, capture_output=True, text=True, timeout=120, check=False, env=environment(), cwd=tmp_path
        )
    assert 0 == done.returncode, done.stderr
    found = json.loads(done.stdout)
    is_own = str(previous.python.parents[1]) in found.pop("file")
    assert library_is_older == is_own
    assert {
        "is_user": True, "client_id": "app", "scopes": ["orders:read"], "a changed token": "refused", "is_service": True,
        "revocation": 200, "a revoked token": "refused",
    } == found  # fmt: skip
    assert 0 == checked.returncode, checked.stdout
