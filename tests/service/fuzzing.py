"""Malformed and hostile requests to `/token`, `/revoke` and `/introspect`, and what every response to them must be."""

import base64
import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from authmint.jose import encode_base64url
from authmint_service.checksums import checksum
from authmint_service.grants import offered_grants
from authmint_service.sessions.refresh_token import MAX_GENERATION, PREFIX, RefreshToken, RefreshTokenCodec

FORM_TYPE = b"application/x-www-form-urlencoded"
MARK = "Zq7canary"
"""Part of every invented value, so that an echo of it is found."""

NAMES = (
    "grant_type", "client_id", "client_secret", "username", "password", "refresh_token", "scope", "resource", "token",
    "token_type_hint", "assertion", "code", "redirect_uri", "GRANT_TYPE", "grant_type[]", "grant_type.x", "%67rant_type", "",
    " ", f"{MARK}n", "__proto__", "%00", "%ff", "a" * 300,
)  # fmt: skip
OFFERED = offered_grants().names
GRANTS = (*OFFERED, "authorization_code", "", "PASSWORD", "password ", "password%00")
VALUES = (
    "", "+", "%00", "a%00b", "%", "%2", "%zz", "%u0041", "%c0%80", "%c0%ae", "%ed%a0%80", "%ed%b0%80", "%f4%90%80%80", "%ff%fe",
    "%f0%9f%98%80" * 20, "%e2%80%ae", "%0d%0aSet-Cookie:%20x=1", "%1b[2J", "%e2%80%a8", "\xff", "\0", "é", "'%20OR%201=1--",
    "%22%3E%3Cscript%3E", "{%22$ne%22:1}", "[]", "NaN", "Infinity", "-1", "1e400", "null", "true", "../../etc/passwd",
    "http://127.0.0.1:1/", "%7B%7B7*7%7D%7D", "$%7Bjndi:x%7D", "orders:read", "orders:read+orders:read",
    "orders:read++orders:write", "%EF%BC%A0", "a" * 255, "a" * 5000, "%f0" * 900, "+" * 200,
)  # fmt: skip
LONG = ("a" * 25_000, "%41" * 9_000, "%00" * 12_000)
PIECES = (b"", b"", b"%", b"&", b"=", b"\0", b"%00", b"%ff", b"\xff", b"%ED%A0%80")
CONTENT_TYPES = (
    b"", b"application/json", b"text/plain", FORM_TYPE + b"; charset=utf-7", FORM_TYPE + b"; charset=UTF-8", b"\xff",
    FORM_TYPE + b";" + b"a" * 1000, b"multipart/form-data; boundary=x",
)  # fmt: skip


@dataclass(frozen=True)
class Known:
    """Valid values, for requests that are nearly right."""

    public: str
    confidential: str
    secret: str
    token: str
    """A refresh token of the public client, of a revoked session."""
    access_token: str
    codec: RefreshTokenCodec
    """With the service's own keys: for authentic tokens of no session."""


