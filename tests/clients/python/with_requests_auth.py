"""requests-auth: the same as httpx-auth, for requests."""

import requests
from given import given, report
from requests_auth import OAuth2ClientCredentials, OAuth2ResourceOwnerPasswordCredentials

client = (given["client_id"], given["client_secret"])
token_url = f"{given['issuer']}/token"


def sent_with(auth: requests.auth.AuthBase) -> str:
    """Return the token of a request that is not sent."""
    prepared = requests.Request("GET", "https://api.example.com/", auth=auth).prepare()
    return prepared.headers["Authorization"].removeprefix("Bearer ")


# Each of its tokens counts as expired at once, so the second request has one of a refresh.
person = OAuth2ResourceOwnerPasswordCredentials(
    token_url, given["username"], given["password"], session_auth=client, early_expiry=86400
)
report(
    sign_in=sent_with(person),
    refresh=sent_with(person),
    client_credentials=sent_with(OAuth2ClientCredentials(token_url, *client)),
)
