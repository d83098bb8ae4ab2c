// JavaScript client of the authentication service: registration, sign-in, second factors, sessions, account.
//
// An ES module without dependencies; see README.md and docs/api.md.

// @ts-check
/** @import * as Types from "./types.js" */

const API = "/api/v1";
const ME = "/users/me";
const SIGN_IN = "/users/sign_in";
const STEP = `${SIGN_IN}/second_step`;

/** Codes after which only a new sign-in helps. */
const SIGNED_OUT = new Set(["token_missing", "token_invalid", "refresh_rejected"]);
/** Codes that newer tokens help. */
const OUTDATED = new Set(["token_expired", "token_invalid", "insufficient_user_authentication"]);

/** An error answer of the service, or a request that got no answer. Compare `code`, which is stable. */
export class ApiError extends Error {
  /**
   * @param {number} status 0 without an answer
   * @param {Types.ErrorDetails} details
   * @param {{ requestId?: string | null, cause?: unknown }} [more]
   */
  constructor(status, details, { requestId = null, cause } = {}) {
    super(details.msg, { cause });
    this.name = "ApiError";
    this.status = status;
    /** Also `network_error`: no answer; `answer_unreadable`: not an answer of the service. */
    this.code = details.code;
    this.fields = details.fields ?? [];
    this.retryAfter = details.retry_after ?? null;
    this.details = details;
    this.requestId = requestId;
  }

  /** Whether the user has to sign in: there is no session, or it has ended. */
  get needsSignIn() {
    return SIGNED_OUT.has(this.code);
  }
}

/** Makes the function that sends a request, or throws ApiError. @param {Types.ClientOptions} options @returns {Types.Send} */
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
        credentials: "include", // for APIs of other origins, too
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

/** Tokens in memory: a reload ends the sign-in. With cookies, an object that changes with them. @returns {Types.TokenStorage} */
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
 * The session of a page: one refresh for all concurrent calls, and one repetition of a call that it helps. Without a lock
 * between tabs: for 30 seconds every tab gets the same successor of a refresh token.
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
      // After another sign-in or a sign-out these tokens are of a session that the user has left.
      if ((await version()) === before) await storage.save(data);
    } catch (error) {
      if (!(error instanceof ApiError) || error.code !== "refresh_rejected") throw error;
      if ((await version()) !== before) return; // Another tab, or a sign-in, has stored newer tokens.
      await storage.save(null);
      throw error;
    }
  }

  /** Concurrent calls share one refresh. */
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
    // Another call or tab has got newer tokens.
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

/** Create a client; one for each page shares refreshes. @param {Types.ClientOptions} [options] @returns {Types.Client} */
export function createClient(options = {}) {
  const { transport = "cookie", storage = inMemory(), onStepUp } = options;
  if (transport !== "cookie" && transport !== "bearer") throw new TypeError('transport: use "cookie" or "bearer"');
  const send = sender(options);
  const session = createSession(send, transport === "cookie" ? inMemory() : storage, onStepUp);
  const context = { transport, send, call: caller(session.request), anon: caller(send), ...session };
  return {
    request: session.request,
    ...registration(context),
    ...signIn(context),
    ...sessions(context),
    ...passwords(context),
    ...account(context),
    ...secondFactors(context),
    ...passkeys(context),
  };
}

// The flows, one request each; types.d.ts describes them.

/** @type {(send: Types.Send) => Types.Call} */
const caller = (send) => async (method, path, body) => (await send(method, path, { body })).data;

/** @param {Promise<Types.Answer>} answer */
const page = async (answer) => {
  const { data, next_cursor } = await answer;
  return { items: data, nextCursor: next_cursor ?? null };
};

