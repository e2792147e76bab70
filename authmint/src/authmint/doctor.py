"""Looks at an issuer and at resource services from outside, as their clients do, and tells what is wrong with them."""

import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from authmint.checks import Check, span
from authmint.errors import ConfigurationError
from authmint.fetching import Answer, FetchError, check_url, fetch
from authmint.jose import ALGORITHMS, VerifyingKey
from authmint.metadata import IssuerMetadata, metadata_urls, read_metadata
from authmint.protected_resource import metadata_url

LEEWAY = 30
SHORT, LONG = 60, 900
"""Seconds. A resource server keeps keys for no less and no longer, whatever the issuer says."""

_PARAMETER = re.compile(r'([a-z_]+)="([^"]*)"')


async def check_issuer(issuer: str, *, clock: Callable[[], float] = time.time) -> AsyncIterator[Check]:
    """Its URL, metadata, keys and their algorithms, cache headers and clock, each as soon as it is known."""
    yield (address := _address(issuer, "issuer"))
    if address.held is False:
        return
    metadata, check = await _metadata(issuer)
    yield check
    if metadata is None:
        return
    if metadata.token_endpoint is None:
        yield Check("metadata", None, "It names no token_endpoint: /docs and ServiceAuth have to be told where it is.")
    if metadata.jwks_uri is None:
        yield Check("keys", False, "Its metadata has no jwks_uri: services need its shared secret, or its keys in a file.")
        return
    try:
        answer = await fetch(metadata.jwks_uri)
        members = answer.document().members
    except FetchError as error:
        yield Check("keys", False, f"{metadata.jwks_uri} cannot be read: {error}.")
        return
    for check in (*_keys(members.get("keys")), _cache(answer), _clock(answer, clock())):
        yield check


async def check_resource(resource: str, issuer: str) -> AsyncIterator[Check]:
    """Its URL, its answers without a token and with a bad one, and what it says of itself. `resource` is a protected URL."""
    yield (address := _address(resource, "resource"))
    if address.held is False:
        return
    try:
        without, bad = await fetch(resource), await fetch(resource, {"Authorization": "Bearer not-a-token"})
    except FetchError as error:
        yield Check("challenge", False, f"It cannot be asked: {error}.")
        return
    yield _challenge_without_a_token(without)
    yield _challenge_for_a_bad_token(bad)
    yield await _description(resource, issuer, _parameters(without).get("resource_metadata"))


def _address(url: str, name: str) -> Check:
    try:
        check_url(url, name)
    except ConfigurationError as error:
        return Check("https", False, str(error))
    if url.startswith("https:"):
        return Check("https", True, "It is an https URL.")
    return Check("https", None, "It is http, which only this machine itself may use.")


async def _metadata(issuer: str) -> tuple[IssuerMetadata | None, Check]:
    refused = []
    for url in metadata_urls(issuer):
        try:
            metadata = read_metadata((await fetch(url)).document().members, issuer)
        except FetchError as error:
            refused.append(f"{url}: {error}")
        else:
            return metadata, Check("metadata", True, f"It is at {url} and names this issuer.")
    return None, Check("metadata", False, "; ".join(refused) + ".")


def _keys(jwks: object) -> list[Check]:
    if not isinstance(jwks, list):
        return [Check("keys", False, "The key set has no list named keys.")]
    usable, checks = [], []
    for position, jwk in enumerate(jwks):
        try:
            usable.append(VerifyingKey.from_jwk(jwk))
        except ValueError as error:
            checks.append(Check("keys", None, f"Key {position} of the set is not used: {error}."))
    names = [key.kid for key in usable]
    repeated = {str(name) for name in names if names.count(name) > 1}
    if repeated:
        checks.append(Check("keys", False, f"Two keys have one kid, so neither is used: {', '.join(sorted(repeated))}."))
    usable = [key for key in usable if key.kid not in repeated]
    if not usable:
        return [*checks, Check("keys", False, "The key set has no key that may verify tokens.")]
    listed = ", ".join(f"{key.kid} ({key.algorithm})" for key in usable)
    found = {key.algorithm for key in usable}
    checks.append(Check("keys", True, f"{len(usable)} may verify tokens: {listed}."))
    checks.append(Check("algorithms", found <= set(ALGORITHMS), f"Tokens are signed with {', '.join(sorted(found))}."))
    return checks


