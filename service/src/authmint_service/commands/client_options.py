"""What the commands about clients have in common: arguments, checks, and what is printed of a client."""

import math
from collections.abc import Collection
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperOption

from authmint_service.clients import Client, new_client_secret
from authmint_service.commands.output import read_secret_line
from authmint_service.errors import InvalidValue
from authmint_service.settings import Settings
from authmint_service.web_origins import are_of_different_sites

MIN_SECRET_LENGTH = 32
CONFIDENTIAL_ONLY = " (confidential clients alone)"

ClientId = Annotated[str, typer.Argument(help="The client's id.")]
Many = list[str] | None


class CommandWithGrants(TyperCommand):
    """Name the grants in the help of `--grant`. They are imported when this command runs, and by no other command."""

    def get_params(self, ctx: Any) -> Any:
        from authmint_service.grants import offered_grants

        grants = ", ".join(grant.name + CONFIDENTIAL_ONLY * grant.confidential_only for grant in offered_grants())
        for option in self.params:
            if isinstance(option, TyperOption) and option.name == "grant" and option.help and grants not in option.help:
                option.help = f"{option.help.removesuffix('.')}: {grants}."
        return super().get_params(ctx)


def check_client(settings: Settings, client: Client, *, fields: Collection[str] = tuple(Client.__dataclass_fields__)) -> None:
    """Raise InvalidValue for a client that this service cannot have. `fields`: the names of those that are new.

    What is not new is not checked: a setting may have changed since.
    """
    if "grants" in fields:
        from authmint_service.grants import offered_grants

        offered_grants(settings.grants).check_client(client.grants, confidential=client.confidential)
    if "session_idle_ttl" in fields and (client.session_idle_ttl or math.inf) <= settings.access_token_ttl:
        raise InvalidValue("session_idle_ttl_too_short", field="session_idle_ttl", minimum=settings.access_token_ttl)
    if client.refresh_cookie and {"refresh_cookie", "origins"} & set(fields):
        for origin in client.origins:
            if are_of_different_sites(origin, settings.issuer_url):
                raise InvalidValue("origins_other_site", field="origins", origin=origin, issuer=settings.issuer_url)


def read_or_make_secret(*, from_stdin: bool) -> str:
    """Return a new secret, or the one on standard input. Raise InvalidValue if that one can be guessed."""
    if not from_stdin:
        return new_client_secret()
    secret = read_secret_line("secret")
    if len(secret) < MIN_SECRET_LENGTH or len(set(secret)) < MIN_SECRET_LENGTH // 3:
        raise InvalidValue("secret_too_weak", field="secret", minimum=MIN_SECRET_LENGTH)
    return secret


def client_row(client: Client) -> dict[str, Any]:
    """Return what is printed of a client: nothing of its secrets."""
    return {
        "client_id": client.client_id,
        "name": client.name,
        "subject": client.subject,
        "confidential": client.confidential,
        "grants": sorted(client.grants),
        "scopes": sorted(client.scopes),
        "resources": list(client.resources),
        "default_resources": list(client.default_resources),
        "refresh_grace_seconds": client.refresh_grace_seconds,
        "session_idle_ttl": client.session_idle_ttl,
        "session_ttl": client.session_ttl,
        "refresh_cookie": client.refresh_cookie,
        "origins": list(client.origins),
        "enabled": client.enabled,
    }
