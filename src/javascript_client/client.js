// JavaScript client of the authentication service: registration, sign-in, refresh, sessions, account.
//
//   import { createClient } from "./client.js";
//   const auth = createClient({ baseUrl: "https://auth.example.org", transport: "cookie" });
//
// An ES module without dependencies, for browsers and Node. README.md shows its use, docs/api.md describes the requests.

// @ts-check
/** @import * as Types from "./types.js" */

const API = "/api/v1";
const ME = "/users/me";

/** Codes after which only a new sign-in helps. */
const SIGNED_OUT = new Set(["token_missing", "token_invalid", "refresh_rejected"]);
/** Codes of requests that succeed with newer tokens. */
const OUTDATED = new Set(["token_expired", "token_invalid", "insufficient_user_authentication"]);

/** An error answer of the service, or a request that got no answer. Compare `code`, which is stable. */
export class ApiError extends Error {
  /**
   * @param {number} status the HTTP status; 0 without an answer
   * @param {Types.ErrorDetails} details the `error` of the answer
   * @param {{ requestId?: string | null, cause?: unknown }} [more]
   */
  constructor(status, details, { requestId = null, cause } = {}) {
    super(details.msg, { cause });
    this.name = "ApiError";
    this.status = status;
    /** `network_error`: no answer. `answer_unreadable`: an answer of something else than the service. */
    this.code = details.code;
    /** For `validation_failed`: what is wrong with which field. */
    this.fields = details.fields ?? [];
    /** Seconds to wait before the next attempt, or null. */
    this.retryAfter = details.retry_after ?? null;
    /** All members of the error, such as `attempts_left` or `reason`. */
    this.details = details;
    /** Quote it in a problem report. */
    this.requestId = requestId;
  }

  /** Whether the user has to sign in: there is no session, or it has ended. */
  get needsSignIn() {
    return SIGNED_OUT.has(this.code);
  }
}

/**
 * The function that sends one request and returns the JSON of the answer, or throws ApiError.
 *
 * @param {Types.ClientOptions} options
 * @returns {Types.Send}
 */
