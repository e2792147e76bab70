"""The path of an issuer such as `https://example.com/auth`: a proxy in front may strip it, or leave it."""

from starlette.types import ASGIApp, Receive, Scope, Send


class IssuerPath:
    """Strips the path of the issuer from those of requests that have it. Plain ASGI.

    So every route is there with and without it, and logs and metrics show one form of it.
    """

    def __init__(self, app: ASGIApp, *, path: str) -> None:
        """`path`: without a slash at its end."""
        self._app, self._path = app, path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith(f"{self._path}/"):
            scope["path"] = scope["path"].removeprefix(self._path)
        await self._app(scope, receive, send)
