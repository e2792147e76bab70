"""Client authentication (RFC 6749, section 2.3): HTTP Basic, form parameters, or a public client's `client_id` alone."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import field
from urllib.parse import unquote_plus

from starlette.requests import Request

from authmint.errors import InvalidClient, InvalidRequest
from authmint.values import value_type
from authmint_service.clients import Client, ClientCache, SecretUses
from authmint_service.endpoints.oauth.forms import read_form
from authmint_service.endpoints.requests import request_source
from authmint_service.events import Event, EventKind, FailureRecorder
from authmint_service.request_log import current_record
from authmint_service.request_source import Actor, RequestSource

MAX_CLIENT_ID_LENGTH = 100
BASIC_CHALLENGE, FORM_CHALLENGE = 'Basic realm="token", charset="UTF-8"', 'Form realm="token"'
UNKNOWN_CLIENT = Actor(kind="client", id="unknown")

_ASSERTION = frozenset({"client_assertion", "client_assertion_type"})
"""The parameters of a client that authenticates with a key (RFC 7521, section 4.2)."""


@value_type()
class Credentials:
    """What a client sent."""

    client_id: str
    readings: tuple[str, ...] = field(repr=False)
    """What its secret may be; empty when it sent its `client_id` alone.

    A header of HTTP Basic has two readings: RFC 6749, section 2.3.1, form-encodes the secret, and most clients do not.
    """


class ClientAuthentication:
    """Authenticates clients."""

    def __init__(self, clients: ClientCache, failures: FailureRecorder, uses: SecretUses) -> None:
        self._clients, self._failures, self._uses = clients, failures, uses

    async def authenticate(self, credentials: Credentials, source: RequestSource) -> Client:
        """Return the client. Raises InvalidClient, the same for an unknown client, a disabled one and a wrong secret."""
        client = await self._clients.find(credentials.client_id)
        try:
            return self._authenticated(client, credentials)
        except InvalidClient:
            # The id of an unknown client is a text that anyone may choose, so it is not recorded.
            actor = UNKNOWN_CLIENT if client is None else client.actor
            await self._failures.record(
                Event(kind=EventKind.CLIENT_REFUSED, actor=actor, source=source, client_id=actor.client_id)
            )
            raise

    def _authenticated(self, client: Client | None, credentials: Credentials) -> Client:
        """Return the client if these are its credentials. Raises InvalidClient."""
        if client is None or not client.enabled:
            raise InvalidClient
        if client.confidential:
            secret = client.find_secret(credentials.readings)
            if secret is None:
                raise InvalidClient
            self._uses.note(client.client_id, secret)
        elif credentials.readings:
            raise InvalidClient("This client is public and has no secret.")
        return client

    def is_current(self, client: Client) -> bool:
        """Return whether the change feed knows of no change since this client was authenticated."""
        return self._clients.is_current(client)

    async def authenticate_form(self, request: Request) -> tuple[Client, Mapping[str, str]]:
        """Return the client and the parameters of a form, and add the client to the log line. Raises an OAuthError."""
        parameters = await read_form(request)
        client = await self.authenticate(read_credentials(request, parameters), request_source(request))
        current_record().add(client_id=client.client_id)
        return client, parameters

    async def find(self, client_id: str) -> Client | None:
        """Return the client of this id, if there is one and it is enabled."""
        client = await self._clients.find(client_id)
        return client if client is not None and client.enabled else None

    async def is_enabled(self, client_id: str) -> bool:
        """Return whether there is such a client, and it is enabled."""
        return await self.find(client_id) is not None


def read_credentials(request: Request, parameters: Mapping[str, str]) -> Credentials:
    """Return the credentials of the header or of the form. Raises InvalidRequest for both at once, InvalidClient for none."""
    basic = _read_basic(request)
    client_id, secret = parameters.get("client_id"), parameters.get("client_secret")
    has_assertion = not _ASSERTION.isdisjoint(parameters)
    if (basic is not None) + (secret is not None) + has_assertion > 1:
        raise InvalidRequest("The client authenticates in two ways at once. Use one.")
    if has_assertion:
        # To ignore it would accept a client that sends its id beside it as one that has proved nothing.
        raise InvalidClient("This service accepts no client_assertion. Use a client secret.")
    if basic is None:
        if client_id is None:
            raise InvalidClient("The client_id is missing.")
        return _checked(Credentials(client_id, () if secret is None else (secret,)))
    if client_id is not None and client_id != basic.client_id:
        raise InvalidRequest("The client_id in the form differs from the one in the Authorization header.")
    return _checked(basic)


def challenge(request: Request) -> str:
    """Return the challenge that every 401 has (RFC 9110, section 15.5.2).

    For `Basic` a browser may open a dialog of its own over a page. So the request of a page that did not use it gets a scheme
    that no browser knows.
    """
    uses_basic = any(value.lower().startswith("basic") for value in request.headers.getlist("authorization"))
    return FORM_CHALLENGE if "origin" in request.headers and not uses_basic else BASIC_CHALLENGE


def _read_basic(request: Request) -> Credentials | None:
    headers = request.headers.getlist("authorization")
    if not headers:
        return None
    if len(headers) > 1:
        raise InvalidRequest("The request has more than one Authorization header.")
    scheme, _, encoded = headers[0].partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient("The Authorization header of this endpoint must be HTTP Basic.")
    try:
        text = _decode(base64.b64decode(encoded.strip(" ").encode("ascii"), validate=True))
        client_id, colon, secret = text.partition(":")
        # No id of a client has a character that the two readings differ in.
        client_id = unquote_plus(client_id, errors="strict")
    except (binascii.Error, ValueError) as error:
        raise InvalidClient("The Authorization header is malformed.") from error
    if not colon or not client_id:
        raise InvalidClient("The Authorization header is malformed.")
    # Swagger UI and others send a public client's id with an empty secret.
    return Credentials(client_id, (secret, _form_decoded(secret)) if secret else ())


def _decode(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        # As requests and other clients send it, which do not read the `charset` of the challenge (RFC 7617, section 2.1).
        return text.decode("latin-1")


def _form_decoded(text: str) -> str:
    try:
        return unquote_plus(text, errors="strict")
    except ValueError:
        # It was not encoded.
        return text


def _checked(credentials: Credentials) -> Credentials:
    # PostgreSQL stores no NUL, and no client has a longer id.
    if "\0" in credentials.client_id or len(credentials.client_id) > MAX_CLIENT_ID_LENGTH:
        raise InvalidClient
    return credentials
