// The six requests of the registration, sign-in, refresh and sign-out with the client of typescript-fetch.
import * as auth from "./client/index.js";

const [, , service, email] = process.argv;
if (service === undefined || email === undefined) throw new Error("usage: flow.js SERVICE EMAIL");
const password = "correct horse battery";
const configuration = (accessToken?: string): auth.Configuration =>
  new auth.Configuration({ basePath: `${service}/api`, ...(accessToken === undefined ? {} : { accessToken }) });
const registration = new auth.RegistrationApi(configuration());
const sessions = new auth.SessionsApi(configuration());

const steps: string[] = [];
const expect = (isExpected: boolean, step: string): void => {
  if (!isExpected) throw new Error(`unexpected: ${step}`);
  steps.push(step);
};

/** The body of the error with which a request ends. */
const errorOf = async <T>(request: Promise<unknown>, fromJson: (json: unknown) => T): Promise<T> => {
  try {
    await request;
  } catch (error) {
    if (error instanceof auth.ResponseError) return fromJson(await error.response.json());
    throw error;
  }
  throw new Error("no error");
};

const unknown = await errorOf(registration.lookUpUser({ email }), auth.UserUnknownResponseFromJSON);
expect(unknown.error.code === "user_unknown", "user_unknown");

const created = await registration.signUp({ signUpRequest: { email } });
expect(!created.data.verifiedMail, "sign_up");
const userId = created.data.id;

const sent = await registration.sendRegistrationCode({ userId, sendCodeRequest: { code: "7505" } });
expect(sent.result === "Ok" && sent.data.expiresIn > 0, "send_code");
const resent = await registration.resendRegistrationCode({ userId, sendCodeRequest: { code: "7506" } });
expect(resent.success, "resend_code");

const wrong = await errorOf(
  registration.confirmEmail({ userId, confirmEmailRequest: { code: "0000" } }),
  auth.ConfirmEmailNotFoundResponseFromJSON,
);
expect(wrong.error.code === "code_wrong" && wrong.error.attemptsLeft === 4, "code_wrong");
const confirmed = await registration.confirmEmail({ userId, confirmEmailRequest: { code: "7506" } });
expect(confirmed.result === "Ok", "confirm_email");
const finished = await registration.finishSignUp({ userId, finishRegistrationRequest: { password } });
expect(finished.data.verifiedMail, "finish_sign_up");

const rejected = await errorOf(
  sessions.signIn({ signInRequest: { email, password: "wrong" } }),
  auth.SignInUnauthenticatedResponseFromJSON,
);
expect(rejected.error.code === "credentials_rejected", "credentials_rejected");
const { data: tokens } = await sessions.signIn({ signInRequest: { email, password, transport: "bearer" } });
if (tokens.accessToken === undefined || tokens.refreshToken === undefined) throw new Error("no tokens");
expect(tokens.tokenType === "Bearer", "sign_in");
const me = await new auth.AccountApi(configuration(tokens.accessToken)).getMe();
expect(me.data.email === email && me.data.acr === "aal1", "get_me");

const refreshed = await sessions.refreshTokens({ refreshRequest: { refreshToken: tokens.refreshToken } });
const next = refreshed.data.accessToken;
expect(next !== undefined && next !== tokens.accessToken, "refresh_tokens");
const signedIn = configuration(next);
const listed = await new auth.SessionsApi(signedIn).listMySessions({ limit: 5 });
expect(listed.data[0]?.method === "password" && listed.nextCursor === null, "list_my_sessions");
const signedOut = await new auth.SessionsApi(signedIn).signOut({ signOutRequest: {} });
expect(signedOut.result === "Ok", "sign_out");
const after = await errorOf(new auth.AccountApi(signedIn).getMe(), auth.RestrictedUnauthenticatedResponseFromJSON);
expect(after.error.code === "token_invalid", "token_invalid");

console.log(JSON.stringify(steps));
