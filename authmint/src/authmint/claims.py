"""The claims of an access token (RFC 9068, section 2.2), for the issuer and for the verifier.

`sub_profile` says whether the subject is a `user` or a `service`. It is explicit, because a guess from `sub == client_id`
fails as soon as a person may choose a client's name. Another issuer's token lacks it: then the subject is neither, unless the
profile `rfc9068` was chosen for that issuer, which decides by that comparison.
"""

from collections.abc import Mapping
from typing import Any, Literal

from authmint.errors import InvalidScope, InvalidToken
from authmint.scopes import format_scope, parse_scope
from authmint.values import value_type

SubjectProfile = Literal["user", "service"]
TokenProfile = Literal["authmint", "rfc9068"]


@value_type(kw_only=True)
class AccessTokenClaims:
    """The claims of one access token. Times are seconds since the epoch, and may have a fraction (RFC 7519, section 2)."""

    issuer: str
    subject: str
    audience: tuple[str, ...]
    client_id: str
    scopes: frozenset[str]
    issued_at: float
    expires_at: float
    token_id: str
    subject_profile: SubjectProfile | None
    session_id: str | None = None
    """One sign-in of one person on one device; None for a service."""
    not_before: float | None = None
    epoch: int | None = None
    """The authorization version that the token was made from; None of an issuer that has none."""

    def to_claims(self) -> dict[str, Any]:
        """Return the members of the JWT."""
        claims: dict[str, Any] = {
            "iss": self.issuer,
            "sub": self.subject,
            "aud": self.audience[0] if len(self.audience) == 1 else list(self.audience),
            "exp": self.expires_at,
            "iat": self.issued_at,
            "jti": self.token_id,
            "client_id": self.client_id,
            "scope": format_scope(self.scopes),
        }
        if self.subject_profile is not None:
            claims["sub_profile"] = self.subject_profile
        if self.session_id is not None:
            claims["sid"] = self.session_id
        if self.not_before is not None:
            claims["nbf"] = self.not_before
        if self.epoch is not None:
            claims["epoch"] = self.epoch
        return claims


# The end of the year 9999, where Python's calendar ends: a later time would make the code fail that reads the claims next.
MAX_TIME = 253_402_300_799
# A greater integer is not the same number in every language that reads JSON (RFC 8259, section 6).
MAX_EPOCH = 2**53
MAX_TEXT_LENGTH = 2048
MAX_AUDIENCES = 64


def read_claims(claims: Mapping[str, Any], profile: TokenProfile | None = None) -> AccessTokenClaims:
    """Return the typed claims of a verified token. Raise InvalidToken when one is missing or of another type.

    Only types are checked here; `jose.verifier` has the rules for their values.
    """
    # Such a token is good only together with a proof (RFC 7800), which nothing here can check: alone it may be stolen.
    if "cnf" in claims:
        raise InvalidToken("unsupported_cnf")
    return AccessTokenClaims(
        issuer=_text(claims, "iss"),
        subject=_text(claims, "sub"),
        audience=_audience(claims.get("aud")),
        client_id=_text(claims, "client_id"),
        scopes=_scopes(claims.get("scope", "")),
        issued_at=_time(claims, "iat"),
        expires_at=_time(claims, "exp"),
        token_id=_text(claims, "jti"),
        subject_profile=_compare(claims) if profile == "rfc9068" else _profile(claims.get("sub_profile")),
        session_id=_text(claims, "sid") if "sid" in claims else None,
        not_before=_time(claims, "nbf") if "nbf" in claims else None,
        epoch=_epoch(claims["epoch"]) if "epoch" in claims else None,
    )


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    # A control character or half a surrogate pair would break the database or the log that receives it next.
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT_LENGTH or not value.isprintable():
        raise InvalidToken(f"malformed_{name}" if name in claims else f"missing_{name}")
    return value


def _time(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    # `True` is an int to Python, and is no time.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MAX_TIME:
        raise InvalidToken(f"malformed_{name}" if name in claims else f"missing_{name}")
    return value


def _epoch(value: object) -> int:
    if type(value) is not int or not 0 <= value <= MAX_EPOCH:
        raise InvalidToken("malformed_epoch")
    return value


def _audience(value: object) -> tuple[str, ...]:
    if isinstance(value, str) and value:
        return (value,)
    if isinstance(value, list) and 0 < len(value) <= MAX_AUDIENCES and all(isinstance(one, str) and one for one in value):
        return tuple(value)
    raise InvalidToken("missing_aud" if value is None else "malformed_aud")


def _scopes(value: object) -> frozenset[str]:
    if not isinstance(value, str):
        raise InvalidToken("malformed_scope")
    try:
        return parse_scope(value)
    except InvalidScope as error:
        raise InvalidToken("malformed_scope") from error


def _compare(claims: Mapping[str, Any]) -> SubjectProfile:
    # RFC 9068, section 2.2: without a resource owner `sub` stands for the client.
    return "service" if claims["sub"] == claims["client_id"] else "user"


def _profile(value: object) -> SubjectProfile | None:
    if value == "user":
        return "user"
    if value == "service":
        return "service"
    if value is None or isinstance(value, str):
        return None
    raise InvalidToken("malformed_sub_profile")
