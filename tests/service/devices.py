"""People who are signed in on a device."""

from dataclasses import dataclass

import httpx2

from authmint_service.accounts import Account
from authmint_service.clients import Client
from tests.service.conftest import Service

REFUSED = (400, "invalid_grant")


@dataclass
class SignedIn:
    """A person on one device."""

    service: Service
    client: Client
    user: Account
    access: str
    refresh: str

    @property
    def bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.access}"}

    async def ask(self, method: str, path: str) -> httpx2.Response:
        return await self.service.http.request(method, path, headers=self.bearer)

    async def sign_out(self) -> None:
        """Revoke this session by its refresh token, whatever its access token is for."""
        form = {"client_id": self.client.client_id, "token": self.refresh}
        assert 200 == (await self.service.http.post("/revoke", data=form)).status_code

    async def is_over(self) -> bool:
        answer = await self.service.refresh(self.client, self.refresh)
        return REFUSED == (answer.status_code, answer.json().get("error"))


async def sign_in(service: Service, user: Account | None = None, client: Client | None = None) -> SignedIn:
    user, client = user or await service.add_account(), client or await service.add_client()
    answer = (await service.sign_in(client, user)).json()
    return SignedIn(service, client, user, answer["access_token"], answer["refresh_token"])
