// oauth4webapi: everything, step by step; it validates access tokens of RFC 9068 too (with_oauth4webapi_validator.mjs).
import * as oauth from "oauth4webapi";
import { given, report } from "./given.mjs";

const options = { [oauth.allowInsecureRequests]: true }; // the issuer of a test has no certificate
const issuer = new URL(given.issuer);
const discovered = await oauth.discoveryRequest(issuer, options);
const server = await oauth.processDiscoveryResponse(issuer, discovered);
const client = { client_id: given.client_id };
const secret = oauth.ClientSecretBasic(given.client_secret);

const { username, password } = given;
const answer = await oauth.genericTokenEndpointRequest(server, client, secret, "password", { username, password }, options);
const tokens = await oauth.processGenericTokenEndpointResponse(server, client, answer);
const refreshed = await oauth.processRefreshTokenResponse(
  server,
  client,
  await oauth.refreshTokenGrantRequest(server, client, secret, tokens.refresh_token, options),
);
const own = await oauth.processClientCredentialsResponse(
  server,
  client,
  await oauth.clientCredentialsGrantRequest(server, client, secret, new URLSearchParams(), options),
);
const introspect = async () =>
  oauth.processIntrospectionResponse(
    server,
    client,
    await oauth.introspectionRequest(server, client, secret, refreshed.access_token, options),
  );
const active = await introspect();
await oauth.processRevocationResponse(await oauth.revocationRequest(server, client, secret, refreshed.refresh_token, options));
report({
  sign_in: tokens.access_token,
  refresh: refreshed.access_token,
  client_credentials: own.access_token,
  revocation: refreshed.refresh_token,
  introspection: [active, await introspect()],
});
