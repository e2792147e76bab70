"""What `authmint-service dev` prints when it is ready: one JSON document for programs, or how to use it for people."""

import json
from dataclasses import dataclass
from pathlib import Path

from authmint_service.development.first_run import Credentials


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """The addresses and the credentials of a development service."""

    issuer: str
    docs: str | None
    page: str | None
    page_client_id: str
    data_dir: Path
    credentials_file: Path
    credentials: Credentials

    def as_json(self) -> str:
        """Return one JSON document, in one line."""
        known = self.credentials
        page = {"client_id": self.page_client_id, "origin": self.page}
        document = {
            "issuer": self.issuer,
            "docs": self.docs,
            "page": self.page,
            "data_dir": str(self.data_dir),
            "credentials_file": str(self.credentials_file),
            "account": {"username": known.username, "password": known.password},
            "clients": {
                "spa": {"client_id": known.spa_client_id},
                "service": {"client_id": known.service_client_id, "client_secret": known.service_client_secret},
                "page": page if self.page else None,
            },
        }
        return json.dumps(document)

    def as_text(self) -> str:
        """Return the lines for a person."""
        known, token = self.credentials, f"{self.issuer.rstrip('/')}/token"
        return f"""
  The page        {self.page or "(none: it is on http, and a browser sends its cookie only to an issuer on http)"}
                  Sign in as {known.username!r}; the password is in the file below.
  Token service   {self.issuer}
                  Try it in {self.docs or "(AUTHMINT_DOCS is off)"}; authmint-service accounts list speaks to it.
  Credentials     {self.credentials_file}
                  The account {known.username!r}; the clients {known.spa_client_id!r} (public) and {known.service_client_id!r}.
  Data            {self.data_dir}

Sign in, then stay signed in; paste these into another terminal:

. '{self.credentials_file}' && TOKENS=$(curl -s {token} -d grant_type=password -d client_id="$DEMO_SPA_CLIENT_ID" \\
-d username="$DEMO_USERNAME" -d password="$DEMO_PASSWORD") && echo "$TOKENS"
curl -s {token} -d grant_type=refresh_token -d client_id="$DEMO_SPA_CLIENT_ID" \\
-d refresh_token="$(echo "$TOKENS" | sed 's/.*"refresh_token":"\\([^"]*\\)".*/\\1/')"

Running. Ctrl-C stops everything, PostgreSQL included.
"""
