// openid-client: everything, from the metadata document.
import * as client from "openid-client";
import { given, report } from "./given.mjs";

const config = await client.discovery(
  new URL(given.issuer),
  given.client_id,
  undefined,
  client.ClientSecretBasic(given.client_secret),
  { execute: [client.allowInsecureRequests] }, // the issuer of a test has no certificate
);
const { username, password } = given;
const tokens = await client.genericGrantRequest(config, "password", { username, password });
const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token);
const own = await client.clientCredentialsGrant(config);
const active = await client.tokenIntrospection(config, refreshed.access_token);
await client.tokenRevocation(config, refreshed.refresh_token);
const inactive = await client.tokenIntrospection(config, refreshed.access_token);
report({
  sign_in: tokens.access_token,
  refresh: refreshed.access_token,
  client_credentials: own.access_token,
  revocation: refreshed.refresh_token,
  introspection: [active, inactive],
});
