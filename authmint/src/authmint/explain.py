"""Tells, check by check, why a service would refuse a token. For people: with the values that callers never get to see."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from authmint.checks import Check, span
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
    "too_long": "It is longer than 8192 characters.",
    "not_ascii": "It has characters beyond ASCII.",
    "malformed_token": "It does not have three parts with two dots between them: this is no signed JWT.",
    "malformed_base64": "A part is not base64url without padding, in its one canonical spelling.",
    "header_too_long": "Its header is longer than 1024 characters.",
    "malformed_header": "Its header is no plain JSON object.",
    "forbidden_header": "Its header has crit, b64, jku, jwk, x5u, x5c, zip or enc, which no access token may have.",
    "malformed_kid": "Its kid is no short text.",
    "malformed_payload": "Its payload is no plain JSON object.",
    "wrong_algorithm": "Its alg is none, or no text.",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """All checks, and what the token says; never its signature."""

    checks: tuple[Check, ...]
    header: dict[str, Any]
    claims: dict[str, Any]

    @property
    def is_good(self) -> bool:
        """Whether no check failed and none was left out."""
        return all(check.held for check in self.checks)


async def explain(
    token: str, *, issuer: str | None, audience: str | None, keys: KeySet | None, leeway: int = 30,
    history: Callable[[], Awaitable[KeyHistory]] | None = None, clock: Callable[[], float] = time.time,
) -> Explanation:  # fmt: skip
    """What a resource server with these settings would find. Checks that need what is not given are left out.

    `history`: asks what became of the issuer's keys; it may raise FetchError.
    """
    header, payload = _peek(token, 0), _peek(token, 1)
    checks = []
    try:
        jws = Parser(types=None).parse(token)
        checks.append(Check("form", True, "It is a signed JWT in compact form."))
    except InvalidToken as refused:
        checks.append(Check("form", False, PARSE_MESSAGES.get(refused.reason, refused.reason)))
        return Explanation(tuple(checks), header, payload)
    checks.append(_type(jws))
    checks.append(await _signature(jws, keys, _KeyHistoryLookup(history, clock())))
    try:
        claims = read_claims(payload)
        checks.append(Check("claims", True, "All claims that an access token needs are there."))
    except InvalidToken as refused:
        word, _, name = refused.reason.partition("_")
        checks.append(
            Check("claims", False, f"The claim {name} is {'missing' if word == 'missing' else 'not of the right form'}.")
        )
        return Explanation(tuple(checks), header, payload)
    checks += [_issuer(claims, issuer), _audience(claims, audience), *_times(claims, leeway, clock())]
    return Explanation(tuple(checks), header, payload)


def _type(jws: CompactJWS) -> Check:
    found = jws.header.media_type
    if found in ACCESS_TOKEN_TYPES:
        return Check("type", True, "Its typ says that it is an access token.")
    return Check("type", False, f"Its typ is {found or 'missing'}, and that of an access token is at+jwt (RFC 9068).")


@dataclass(frozen=True, slots=True)
class _KeyHistoryLookup:
    """What became of a key, as far as the issuer tells."""

    history: Callable[[], Awaitable[KeyHistory]] | None
    now: float

    async def of(self, kid: str) -> str | None:
        if self.history is None:
            return None
        try:
            return (await self.history()).describe_end(kid, self.now)
        except FetchError:
            return None


async def _signature(jws: CompactJWS, keys: KeySet | None, fates: _KeyHistoryLookup) -> Check:
    if keys is None:
        return Check("signature", None, "No keys to check it with: name the issuer.")
    kid, algorithm = jws.header.key_id, jws.header.algorithm
    if kid is None:
        return Check("signature", False, "It names no key (kid), and a service looks keys up by that name.")
    try:
        key = keys.find(kid) or await keys.fetch(kid)
        key.verify(jws)
    except IssuerUnavailable:
        return Check("signature", None, "The issuer's keys cannot be fetched.")
    except InvalidToken as refused:
        return Check("signature", False, await _why_not_signed(refused.reason, kid, algorithm, fates))
    fate = await fates.of(kid)
    told = f", which {fate}" if fate else ""
    return Check("signature", True, f"It was made with the issuer's key {kid} ({algorithm}){told}.")


async def _why_not_signed(reason: str, kid: str, algorithm: str, fates: _KeyHistoryLookup) -> str:
    if reason == "wrong_algorithm":
        return f"It says {algorithm}, and the key {kid} is for another algorithm."
    if reason != "unknown_key":
        return f"It was not made with the issuer's key {kid}, or was changed."
    if fate := await fates.of(kid):
        return f"The issuer's key {kid} {fate}."
    return f"The issuer has no key {kid}: it was retired, or the token is another issuer's."


def _issuer(claims: AccessTokenClaims, issuer: str | None) -> Check:
    if issuer is None:
        return Check("issuer", None, f"The issuer is {claims.issuer}; nothing to compare it with.")
    if claims.issuer == issuer:
        return Check("issuer", True, f"The issuer is {issuer}.")
    return Check("issuer", False, f"The issuer is {claims.issuer}, you trust {issuer}. They must be equal to the character.")


def _audience(claims: AccessTokenClaims, audience: str | None) -> Check:
    found = ", ".join(claims.audience)
    if audience is None:
        return Check("audience", None, f"The audience is {found}; nothing to compare it with.")
    if audience in claims.audience:
        return Check("audience", True, f"The audience is {found}.")
    return Check("audience", False, f"The audience is {found}, you are {audience}.")


def _times(claims: AccessTokenClaims, leeway: int, now: float) -> list[Check]:
    expected = Expectations(issuer=claims.issuer, audience=claims.audience[0], leeway=leeway, max_lifetime=86_400)
    try:
        verify_claims(claims, expected, now)
    except InvalidToken as refused:
        sentences = {
            "expired": f"It expired {span(now - claims.expires_at)} ago (leeway {leeway} s).",
            "issued_in_future": f"It was issued {span(claims.issued_at - now)} in the future: look at the clocks.",
            "not_yet_valid": f"It becomes valid in {span((claims.not_before or 0) - now)}.",
            "lifetime_too_long": f"It lives {span(claims.expires_at - claims.issued_at)}, and a day is the most by default.",
        }
        return [Check("time", False, sentences[refused.reason])]
    left = claims.expires_at - now
    return [
        Check("time", True, f"It expires in {span(left)}." if left > 0 else f"It has expired, within the leeway of {leeway} s.")
    ]


def _peek(token: str, part: int) -> dict[str, Any]:
    """A part of the token for showing, whatever else may be wrong with it."""
    try:
        return read_json_object(decode_base64url(token.split(".")[part]))
    except (ValueError, IndexError):
        return {}
