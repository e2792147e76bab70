"""List and place orders. Each route names the scope that it requires; Authmint verifies the tokens."""

import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Literal

import httpx2
from fastapi import FastAPI, Request, Response
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
    """An order to place."""

    model_config = ConfigDict(extra="forbid")

    item: str = Field(min_length=1, max_length=100, examples=["A pound of coffee"])
    quantity: int = Field(default=1, ge=1, le=1000)


class Order(NewOrder):
    """A placed order. `id` counts from 1 for each caller; `invoice` is there when billing has written one."""

    id: int
    invoice: int | None = None


class InvalidField(BaseModel):
    """One thing that is wrong with a request."""

    field: str
    problem: str


class InvalidRequest(BaseModel):
    """A request that is refused because of its content."""

    detail: list[InvalidField]


class Readiness(BaseModel):
    """Whether tokens can be verified, and what is in the way. `revocation_list_age` is seconds; null before the first list."""

    status: Literal["ready", "not_ready"]
    problems: list[str]
    revocation_list_age: float | None


class Liveness(BaseModel):
    """The process runs."""

    status: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    async with auth.lifespan(), AsyncExitStack() as stack:
        if url := os.environ.get("ORDERS_BILLING_URL"):
            app.state.billing = await stack.enter_async_context(billing_client(url))
        yield


def billing_client(url: str) -> httpx2.AsyncClient:
    """Return a client that calls billing in this service's own name. It gets and renews its tokens by itself."""
    auth = ServiceAuth(
        issuer=ISSUER,
        client_id=os.environ["ORDERS_CLIENT_ID"],
        client_secret=os.environ["ORDERS_CLIENT_SECRET"],
        audience="billing",
        scopes=["billing:write"],
    )
    return httpx2.AsyncClient(base_url=url, auth=auth, timeout=5)


async def bill(client: httpx2.AsyncClient | None, customer: str, order: NewOrder) -> int | None:
    """Return the number of the invoice, or None: an order is placed also while billing is unavailable."""
    if client is None:
        return None
    try:
        response = await client.post("/invoices", json={"customer": customer, **order.model_dump()})
        response.raise_for_status()
        return int(response.json()["number"])
    except (httpx2.HTTPError, ServiceAuthError, ValueError, KeyError) as error:
        log.warning("no invoice: %s", error)
        return None


def serve_docs(app: FastAPI) -> None:
    """Serve docs from this origin, if fastapi-swagger is installed; FastAPI's own load their scripts from a CDN."""
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
    """Allow pages of these origins to call from a browser. They send a token, so no cookies are allowed."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        # Tools for tracing add headers to each request of a page. Who may ask is decided by its origin.
        allow_headers=["*"],
        expose_headers=["WWW-Authenticate", "Retry-After"],
    )


async def respond_invalid(_: Request, error: Exception) -> JSONResponse:
    """Name what is wrong, without the values: FastAPI's own response repeats them, and fails on those that JSON cannot have."""
    errors = error.errors() if isinstance(error, RequestValidationError) else ()
    fields = [
        InvalidField(
            field=next((str(part) for part in one["loc"] if part in NewOrder.model_fields), "body"), problem=str(one["msg"])
        )
        for one in errors
    ]
    return JSONResponse(InvalidRequest(detail=fields).model_dump(), 422)


def create_app() -> FastAPI:
    """Return the orders API. Orders live in memory."""
    app = FastAPI(title="Orders", docs_url=None, redoc_url=None, swagger_ui_oauth2_redirect_url=None, lifespan=lifespan)
    app.include_router(auth.metadata_router(os.environ.get("ORDERS_URL", "http://127.0.0.1:8001")))
    auth.document(app)
    allow_pages(app, os.environ.get("ORDERS_CORS_ORIGINS", "").split())
    placed: dict[str, list[Order]] = {}

    @app.get("/orders", operation_id="listOrders", summary="List your orders", response_model_exclude_none=True)
    async def list_orders(caller: Reader) -> list[Order]:
        return placed.get(caller.sub, [])

    @app.post(
        "/orders",
        operation_id="createOrder",
        summary="Place an order",
        status_code=201,
        response_model_exclude_none=True,
        responses={422: {"model": InvalidRequest, "description": "The order is malformed."}},
    )
    async def create_order(new: NewOrder, caller: Writer) -> Order:
        invoice = await bill(getattr(app.state, "billing", None), caller.sub, new)
        mine = placed.setdefault(caller.sub, [])
        order = Order(id=len(mine) + 1, invoice=invoice, **new.model_dump())
        mine.append(order)
        return order

    @app.get(
        "/readyz",
        operation_id="getReadiness",
        summary="Check that tokens can be verified",
        responses={503: {"model": Readiness, "description": "Tokens cannot be verified now."}},
    )
    async def get_readiness(response: Response) -> Readiness:
        problems = auth.problems()
        response.status_code = 503 if problems else 200
        status: Literal["ready", "not_ready"] = "not_ready" if problems else "ready"
        return Readiness(status=status, problems=problems, revocation_list_age=auth.revocation_list_age)

    @app.get("/livez", operation_id="getLiveness", summary="Check that the process runs")
    async def get_liveness() -> Liveness:
        return Liveness(status="live")

    app.add_exception_handler(RequestValidationError, respond_invalid)
    serve_docs(app)
    return app


app = create_app()
