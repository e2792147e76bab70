"""curl: everything, with `-u`, which does not encode the secret."""

import json
import subprocess
from typing import Any

from given import given, report


def post(path: str, **form: str) -> Any:
    fields = [argument for name, value in form.items() for argument in ("--data-urlencode", f"{name}={value}")]
    credentials = f"{given['client_id']}:{given['client_secret']}"
    command = ["curl", "--silent", "--show-error", "--fail", "-u", credentials, *fields, given["issuer"] + path]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


tokens = post("/token", grant_type="password", username=given["username"], password=given["password"])
refreshed = post("/token", grant_type="refresh_token", refresh_token=tokens["refresh_token"])
own = post("/token", grant_type="client_credentials")
active = post("/introspect", token=refreshed["access_token"])
post("/revoke", token=refreshed["refresh_token"])
inactive = post("/introspect", token=refreshed["access_token"])
report(
    sign_in=tokens["access_token"],
    refresh=refreshed["access_token"],
    client_credentials=own["access_token"],
    revocation=refreshed["refresh_token"],
    introspection=[active, inactive],
)
