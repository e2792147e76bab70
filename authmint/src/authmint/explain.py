"""Explain, check by check, why a service would refuse a token. For people: with values that no caller gets to see."""

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from authmint.checks import Check, format_duration
from authmint.claims import AccessTokenClaims, read_claims
from authmint.errors import InvalidToken, IssuerUnavailable
from authmint.fetching import FetchError
from authmint.jose import (
    ACCESS_TOKEN_TYPES,
    CompactJWS,
    Expectations,
    Parser,
    decode_base64url,
    read_json_object,
    verify_claims,
)
from authmint.key_history import KeyHistory
from authmint.key_sets import KeySet

PARSE_MESSAGES = {
    "token_too_long": "It is longer than 8192 characters.",
    "not_ascii": "It has characters beyond ASCII.",
    "malformed_token": "It does not have three parts with two dots between them: it is not a signed JWT.",
    "malformed_base64": "A part is not base64url without padding, in its one canonical spelling.",
    "header_too_long": "Its header is longer than 1024 characters.",
    "malformed_header": "Its header is not a plain JSON object.",
    "forbidden_header": "Its header has crit, b64, jku, jwk, x5u, x5c, zip or enc, which no access token may have.",
    "malformed_kid": "Its kid is not a short string.",
    "malformed_payload": "Its payload is not a plain JSON object.",
    "wrong_algorithm": "Its alg is none, or not a string.",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """All checks, and the token's header and claims; never its signature."""

    checks: tuple[Check, ...]
    header: dict[str, Any]
    claims: dict[str, Any]

    @property
    def is_valid(self) -> bool:
        """Whether every check was made and passed."""
        return all(check.passed for check in self.checks)


async def explain(
    token: str, *, issuer: str | None, audience: str | Sequence[str] | None, keys: KeySet | None, leeway: int = 30,
    history: Callable[[], Awaitable[KeyHistory]] | None = None, clock: Callable[[], float] = time.time,
) -> Explanation:  # fmt: skip
    """Return what a resource server with these settings would find. Checks without their setting have `passed` None.

    `audience`: one, or several of which one is enough.
    `history`: fetches the history of the issuer's keys; it may raise FetchError.
    """
    header, payload = _decode_part(token, 0), _decode_part(token, 1)
    checks = []
    try:
        jws = Parser(types=None).parse(token)
        checks.append(Check("form", True, "It is a signed JWT in compact form."))
    except InvalidToken as error:
        checks.append(Check("form", False, PARSE_MESSAGES.get(error.reason, error.reason)))
        return Explanation(tuple(checks), header, payload)
    checks.append(_type(jws))
    checks.append(await _signature(jws, keys, _KeyHistoryLookup(history, clock())))
    try:
        claims = read_claims(payload)
        checks.append(Check("claims", True, "All claims that an access token needs are there."))
    except InvalidToken as error:
        rule, _, name = error.reason.partition("_")
        faults = {"missing": "is missing", "unsupported": "binds it to a key, whose proof a service cannot check"}
        checks.append(Check("claims", False, f"The claim {name} {faults.get(rule, 'is not of the right form')}."))
        return Explanation(tuple(checks), header, payload)
    checks += [_issuer(claims, issuer), _audience(claims, audience), *_times(claims, leeway, clock())]
    return Explanation(tuple(checks), header, payload)


def _type(jws: CompactJWS) -> Check:
    found = jws.header.media_type
    if found in ACCESS_TOKEN_TYPES:
        return Check("type", True, "Its typ says that it is an access token.")
    return Check("type", False, f"Its typ is {found or 'missing'}, and the typ of an access token is at+jwt (RFC 9068).")


@dataclass(frozen=True, slots=True)
class _KeyHistoryLookup:
    """The history of the issuer's keys, if it can be fetched."""

    history: Callable[[], Awaitable[KeyHistory]] | None
    now: float

    async def describe(self, kid: str) -> str | None:
        if self.history is None:
            return None
        try:
            return (await self.history()).describe_end(kid, self.now)
        except FetchError:
            return None


async def _signature(jws: CompactJWS, keys: KeySet | None, lookup: _KeyHistoryLookup) -> Check:
    if keys is None:
        return Check("signature", None, "There are no keys to check it with: name the issuer.")
    kid, algorithm = jws.header.key_id, jws.header.algorithm
    if kid is None:
        return Check("signature", False, "It names no key (kid), and a service looks keys up by that name.")
    try:
        key = keys.find(kid) or await keys.fetch(kid)
        key.verify(jws)
    except IssuerUnavailable:
        return Check("signature", None, "The issuer's keys cannot be fetched.")
    except InvalidToken as error:
        return Check("signature", False, await _explain_bad_signature(error.reason, kid, algorithm, lookup))
    end = await lookup.describe(kid)
    history = f", which {end}" if end else ""
    return Check("signature", True, f"It was made with the issuer's key {kid} ({algorithm}){history}.")


async def _explain_bad_signature(reason: str, kid: str, algorithm: str, lookup: _KeyHistoryLookup) -> str:
    if reason == "wrong_algorithm":
        return f"It says {algorithm}, and the key {kid} is for another algorithm."
    if reason != "unknown_key":
        return f"It was not made with the issuer's key {kid}, or was changed."
    if end := await lookup.describe(kid):
        return f"The issuer's key {kid} {end}."
    return f"The issuer has no key {kid}: it was retired, or the token is another issuer's."


def _issuer(claims: AccessTokenClaims, issuer: str | None) -> Check:
    if issuer is None:
        return Check("issuer", None, f"The issuer is {claims.issuer}; nothing to compare it with.")
    if claims.issuer == issuer:
        return Check("issuer", True, f"The issuer is {issuer}.")
    return Check("issuer", False, f"The issuer is {claims.issuer}, you trust {issuer}. They must be equal to the character.")


def _audience(claims: AccessTokenClaims, audience: str | Sequence[str] | None) -> Check:
    found = ", ".join(claims.audience)
    if audience is None:
        return Check("audience", None, f"The audience is {found}; nothing to compare it with.")
    audiences = [audience] if isinstance(audience, str) else audience
    if any(one in claims.audience for one in audiences):
        return Check("audience", True, f"The audience is {found}.")
    return Check("audience", False, f"The audience is {found}, you are {', '.join(audiences)}.")


def _times(claims: AccessTokenClaims, leeway: int, now: float) -> list[Check]:
    expected = Expectations(issuer=claims.issuer, audiences=frozenset(claims.audience), leeway=leeway, max_lifetime=86_400)
    try:
        verify_claims(claims, expected, now)
    except InvalidToken as error:
        messages = {
            "expired": f"It expired {format_duration(now - claims.expires_at)} ago (leeway {leeway} s).",
            "issued_in_future": f"It was issued {format_duration(claims.issued_at - now)} in the future: check the clocks.",
            "not_yet_valid": f"It becomes valid in {format_duration((claims.not_before or 0) - now)}.",
            "lifetime_too_long": f"It lives {format_duration(claims.expires_at - claims.issued_at)}, the limit is a day.",
        }
        return [Check("time", False, messages[error.reason])]
    left = claims.expires_at - now
    message = f"It expires in {format_duration(left)}." if left > 0 else f"It has expired, within the leeway of {leeway} s."
    return [Check("time", True, message)]


def _decode_part(token: str, part: int) -> dict[str, Any]:
    """Return a part of the token, even of one that is malformed elsewhere; empty if it cannot be decoded."""
    try:
        return read_json_object(decode_base64url(token.split(".")[part]))
    except (ValueError, IndexError):
        return {}
