// The six requests of the registration, sign-in, refresh and sign-out, with types from the OpenAPI document.
import createClient from "openapi-fetch";
import type { components, paths } from "./api.js";

type User = components["schemas"]["UserResponse"];

const [, , service, email] = process.argv;
if (service === undefined || email === undefined) throw new Error("usage: flow.js SERVICE EMAIL");
const password = "correct horse battery";
const api = createClient<paths>({ baseUrl: `${service}/api` });

const steps: string[] = [];
const expect = (isExpected: boolean, step: string): void => {
  if (!isExpected) throw new Error(`unexpected: ${step}`);
  steps.push(step);
};

const lookUp = await api.GET("/v1/users", { params: { query: { email } } });
expect(lookUp.error?.error.code === "user_unknown", "user_unknown");

const created = await api.POST("/v1/users/sign_up", { body: { email } });
if (!created.data) throw new Error(created.error.error.code);
const user: User = created.data.data;
expect(created.response.status === 201 && !user.verified_mail, "sign_up");
const path = { user_id: user.id };

const sent = await api.POST("/v1/users/{user_id}/send_code", { params: { path }, body: { code: "7505" } });
expect(sent.data !== undefined && sent.data.result === "Ok" && sent.data.data.expires_in > 0, "send_code");

const resent = await api.POST("/v1/users/{user_id}/resend_code", { params: { path }, body: { code: "7506" } });
expect(resent.data?.success === true, "resend_code");

const wrong = await api.PUT("/v1/users/{user_id}/mail", { params: { path }, body: { code: "0000" } });
const attempts = wrong.error !== undefined && "attempts_left" in wrong.error.error && wrong.error.error.attempts_left;
expect(wrong.error?.error.code === "code_wrong" && attempts === 4, "code_wrong");

const confirmed = await api.PUT("/v1/users/{user_id}/mail", { params: { path }, body: { code: "7506" } });
expect(confirmed.data?.result === "Ok", "confirm_email");

const finished = await api.PATCH("/v1/users/{user_id}/sign_up", { params: { path }, body: { password } });
expect(finished.data?.data.verified_mail === true, "finish_sign_up");

const rejected = await api.POST("/v1/users/sign_in", { body: { email, password: "wrong", transport: "bearer" } });
expect(rejected.error?.error.code === "credentials_rejected", "credentials_rejected");

const signedIn = await api.POST("/v1/users/sign_in", { body: { email, password, transport: "bearer" } });
const tokens = signedIn.data?.data;
if (tokens?.access_token === undefined || tokens.refresh_token === undefined) throw new Error("no tokens");
expect(tokens.token_type === "Bearer", "sign_in");

const bearer = (token: string) => ({ Authorization: `Bearer ${token}` });
const me = await api.GET("/v1/users/me", { headers: bearer(tokens.access_token) });
expect(me.data?.data.email === email && me.data.data.acr === "aal1", "get_me");

const refreshed = await api.POST("/v1/users/refresh_token", { body: { refresh_token: tokens.refresh_token } });
const next = refreshed.data?.data.access_token;
if (next === undefined) throw new Error("no tokens");
expect(next !== tokens.access_token, "refresh_tokens");

const sessions = await api.GET("/v1/users/me/sessions", { headers: bearer(next), params: { query: { limit: 5 } } });
expect(sessions.data?.data[0]?.method === "password" && sessions.data.next_cursor === null, "list_my_sessions");

const signedOut = await api.POST("/v1/users/sign_out", { headers: bearer(next), body: {} });
expect(signedOut.data?.result === "Ok", "sign_out");

const after = await api.GET("/v1/users/me", { headers: bearer(next) });
expect(after.error?.error.code === "token_invalid", "token_invalid");

console.log(JSON.stringify(steps));
