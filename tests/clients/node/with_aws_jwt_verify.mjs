// aws-jwt-verify: its `JwtVerifier`, for issuers of any maker. It fetches keys with https alone, so the program brings them.
import { JwtVerifier } from "aws-jwt-verify";
import { JwtBaseError } from "aws-jwt-verify/error";
import { given, validate } from "./given.mjs";

const verifier = JwtVerifier.create({
  issuer: given.issuer,
  audience: "orders",
  jwksUri: `${given.issuer}/.well-known/jwks.json`,
});
verifier.cacheJwks(await (await fetch(`${given.issuer}/.well-known/jwks.json`)).json());
await validate(
  async (token) => (await verifier.verify(token)).sub,
  (error) => error instanceof JwtBaseError,
);
