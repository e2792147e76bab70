// Verifies access tokens with `jose`, from the published keys alone: one JSON line with the subject of each.
// node verify.mjs <jwks_uri> <issuer> <audience> <unix time> <token>…
import { createRemoteJWKSet, jwtVerify } from "jose";

const [jwksUri, issuer, audience, now, ...tokens] = process.argv.slice(2);
const keys = createRemoteJWKSet(new URL(jwksUri));
const options = { issuer, audience, typ: "at+jwt", currentDate: new Date(Number(now) * 1000) };
const subjects = [];
for (const token of tokens) {
  const { payload } = await jwtVerify(token, keys, options);
  subjects.push(payload.sub);
}
console.log(JSON.stringify(subjects));
