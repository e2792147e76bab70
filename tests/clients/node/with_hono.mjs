// hono's `jwk` middleware: without `typ` it wants tokens of the type JWT.
import { Hono } from "hono";
import { jwk } from "hono/jwk";
import { given, validate } from "./given.mjs";

const app = new Hono();
app.use(
  jwk({
    jwks_uri: `${given.issuer}/.well-known/jwks.json`,
    alg: ["ES256"],
    verification: { iss: given.issuer, aud: "orders", typ: "at+jwt" },
  }),
);
app.get("/orders", (c) => c.text(c.get("jwtPayload").sub));
await validate(async (token) => {
  const response = await app.request("/orders", { headers: { Authorization: `Bearer ${token}` } });
  if (![200, 401].includes(response.status)) throw new Error(await response.text());
  return response.status === 200 ? response.text() : null;
});
