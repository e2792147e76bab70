"""Lists and creates orders. Who may do what stands at each route; how a token is verified is Authmint's business."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated

import httpx2
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from authmint import Principal, ResourceServer, ServiceAuth, ServiceAuthError

log = logging.getLogger("orders")

ISSUER = os.environ.get("ORDERS_ISSUER", "http://127.0.0.1:8000")
auth = ResourceServer(
    issuer=ISSUER,
    audience="orders",
    scopes={"orders:read": "Read your orders", "orders:write": "Place orders"},
    jwks_file=os.environ.get("ORDERS_JWKS_FILE"),
    revocation_list=True,
)
Reader = Annotated[Principal, auth.requires("orders:read")]
Writer = Annotated[Principal, auth.requires("orders:write")]


class NewOrder(BaseModel):
    """What a caller wants."""

    model_config = ConfigDict(extra="forbid")

    item: str = Field(min_length=1, max_length=100, examples=["A pound of coffee"])
    quantity: int = Field(default=1, ge=1, le=1000)


class Order(NewOrder):
    """What was ordered. `id` counts from 1 for each caller; `invoice` is there when billing has written one."""

    id: int
    invoice: int | None = None


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with auth.lifespan(), AsyncExitStack() as stack:
        if url := os.environ.get("ORDERS_BILLING_URL"):
            app.state.billing = await stack.enter_async_context(billing_client(url))
        yield


def billing_client(url: str) -> httpx2.AsyncClient:
    """Calls billing in this service's own name: tokens are fetched, kept and renewed by themselves."""
    auth = ServiceAuth(
        issuer=ISSUER,
        client_id=os.environ["ORDERS_CLIENT_ID"],
        client_secret=os.environ["ORDERS_CLIENT_SECRET"],
        audience="billing",
        scopes=["billing:write"],
    )
    return httpx2.AsyncClient(base_url=url, auth=auth, timeout=5)


async def bill(client: httpx2.AsyncClient | None, customer: str, order: NewOrder) -> int | None:
    """The number of the invoice. An order stands without one: billing may be away for a while."""
    if client is None:
        return None
    try:
        answer = await client.post("/invoices", json={"customer": customer, **order.model_dump()})
        answer.raise_for_status()
        return int(answer.json()["number"])
    except (httpx2.HTTPError, ServiceAuthError, ValueError, KeyError) as error:
        log.warning("no invoice: %s", error)
        return None


def make_docs(app: FastAPI) -> None:
    """Docs from this origin, if fastapi-swagger is installed; FastAPI's own load their scripts from a CDN."""
    try:
        from fastapi_swagger import patch_fastapi
    except ImportError:
        app.docs_url = "/docs"
        app.setup()
        return
    patch_fastapi(
        app,
        redirect_from_root_to_docs=False,
        init_oauth={"clientId": os.environ.get("ORDERS_DOCS_CLIENT_ID", "demo-spa")},
        swagger_ui_parameters={"validatorUrl": None, "persistAuthorization": False},
    )


def allow_pages(app: FastAPI, origins: list[str]) -> None:
    """Lets pages of these origins call from a browser. They bring a token, so no cookie is asked for."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type"],
        expose_headers=["WWW-Authenticate", "Retry-After"],
    )


def problems(error: RequestValidationError) -> list[dict[str, str]]:
    """What is wrong, without what was sent: FastAPI's own answer repeats it, and fails on values that JSON does not have."""
    return [
        {"field": next((str(part) for part in one["loc"] if part in NewOrder.model_fields), "body"), "problem": str(one["msg"])}
        for one in error.errors()
    ]


def create_app() -> FastAPI:
    """The orders API. Orders live in memory: this is about who may see them."""
    app = FastAPI(title="Orders", docs_url=None, redoc_url=None, swagger_ui_oauth2_redirect_url=None, lifespan=lifespan)
    app.include_router(auth.metadata_router(os.environ.get("ORDERS_URL", "http://127.0.0.1:8001")))
    allow_pages(app, os.environ.get("ORDERS_CORS_ORIGINS", "").split())
    placed: dict[str, list[Order]] = {}

    @app.get("/orders", summary="Your orders", response_model_exclude_none=True)
    async def list_orders(who: Reader) -> list[Order]:
        return placed.get(who.sub, [])

    @app.post("/orders", summary="Place an order", status_code=201, response_model_exclude_none=True)
    async def create_order(new: NewOrder, who: Writer) -> Order:
        invoice = await bill(getattr(app.state, "billing", None), who.sub, new)
        mine = placed.setdefault(who.sub, [])
        order = Order(id=len(mine) + 1, invoice=invoice, **new.model_dump())
        mine.append(order)
        return order

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": problems(error) if isinstance(error, RequestValidationError) else []}, 422)

    @app.get("/livez", summary="Does the process run?")
    async def live() -> dict[str, str]:
        return {"status": "live"}

    make_docs(app)
    return app


app = create_app()
