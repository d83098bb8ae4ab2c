// Verifies access tokens (JWT) in a Node service, locally, without a request to the portal for each token.
//
//   npm ci
//   ISSUER=https://portal.example.org AUDIENCE=portal PORT=3000 npm start
//
// ISSUER is exactly the `iss` of the tokens. If that address cannot be reached from here, set JWKS_URL to the address of the
// keys, for example http://127.0.0.1:5000/.well-known/jwks.json. Copy everything above the line.

import { createServer } from "node:http";
import { createRemoteJWKSet, errors, jwtVerify } from "jose";

const issuer = process.env.ISSUER; // PUBLIC_URL of the authentication service
const audience = process.env.AUDIENCE; // its TOKEN_AUDIENCE
// Without these two, jose would not check the claims.
if (!issuer || !audience) throw new Error("Set ISSUER and AUDIENCE");

// Caches the keys for five minutes; fetches them again for an unknown `kid`, at most every thirty seconds.
const keys = createRemoteJWKSet(new URL(process.env.JWKS_URL ?? `${issuer}/.well-known/jwks.json`), {
  cacheMaxAge: 300_000,
  cooldownDuration: 30_000,
  timeoutDuration: 3_000,
});

/** The current user by the Authorization header; null for an invalid token. Throws if the keys cannot be fetched. */
export async function signedIn(authorization = "") {
  const [, token = ""] = /^Bearer +(\S+)$/i.exec(authorization) ?? [];
  try {
    const { payload } = await jwtVerify(token, keys, {
      algorithms: ["ES256"], // never the algorithm that the token names (RFC 8725, 3.1)
      issuer,
      audience,
      typ: "at+jwt", // the same keys may sign other kinds of tokens (RFC 8725, 3.11)
      clockTolerance: 30,
      requiredClaims: ["sub", "sid", "iat", "exp", "roles"],
    });
    return { user: payload.sub, roles: payload.roles };
  } catch (error) {
    const unavailable = !(error instanceof errors.JOSEError) || ["ERR_JWKS_TIMEOUT", "ERR_JOSE_GENERIC"].includes(error.code);
    if (unavailable) throw error;
    return null;
  }
}

// --------------------------------------------------------------------------------------------------------------------

createServer(async (request, response) => {
  const answer = (status, body, headers = {}) =>
    response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(JSON.stringify(body));
  try {
    const user = await signedIn(request.headers.authorization);
    if (user) answer(200, user);
    else answer(401, { error: "sign in first" }, { "WWW-Authenticate": "Bearer" });
  } catch {
    answer(503, { error: "the keys of the portal cannot be fetched; try again" }, { "Retry-After": "1" });
  }
}).listen(Number(process.env.PORT ?? 3000), "127.0.0.1");
