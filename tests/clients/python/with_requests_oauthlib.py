"""requests-oauthlib: sign-in, refresh, and tokens of the client's own. A refresh sends the secret with `auth=` alone."""

import os

from given import given, report
from oauthlib.oauth2 import BackendApplicationClient, LegacyApplicationClient
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # the issuer of a test has no certificate

token_url, secret = f"{given['issuer']}/token", given["client_secret"]
basic = HTTPBasicAuth(given["client_id"], secret)
person = OAuth2Session(client=LegacyApplicationClient(given["client_id"]))
tokens = person.fetch_token(token_url, username=given["username"], password=given["password"], client_secret=secret)
refreshed = person.refresh_token(token_url, refresh_token=tokens["refresh_token"], auth=basic)
own = OAuth2Session(client=BackendApplicationClient(given["client_id"])).fetch_token(token_url, client_secret=secret)
report(sign_in=tokens["access_token"], refresh=refreshed["access_token"], client_credentials=own["access_token"])
