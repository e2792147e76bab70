"""The cookie with the refresh token of a client that has `refresh_cookie`: an SPA, whose scripts must never see the token.

A browser sends a cookie with any request, also with one that another site's page caused. So requests of such a client are
accepted from its own pages alone, by the header Origin. No error response changes the cookie: another tab may have received a
new one meanwhile, and the loser of that race must not clear it. Sign-out clears it only if this request revoked its session.
"""

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from authmint.errors import InvalidGrant, InvalidRequest
from authmint_service.clients import Client

HOST_PREFIX = "__Host-"
"""A browser accepts a cookie with this prefix over https alone, for all paths of one host, and from no other host."""

INSECURE_COOKIES_NOTE = (
    "Refresh cookies differ from production: on loopback http they have neither the prefix __Host- nor Secure, which not every "
    "browser accepts there. And as cookies know no ports, a server on another port of this host receives them as well."
)


class RefreshCookies:
    """Reads refresh tokens from cookies, and sets the cookies."""

    def __init__(self, *, idle_ttl: int, insecure: bool) -> None:
        """`idle_ttl`: seconds, for clients without an idle lifetime of their own; `insecure`: see INSECURE_COOKIES_NOTE."""
        self._idle_ttl, self._secure = idle_ttl, not insecure

    def name(self, client: Client) -> str:
        """Return the cookie's name: one for each client, so that clients on one site do not overwrite each other's."""
        return f"{HOST_PREFIX if self._secure else ''}authmint-refresh-{client.client_id}"

    def add_refresh_token(self, parameters: Mapping[str, str], request: Request, client: Client) -> Mapping[str, str]:
        """Return the parameters of a token request with the refresh token of its cookie.

        Raises InvalidRequest or InvalidGrant.
        """
        if not client.refresh_cookie:
            return parameters
        self.check_origin(request, client)
        if "refresh_token" in parameters:
            raise InvalidRequest("The refresh token of this client belongs in its cookie alone.")
        if parameters.get("grant_type") != "refresh_token":
            return parameters
        token = self.read(request, client)
        if token is None:
            raise InvalidGrant("The request has no cookie with a refresh token.")
        return {**parameters, "refresh_token": token}

    def check_origin(self, request: Request, client: Client) -> None:
        """Raise InvalidRequest unless the header Origin names one of the client's pages."""
        origins = request.headers.getlist("origin")
        if len(origins) != 1 or origins[0] not in client.origins:
            raise InvalidRequest("Requests of this client must come from its own pages, and the Origin is none of them.")

    def read(self, request: Request, client: Client) -> str | None:
        """Return the refresh token, if there is one. Raises InvalidRequest for two different ones: one of them is forged."""
        name = self.name(client)
        pairs = (part.partition("=") for header in request.headers.getlist("cookie") for part in header.split(";"))
        found = {value.strip() for key, _, value in pairs if key.strip() == name}
        if len(found) > 1:
            raise InvalidRequest("The request has two different cookies with a refresh token.")
        return found.pop() if found else None

    def set(self, response: Response, client: Client, refresh_token: str) -> None:
        """Set the cookie, for as long as the session lives without a refresh."""
        idle_ttl = self._idle_ttl if client.session_idle_ttl is None else client.session_idle_ttl
        self._set_cookie(response, client, refresh_token, max_age=idle_ttl)

    def clear(self, response: Response, client: Client) -> None:
        """Make the browser delete the cookie."""
        self._set_cookie(response, client, "", max_age=0)

    def _set_cookie(self, response: Response, client: Client, value: str, *, max_age: int) -> None:
        # The prefix requires the path /.
        response.set_cookie(
            self.name(client), value, max_age=max_age, path="/", secure=self._secure, httponly=True, samesite="strict"
        )
