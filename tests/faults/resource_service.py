"""The smallest service that trusts the tokens of a site. It has the issuer's keys in a file, and asks no one."""

import os
from typing import Annotated

import uvicorn
from fastapi import FastAPI

from authmint import Principal, ResourceServer


def create_app() -> FastAPI:
    auth, app = (
        ResourceServer(issuer="https://auth.example", audience="orders", jwks_file=os.environ["ORDERS_JWKS_FILE"]),
        FastAPI(),
    )

    async def get_caller(caller: Annotated[Principal, auth.requires("orders:read")]) -> dict[str, str]:
        """Return the account of the token."""
        return {"sub": caller.sub}

    app.get("/caller")(get_caller)
    return app


def main() -> None:
    """Serve at the port ORDERS_PORT."""
    uvicorn.run(create_app(), port=int(os.environ["ORDERS_PORT"]), log_config=None, access_log=False)
