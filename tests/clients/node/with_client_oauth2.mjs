// client-oauth2: sign-in and refresh, and tokens of the client's own. It sends the secret as it is in a Basic header.
import ClientOAuth2 from "client-oauth2";
import { given, report } from "./given.mjs";

const client = new ClientOAuth2({
  clientId: given.client_id,
  clientSecret: given.client_secret,
  accessTokenUri: `${given.issuer}/token`,
});
const tokens = await client.owner.getToken(given.username, given.password);
const refreshed = await tokens.refresh();
const own = await client.credentials.getToken();
report({ sign_in: tokens.accessToken, refresh: refreshed.accessToken, client_credentials: own.accessToken });
