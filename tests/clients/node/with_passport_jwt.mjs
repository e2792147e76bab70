// passport-jwt with jwks-rsa.
import express from "express";
import { passportJwtSecret } from "jwks-rsa";
import passport from "passport";
import { ExtractJwt, Strategy } from "passport-jwt";
import { given, validateRequests } from "./given.mjs";

const options = {
  jwtFromRequest: ExtractJwt.fromAuthHeaderAsBearerToken(),
  secretOrKeyProvider: passportJwtSecret({ jwksUri: `${given.issuer}/.well-known/jwks.json`, cache: true }),
  algorithms: ["ES256"],
  issuer: given.issuer,
  audience: "orders",
};
passport.use(new Strategy(options, (claims, done) => done(null, { id: claims.sub })));
const app = express();
app.get("/", passport.authenticate("jwt", { session: false }), (request, response) => response.send(request.user.id));
await validateRequests(app);
