"""Check an issuer and resource services from outside, as their clients see them."""

import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from authmint.checks import Check, format_duration
from authmint.errors import ConfigurationError
from authmint.fetching import FetchedResponse, FetchError, check_url, fetch
from authmint.jose import ALGORITHMS, VerifyingKey
from authmint.metadata import IssuerMetadata, check_named_url, metadata_urls, read_metadata
from authmint.protected_resource import metadata_url

LEEWAY = 30
MIN_CACHE_SECONDS, MAX_CACHE_SECONDS = 60, 900
"""A resource server caches keys for no less and no longer, whatever the issuer says."""

_PARAMETER = re.compile(r'([a-z_]+)\s*=\s*(?:"([^"]*)"|([^\s",]+))', re.IGNORECASE)


async def check_issuer(issuer: str, *, clock: Callable[[], float] = time.time) -> AsyncIterator[Check]:
    """Check its URL, metadata, keys and their algorithms, cache headers and clock. Yield each check as soon as it is made."""
    yield (address := _address(issuer, "issuer"))
    if address.passed is False:
        return
    metadata, check = await _metadata(issuer)
    yield check
    if metadata is None:
        return
    if metadata.token_endpoint is None:
        yield Check("metadata", None, "It names no token_endpoint that may be used: /docs and ServiceAuth need token_url.")
    if metadata.jwks_uri is None:
        yield Check("keys", False, "Its metadata has no jwks_uri: services need its shared secret, or its keys in a file.")
        return
    try:
        response = await fetch(metadata.jwks_uri)
        members = response.document().members
    except FetchError as error:
        yield Check("keys", False, f"{metadata.jwks_uri} cannot be read: {error}.")
        return
    for check in (*_keys(members.get("keys")), _cache(response), _clock(response, clock())):
        yield check


async def check_resource(resource: str, issuer: str) -> AsyncIterator[Check]:
    """Check its URL, its responses without a token and to a bad one, and its metadata. `resource` is a protected URL."""
    yield (address := _address(resource, "resource"))
    if address.passed is False:
        return
    try:
        without, bad = await fetch(resource), await fetch(resource, {"Authorization": "Bearer not-a-token"})
    except FetchError as error:
        yield Check("challenge", False, f"It cannot be requested: {error}.")
        return
    yield _challenge_without_a_token(without)
    yield _challenge_for_a_bad_token(bad)
    yield await _check_description(resource, issuer, _parameters(without).get("resource_metadata"))


def _address(url: str, name: str) -> Check:
    try:
        check_url(url, name)
    except ConfigurationError as error:
        return Check("https", False, str(error))
    if url.startswith("https:"):
        return Check("https", True, "It is an https URL.")
    return Check("https", None, "It is http, which only this computer itself may use.")


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


def _cache(response: FetchedResponse) -> Check:
    age = response.max_age
    if age is None or "no-store" in response.headers.get("cache-control", ""):
        return Check("cache", None, "The keys come without max-age: services fetch them every five minutes.")
    limits = f"{MIN_CACHE_SECONDS} to {MAX_CACHE_SECONDS}"
    if not MIN_CACHE_SECONDS <= age <= MAX_CACHE_SECONDS:
        return Check("cache", None, f"The keys may be cached for {format_duration(age)}; services do for {limits} seconds.")
    return Check("cache", True, f"The keys may be cached for {format_duration(age)}.")


def _clock(response: FetchedResponse, now: float) -> Check:
    try:
        its_time = parsedate_to_datetime(response.headers["date"]).timestamp()
    except (KeyError, ValueError):
        return Check("clock", None, "Its responses have no Date to compare clocks by.")
    difference = its_time - now
    # Date has whole seconds, and the response took some time.
    if abs(difference) <= 2:
        return Check("clock", True, "Its clock and this one agree.")
    side = "ahead of" if difference > 0 else "behind"
    offset = f"Its clock is {format_duration(abs(difference))} {side} this one"
    if abs(difference) <= LEEWAY:
        return Check("clock", None, f"{offset}, within the leeway of {LEEWAY} seconds.")
    return Check("clock", False, f"{offset}, beyond the leeway of {LEEWAY} seconds.")


def _challenge_without_a_token(response: FetchedResponse) -> Check:
    name = "challenge"
    if response.status != 401:
        return Check(name, False, f"Without a token it responds {response.status} and not 401. Is this a protected URL?")
    if not response.headers.get("www-authenticate", "").lower().startswith("bearer"):
        return Check(name, False, "Its 401 has no WWW-Authenticate: Bearer (RFC 6750, section 3).")
    if not _parameters(response):
        return Check(name, None, "Its 401 has Bearer without a parameter, and one has to follow (RFC 6750, section 3).")
    if "error" in _parameters(response):
        return Check(name, None, "Without a token it names an error, and there was none yet (RFC 6750, section 3.1).")
    return Check(name, True, "Without a token it responds 401 and Bearer.")


def _challenge_for_a_bad_token(response: FetchedResponse) -> Check:
    if response.status == 503:
        return Check("bad token", False, "It responds 503: it has no keys of its issuer.")
    if response.status == 401 and _parameters(response).get("error") == "invalid_token":
        return Check("bad token", True, 'A bad token gets 401 and error="invalid_token".')
    return Check("bad token", False, f'A bad token gets {response.status}, and not 401 and error="invalid_token".')


async def _check_description(resource: str, issuer: str, named: str | None) -> Check:
    """Check the protected resource's metadata (RFC 9728), at the URL of the challenge or at the well-known one."""
    parts = urlsplit(resource)
    urls = [named] if named else [metadata_url(one)[0] for one in (resource, f"{parts.scheme}://{parts.netloc}")]
    refused = []
    for url in dict.fromkeys(urls):
        try:
            members = (await fetch(check_named_url(url, "resource_metadata", resource))).document().members
        except FetchError as error:
            refused.append(f"{url} cannot be read: {error}.")
        else:
            return _check_metadata(url, members, resource, issuer)
    # Only a resource that names its metadata has to have it.
    return Check("metadata", False if named else None, f"It does not describe itself (RFC 9728). {' '.join(refused)}")


def _check_metadata(url: str, members: dict[str, Any], resource: str, issuer: str) -> Check:
    issuers, described = members.get("authorization_servers"), members.get("resource")
    if not isinstance(issuers, list) or issuer not in issuers:
        return Check("metadata", False, f"{url} does not name the issuer {issuer}.")
    if not isinstance(described, str) or not f"{resource}/".startswith(f"{described.rstrip('/')}/"):
        return Check("metadata", False, f"{url} describes another resource, {described}.")
    return Check("metadata", True, f"{url} describes it and names the issuer.")


def _parameters(response: FetchedResponse) -> dict[str, str]:
    found = _PARAMETER.findall(response.headers.get("www-authenticate", ""))
    return {name.lower(): quoted or bare for name, quoted, bare in found}


SubjectChecks = tuple[str, AsyncIterator[Check]]


def list_checks(issuer: str, resources: Sequence[str], *, clock: Callable[[], float] = time.time) -> list[SubjectChecks]:
    """Return the URLs to check, each with its checks."""
    others = [(resource, check_resource(resource, issuer)) for resource in resources]
    return [(issuer, check_issuer(issuer, clock=clock)), *others]