def _cache(answer: Answer) -> Check:
    age = answer.max_age
    if age is None or "no-store" in answer.headers.get("cache-control", ""):
        return Check("cache", None, "The keys come without max-age: services ask again every five minutes.")
    if not SHORT <= age <= LONG:
        return Check("cache", None, f"The keys may be kept for {span(age)}; services take that as {SHORT} to {LONG} seconds.")
    return Check("cache", True, f"The keys may be kept for {span(age)}.")


def _clock(answer: Answer, now: float) -> Check:
    try:
        theirs = parsedate_to_datetime(answer.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return Check("clock", None, "Its answers have no Date to compare clocks by.")
    difference = theirs - now
    # Date has whole seconds, and the answer took its time.
    if abs(difference) <= 2:
        return Check("clock", True, "Its clock and this one agree.")
    side = "ahead of" if difference > 0 else "behind"
    told = f"Its clock is {span(abs(difference))} {side} this one"
    if abs(difference) <= LEEWAY:
        return Check("clock", None, f"{told}, within the leeway of {LEEWAY} seconds.")
    return Check("clock", False, f"{told}, beyond the leeway of {LEEWAY} seconds.")


def _challenge_without_a_token(answer: Answer) -> Check:
    name = "challenge"
    if answer.status != 401:
        return Check(name, False, f"Without a token it answers {answer.status} and not 401. Is this a protected URL?")
    if not answer.headers.get("www-authenticate", "").lower().startswith("bearer"):
        return Check(name, False, "Its 401 has no WWW-Authenticate: Bearer (RFC 6750, section 3).")
    if "error" in _parameters(answer):
        return Check(name, None, "Without a token it names an error, and there was none yet (RFC 6750, section 3.1).")
    return Check(name, True, "Without a token it answers 401 and Bearer.")


def _challenge_for_a_bad_token(answer: Answer) -> Check:
    if answer.status == 503:
        return Check("bad token", False, "It answers 503: it has no keys of its issuer.")
    if answer.status == 401 and _parameters(answer).get("error") == "invalid_token":
        return Check("bad token", True, 'A bad token gets 401 and error="invalid_token".')
    return Check("bad token", False, f'A bad token gets {answer.status}, and not 401 and error="invalid_token".')


async def _description(resource: str, issuer: str, named: str | None) -> Check:
    """The protected resource's metadata (RFC 9728), where the challenge says, or where it stands by rule."""
    parts = urlsplit(resource)
    places = [named] if named else [metadata_url(one)[0] for one in (resource, f"{parts.scheme}://{parts.netloc}")]
    refused = []
    for url in dict.fromkeys(places):
        try:
            members = (await fetch(url)).document().members
        except FetchError as error:
            refused.append(f"{url} cannot be read: {error}.")
        else:
            return _judge(url, members, resource, issuer)
    # Only a resource that says that it describes itself has to.
    return Check("metadata", False if named else None, f"It does not describe itself (RFC 9728). {' '.join(refused)}")


def _judge(url: str, members: dict[str, Any], resource: str, issuer: str) -> Check:
    issuers, described = members.get("authorization_servers"), members.get("resource")
    if not isinstance(issuers, list) or issuer not in issuers:
        return Check("metadata", False, f"{url} does not name the issuer {issuer}.")
    if not isinstance(described, str) or not f"{resource}/".startswith(f"{described.rstrip('/')}/"):
        return Check("metadata", False, f"{url} describes another resource, {described}.")
    return Check("metadata", True, f"{url} describes it and names the issuer.")


def _parameters(answer: Answer) -> dict[str, str]:
    return dict(_PARAMETER.findall(answer.headers.get("www-authenticate", "")))


Examination = tuple[str, AsyncIterator[Check]]


def examine(issuer: str, resources: Sequence[str], *, clock: Callable[[], float] = time.time) -> list[Examination]:
    """What is looked at, and its checks."""
    examined = [(resource, check_resource(resource, issuer)) for resource in resources]
    return [(issuer, check_issuer(issuer, clock=clock)), *examined]
