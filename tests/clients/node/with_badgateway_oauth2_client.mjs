// @badgateway/oauth2-client: everything, from the metadata document.
import { OAuth2Client } from "@badgateway/oauth2-client";
import { given, report } from "./given.mjs";

const client = new OAuth2Client({
  server: given.issuer,
  clientId: given.client_id,
  clientSecret: given.client_secret,
});
const tokens = await client.password({ username: given.username, password: given.password });
const refreshed = await client.refreshToken(tokens);
const own = await client.clientCredentials();
const active = await client.introspect(refreshed);
await client.revoke(refreshed, "refresh_token");
const inactive = await client.introspect(refreshed);
report({
  sign_in: tokens.accessToken,
  refresh: refreshed.accessToken,
  client_credentials: own.accessToken,
  revocation: refreshed.refreshToken,
  introspection: [active, inactive],
});
