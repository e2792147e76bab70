"""The caller's own account. It is protected by the same dependency that every other service uses."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel

from authmint import Principal, ResourceServer
from authmint.challenge import to_http_error
from authmint.claims import SubjectProfile
from authmint.errors import InvalidToken
from authmint_service.accounts import AccountStore
from authmint_service.endpoints.requests import record_principal
from authmint_service.endpoints.responses import BEARER_RESPONSES


class MyAccount(BaseModel):
    """The caller, as the token service knows it."""

    id: str
    """The `sub` of access tokens. It never changes; a username may."""
    username: str | None
    """Users only."""
    sub_profile: SubjectProfile
    client_id: str
    scopes: list[str]


class ProfileEndpoint:
    """`GET /account/v1`."""

    def __init__(self, accounts: AccountStore, auth: ResourceServer) -> None:
        self._accounts, self._auth = accounts, auth

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["account"], responses=BEARER_RESPONSES)
        caller = self._auth.requires()

        async def get_my_account(principal: Annotated[Principal, caller]) -> MyAccount:
            return await self._describe(principal)

        router.add_api_route(
            "/account/v1",
            get_my_account,
            methods=["GET"],
            operation_id="getMyAccount",
            summary="Who am I?",
            response_model=MyAccount,
        )
        return router

    async def _describe(self, principal: Principal) -> MyAccount:
        record_principal(principal)
        client_id, scopes = principal.client_id, sorted(principal.scopes)
        if not principal.is_user:
            return MyAccount(id=principal.sub, username=None, sub_profile="service", client_id=client_id, scopes=scopes)
        account = await self._accounts.find(principal.sub)
        if account is None or not account.is_active:
            raise to_http_error(InvalidToken("unknown_account"))
        return MyAccount(id=account.id, username=account.username, sub_profile="user", client_id=client_id, scopes=scopes)
