"""Writes invoices for services. A person's token opens nothing here: `auth.service` lets machines in alone."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI
from pydantic import BaseModel, Field

from authmint import Principal, ResourceServer

auth = ResourceServer(
    issuer=os.environ.get("BILLING_ISSUER", "http://127.0.0.1:8000"),
    audience="billing",
    scopes={"billing:write": "Write invoices"},
)
Job = Annotated[Principal, auth.service.requires("billing:write")]


class Invoice(BaseModel):
    """What is billed, and to whom: the `sub` of a person."""

    customer: str = Field(min_length=1, max_length=200)
    item: str = Field(min_length=1, max_length=100)
    quantity: int = Field(ge=1, le=1000)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with auth.lifespan():
        yield


def create_app() -> FastAPI:
    """The billing API. Invoices live in memory, and nobody pays them."""
    app = FastAPI(title="Billing", docs_url=None, redoc_url=None, lifespan=lifespan)
    written: list[Invoice] = []

    @app.post("/invoices", summary="Write an invoice", status_code=201)
    async def write(invoice: Invoice, who: Job) -> dict[str, int | str]:
        written.append(invoice)
        return {"number": len(written), "written_for": who.client_id}

    @app.get("/livez", summary="Does the process run?")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    return app


app = create_app()
