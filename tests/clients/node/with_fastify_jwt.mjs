// @fastify/jwt with get-jwks.
import Fastify from "fastify";
import jwt from "@fastify/jwt";
import buildGetJwks from "get-jwks";
import { given, validate } from "./given.mjs";

const app = Fastify();
const keys = buildGetJwks();
await app.register(jwt, {
  decode: { complete: true },
  secret: async (request, { header }) => {
    try {
      return await keys.getPublicKey({ kid: header.kid, alg: header.alg, domain: given.issuer });
    } catch (error) {
      if (error.code === "JWK_NOT_FOUND") error.statusCode = 401; // it would be a 500
      throw error;
    }
  },
  verify: { algorithms: ["ES256"], allowedIss: given.issuer, allowedAud: "orders", checkTyp: "at+jwt" },
});
app.get("/", { preValidation: (request) => request.jwtVerify() }, async (request) => request.user.sub);
await validate(async (token) => {
  const response = await app.inject({ url: "/", headers: { Authorization: `Bearer ${token}` } });
  if (![200, 401].includes(response.statusCode)) throw new Error(`${response.statusCode}: ${response.body}`);
  return response.statusCode === 200 ? response.body : null;
});
