"""The registry of grants: every grant of this service, and the checks and names that follow from the list."""

from collections.abc import Collection

from authmint_service.errors import InvalidValue
from authmint_service.grants.client_credentials import ClientCredentialsGrant
from authmint_service.grants.password import PasswordGrant
from authmint_service.grants.refresh_token import RefreshTokenGrant

GRANT_CLASSES = (PasswordGrant, RefreshTokenGrant, ClientCredentialsGrant)
GRANT_TYPES = tuple(grant.name for grant in GRANT_CLASSES)
"""The values of `grant_type` (RFC 6749)."""


def check_client_grants(names: Collection[str], *, confidential: bool) -> None:
    """Raise InvalidValue if a name is unknown, or a public client may not have the grant.

    A stored client is not checked: one with a grant that this service does not have still loads.
    """
    if not set(names) <= set(GRANT_TYPES):
        raise InvalidValue(f"A grant is one of {', '.join(GRANT_TYPES)}.")
    for grant in GRANT_CLASSES:
        if grant.name in names and grant.confidential_only and not confidential:
            raise InvalidValue(f"A public client cannot use {grant.name}.")
