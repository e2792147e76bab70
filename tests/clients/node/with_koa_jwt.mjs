// koa-jwt with jwks-rsa.
import { koaJwtSecret } from "jwks-rsa";
import Koa from "koa";
import jwt from "koa-jwt";
import { given, validateRequests } from "./given.mjs";

const app = new Koa();
const secret = koaJwtSecret({ jwksUri: `${given.issuer}/.well-known/jwks.json`, cache: true });
app.use(jwt({ secret, algorithms: ["ES256"], issuer: given.issuer, audience: "orders" }));
app.use((context) => {
  context.body = context.state.user.sub;
});
app.silent = true;
await validateRequests(app.callback());
