// oauth4webapi as a service: it checks a request as RFC 9068 says, `typ` included.
import * as oauth from "oauth4webapi";
import { given, validate } from "./given.mjs";

const options = { [oauth.allowInsecureRequests]: true }; // the issuer of a test has no certificate
const issuer = new URL(given.issuer);
const discovered = await oauth.discoveryRequest(issuer, options);
const server = await oauth.processDiscoveryResponse(issuer, discovered);

await validate(
  async (token) => {
    const request = new Request("https://api.example.com/orders", { headers: { Authorization: `Bearer ${token}` } });
    return (await oauth.validateJwtAccessToken(server, request, "orders", options)).sub;
  },
  (error) => error instanceof oauth.OperationProcessingError || error instanceof oauth.WWWAuthenticateChallengeError,
);
