// Types of the JavaScript client: what the API sends, by the OpenAPI document, and the parts of the client.

import type { components } from "./openapi.js";

type Schemas = components["schemas"];

/** The `error` of an error answer; more members depend on the code. */
export interface ErrorDetails {
  code: string;
  msg: string;
  fields?: FieldError[];
  attempts_left?: number;
  retry_after?: number;
  [member: string]: unknown;
}

export type FieldError = Schemas["FieldErrorResponse"];
export type User = Schemas["UserResponse"];
export type Me = Schemas["MeResponse"];
export type CodeSent = Schemas["CodeSentResponse"];
export type Session = Schemas["SessionResponse"];
export type LoginEvent = Schemas["EventResponse"];
export type Export = Schemas["ExportResponse"];
export type SecondFactorStatus = Schemas["SecondFactorStatusResponse"];
export type Passkey = Schemas["PasskeyResponse"];
export type PasskeySignal = Schemas["SignalResponse"];
export type AddedPasskey = Passkey & Pick<Schemas["RegisteredPasskeyResponse"], "signal" | "recovery_codes">;
export type NewTotp = Schemas["PendingTotpResponse"];
export type SecondFactorReset = Schemas["SecondFactorResetResponse"];
/** The tokens of an answer; with the transport `cookie` without the tokens themselves. */
export type Tokens = Schemas["TokensResponse"];

/** A known user signs in; a new one got a code. */
export type Begun = { next: "sign_in"; user: User } | ({ next: "confirm_email"; user: User } & CodeSent);

/** How a user authenticates again. */
export type Proof = ({ password: string } | { code: string }) & Partial<SecondFactorCode>;

/** A code of the second factor: from the authenticator app, or a recovery code. */
export type SecondFactorCode = { totp: string } | { recovery_code: string };

/** The second step of a sign-in; `ticket` is that of the error `second_factor_required`, absent with cookies. */
export type SecondStep = SecondFactorCode & { ticket?: string; trust_device?: boolean };

/** Where the transport `bearer` holds the tokens; by default in memory only. */
export interface TokenStorage {
  load(): Tokens | null | Promise<Tokens | null>;
  save(tokens: Tokens | null): void | Promise<void>;
}

export interface ClientOptions {
  /** Origin of the service; empty if the page has the same origin or a proxy. */
  baseUrl?: string;
  /** `cookie` (default): no script can read the tokens. `bearer`: the client holds them, for apps and servers. */
  transport?: "cookie" | "bearer";
  storage?: TokenStorage;
  /** Asks the user to authenticate again and calls `reauthenticate`; then the failed call is repeated. */
  onStepUp?: (error: import("./client.js").ApiError) => unknown;
  /** `Accept-Language` of the requests: the language of emails. Browsers send that of the user. */
  language?: string;
  /** Milliseconds until a request without an answer fails. */
  timeLimit?: number;
}

export interface PageOptions {
  limit?: number;
  cursor?: string | null;
}

export interface Page<T> {
  items: T[];
  nextCursor: string | null;
}

export interface RequestOptions {
  body?: unknown;
  query?: PageOptions | Record<string, string | number | boolean | null | undefined>;
  /** For example `Idempotency-Key`. */
  headers?: Record<string, string>;
}

export type Method = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

/** The JSON of an answer. */
export interface Answer {
  success: true;
  /** Depends on the request. */
  data?: any;
  result?: "Ok";
  next_cursor?: string | null;
}

export type Request = (method: Method, path: string, options?: RequestOptions) => Promise<Answer>;
export type Send = (method: Method, path: string, options?: RequestOptions & { token?: string | undefined }) => Promise<Answer>;

/** Sends a request with a JSON body; returns `data`. */
export type Call = (method: Method, path: string, body?: object) => Promise<any>;

/** What the functions of a flow use. */
export interface Context {
  transport: "cookie" | "bearer";
  /** Sends a request that needs no session. */
  send: Send;
  /** Sends a request of a signed-in user. */
  request: Request;
  /** The same two, for requests with a JSON body. */
  anon: Call;
  call: Call;
  refresh(): Promise<void>;
  end(path: string): Promise<void>;
  keep(tokens: Tokens | null): void | Promise<void>;
}

