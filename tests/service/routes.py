"""Every route of the service, read from the application, so that a new route cannot be forgotten."""

from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Route


@dataclass(frozen=True)
class Endpoint:
    """A method and a path template of the application."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def filled(self, **values: str) -> str:
        """Return the path with its parameters filled in, with an unknown id for those that are not given."""
        known = dict.fromkeys(("account_id", "session_id"), "00000000-0000-4000-8000-000000000000")
        return self.path.format(**(known | values))


def endpoints_of(app: FastAPI) -> list[Endpoint]:
    """Return all endpoints, sorted. Fails for an unknown kind of route."""
    found = set()
    for entry in app.routes:
        included = getattr(entry, "original_router", None)
        for route in [entry] if included is None else included.routes:
            assert isinstance(route, APIRoute | Route), route
            found |= {Endpoint(method, route.path) for method in route.methods or ()}
    return sorted(found, key=str)
