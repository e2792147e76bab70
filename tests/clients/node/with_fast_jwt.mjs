// fast-jwt with get-jwks.
import { createVerifier, TokenError } from "fast-jwt";
import buildGetJwks from "get-jwks";
import { given, validate } from "./given.mjs";

const keys = buildGetJwks();
const verify = createVerifier({
  key: async ({ header }) => keys.getPublicKey({ kid: header.kid, alg: header.alg, domain: given.issuer }),
  algorithms: ["ES256"],
  allowedIss: given.issuer,
  allowedAud: "orders",
  checkTyp: "at+jwt",
});
await validate(
  async (token) => (await verify(token)).sub,
  (error) => error instanceof TokenError,
);