@dataclass(frozen=True)
class Fuzzed:
    """One request, as bytes."""

    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Fuzzer:
    """Makes requests. The same seed makes the same ones."""

    def __init__(self, known: Known, chance: random.Random) -> None:
        self._known, self._chance = known, chance
        self._encoded = {name: quote(value, safe="") for name, value in vars(known).items() if isinstance(value, str)}

    def form(self) -> Fuzzed:
        """Return a form for one of the three: right and wrong fields, repeated, cut, changed byte by byte."""
        chance = self._chance
        path = chance.choice(("/token", "/token", "/token", "/revoke", "/introspect"))
        fields = self._nearly_right(path) if chance.random() < 0.7 else []
        for _ in range(chance.choice((0, 1, 1, 2, 3, 80) if chance.random() < 0.2 else (0, 1, 1, 2))):
            fields.insert(chance.randint(0, len(fields)), f"{chance.choice(NAMES)}={self._value()}")
        if chance.random() < 0.1 and fields:
            fields.append(chance.choice(fields))
        body = chance.choice(("&",) * 12 + ("&&", ";", "&amp;", "\n")).join(fields).encode("latin-1")
        if chance.random() < 0.3:
            body = self._tamper(body)
        return Fuzzed(path, self._headers(), body)

    def handle(self) -> Fuzzed:
        """Return a well-formed request with an invalid refresh token."""
        path = self._chance.choice(("/token", "/token", "/revoke", "/introspect"))
        name = "refresh_token" if path == "/token" else "token"
        client = {"/introspect": f"client_id={self._known.confidential}&client_secret={self._known.secret}"}
        who = client.get(path, f"client_id={self._known.public}")
        grant = "grant_type=refresh_token&" if path == "/token" else ""
        return Fuzzed(path, [(b"content-type", FORM_TYPE)], f"{grant}{who}&{name}=".encode() + self._handle())

    def _nearly_right(self, path: str) -> list[str]:
        chance, known = self._chance, self._encoded
        confidential = chance.random() < 0.4
        who = ["confidential", "secret"] if confidential else ["public"]
        fields = [f"client_{'secret' if name == 'secret' else 'id'}={known[name]}" for name in who]
        if path != "/token":
            return [*fields, f"token={chance.choice((known['token'], known['access_token'], self._value()))}"]
        grant = chance.choice(OFFERED if chance.random() < 0.8 else GRANTS)
        # A password costs a hash, 20 ms: one request in 200 has one, the others lack it.
        given = [f"refresh_token={self._value()}"] if grant == "refresh_token" else []
        if grant == "password":
            given = [f"username={self._value()}"] + [f"password={self._value()}"] * (chance.random() < 0.005)
        return [f"grant_type={grant}", *fields, *given]

    def _value(self) -> str:
        chance = self._chance
        kind = chance.random()
        if kind < 0.01:
            return MARK + chance.choice(LONG)
        if kind < 0.6:
            return MARK + chance.choice(VALUES) if kind < 0.4 else chance.choice(VALUES)
        if kind < 0.7:
            return chance.choice(list(self._encoded.values()))
        return MARK + "".join(chance.choices("abc%=+&;\0\xff é\"'<{[0123456789ABCDEF", k=chance.randint(0, 30)))

    def _handle(self) -> bytes:
        """Return one of six kinds; in the last three the checksum is right, and in the last one the MAC as well."""
        chance = self._chance
        kind = chance.randrange(100)
        if kind < 30:
            return quote(self._tamper(self._known.token.encode(), times=4)).encode()
        if kind < 45:
            return self._tamper(self._encoded["token"].encode())
        if kind < 55:
            return (PREFIX + MARK + self._value()).encode("latin-1")
        if kind < 75:
            body = PREFIX + encode_base64url(chance.randbytes(chance.choice((57, 57, 57, 56, 58, 0))))
        elif kind < 98:
            text = list(self._known.token[:-6])
            text[chance.randrange(len(PREFIX), len(text))] = chance.choice("ABCabc019-_")
            body = "".join(text)
        else:
            generation = chance.choice((0, 1, 2**16, MAX_GENERATION - 1, MAX_GENERATION, 2**32 - 1))
            return self._known.codec.encode(RefreshToken(1, chance.randbytes(20), generation)).encode()
        return (body + checksum(body)).encode()

    def _tamper(self, content: bytes, times: int = 3) -> bytes:
        chance = self._chance
        for _ in range(chance.randint(1, times)):
            place = chance.randint(0, len(content))
            put = chance.choice((*PIECES, chance.randbytes(1)))
            content = content[:place] + put + content[place + chance.choice((0, 1, 1, 30)) :]
        return content

    def _headers(self) -> list[tuple[bytes, bytes]]:
        chance = self._chance
        headers = [(b"content-type", FORM_TYPE if chance.random() < 0.93 else chance.choice(CONTENT_TYPES))]
        if chance.random() < 0.08:
            given = chance.choice(VALUES)[:300].encode("latin-1").replace(b"\0", b"")
            credentials = base64.b64encode(MARK.encode() + given) if chance.random() < 0.7 else MARK.encode() + given
            headers.append((b"authorization", chance.choice((b"Basic ", b"basic  ", b"Bearer ", b"")) + credentials))
        if chance.random() < 0.05:
            headers.append((b"cookie", f"__Host-authmint-refresh-{self._known.public}={MARK}".encode()))
        return headers


ERRORS = {
    "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type", "invalid_scope",
    "invalid_target",
}  # fmt: skip
TOKEN_MEMBERS = {"access_token", "token_type", "expires_in", "scope"}
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]+")
"""RFC 6749, section 5.2."""


def check(request: Fuzzed, status: int, headers: Mapping[str, str], body: bytes) -> None:
    """Fail for a response that OpenAPI and RFC 6749, section 5.2, do not know, and for one that repeats the request."""
    assert status in {200, 400, 401}, (status, request)
    assert MARK.encode() not in body + repr(dict(headers)).encode(), request
    assert "no-store" == headers["cache-control"], request
    if status == 200:
        good: dict[str, Callable[[dict[str, Any]], bool]] = {
            "/token": lambda members: set(members) == TOKEN_MEMBERS,
            "/introspect": lambda members: members == {"active": False},
            "/revoke": lambda members: members == {},
        }
        assert good[request.path](json.loads(body)), request
        return
    assert "application/json" == headers["content-type"], request
    members = json.loads(body)
    assert {"error", "error_description"} == set(members), request
    assert members["error"] in ERRORS, request
    assert (status == 401) == (members["error"] == "invalid_client") == ("www-authenticate" in headers), request
    assert DESCRIPTION.fullmatch(members["error_description"]), request
