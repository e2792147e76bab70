// express-oauth2-jwt-bearer: `strict` makes it check the type and the claims of RFC 9068.
import express from "express";
import { auth } from "express-oauth2-jwt-bearer";
import { given, validateRequests } from "./given.mjs";

const app = express();
app.use(auth({ issuerBaseURL: given.issuer, audience: "orders", strict: true }));
app.get("/", (request, response) => response.send(request.auth.payload.sub));
app.use((error, request, response, next) => response.status(error.status ?? 500).send(error.message));
await validateRequests(app);
