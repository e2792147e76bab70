"""The registry of grants. Everything that must know the grants reads them from a `GrantRegistry`; `GRANTS` alone lists them."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from difflib import get_close_matches

from authmint_service.errors import InvalidValue, SettingsError
from authmint_service.grants.client_credentials import ClientCredentialsGrant
from authmint_service.grants.grant import ClientKind, Grant, GrantParameter, GrantParts
from authmint_service.grants.password import PasswordGrant
from authmint_service.grants.refresh_token import RefreshTokenGrant

GRANTS: tuple[type[Grant], ...] = (
    PasswordGrant,
    RefreshTokenGrant,
    ClientCredentialsGrant,
)
"""Every grant that this service has. A line here registers a grant."""


class GrantRegistry:
    """The grants that a service offers, in the order in which they are listed."""

    def __init__(self, grants: Iterable[type[Grant]]) -> None:
        self._grants = {grant.name: grant for grant in grants}

    def __iter__(self) -> Iterator[type[Grant]]:
        return iter(self._grants.values())

    @property
    def names(self) -> tuple[str, ...]:
        """The values of `grant_type` (RFC 6749)."""
        return tuple(self._grants)

    @property
    def parameters(self) -> Sequence[tuple[type[Grant], GrantParameter]]:
        """Every parameter with its grant. Two grants may have parameters of the same name."""
        return [(grant, parameter) for grant in self for parameter in grant.parameters]

    def make(self, parts: GrantParts) -> dict[str, Grant]:
        """Return the grants by name."""
        return {name: grant(parts) for name, grant in self._grants.items()}

    def defaults(self, *, confidential: bool) -> frozenset[str]:
        """Return the grants of a client that is added without a list of them."""
        kind = ClientKind.CONFIDENTIAL if confidential else ClientKind.PUBLIC
        return frozenset(grant.name for grant in self if grant.default_for is kind)

    def check_client(self, names: Collection[str], *, confidential: bool) -> None:
        """Raise InvalidValue if a name is unknown, or a public client may not have the grant.

        A stored client is not checked: one with a grant that this service does not offer still loads.
        """
        if not set(names) <= set(self.names):
            raise InvalidValue("grants_unknown", field="grants", known=", ".join(self.names))
        for grant in self:
            if grant.name in names and grant.confidential_only and not confidential:
                raise InvalidValue("grants_not_public", field="grants", grant=grant.name)


def offered_grants(names: Sequence[str] = ()) -> GrantRegistry:
    """Return the registry of the grants of these names, or of all when there are none. Raise SettingsError.

    `names`: the setting AUTHMINT_GRANTS.
    """
    known = [grant.name for grant in GRANTS]
    for number, name in enumerate(names, 1):
        if name not in known:
            # The name itself is not repeated, as no value of a setting is.
            similar = get_close_matches(name, known, n=1)
            question = f" Did you mean {similar[0]}?" if similar else ""
            raise SettingsError(
                f"AUTHMINT_GRANTS is wrong: entry {number} is not a grant.{question} The grants are {', '.join(known)}."
            )
    return GrantRegistry(grant for grant in GRANTS if not names or grant.name in names)
