// express-jwt with jwks-rsa.
import express from "express";
import { expressjwt } from "express-jwt";
import { expressJwtSecret } from "jwks-rsa";
import { given, validateRequests } from "./given.mjs";

const app = express();
const secret = expressJwtSecret({ jwksUri: `${given.issuer}/.well-known/jwks.json`, cache: true });
app.use(expressjwt({ secret, algorithms: ["ES256"], issuer: given.issuer, audience: "orders" }));
app.get("/", (request, response) => response.send(request.auth.sub));
app.use((error, request, response, next) => response.status(error.status ?? 500).send(error.message));
await validateRequests(app);