export interface Registration {
  /** Look an address up: `next` is `sign_in` for a known user, and `confirm_email` after a code was sent to a new one. */
  begin(email: string): Promise<Begun>;
  findUser(email: string): Promise<User>;
  signUp(email: string): Promise<User>;
  sendCode(id: number): Promise<CodeSent>;
  /** Send another code; the previous one becomes invalid. */
  resendCode(id: number): Promise<CodeSent>;
  /** `code` as the user typed or pasted it. */
  confirmEmail(id: number, code: string): Promise<void>;
  /** Finish the registration; without a password the user signs in by emailed codes. */
  finishSignUp(id: number, password?: string): Promise<User>;
}

export interface SignIn {
  signIn(email: string, password: string): Promise<void>;
  /** The answer is the same for every address. */
  sendSignInCode(email: string): Promise<void>;
  signInByCode(email: string, code: string): Promise<void>;
  /** The second step, after `signIn` or `signInByCode` has failed with `second_factor_required`. */
  completeSignIn(proof: SecondStep): Promise<void>;
  /**
   * For a user who has lost all second factors: email a code, or with `code` remove them at `effective_at`. `ticket` as for
   * the second step; none with cookies.
   */
  resetSecondFactor(body: { ticket?: string; code?: string }): Promise<SecondFactorReset>;
}

export interface Sessions {
  /** Refresh the tokens now; calls do it by themselves when it is necessary. */
  refresh(): Promise<void>;
  /** Also after the access token has expired; no error if the session has ended before. */
  signOut(): Promise<void>;
  /** Revoke all sessions of the user, this one too. */
  signOutEverywhere(): Promise<void>;
  listSessions(query?: PageOptions): Promise<Page<Session>>;
  revokeSession(id: string): Promise<void>;
  revokeOtherSessions(): Promise<void>;
}

export interface Passwords {
  /** The answer is the same for every address. */
  sendPasswordResetCode(email: string): Promise<void>;
  /** Revokes all sessions and opens none. */
  resetPassword(email: string, code: string, newPassword: string): Promise<void>;
  /** Revokes all other sessions. */
  changePassword(currentPassword: string, newPassword: string): Promise<void>;
}

export interface Account {
  me(): Promise<Me>;
  /** Authenticate again (step-up): a new session replaces this one. */
  reauthenticate(proof: Proof): Promise<void>;
  sendReauthenticationCode(): Promise<CodeSent>;
  /** Sends a code to the new address. `password` if the account has one. */
  changeEmail(email: string, password?: string): Promise<CodeSent>;
  confirmNewEmail(code: string): Promise<void>;
  /** The language of emails. */
  changeLanguage(language: "en" | "ru"): Promise<void>;
  listHistory(query?: PageOptions): Promise<Page<LoginEvent>>;
  exportData(): Promise<Export>;
  sendDeletionCode(): Promise<CodeSent>;
  /** The account cannot be restored. */
  deleteAccount(proof: Proof): Promise<void>;
  /** Redeem the token of the link in a security notification, after a click. */
  revertAccount(token: string): Promise<void>;
}

export interface SecondFactors {
  secondFactor(): Promise<SecondFactorStatus>;
  /** Needs a recent authentication. Show `qr_svg` and `secret`, then confirm with the first code of the app. */
  beginTotp(): Promise<NewTotp>;
  /** A new session replaces this one, and all others end. Returns the recovery codes, which are not shown again. */
  confirmTotp(totp: string): Promise<string[]>;
  disableTotp(): Promise<void>;
  /** The old codes become invalid. */
  replaceRecoveryCodes(): Promise<string[]>;
}

export interface Passkeys {
  /** `{ mediation: "conditional", signal }` for autofill: call it when the page opens. */
  signInWithPasskey(get?: { mediation?: "conditional"; signal?: AbortSignal }): Promise<void>;
  /** The second step, like `completeSignIn`. */
  completeSignInWithPasskey(ticket?: string): Promise<void>;
  /** Authenticate again (step-up): a new session replaces this one. */
  reauthenticateWithPasskey(): Promise<void>;
  /** `recovery_codes` only if a role required the passkey; they are not shown again. */
  addPasskey(name?: string): Promise<AddedPasskey>;
  listPasskeys(): Promise<Passkey[]>;
  renamePasskey(id: string, name: string): Promise<Passkey>;
  removePasskey(id: string): Promise<void>;
}

export interface Client extends Registration, SignIn, Sessions, Passwords, Account, SecondFactors, Passkeys {
  /** Any other request of a signed-in user, with a path such as `/roles`; returns the whole answer. */
  request: Request;
}
