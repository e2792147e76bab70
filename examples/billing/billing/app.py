"""Write invoices for services. A user's token is refused here: `auth.service` allows services alone."""

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
Service = Annotated[Principal, auth.service.requires("billing:write")]


class NewInvoice(BaseModel):
    """A charge. `customer` is the `sub` of a user."""

    customer: str = Field(min_length=1, max_length=200)
    item: str = Field(min_length=1, max_length=100)
    quantity: int = Field(ge=1, le=1000)


class Invoice(BaseModel):
    """A written invoice. `written_for` is the client that asked for it."""

    number: int
    written_for: str


class Liveness(BaseModel):
    """The process runs."""

    status: str


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with auth.lifespan():
        yield


def create_app() -> FastAPI:
    """Return the billing API. Invoices live in memory."""
    app = FastAPI(title="Billing", docs_url=None, redoc_url=None, lifespan=lifespan)
    auth.document(app)
    written: list[NewInvoice] = []

    @app.post("/invoices", operation_id="createInvoice", summary="Write an invoice", status_code=201)
    async def create_invoice(invoice: NewInvoice, caller: Service) -> Invoice:
        written.append(invoice)
        return Invoice(number=len(written), written_for=caller.client_id)

    @app.get("/livez", operation_id="getLiveness", summary="Check that the process runs")
    async def get_liveness() -> Liveness:
        return Liveness(status="live")

    return app


app = create_app()
