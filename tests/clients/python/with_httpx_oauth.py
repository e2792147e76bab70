"""httpx-oauth: refresh and revocation. It signs in by authorization code alone."""

import asyncio

from given import given, report
from httpx_oauth.oauth2 import OAuth2


async def main() -> None:
    token_url = f"{given['issuer']}/token"
    client = OAuth2(
        given["client_id"], given["client_secret"], f"{given['issuer']}/authorize", token_url,
        refresh_token_endpoint=token_url, revoke_token_endpoint=f"{given['issuer']}/revoke",
        revocation_endpoint_auth_method="client_secret_basic",
    )  # fmt: skip
    refreshed = await client.refresh_token(given["refresh_token"])
    await client.revoke_token(refreshed["refresh_token"], "refresh_token")
    report(refresh=refreshed["access_token"], revocation=refreshed["refresh_token"])


asyncio.run(main())
