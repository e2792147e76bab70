// jsonwebtoken with jwks-rsa, which fetches keys of each kind. It does not look at `typ`, so the program does.
import jwt from "jsonwebtoken";
import { JwksClient } from "jwks-rsa";
import { given, validate } from "./given.mjs";

const keys = new JwksClient({ jwksUri: `${given.issuer}/.well-known/jwks.json` });
const options = { algorithms: ["ES256"], issuer: given.issuer, audience: "orders", complete: true };
const findKey = ({ kid }, found) => keys.getSigningKey(kid, (error, key) => found(error, key?.getPublicKey()));
await validate(
  (token) =>
    new Promise((accept, refuse) => {
      jwt.verify(token, findKey, options, (error, found) => {
        if (error) refuse(error);
        else if (found.header.typ !== "at+jwt") refuse(new jwt.JsonWebTokenError("not an access token"));
        else accept(found.payload.sub);
      });
    }),
  (error) => error instanceof jwt.JsonWebTokenError,
);
