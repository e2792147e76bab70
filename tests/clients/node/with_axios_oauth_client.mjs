// axios-oauth-client: sign-in and refresh, and tokens of the client's own, with the secret in the form.
import axios from "axios";
import { clientCredentials, ownerCredentials, refreshToken } from "axios-oauth-client";
import { given, report } from "./given.mjs";

const client = [axios.create(), `${given.issuer}/token`, given.client_id, given.client_secret];
const tokens = await ownerCredentials(...client)(given.username, given.password);
const refreshed = await refreshToken(...client)(tokens.refresh_token);
const own = await clientCredentials(...client)();
report({ sign_in: tokens.access_token, refresh: refreshed.access_token, client_credentials: own.access_token });
