"""The smallest service that believes a site's tokens, its keys in a file: `uvicorn tests.faults.resource_service:app`."""

import os
from typing import Annotated

from fastapi import FastAPI

from authmint import Principal, ResourceServer

auth = ResourceServer(issuer="https://auth.example", audience="orders", jwks_file=os.environ["RESOURCE_SERVICE_JWKS"])
app = FastAPI()


@app.get("/who")
async def who(caller: Annotated[Principal, auth.requires("orders:read")]) -> dict[str, str]:
    """Whose token it is."""
    return {"sub": caller.sub}
