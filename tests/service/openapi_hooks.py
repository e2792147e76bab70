"""Access tokens and client credentials for Schemathesis, which imports this module (SCHEMATHESIS_HOOKS) in its own process."""

import json
import os
import random
from typing import Any

import schemathesis

from tests.e2e.conftest import fetch

KNOWN = json.loads(os.environ["OPENAPI_KNOWN"])
"""The address, and the forms with which a user and a service get tokens."""
ROBOT = {name: KNOWN["service"][name] for name in ("client_id", "client_secret")}
chance = random.Random(1)


def token(form: dict[str, str]) -> str:
    status, answer, _ = fetch(f"{KNOWN['site']}/token", data=form)
    assert 200 == status, answer
    return str(json.loads(answer)["access_token"])


TOKEN_OF_SERVICE = token(KNOWN["service"])


@schemathesis.auth(refresh_interval=None)
class AccessToken:
    """A user's token for their own account, a service's for the rest."""

    def __init__(self) -> None:
        self._persons = ""

    def get(self, case: schemathesis.Case[Any], _: schemathesis.AuthContext) -> str:
        if case.operation.path.startswith("/admin/v1/accounts/{account_id}"):
            return TOKEN_OF_SERVICE
        persons = self._persons or token(KNOWN["person"])
        self._persons = "" if case.method == "DELETE" else persons
        return persons

    def set(self, case: schemathesis.Case[Any], access_token: str, _: schemathesis.AuthContext) -> None:
        case.headers["Authorization"] = f"Bearer {access_token}"


@schemathesis.hook
def filter_case(_: schemathesis.HookContext, case: schemathesis.Case[Any]) -> bool:
    """Skip other methods of `revoke-others`: for the route of one session this is an id, and no UUID, so DELETE gets a 422."""
    return case.method == "POST" or not case.path.endswith("/sessions/revoke-others")


@schemathesis.hook
def before_call(_: schemathesis.HookContext, case: schemathesis.Case[Any], __: dict[str, Any]) -> None:
    """Give half of the valid forms an existing client, and leave only required fields in them."""
    if case.path not in {"/token", "/revoke", "/introspect"}:
        return
    case.headers.pop("Authorization", None)
    described = case.meta is not None and case.meta.generation.mode == schemathesis.GenerationMode.POSITIVE
    if described and isinstance(case.body, dict) and chance.random() < 0.5:
        needed = {name: value for name, value in case.body.items() if name in {"grant_type", "token"}}
        if "token" in needed and chance.random() < 0.5:
            needed["token"] = TOKEN_OF_SERVICE
        case.body = needed | chance.choice((ROBOT, ROBOT, {"client_id": KNOWN["person"]["client_id"]}))
