"""The rules for the claims of an access token (RFC 9068, section 4; RFC 7519, section 4.1)."""

from collections.abc import Callable
from dataclasses import dataclass

from authmint.claims import AccessTokenClaims
from authmint.errors import InvalidToken


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """The values that a service expects in every token. Times are seconds."""

    issuer: str
    audiences: frozenset[str]
    """One of these must be in `aud`."""
    leeway: int
    """How far two clocks may be apart."""
    max_lifetime: int
    """From `iat` to `exp`. A token that lives longer was not meant to be verified offline."""
    sole_audience: bool = False
    """Whether `aud` must have no other audience: a service that receives the token elsewhere could use it here."""


Rule = Callable[[AccessTokenClaims, Expectations, float], bool]

# In this order, so that the reason is the first rule that is broken: the issuer, the audience, and then the times.
RULES: tuple[tuple[str, Rule], ...] = (
    ("wrong_issuer", lambda claims, expected, now: claims.issuer == expected.issuer),
    ("wrong_audience", lambda claims, expected, now: not expected.audiences.isdisjoint(claims.audience)),
    (
        "other_audiences",
        lambda claims, expected, now: not expected.sole_audience or expected.audiences.issuperset(claims.audience),
    ),
    ("expired", lambda claims, expected, now: claims.expires_at > now - expected.leeway),
    ("issued_in_future", lambda claims, expected, now: claims.issued_at <= now + expected.leeway),
    ("not_yet_valid", lambda claims, expected, now: (claims.not_before or 0) <= now + expected.leeway),
    ("lifetime_too_long", lambda claims, expected, now: claims.expires_at - claims.issued_at <= expected.max_lifetime),
)


def verify_claims(claims: AccessTokenClaims, expected: Expectations, now: float) -> None:
    """Raise InvalidToken with the reason of the first rule that is broken. `now`: seconds since the epoch."""
    for reason, holds in RULES:
        if not holds(claims, expected, now):
            raise InvalidToken(reason)
