"""Every route of the service, asked of the application itself, so that a new one cannot be forgotten."""

from dataclasses import dataclass

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Route


@dataclass(frozen=True)
class Endpoint:
    """A method and a path, as the application has them."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def filled(self, **values: str) -> str:
        """The path with its parameters filled in; those that are not given with an id of nothing."""
        known = dict.fromkeys(("account_id", "session_id"), "00000000-0000-4000-8000-000000000000")
        return self.path.format(**(known | values))


def doors_of(app: FastAPI) -> list[Endpoint]:
    """Sorted. Fails for a kind of route that is not known here."""
    found = set()
    for entry in app.routes:
        included = getattr(entry, "original_router", None)
        for route in [entry] if included is None else included.routes:
            assert isinstance(route, APIRoute | Route), route
            found |= {Endpoint(method, route.path) for method in route.methods or ()}
    return sorted(found, key=str)
