"""requests_oauth2client: everything, from the metadata document."""

from given import given, report
from requests_oauth2client import OAuth2Client

client = OAuth2Client.from_discovery_endpoint(
    f"{given['issuer']}/.well-known/oauth-authorization-server",
    issuer=given["issuer"],
    client_id=given["client_id"],
    client_secret=given["client_secret"],
    testing=True,  # the issuer of a test has no certificate
)
tokens = client.resource_owner_password(given["username"], given["password"])
refreshed = client.refresh_token(tokens)
own = client.client_credentials()
active = client.introspect_token(refreshed.access_token)
assert client.revoke_refresh_token(refreshed)
inactive = client.introspect_token(refreshed.access_token)
report(
    sign_in=tokens.access_token,
    refresh=refreshed.access_token,
    client_credentials=own.access_token,
    revocation=refreshed.refresh_token,
    introspection=[active, inactive],
)