function sender({ baseUrl = "", language, timeLimit = 30_000 }) {
  const base = baseUrl.replace(/\/+$/, "") + API;

  return async (method, path, { body, query, token, headers = {} } = {}) => {
    const parameters = Object.entries(query ?? {}).filter(([, value]) => value !== undefined && value !== null);
    const search = parameters.length ? `?${new URLSearchParams(parameters.map(([name, value]) => [name, `${value}`]))}` : "";
    /** @type {Response | undefined} */
    let response;
    let answer;
    try {
      response = await fetch(base + path + search, {
        method,
        credentials: "include", // Sends and stores cookies also for an API of another origin.
        signal: AbortSignal.timeout(timeLimit),
        headers: {
          ...headers,
          ...(language && { "Accept-Language": language }),
          ...(method !== "GET" && { "X-Requested-With": "auth-client" }), // for the CSRF check
          ...(body !== undefined && { "Content-Type": "application/json" }),
          ...(token && { Authorization: `Bearer ${token}` }),
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      });
      answer = await response.json();
    } catch (cause) {
      const [code, msg] =
        cause instanceof SyntaxError
          ? ["answer_unreadable", "The answer is not JSON; check baseUrl and the proxies in front of the service."]
          : ["network_error", "The service did not answer; try again. In a page, also check CORS_ORIGINS."];
      throw new ApiError(response?.status ?? 0, { code, msg, ...retryAfter(response) }, { cause });
    }
    if (answer?.success) return answer;
    const details = answer?.error ?? { code: "answer_unreadable", msg: "The answer is not of this service; check baseUrl." };
    throw new ApiError(response.status, details, { requestId: response.headers.get("X-Request-Id") });
  };
}

/** @param {Response | undefined} response */
function retryAfter(response) {
  const seconds = Number(response?.headers.get("Retry-After") ?? undefined);
  return Number.isFinite(seconds) ? { retry_after: seconds } : {};
}

/**
 * Tokens in memory: no other script finds them there, and a reload ends the sign-in. With the transport `cookie` the
 * browser has the tokens, and this object says that they changed.
 *
 * @returns {Types.TokenStorage}
 */
function inMemory() {
  /** @type {Types.Tokens | null} */
  let tokens = null;
  return {
    load: () => tokens,
    save: (next) => {
      tokens = next;
    },
  };
}

/**
 * The session of a page: one refresh for all concurrent calls, and one repetition of a call that it helps.
 *
 * There is no lock between tabs: for 30 seconds the service gives every tab the same successor of a refresh token.
 *
 * @param {Types.Send} send
 * @param {Types.TokenStorage} storage
 * @param {Types.ClientOptions["onStepUp"]} onStepUp
 */
function createSession(send, storage, onStepUp) {
  /** @type {Promise<void> | null} */
  let refreshing = null;
  /** @type {Promise<unknown> | null} */
  let steppingUp = null;

  /** Changes with the tokens. */
  async function version() {
    const tokens = await storage.load();
    return tokens?.access_token ?? tokens;
  }

  async function refreshBody() {
    const refresh_token = (await storage.load())?.refresh_token;
    return refresh_token && { refresh_token };
  }

  async function rotate() {
    const before = await version();
    try {
      const { data } = await send("POST", "/users/refresh_token", { body: await refreshBody() });
      // After a sign-in or sign-out in the meantime these tokens are of a session that the user has left.
      if ((await version()) === before) await storage.save(data);
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== "refresh_rejected") throw error;
      if ((await version()) !== before) return; // Another tab, or a sign-in, has stored newer tokens.
      await storage.save(null);
      throw error;
    }
  }

  /** Refresh the tokens; concurrent calls share one request. */
  function refresh() {
    refreshing ??= rotate().finally(() => {
      refreshing = null;
    });
    return refreshing;
  }

  /** @param {ApiError} error */
  function stepUp(error) {
    steppingUp ??= Promise.resolve(onStepUp?.(error)).finally(() => {
      steppingUp = null;
    });
    return steppingUp;
  }

  /** Make a failed call succeed the next time; false if nothing can. @param {ApiError} error @param {unknown} before */
  async function recover(error, before) {
    // Another call, or another tab, has got newer tokens in the meantime.
    if (OUTDATED.has(error.code) && (await version()) !== before) return true;
    if (error.code === "token_expired") await refresh();
    else if (error.code === "insufficient_user_authentication" && onStepUp) await stepUp(error);
    else return false;
    return true;
  }

  /** @type {Types.Request} */
  async function request(method, path, options) {
    const repeated = new Set();
    for (;;) {
      const before = await version();
      try {
        return await send(method, path, { ...options, token: (await storage.load())?.access_token });
      } catch (error) {
        // A request that got 401 was not carried out, so every method can be repeated; once for each reason.
        if (!(error instanceof ApiError) || repeated.has(error.code)) throw error;
        repeated.add(error.code);
        if (!(await recover(error, before))) throw error;
      }
    }
  }

  /** End the session with the refresh token, which outlives the access token. @param {string} path */
  async function end(path) {
    await refreshing?.catch(() => {});
    await send("POST", path, { body: await refreshBody() });
    await storage.save(null);
  }

  return { request, refresh, end, keep: (/** @type {Types.Tokens | null} */ tokens) => storage.save(tokens) };
}

/**
 * Create a client. Use one for each page: it shares refreshes between its calls.
 *
 * @param {Types.ClientOptions} [options]
 * @returns {Types.Client}
 */
export function createClient(options = {}) {
  const { transport = "cookie", storage = inMemory(), onStepUp } = options;
  if (transport !== "cookie" && transport !== "bearer") throw new TypeError('transport: use "cookie" or "bearer"');
  const send = sender(options);
  const session = createSession(send, transport === "cookie" ? inMemory() : storage, onStepUp);
  const context = { transport, send, ...session };
  return {
    request: session.request,
    ...registration(context),
    ...signIn(context),
    ...sessions(context),
    ...passwords(context),
    ...account(context),
    ...secondFactors(context),
  };
}

// The flows. Each function is one request; types.d.ts describes them.

/** @param {Promise<Types.Answer>} answer */
const data = async (answer) => (await answer).data;

/** @param {Promise<Types.Answer>} answer */
const done = async (answer) => void (await answer);

/** @param {Promise<Types.Answer>} answer */
const page = async (answer) => {
  const { data, next_cursor } = await answer;
  return { items: data, nextCursor: next_cursor ?? null };
};

/** @param {Types.Context} context @returns {Types.Registration} */
function registration({ send }) {
  const findUser = (/** @type {string} */ email) => data(send("GET", "/users", { query: { email } }));
  const signUp = (/** @type {string} */ email) => data(send("POST", "/users/sign_up", { body: { email } }));
  const sendCode = (/** @type {number} */ id) => data(send("POST", `/users/${id}/send_code`, { body: {} }));
  return {
    findUser,
    signUp,
    sendCode,
    resendCode: (id) => data(send("POST", `/users/${id}/resend_code`, { body: {} })),
    confirmEmail: (id, code) => done(send("PUT", `/users/${id}/mail`, { body: { code } })),
    finishSignUp: (id, password) => data(send("PATCH", `/users/${id}/sign_up`, { body: { password } })),
    async begin(email) {
      const user = await findUser(email).catch((error) => {
        if (error.code !== "user_unknown") throw error;
        return signUp(email);
      });
      if (user.verified_mail) return { next: "sign_in", user };
      return { next: "confirm_email", user, ...(await sendCode(user.id)) };
    },
  };
}