/** @param {Types.Context} context @returns {Types.Registration} */
function registration({ send, anon }) {
  const findUser = async (/** @type {string} */ email) => (await send("GET", "/users", { query: { email } })).data;
  const signUp = (/** @type {string} */ email) => anon("POST", "/users/sign_up", { email });
  const sendCode = (/** @type {number} */ id) => anon("POST", `/users/${id}/send_code`, {});
  return {
    findUser,
    signUp,
    sendCode,
    resendCode: (id) => anon("POST", `/users/${id}/resend_code`, {}),
    confirmEmail: (id, code) => anon("PUT", `/users/${id}/mail`, { code }),
    finishSignUp: (id, password) => anon("PATCH", `/users/${id}/sign_up`, { password }),
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
function signIn({ transport, anon, keep }) {
  return {
    signIn: async (email, password) => keep(await anon("POST", SIGN_IN, { email, password, transport })),
    sendSignInCode: (email) => anon("POST", `${SIGN_IN}/send_code`, { email }),
    completeSignIn: async (proof) => keep(await anon("POST", STEP, { ...proof, transport })),
    resetSecondFactor: (body) => anon("POST", `${STEP}/reset`, body),
    signInByCode: async (email, code) => keep(await anon("POST", `${SIGN_IN}/code`, { email, code, transport })),
  };
}

/** @param {Types.Context} context @returns {Types.Sessions} */
function sessions({ request, call, refresh, end, keep }) {
  return {
    refresh,
    async signOut() {
      try {
        await end("/users/sign_out");
      } catch (error) {
        // The session had ended before.
        if (!(error instanceof ApiError) || error.status !== 401) throw error;
        await keep(null);
      }
    },
    signOutEverywhere: () => end("/users/sign_out/everywhere"),
    listSessions: (query = {}) => page(request("GET", `${ME}/sessions`, { query })),
    revokeSession: (id) => call("DELETE", `${ME}/sessions/${encodeURIComponent(id)}`),
    revokeOtherSessions: () => call("DELETE", `${ME}/sessions`),
  };
}

/** @param {Types.Context} context @returns {Types.Passwords} */
function passwords({ anon, call }) {
  return {
    sendPasswordResetCode: (email) => anon("POST", "/users/password/send_code", { email }),
    resetPassword: (email, code, new_password) => anon("PUT", "/users/password", { email, code, new_password }),
    changePassword: (current_password, new_password) => call("PUT", `${ME}/password`, { current_password, new_password }),
  };
}

/** @param {Types.Context} context @returns {Types.Account} */
function account({ anon, request, call, keep }) {
  return {
    me: () => call("GET", ME),
    reauthenticate: async (proof) => keep(await call("POST", `${ME}/reauthenticate`, proof)),
    sendReauthenticationCode: () => call("POST", `${ME}/reauthenticate/send_code`),
    changeEmail: (email, password) => call("POST", `${ME}/email`, { email, password }),
    confirmNewEmail: (code) => call("PUT", `${ME}/email`, { code }),
    changeLanguage: (language) => call("PATCH", ME, { language }),
    listHistory: (query = {}) => page(request("GET", `${ME}/login_history`, { query })),
    exportData: () => call("GET", `${ME}/export`),
    sendDeletionCode: () => call("POST", `${ME}/send_code`),
    async deleteAccount(proof) {
      await call("DELETE", ME, proof);
      await keep(null);
    },
    revertAccount: (token) => anon("POST", "/users/undo", { token }),
  };
}

/** @param {Types.Context} context @returns {Types.SecondFactors} */
function secondFactors({ call, keep }) {
  const path = `${ME}/second_factor`;
  return {
    secondFactor: () => call("GET", path),
    beginTotp: () => call("POST", `${path}/totp`),
    async confirmTotp(totp) {
      const { recovery_codes, ...tokens } = await call("PUT", `${path}/totp`, { totp });
      await keep(tokens);
      return recovery_codes;
    },
    disableTotp: () => call("DELETE", `${path}/totp`),
    replaceRecoveryCodes: async () => (await call("POST", `${path}/recovery_codes`)).recovery_codes,
  };
}

/** @param {Types.Context} context @returns {Types.Passkeys} */
function passkeys({ transport, anon, call, keep }) {
  const path = `${ME}/passkeys`;
  /** @type {(ask: Types.Call, path: string, begin?: object, end?: object, get?: object) => Promise<void>} */
  async function authenticate(ask, path, begin, end, get) {
    const { options, ticket } = await ask("POST", `${path}/options`, begin);
    const credential = toJson(await navigator.credentials.get({ publicKey: fromJson(options), ...get }));
    try {
      await keep(await ask("POST", path, { credential, ticket, ...end }));
    } catch (/** @type {any} */ error) {
      if (error.code === "credential_unknown") tell("UnknownCredential", options.rpId, { credentialId: credential.id });
      throw error;
    }
  }
  const tellAll = (/** @type {Types.PasskeySignal} */ { rp_id, user_handle: userId, credential_ids: allAcceptedCredentialIds }) =>
    tell("AllAcceptedCredentials", rp_id, { userId, allAcceptedCredentialIds });
  return {
    signInWithPasskey: (get) => authenticate(anon, `${SIGN_IN}/passkey`, undefined, { transport }, get),
    completeSignInWithPasskey: (ticket) => authenticate(anon, `${STEP}/passkey`, { ticket }),
    reauthenticateWithPasskey: () => authenticate(call, `${ME}/reauthenticate/passkey`),
    async addPasskey(name) {
      const { options, ticket } = await call("POST", `${path}/options`);
      const credential = toJson(await navigator.credentials.create({ publicKey: fromJson(options) }));
      const { access_token, token_type, expires_in, refresh_token, ...passkey } = await call("POST", path, { credential, ticket, name });
      if (token_type) await keep({ access_token, token_type, expires_in, refresh_token });
      tellAll(passkey.signal);
      return passkey;
    },
    listPasskeys: () => call("GET", path),
    renamePasskey: (id, name) => call("PATCH", `${path}/${id}`, { name }),
    removePasskey: async (id) => tellAll((await call("DELETE", `${path}/${id}`)).signal),
  };
}

/** Tell the passkey provider what changed, if the browser can. @type {(what: string, rpId: string, more: object) => void} */
const tell = (what, rpId, more) =>
  /** @type {any} */ (PublicKeyCredential)[`signal${what}`]?.({ rpId, ...more }).catch(() => {});

// The JSON forms of WebAuthn, for all browsers.

const fromJson = (/** @type {object} */ options) =>
  JSON.parse(JSON.stringify(options), function (name, value) {
    if (name !== "challenge" && !(name === "id" && (this.type || this.displayName))) return value;
    return Uint8Array.from(atob(value.replace(/-/g, "+").replace(/_/g, "/")), (each) => each.charCodeAt(0));
  });

const toJson = (/** @type {any} */ { id, type, response }) => {
  /** @type {any} */
  const json = { transports: response.getTransports?.() };
  for (const name in response) {
    if (!(response[name] instanceof ArrayBuffer)) continue;
    const text = btoa(String.fromCharCode(...new Uint8Array(response[name])));
    json[name] = text.replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
  }
  return { id, rawId: id, type, response: json };
};

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
