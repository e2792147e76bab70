// An issuer of another maker: node-oidc-provider, with access tokens of RFC 9068 for one resource. It ends with its standard input.
import { generateKeyPairSync } from "node:crypto";
import { createServer } from "node:http";
import Provider from "oidc-provider";

const RESOURCE = "https://orders.example";
const audience = {
  audience: "orders",
  scope: "orders:read",
  accessTokenTTL: 300,
  accessTokenFormat: "jwt",
  jwt: { sign: { alg: "ES256" } },
};
const key = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ format: "jwk" });
const server = createServer();
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const issuer = `http://127.0.0.1:${server.address().port}`;
const provider = new Provider(issuer, {
  clients: [
    {
      client_id: "robot",
      client_secret: process.env.ROBOT_SECRET,
      grant_types: ["client_credentials"],
      redirect_uris: [],
      response_types: [],
    },
    { client_id: "page", token_endpoint_auth_method: "none", redirect_uris: ["https://page.example/"] },
  ],
  clientDefaults: { id_token_signed_response_alg: "ES256" },
  features: {
    clientCredentials: { enabled: true },
    devInteractions: { enabled: false },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => RESOURCE,
      getResourceServerInfo: () => audience,
      useGrantedResource: () => true,
    },
  },
  jwks: { keys: [{ ...key, kid: "1", alg: "ES256", use: "sig" }] },
  scopes: ["openid", "orders:read"],
});
server.on("request", provider.callback());

// The token of a person, as its token endpoint makes it at the end of a code flow.
const token = new provider.AccessToken({
  accountId: "person",
  client: await provider.Client.find("page"),
  gty: "authorization_code",
  scope: "orders:read",
});
token.resourceServer = new provider.ResourceServer(RESOURCE, audience);
console.log(JSON.stringify({ issuer, person: await token.save() }));
process.stdin.resume().on("end", () => process.exit());
