// jose: it checks `typ` when it is asked to.
import { createRemoteJWKSet, errors, jwtVerify } from "jose";
import { given, validate } from "./given.mjs";

const keys = createRemoteJWKSet(new URL(`${given.issuer}/.well-known/jwks.json`));
const options = { issuer: given.issuer, audience: "orders", typ: "at+jwt", algorithms: ["ES256"] };
await validate(
  async (token) => (await jwtVerify(token, keys, options)).payload.sub,
  (error) => error instanceof errors.JOSEError,
);
