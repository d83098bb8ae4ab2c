// JavaScript client against a running service, in Node. tests/clients/test_javascript_client.py runs this file; SERVICE is
// the address of the service, CLIENT the file of the client, EXPIRED a list of sessions whose access token has expired.

import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import { after, test } from "node:test";

const { SERVICE, CLIENT, EXPIRED } = process.env;
const { ApiError, allItems, createClient } = await import(CLIENT);
const expired = JSON.parse(EXPIRED);
const PASSWORD = "correct horse battery";
const closing = [];
after(() => closing.forEach((close) => close()));

const received = new Map();

/** The code of the next email to an address. */
async function code(email) {
  const known = received.get(email) ?? 0;
  for (let attempt = 0; attempt < 1200; attempt += 1) {
    const { data } = await (await fetch(`${SERVICE}/dev/inbox?to=${encodeURIComponent(email)}`)).json();
    const codes = data.map((message) => message.code).filter(Boolean);
    if (codes.length > known) {
      received.set(email, codes.length);
      return codes[0];
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`no email to ${email}`);
}

/** A storage that a test can look into, as two tabs or an app have one. */
function storage(tokens = null) {
  const self = { tokens, saves: 0 };
  self.load = async () => self.tokens;
  self.save = async (next) => {
    self.tokens = next;
    self.saves += 1;
  };
  return self;
}

const client = (options = {}) => createClient({ baseUrl: SERVICE, transport: "bearer", ...options });

/** Counts the requests to a path while an action runs. */
async function requests(path, action) {
  const plain = globalThis.fetch;
  let count = 0;
  globalThis.fetch = (url, options) => {
    if (new URL(url).pathname.endsWith(path)) count += 1;
    return plain(url, options);
  };
  try {
    await action();
  } finally {
    globalThis.fetch = plain;
  }
  return count;
}

/** The code of the error that an action throws. */
async function failure(action) {
  try {
    await action();
  } catch (error) {
    assert.ok(error instanceof ApiError, error);
    return error;
  }
  return assert.fail("no error");
}

/** A server with one answer to everything. */
async function server(respond) {
  const listening = createServer(respond);
  await new Promise((resolve) => listening.listen(0, "127.0.0.1", resolve));
  closing.push(() => listening.close());
  return `http://127.0.0.1:${listening.address().port}`;
}

async function registered(email, auth = client()) {
  const { next, user } = await auth.begin(email);
  assert.equal(next, "confirm_email");
  await auth.confirmEmail(user.id, await code(email));
  await auth.finishSignUp(user.id, PASSWORD);
  await auth.signIn(email, PASSWORD);
  return auth;
}

test("registration, sign-in and account of a user", async () => {
  const email = "grace.of.node@example.org";
  const auth = client({ language: "en" });
  const begun = await auth.begin(email);
  assert.deepEqual([begun.next, begun.user.email, begun.user.verified_mail], ["confirm_email", email, false]);
  assert.deepEqual([begun.expires_in, begun.resend_after], [600, 0]);
  assert.deepEqual(await auth.findUser(email), begun.user);
  assert.equal((await failure(() => auth.signUp(email))).code, "email_taken");
  const wrong = await failure(() => auth.confirmEmail(begun.user.id, "0000"));
  assert.deepEqual([wrong.status, wrong.code, typeof wrong.details.attempts_left], [404, "code_wrong", "number"]);
  assert.match(wrong.requestId, /^[0-9a-f]{32}$/);
  await auth.confirmEmail(begun.user.id, await code(email));
  const weak = await failure(() => auth.finishSignUp(begun.user.id, "password1"));
  assert.deepEqual([weak.code, weak.fields[0].field, weak.fields[0].reason], ["validation_failed", "password", "common"]);
  assert.equal((await auth.finishSignUp(begun.user.id, PASSWORD)).verified_mail, true);
  assert.deepEqual(await auth.begin(email), { next: "sign_in", user: await auth.findUser(email) });

  assert.equal((await failure(() => auth.me())).code, "token_missing");
  assert.equal((await failure(() => auth.signIn(email, "wrong password!"))).code, "credentials_rejected");
  await auth.signIn(email, PASSWORD);
  const me = await auth.me();
  assert.deepEqual([me.id, me.email, me.acr, me.amr], [begun.user.id, email, "aal1", ["pwd"]]);

  await auth.changeLanguage("ru");
  assert.equal((await auth.exportData()).profile.language, "ru");
  await auth.changeLanguage("en");
  await auth.changePassword(PASSWORD, `${PASSWORD} staple`);
  assert.equal((await auth.me()).id, me.id);

  const other = client();
  await other.signIn(email, `${PASSWORD} staple`);
  const { items, nextCursor } = await auth.listSessions();
  assert.deepEqual([items.length, nextCursor, items.filter((each) => each.current).length], [2, null, 1]);
  await auth.revokeSession(items.find((each) => !each.current).id);
  const revoked = await failure(() => other.me());
  assert.deepEqual([revoked.code, revoked.needsSignIn], ["token_invalid", true]);
  assert.equal((await failure(() => auth.revokeSession("no/id"))).code, "path_unknown");
  await other.signIn(email, `${PASSWORD} staple`);
  await auth.revokeOtherSessions();
  assert.equal((await failure(() => other.me())).needsSignIn, true);

  const kinds = [];
  for await (const event of allItems((query) => auth.listHistory({ ...query, limit: 2 }))) kinds.push(event.kind);
  assert.ok(kinds.length > 5, "several pages");
  assert.deepEqual([kinds.at(-1), new Set(kinds).has("password_changed")], ["registered", true]);

  assert.equal((await failure(() => auth.deleteAccount({ password: "wrong password!" }))).code, "password_wrong");
  await auth.deleteAccount({ password: `${PASSWORD} staple` });
  assert.equal((await failure(() => auth.me())).code, "token_missing");
  assert.equal((await failure(() => auth.findUser(email))).code, "user_unknown");
});

test("codes: sign-in, password reset, step-up, a new address, deletion", async () => {
  const email = "codes.of.node@example.org";
  const auth = await registered(email);
  await auth.signOut();

  await auth.sendSignInCode(email);
  await auth.signInByCode(email, await code(email));
  assert.deepEqual((await auth.me()).amr, ["email"]);

  await auth.sendPasswordResetCode(email);
  await auth.resetPassword(email, await code(email), `${PASSWORD} staple`);
  assert.equal((await failure(() => auth.me())).needsSignIn, true, "a password reset revokes all sessions");
  await auth.signIn(email, `${PASSWORD} staple`);

  const moved = "moved.of.node@example.org";
  assert.equal((await auth.changeEmail(moved, `${PASSWORD} staple`)).expires_in, 600);
  await auth.confirmNewEmail(await code(moved));
  assert.equal((await auth.me()).email, moved);

  const before = (await auth.me()).auth_time;
  assert.equal((await auth.sendReauthenticationCode()).expires_in, 600);
  await auth.reauthenticate({ code: await code(moved) });
  assert.ok((await auth.me()).auth_time >= before);
  assert.equal((await failure(() => auth.revertAccount("x".repeat(40)))).code, "undo_unknown");
  assert.equal((await auth.sendDeletionCode()).expires_in, 600);
  await auth.deleteAccount({ code: await code(moved) });
  assert.equal((await failure(() => auth.me())).code, "token_missing");
});

/** The TOTP code of a secret in base 32 (RFC 6238), some time steps from now. */
function totp(secret, steps = 0) {
  const bits = [...secret].map((letter) => "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(letter).toString(2).padStart(5, "0"));
  const key = Buffer.from(bits.join("").match(/.{8}/g).map((byte) => parseInt(byte, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(Date.now() / 30000) + steps));
  const digest = createHmac("sha1", key).update(counter).digest();
  const number = digest.readUInt32BE(digest.at(-1) & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}

test("a user enables TOTP, signs in in two steps and disables it", async () => {
  const email = "totp.of.node@example.org";
  const auth = await registered(email, client());
  const { secret, qr_svg } = await auth.beginTotp();
  assert.match(qr_svg, /^<svg/);
  const codes = await auth.confirmTotp(totp(secret));
  assert.equal((await auth.me()).acr, "aal2");

  const first = await failure(() => auth.signIn(email, PASSWORD));
  assert.equal(first.code, "second_factor_required");
  await auth.completeSignIn({ ticket: first.details.ticket, totp: totp(secret, 1) });
  const { ticket } = (await failure(() => auth.signIn(email, PASSWORD))).details;
  await auth.completeSignIn({ ticket, recovery_code: codes[0] });

  const lost = (await failure(() => auth.signIn(email, PASSWORD))).details;
  assert.equal((await auth.resetSecondFactor({ ticket: lost.ticket })).expires_in, 600);
  const reset = await auth.resetSecondFactor({ ticket: lost.ticket, code: await code(email) });
  assert.equal((await auth.secondFactor()).reset_due_at, reset.effective_at);

  assert.equal((await auth.secondFactor()).recovery_codes.left, 9);
  assert.equal((await auth.replaceRecoveryCodes()).length, 10);
  await auth.disableTotp();
  assert.equal((await auth.secondFactor()).totp.on, false);
});

test("all calls of a page share one refresh, and none is lost", async () => {
  const tokens = storage(expired.shift());
  const auth = client({ storage: tokens });
  let users;
  const refreshes = await requests("/refresh_token", async () => {
    users = await Promise.all(Array.from({ length: 50 }, () => auth.me()));
  });
  assert.deepEqual([refreshes, users.length, new Set(users.map((user) => user.id)).size], [1, 50, 1]);
  assert.equal(tokens.saves, 1);
});

test("a call that failed with the old token uses the tokens of the finished refresh", async () => {
  const tokens = storage(expired.shift());
  const auth = client({ storage: tokens });
  const plain = globalThis.fetch;
  let late;
  // The answer to the first call arrives after the second call has refreshed.
  globalThis.fetch = async (url, options) => {
    const response = await plain(url, options);
    if (!late && url.endsWith("/login_history")) await new Promise((resolve) => (late = resolve));
    return response;
  };
  const refreshes = await requests("/refresh_token", async () => {
    const slow = auth.listHistory();
    await auth.me();
    late();
    assert.ok((await slow).items.length > 0);
  });
  globalThis.fetch = plain;
  assert.equal(refreshes, 1);
});

test("two tabs with one storage refresh at the same time and stay signed in", async () => {
  const tokens = storage(expired.shift());
  const tabs = [client({ storage: tokens }), client({ storage: tokens })];
  const refreshes = await requests("/refresh_token", () =>
    Promise.all(tabs.flatMap((tab) => Array.from({ length: 20 }, () => tab.me()))),
  );
  assert.ok(refreshes <= 2, `${refreshes} refreshes`);
  await tabs[0].refresh();
  await tabs[1].refresh();
  assert.equal((await tabs[1].me()).id, (await tabs[0].me()).id);
});

test("a tab whose refresh is rejected continues with the tokens of another tab", async () => {
  const tokens = storage(expired.shift());
  const plain = globalThis.fetch;
  globalThis.fetch = async (url, options) => {
    if (!url.endsWith("/refresh_token")) return plain(url, options);
    const { refresh_token } = JSON.parse(options.body);
    const body = JSON.stringify({ refresh_token: `${refresh_token.slice(0, -8)}AAAAAAAA` });
    const response = await plain(url, { ...options, body });
    globalThis.fetch = plain;
    await client({ storage: tokens }).refresh(); // the other tab
    return response;
  };
  assert.ok((await client({ storage: tokens }).me()).id);
});

test("sign-out works after the access token has expired", async () => {
  const session = expired.shift();
  const tokens = storage(session);
  const auth = client({ storage: tokens });
  assert.equal(await requests("/refresh_token", () => auth.signOut()), 0, "the refresh token is sufficient");
  assert.equal(tokens.tokens, null);
  const again = client({ storage: storage(session) });
  const error = await failure(() => again.me());
  assert.deepEqual([error.code, error.needsSignIn], ["refresh_rejected", true]);
  await again.signOut();
  await client({ storage: storage(session) }).signOut();
  const everywhere = client({ storage: storage(session) });
  assert.equal((await failure(() => everywhere.signOutEverywhere())).code, "refresh_rejected");
});

test("sign-out on all devices", async () => {
  const email = "everywhere.of.node@example.org";
  const [first, second] = [await registered(email), client()];
  await second.signIn(email, PASSWORD);
  await second.signOutEverywhere();
  assert.equal((await failure(() => first.me())).needsSignIn, true);
  assert.equal((await failure(() => second.me())).code, "token_missing");
});

test("a sign-out during a refresh is not undone by the refresh", async () => {
  const tokens = storage(expired.shift());
  const auth = client({ storage: tokens });
  const refreshing = auth.refresh();
  await auth.signOut();
  await refreshing;
  assert.equal(tokens.tokens, null);
  assert.equal((await failure(() => auth.me())).code, "token_missing");
});

test("a sign-in during a refresh is not undone by the refresh", async () => {
  const tokens = storage(expired.shift());
  const auth = client({ storage: tokens });
  const email = "switch.of.node@example.org";
  await registered(email);
  const refreshing = auth.refresh();
  const other = { access_token: "other", refresh_token: "other" };
  tokens.tokens = other;
  await refreshing;
  assert.equal(tokens.tokens, other);
});

test("step-up: the page asks once, then every call is repeated once", async () => {
  const body = { code: "insufficient_user_authentication", msg: "", acr_values: "aal1", max_age: 600, methods: ["password"] };
  const plain = globalThis.fetch;
  const asked = [];
  const auth = await registered("stepup.of.node@example.org", client({
    onStepUp: async (error) => {
      asked.push(error.details.methods);
      await auth.reauthenticate({ password: PASSWORD });
    },
  }));
  // Roles need a permission first, so the service cannot show this error to a portal user: it is inserted here.
  const answered = new Set();
  globalThis.fetch = async (url, options) => {
    const { pathname, search } = new URL(url);
    if (!pathname.endsWith("/me") || answered.has(options.headers.Authorization)) return plain(url, options);
    answered.add(asked.length ? options.headers.Authorization : "");
    if (asked.length) return plain(url, options);
    return Response.json({ success: false, result: null, error: body }, { status: 401 });
  };
  const users = await Promise.all([auth.me(), auth.me(), auth.me()]);
  globalThis.fetch = plain;
  assert.deepEqual([users.length, asked], [3, [["password"]]]);

  const without = client();
  await without.signIn("stepup.of.node@example.org", PASSWORD);
  globalThis.fetch = async () => Response.json({ success: false, result: null, error: body }, { status: 401 });
  const error = await failure(() => without.me());
  globalThis.fetch = plain;
  assert.deepEqual([error.code, error.details.max_age, error.needsSignIn], [body.code, 600, false]);
});

test("an error that a repetition does not help is thrown after one repetition", async () => {
  const base = await server((request, response) => {
    response.writeHead(request.url.endsWith("refresh_token") ? 200 : 401, { "Content-Type": "application/json" });
    response.end(
      request.url.endsWith("refresh_token")
        ? JSON.stringify({ success: true, data: { access_token: `${Math.random()}`, refresh_token: "b", expires_in: 1 } })
        : JSON.stringify({ success: false, result: null, error: { code: "token_expired", msg: "" } }),
    );
  });
  const auth = client({ baseUrl: base, storage: storage({ access_token: "a", refresh_token: "b" }) });
  let error;
  assert.equal(await requests("/me", async () => (error = await failure(() => auth.me()))), 2);
  assert.equal(error.code, "token_expired");
});

test("a service that is unavailable does not end the session", async () => {
  const tokens = storage({ access_token: "a", refresh_token: "b" });
  const base = await server((request, response) => {
    const [status, code] = request.url.endsWith("refresh_token") ? [503, "database_away"] : [401, "token_expired"];
    response.writeHead(status, { "Content-Type": "application/json" });
    response.end(JSON.stringify({ success: false, result: null, error: { code, msg: "", retry_after: 7 } }));
  });
  const auth = client({ baseUrl: base, storage: tokens });
  const error = await failure(() => auth.me());
  assert.deepEqual([error.status, error.code, error.retryAfter, error.needsSignIn], [503, "database_away", 7, false]);
  assert.equal((await failure(() => auth.signOut().then(() => client({ baseUrl: base }).refresh()))).status, 503);
});

test("answers of something else, and no answer", async () => {
  const html = await server((request, response) => {
    response.writeHead(502, { "Content-Type": "text/html", "Retry-After": "5" }).end("<h1>Bad gateway</h1>");
  });
  const bad = await failure(() => client({ baseUrl: html }).findUser("a@example.org"));
  assert.deepEqual([bad.status, bad.code, bad.retryAfter], [502, "answer_unreadable", 5]);
  const json = await server((request, response) => response.end('"hello"'));
  assert.equal((await failure(() => client({ baseUrl: json }).findUser("a@example.org"))).code, "answer_unreadable");
  const nothing = await failure(() => client({ baseUrl: "http://127.0.0.1:9" }).findUser("a@example.org"));
  assert.deepEqual([nothing.status, nothing.code, nothing.retryAfter], [0, "network_error", null]);
  assert.ok(nothing.cause);
  const silent = await server(() => {});
  const began = Date.now();
  const late = await failure(() => client({ baseUrl: silent, timeLimit: 200 }).findUser("a@example.org"));
  assert.deepEqual([late.code, Date.now() - began < 5000], ["network_error", true]);
});

test("other requests, and the choice of the transport", async () => {
  const auth = await registered("other.of.node@example.org");
  const error = await failure(() => auth.request("POST", "/roles", { body: {}, headers: { "Idempotency-Key": "0123456789abcdef" } }));
  assert.equal(error.code, "permission_missing");
  const answer = await auth.request("GET", "/users/me/login_history", { query: { limit: 1, cursor: null } });
  assert.deepEqual([answer.success, answer.data.length, typeof answer.next_cursor], [true, 1, "string"]);
  assert.throws(() => createClient({ transport: "cookies" }), /transport/);
  assert.equal((await failure(() => createClient({ baseUrl: `${SERVICE}/` }).me())).code, "token_missing");
});
