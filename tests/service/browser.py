"""A browser for the page of a client whose refresh token is in a cookie. Its tabs are requests under way."""

from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Any

import httpx2

from authmint_service.accounts import Account
from authmint_service.clients import Client
from tests.service.conftest import PASSWORD, Service

PAGE = "https://app.auth.example"
REFUSED = (400, "invalid_request")
DEAD = (400, "invalid_grant")


def error_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("error", "")


@dataclass
class Browser:
    """Keeps cookies as a browser does, and sends the origin of its page. All tabs share the cookies."""

    service: Service
    client: Client
    origin: str | None = PAGE
    cookies: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"__Host-authmint-refresh-{self.client.client_id}"

    @property
    def refresh_token(self) -> str:
        return self.cookies[self.name]

    async def send(self, path: str, **form: str) -> httpx2.Response:
        """Send a request with the present cookies. The cookies of its response are stored by `take`."""
        headers = [("Cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))] if self.cookies else []
        if self.origin is not None:
            headers.append(("Origin", self.origin))
        return await self.service.http.post(path, data={"client_id": self.client.client_id} | form, headers=headers)

    def take(self, answer: httpx2.Response) -> httpx2.Response:
        """Store and delete cookies as the response says."""
        for header in answer.headers.get_list("set-cookie"):
            for name, morsel in SimpleCookie(header).items():
                if morsel["max-age"] == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = morsel.value
        return answer

    async def sign_in(self, user: Account, **more: str) -> httpx2.Response:
        form = {"grant_type": "password", "username": user.username, "password": PASSWORD}
        return self.take(await self.send("/token", **form, **more))

    async def refresh(self, **more: str) -> httpx2.Response:
        return self.take(await self.send("/token", grant_type="refresh_token", **more))

    async def sign_out(self, **more: str) -> httpx2.Response:
        return self.take(await self.send("/revoke", **more))


async def add_client(service: Service, **changes: Any) -> Client:
    known: dict[str, Any] = {"refresh_cookie": True, "origins": (PAGE,)}
    return await service.add_client(**(known | changes))


async def signed_in(service: Service, user: Account | None = None, **changes: Any) -> Browser:
    browser = Browser(service, await add_client(service, **changes))
    answer = await browser.sign_in(user or await service.add_account())
    assert 200 == answer.status_code, answer.text
    return browser
