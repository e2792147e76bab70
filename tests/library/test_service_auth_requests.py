"""`ServiceAuth` in clients of httpx2 and httpx, sync and async: which requests it sends again, and where a secret may go."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest

from authmint import ConfigurationError, ServiceAuth, ServiceAuthError
from authmint.jose import SigningKey
from tests.library.web import Web, web

pytestmark = pytest.mark.anyio

KINDS = pytest.mark.parametrize("kind", ["httpx2 async", "httpx2 sync", "httpx async", "httpx sync"])
TEXT = b"abc" * 3_000


class OneShot:
    """An iterator of chunks, for either kind of client; httpx does not notice that a second use gives nothing."""

    def __init__(self) -> None:
        self._chunks = iter([TEXT, b"end"])

    def __next__(self) -> bytes:
        return next(self._chunks)

    async def __anext__(self) -> bytes:
        try:
            return next(self._chunks)
        except StopIteration:
            raise StopAsyncIteration from None


class SyncOneShot(OneShot):
    def __iter__(self) -> Iterator[bytes]:
        return self


class AsyncOneShot(OneShot):
    def __aiter__(self) -> AsyncIterator[bytes]:
        return self


def chunks() -> Iterator[bytes]:
    yield from (TEXT, b"end")


async def async_chunks() -> AsyncIterator[bytes]:
    for chunk in chunks():
        yield chunk


class Unseekable:
    """A file that cannot be rewound."""

    def __init__(self) -> None:
        self._file = io.BytesIO(TEXT)

    def read(self, size: int = -1) -> bytes:
        return self._file.read(size)

    def __iter__(self) -> Iterator[bytes]:
        yield from self._file


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "file").write_bytes(TEXT)
    with (tmp_path / "file").open("rb") as opened:
        yield opened


REPEATABLE: dict[str, Callable[[Any], dict[str, Any]]] = {
    "none": lambda file: {},
    "bytes": lambda file: {"content": TEXT},
    "JSON": lambda file: {"json": {"a": 1}},
    "a form": lambda file: {"data": {"a": "1"}},
    "a multipart form of bytes": lambda file: {"files": {"a": TEXT}, "data": {"b": "2"}},
    "a multipart form of a file": lambda file: {"files": {"a": file, "b": io.BytesIO(b"x")}},
}
ONCE: dict[str, Callable[[Any], dict[str, Any]]] = {
    "sync: an iterator of a list": lambda file: {"content": iter([TEXT, b"end"])},
    "sync: an iterator of a class": lambda file: {"content": SyncOneShot()},
    "async: an iterator of a class": lambda file: {"content": AsyncOneShot()},
    "sync: a generator": lambda file: {"content": chunks()},
    "async: a generator": lambda file: {"content": async_chunks()},
    "sync: an open file": lambda file: {"content": file},
    "sync: a file that cannot be rewound": lambda file: {"content": Unseekable()},
    "a multipart form of such a file": lambda file: {"files": {"a": Unseekable()}},
}  # fmt: skip


def poster(kind: str, auth: ServiceAuth, **options: Any) -> Callable[..., Awaitable[Any]]:
    """Sends one POST through a client of this kind."""
    library: Any = httpx if kind.startswith("httpx ") else httpx2

    async def post(url: str, **body: Any) -> Any:
        if kind.endswith("async"):
            async with library.AsyncClient(auth=auth, **options) as client:
                return await client.post(url, **body)

        def synchronously() -> Any:
            with library.Client(auth=auth, **options) as client:
                return client.post(url, **body)

        return await asyncio.to_thread(synchronously)

    return post


def make_auth(site: Web, **changes: Any) -> ServiceAuth:
    site.json("/token", {"access_token": "one", "token_type": "Bearer", "expires_in": 100})
    site.json("/upload", {})
    known: dict[str, Any] = {"token_url": f"{site.url}/token", "client_secret": "s" * 32}
    return ServiceAuth(issuer=site.url, client_id="c", **(known | changes))


def refuse_next(site: Web, challenge: str = 'Bearer error="invalid_token"') -> None:
    good = site.answers["/upload"]
    site.json("/upload", {}, status=401, headers=f"www-authenticate: {challenge}\r\n")
    site.next["/upload"], site.answers["/upload"] = site.answers["/upload"] or b"", good


def uploads(site: Web) -> list[bytes]:
    return [body for body, path in zip(site.bodies, site.hits, strict=True) if path == "/upload"]


@KINDS
@pytest.mark.parametrize("body", REPEATABLE)
async def test_a_request_whose_token_is_refused_is_sent_again_with_the_same_body(kind: str, body: str, file: Any) -> None:
    async with web() as site:
        post = poster(kind, make_auth(site))
        refuse_next(site)
        assert 200 == (await post(f"{site.url}/upload", **REPEATABLE[body](file))).status_code
        first, second = uploads(site)
        assert first == second
        assert 2 == site.hits.count("/token")


@KINDS
@pytest.mark.parametrize("body", ONCE)
async def test_a_request_whose_body_cannot_be_sent_twice_is_sent_once_and_the_next_one_gets_another_token(
    kind: str, body: str, file: Any
) -> None:
    """Kind: what is used up by a failure. A body that is gone was sent as an empty one, and the response was 200."""
    if body.partition(":")[0] not in {kind.split()[1], body}:
        pytest.skip("a client of the other kind takes this body")
    async with web() as site:
        post = poster(kind, make_auth(site))
        refuse_next(site)
        assert 401 == (await post(f"{site.url}/upload", **ONCE[body](file))).status_code
        assert ["/token", "/upload"] == site.hits
        site.json("/token", {"access_token": "two", "token_type": "Bearer", "expires_in": 100})
        assert 200 == (await post(f"{site.url}/upload", content=b"x")).status_code
        assert ["/token", "/upload", "/token", "/upload"] == site.hits
        assert "authorization: bearer two\r\n" in site.heads[-1]
        assert b"abcabc" in uploads(site)[0]


@pytest.mark.parametrize(
    ("challenge", "is_retried"),
    [
        ("Bearer error=invalid_token", True), ('bearer realm="x", Error = "invalid_token"', True),
        ('Basic realm="x", Bearer error="invalid_token"', True), ('Bearer error="invalid_token", error_description="x"', True),
        ("Bearer", False), ('Bearer error="insufficient_scope"', False), ('Bearer error="invalid_token_x"', False),
        ('Bearer x_error="invalid_token"', False), ('Bearer error_description="invalid_token"', False),
    ],
)  # fmt: skip
async def test_each_allowed_form_of_the_error_brings_another_token(challenge: str, *, is_retried: bool) -> None:
    """Kind: a form that the standards allow (RFC 9110, section 11.2) is not understood."""
    async with web() as site:
        post = poster("httpx2 async", make_auth(site))
        refuse_next(site, challenge)
        assert (200 if is_retried else 401) == (await post(f"{site.url}/upload")).status_code


@KINDS
@pytest.mark.parametrize("are_given", [True, False])
async def test_the_token_is_sent_to_the_origins_that_were_given_or_to_the_first_and_to_no_other(
    kind: str, *, are_given: bool
) -> None:
    """Kind: a secret goes where it was not meant to go, as by a link in a response."""
    async with web() as site, web() as other:
        auth = make_auth(site, origins=[f"{site.url}/"] if are_given else ())
        post = poster(kind, auth)
        if not are_given:
            assert 200 == (await post(f"{site.url}/upload")).status_code
        before = list(site.hits)
        port = other.url.rpartition(":")[2]
        elsewhere = (
            f"{other.url}/upload",
            f"http://localhost:{port}/upload",
            site.url.replace("http:", "https:"),
            "http://evil.example/",
        )
        for url in elsewhere:
            with pytest.raises(ServiceAuthError, match="name it in `origins`"):
                await post(url)
        assert (before, []) == (site.hits, other.hits)
        assert 200 == (await post(f"{site.url}/upload")).status_code


async def test_each_of_several_origins_gets_the_token() -> None:
    async with web() as site, web() as other:
        other.json("/upload", {})
        post = poster("httpx2 async", make_auth(site, origins=[other.url, site.url]))
        for url in (site.url, other.url):
            assert 200 == (await post(f"{url}/upload")).status_code
        assert 1 == site.hits.count("/token")


@pytest.mark.parametrize(
    "origin",
    ["billing", "ftp://billing", "https://", "https://a.example/api", "https://a.example?x", "https://u:p@a.example",
     "https://a.example/#x", "https://a.example:x", ""],
)  # fmt: skip
def test_what_is_no_origin_is_refused_at_the_start(origin: str) -> None:
    with pytest.raises(ConfigurationError, match="origins"):
        ServiceAuth(issuer="https://auth.example", client_id="c", client_secret="s", origins=["https://a.example:8443", origin])


@KINDS
async def test_a_redirect_to_another_origin_takes_no_token_along(kind: str) -> None:
    async with web() as site, web() as other:
        other.json("/upload", {})
        auth = make_auth(site)
        site.json("/upload", {}, status=307, headers=f"location: {other.url}/upload\r\n")
        assert 200 == (await poster(kind, auth, follow_redirects=True)(f"{site.url}/upload")).status_code
        assert ["/upload"] == other.hits
        assert "authorization" not in other.heads[0]


@KINDS
@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "private_key_jwt"])
async def test_no_secret_follows_a_redirect_of_the_token_endpoint(kind: str, method: str, status: int) -> None:
    """Kind: a secret goes where it was not meant to go. Clients that follow redirects send the body of a form once more."""
    changes: dict[str, Any] = {"authentication_method": method}
    if method == "private_key_jwt":
        changes = {"private_key": SigningKey.generate(), "client_secret": None}
    async with web() as site, web() as other:
        auth = make_auth(site, **changes)
        site.json("/token", {}, status=status, headers=f"location: {other.url}/token\r\n")
        other.json("/token", {"access_token": "evil", "token_type": "Bearer"})
        with pytest.raises(ServiceAuthError, match="redirects"):
            await poster(kind, auth, follow_redirects=True)(f"{site.url}/upload")
        # The other server may have a connection that it has not noticed yet.
        await asyncio.sleep(0.1)
        assert ["/token"] == site.hits
        assert {b""} >= set(other.bodies)
        assert not any("authorization" in head for head in other.heads)
