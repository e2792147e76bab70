// token-introspection: it asks the issuer, with the secret as it is in a Basic header. The program checks the audience.
import TokenIntrospection from "token-introspection";
import { given, validate } from "./given.mjs";

const introspect = TokenIntrospection({
  endpoint: `${given.issuer}/introspect`,
  client_id: given.client_id,
  client_secret: given.client_secret,
});
await validate(
  async (token) => {
    const found = await introspect(token, "access_token");
    return [found.aud].flat().includes("orders") ? found.sub : null;
  },
  (error) => error.name === "TokenNotActiveError",
  "validation_by_introspection",
);
