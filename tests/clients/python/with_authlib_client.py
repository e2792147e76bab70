"""Authlib's `OAuth2Session`: everything. It sends the secret as it is in a Basic header."""

import os

from authlib.integrations.requests_client import OAuth2Session
from given import given, report

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # the issuer of a test has no certificate

token_url, introspection_url = f"{given['issuer']}/token", f"{given['issuer']}/introspect"
session = OAuth2Session(given["client_id"], given["client_secret"])
tokens = session.fetch_token(token_url, username=given["username"], password=given["password"])
refreshed = session.refresh_token(token_url)
active = session.introspect_token(introspection_url, token=refreshed["access_token"], token_type_hint="access_token").json()
session.revoke_token(
    f"{given['issuer']}/revoke", token=refreshed["refresh_token"], token_type_hint="refresh_token"
).raise_for_status()
inactive = session.introspect_token(introspection_url, token=refreshed["access_token"]).json()
own = session.fetch_token(token_url, grant_type="client_credentials")
report(
    sign_in=tokens["access_token"],
    refresh=refreshed["access_token"],
    client_credentials=own["access_token"],
    revocation=refreshed["refresh_token"],
    introspection=[active, inactive],
)
