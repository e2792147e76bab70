"""The cookie that holds the refresh token of a client with `refresh_cookie`: of an SPA, whose scripts shall never see it.

A cookie travels by itself, also when a page of somebody else sends the request; so such a client is heard from its own pages
alone, which the header Origin tells. No answer that refuses touches the cookie: another tab may have got a new one meanwhile,
and the loser of that race must not clear it. Sign-out clears it when this very request ended its session, and only then.
"""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from authmint.errors import InvalidGrant, InvalidRequest
from authmint_service.clients import Client

HOST_PREFIX = "__Host-"
"""A browser takes a cookie with this name from https alone, for the whole of one host, and no other host can set it."""

INSECURE_COOKIES_NOTE = (
    "Refresh cookies differ from production: on loopback http they have neither the prefix __Host- nor Secure, which not every "
    "browser takes there. And as cookies know no ports, whatever listens on another port of this host is sent them as well."
)


class RefreshCookies:
    """Takes refresh tokens from cookies, and gives them back."""

    def __init__(self, *, idle_ttl: int, plain: bool) -> None:
        """`idle_ttl`: seconds a browser keeps it, for clients that say nothing else; `plain`: see INSECURE_COOKIES_NOTE."""
        self._idle_ttl, self._secure = idle_ttl, not plain

    def name(self, client: Client) -> str:
        """One for each client, so that several on one site do not overwrite each other's."""
        return f"{HOST_PREFIX if self._secure else ''}authmint-{client.client_id}"

    def complete(self, parameters: Mapping[str, str], request: Request, client: Client) -> Mapping[str, str]:
        """The parameters of a token request, with the refresh token from its cookie. Raises InvalidRequest or InvalidGrant."""
        if not client.refresh_cookie:
            return parameters
        self.check_origin(request, client)
        if "refresh_token" in parameters:
            raise InvalidRequest("The refresh token of this client travels in its cookie alone.")
        if parameters.get("grant_type") != "refresh_token":
            return parameters
        token = self.read(request, client)
        if token is None:
            raise InvalidGrant("The request has no cookie with a refresh token.")
        return {**parameters, "refresh_token": token}

    def check_origin(self, request: Request, client: Client) -> None:
        """Raises InvalidRequest for a request that comes from no page of the client, or does not say where it comes from."""
        origins = request.headers.getlist("origin")
        if len(origins) != 1 or origins[0] not in client.origins:
            raise InvalidRequest("This client is heard from its own pages alone, and the Origin is none of them.")

    def read(self, request: Request, client: Client) -> str | None:
        """The refresh token, if there is one. Raises InvalidRequest when there are two, of which one must be forged."""
        name = self.name(client)
        pairs = (part.partition("=") for header in request.headers.getlist("cookie") for part in header.split(";"))
        found = {value.strip() for key, _, value in pairs if key.strip() == name}
        if len(found) > 1:
            raise InvalidRequest("The request has two different cookies with a refresh token.")
        return found.pop() if found else None

    def keep(self, response: Response, client: Client, refresh_token: str) -> None:
        """Gives the browser a refresh token, for as long as it is good without being used."""
        idle_ttl = self._idle_ttl if client.session_idle_ttl is None else client.session_idle_ttl
        self._set(response, client, refresh_token, max_age=idle_ttl)

    def forget(self, response: Response, client: Client) -> None:
        """Takes the refresh token away from the browser."""
        self._set(response, client, "", max_age=0)

    def _set(self, response: Response, client: Client, value: str, *, max_age: int) -> None:
        # The prefix demands the path /, so that is as narrow as it gets.
        response.set_cookie(
            self.name(client), value, max_age=max_age, path="/", secure=self._secure, httponly=True, samesite="strict"
        )
