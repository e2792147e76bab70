"""Who am I: the one resource of this service, protected by the dependency that every other service uses."""

from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel

from authmint import Principal, ResourceServer
from authmint.challenge import to_http_error
from authmint.errors import InvalidToken
from authmint_service.accounts import AccountStore
from authmint_service.endpoints.requests import record_principal
from authmint_service.endpoints.responses import BEARER_RESPONSES


class Me(BaseModel):
    """The caller, as the token service knows it."""

    sub: str
    """Stays the same for ever. Store this, not the name."""
    kind: str
    """`user` or `service`."""
    client_id: str
    scopes: list[str]
    username: str | None = None
    """People only."""


class UserEndpoints:
    """Answers under `/users/`."""

    def __init__(self, accounts: AccountStore, auth: ResourceServer) -> None:
        self._accounts, self._auth = accounts, auth

    def routes(self) -> APIRouter:
        router = APIRouter(tags=["users"], responses=BEARER_RESPONSES)
        caller = self._auth.requires()

        async def me(who: Annotated[Principal, caller]) -> Me:
            return await self._me(who)

        router.add_api_route("/account/v1", me, methods=["GET"], summary="Who am I?", response_model=Me)
        return router

    async def _me(self, who: Principal) -> Me:
        record_principal(who)
        scopes = sorted(who.scopes)
        if not who.is_user:
            return Me(sub=who.sub, kind="service", client_id=who.client_id, scopes=scopes)
        account = await self._accounts.find(who.sub)
        if account is None or not account.is_active:
            raise to_http_error(InvalidToken("unknown_account"))
        return Me(sub=account.id, kind="user", client_id=who.client_id, scopes=scopes, username=account.username)