/** @param {Types.Context} context @returns {Types.SignIn} */
function signIn({ transport, send, keep }) {
  return {
    signIn: async (email, password) =>
      keep(await data(send("POST", "/users/sign_in", { body: { email, password, transport } }))),
    sendSignInCode: (email) => done(send("POST", "/users/sign_in/send_code", { body: { email } })),
    signInByCode: async (email, code) =>
      keep(await data(send("POST", "/users/sign_in/code", { body: { email, code, transport } }))),
    completeSignIn: async (proof) => keep(await data(send("POST", "/users/sign_in/second_step", { body: { ...proof, transport } }))),
  };
}

/** @param {Types.Context} context @returns {Types.Sessions} */
function sessions({ request, refresh, end, keep }) {
  return {
    refresh,
    async signOut() {
      try {
        await end("/users/sign_out");
      } catch (error) {
        // The session had ended before; the service has deleted the cookies.
        if (!(error instanceof ApiError) || error.status !== 401) throw error;
        await keep(null);
      }
    },
    signOutEverywhere: () => end("/users/sign_out/everywhere"),
    listSessions: (query = {}) => page(request("GET", `${ME}/sessions`, { query })),
    revokeSession: (id) => done(request("DELETE", `${ME}/sessions/${encodeURIComponent(id)}`)),
    revokeOtherSessions: () => done(request("DELETE", `${ME}/sessions`)),
  };
}

/** @param {Types.Context} context @returns {Types.Passwords} */
function passwords({ send, request }) {
  return {
    sendPasswordResetCode: (email) => done(send("POST", "/users/password/send_code", { body: { email } })),
    resetPassword: (email, code, new_password) => done(send("PUT", "/users/password", { body: { email, code, new_password } })),
    changePassword: (current_password, new_password) =>
      done(request("PUT", `${ME}/password`, { body: { current_password, new_password } })),
  };
}

/** @param {Types.Context} context @returns {Types.Account} */
function account({ send, request, keep }) {
  return {
    me: () => data(request("GET", ME)),
    reauthenticate: async (proof) => keep(await data(request("POST", `${ME}/reauthenticate`, { body: proof }))),
    sendReauthenticationCode: () => data(request("POST", `${ME}/reauthenticate/send_code`)),
    changeEmail: (email, password) => data(request("POST", `${ME}/email`, { body: { email, password } })),
    confirmNewEmail: (code) => done(request("PUT", `${ME}/email`, { body: { code } })),
    changeLanguage: (language) => done(request("PATCH", ME, { body: { language } })),
    listHistory: (query = {}) => page(request("GET", `${ME}/login_history`, { query })),
    exportData: () => data(request("GET", `${ME}/export`)),
    sendDeletionCode: () => data(request("POST", `${ME}/send_code`)),
    async deleteAccount(proof) {
      await request("DELETE", ME, { body: proof });
      await keep(null);
    },
    revertAccount: (token) => done(send("POST", "/users/undo", { body: { token } })),
  };
}

/** @param {Types.Context} context @returns {Types.SecondFactors} */
function secondFactors({ request, keep }) {
  const FACTOR = `${ME}/second_factor`;
  return {
    secondFactor: () => data(request("GET", FACTOR)),
    beginTotp: () => data(request("POST", `${FACTOR}/totp`)),
    async confirmTotp(totp) {
      const { recovery_codes, ...tokens } = await data(request("PUT", `${FACTOR}/totp`, { body: { totp } }));
      await keep(tokens);
      return recovery_codes;
    },
    disableTotp: () => done(request("DELETE", `${FACTOR}/totp`)),
    replaceRecoveryCodes: async () => (await data(request("POST", `${FACTOR}/recovery_codes`))).recovery_codes,
  };
}

/**
 * All items of a list, page by page: `for await (const event of allItems(auth.listHistory)) …`
 *
 * @template T
 * @param {(query: Types.PageOptions) => Promise<Types.Page<T>>} list
 */
export async function* allItems(list) {
  /** @type {string | null} */
  let cursor = null;
  do {
    /** @type {Types.Page<T>} */
    const { items, nextCursor } = await list({ limit: 50, cursor });
    yield* items;
    cursor = nextCursor;
  } while (cursor);
}
