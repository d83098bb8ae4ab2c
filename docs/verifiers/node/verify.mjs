// A Node service that lets in whoever is signed in at the portal, without asking the portal for each request.
//
//   npm ci
//   ISSUER=https://portal.example.org AUDIENCE=portal PORT=3000 npm start
//
// ISSUER is the `iss` of the tokens to the letter. Where that address cannot be reached from here, JWKS_URL names where the
// keys are: http://127.0.0.1:5000/.well-known/jwks.json, for instance. Copy everything above the line.

import { createServer } from "node:http";
import { createRemoteJWKSet, errors, jwtVerify } from "jose";

const issuer = process.env.ISSUER; // PUBLIC_URL of the authentication service
const audience = process.env.AUDIENCE; // its TOKEN_AUDIENCE
// Without these two, jose would not look at either claim.
if (!issuer || !audience) throw new Error("ISSUER and AUDIENCE have to be named");

// Keeps the published keys for five minutes, and looks for an unknown one at most every thirty seconds.
const keys = createRemoteJWKSet(new URL(process.env.JWKS_URL ?? `${issuer}/.well-known/jwks.json`), {
  cacheMaxAge: 300_000,
  cooldownDuration: 30_000,
  timeoutDuration: 3_000,
});

/** Whoever calls, by the Authorization header; null for a token that is not good. Throws where the keys cannot be had. */
export async function signedIn(authorization = "") {
  const [, token = ""] = /^Bearer +(\S+)$/i.exec(authorization) ?? [];
  try {
    const { payload } = await jwtVerify(token, keys, {
      algorithms: ["ES256"], // never the one that the token names
      issuer,
      audience,
      typ: "at+jwt", // the portal may sign other things with the same keys
      clockTolerance: 30,
      requiredClaims: ["sub", "sid", "iat", "exp", "roles"],
    });
    return { user: payload.sub, roles: payload.roles };
  } catch (error) {
    const away = !(error instanceof errors.JOSEError) || ["ERR_JWKS_TIMEOUT", "ERR_JOSE_GENERIC"].includes(error.code);
    if (away) throw error;
    return null;
  }
}

// --------------------------------------------------------------------------------------------------------------------

createServer(async (request, response) => {
  const say = (status, body, headers = {}) =>
    response.writeHead(status, { "Content-Type": "application/json", ...headers }).end(JSON.stringify(body));
  try {
    const person = await signedIn(request.headers.authorization);
    if (person) say(200, person);
    else say(401, { error: "sign in first" }, { "WWW-Authenticate": "Bearer" });
  } catch {
    say(503, { error: "the keys cannot be had right now" }, { "Retry-After": "1" });
  }
}).listen(Number(process.env.PORT ?? 3000), "127.0.0.1");
