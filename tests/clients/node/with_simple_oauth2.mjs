// simple-oauth2: sign-in, refresh and revocation. It encodes the secret; `credentialsEncodingMode: "loose"` does not, and works as well.
import { ClientCredentials, ResourceOwnerPassword } from "simple-oauth2";
import { given, report } from "./given.mjs";

const config = {
  client: { id: given.client_id, secret: given.client_secret },
  auth: { tokenHost: given.issuer, tokenPath: "/token", revokePath: "/revoke" },
};
const { username, password } = given;
const tokens = await new ResourceOwnerPassword(config).getToken({ username, password });
const refreshed = await tokens.refresh();
await refreshed.revoke("refresh_token");
const loose = { ...config, options: { credentialsEncodingMode: "loose" } };
const own = await new ClientCredentials(loose).getToken({});
report({
  sign_in: tokens.token.access_token,
  refresh: refreshed.token.access_token,
  revocation: refreshed.token.refresh_token,
  client_credentials: own.token.access_token,
});
