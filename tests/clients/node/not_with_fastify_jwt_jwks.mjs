// fastify-jwt-jwks knows RS256 and EdDSA alone.
import Fastify from "fastify";
import plugin from "fastify-jwt-jwks";
import { given } from "./given.mjs";

const app = Fastify();
await app.register(plugin, { jwksUrl: `${given.issuer}/.well-known/jwks.json`, issuer: given.issuer, audience: "orders" });
app.get("/", { preValidation: app.authenticate }, async (request) => request.user.sub);
const headers = { Authorization: `Bearer ${given.tokens.person}` };
const response = await app.inject({ url: "/", headers });
if (response.statusCode !== 200) throw new Error(response.body);
