"""httpx-auth: it adds a token to each request, and renews it."""

import httpx
from given import given, report
from httpx_auth import OAuth2ClientCredentials, OAuth2ResourceOwnerPasswordCredentials

client = (given["client_id"], given["client_secret"])
token_url = f"{given['issuer']}/token"


def sent_with(auth: httpx.Auth) -> str:
    """Return the token of a request to a service that does not exist."""
    transport = httpx.MockTransport(lambda request: httpx.Response(200, text=request.headers["Authorization"]))
    return httpx.Client(transport=transport, auth=auth).get("https://api.example.com/").text.removeprefix("Bearer ")


# Each of its tokens counts as expired at once, so the second request has one of a refresh.
person = OAuth2ResourceOwnerPasswordCredentials(
    token_url, given["username"], given["password"], client_auth=client, early_expiry=86400
)
report(
    sign_in=sent_with(person),
    refresh=sent_with(person),
    client_credentials=sent_with(OAuth2ClientCredentials(token_url, *client)),
)
