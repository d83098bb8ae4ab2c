// The six requests of the registration, sign-in, refresh and sign-out with the Go client of OpenAPI Generator.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"example.org/flow/auth"
)

const password = "correct horse battery"

var steps []string

// expect ends the program if a step had another result.
func expect(isExpected bool, step string, details ...any) {
	if !isExpected {
		fmt.Fprintln(os.Stderr, append([]any{"unexpected:", step}, details...)...)
		os.Exit(1)
	}
	steps = append(steps, step)
}

// errorOf returns the model of an error answer.
func errorOf[T any](err error) T {
	var answer *auth.GenericOpenAPIError
	if !errors.As(err, &answer) {
		panic(fmt.Sprintf("no error answer: %v", err))
	}
	model, isExpected := answer.Model().(T)
	if !isExpected {
		panic(fmt.Sprintf("another error: %T: %s", answer.Model(), answer.Body()))
	}
	return model
}

// bearer returns a context with an access token.
func bearer(token string) context.Context {
	return context.WithValue(context.Background(), auth.ContextAccessToken, token)
}

func main() {
	service, email := os.Args[1], os.Args[2]
	configuration := auth.NewConfiguration()
	configuration.Servers = auth.ServerConfigurations{{URL: service + "/api"}}
	client := auth.NewAPIClient(configuration)
	register(client, email)
	signInAndOut(client, email)
	printed, _ := json.Marshal(steps)
	fmt.Println(string(printed))
}

func register(client *auth.APIClient, email string) {
	anonymous, api := context.Background(), client.RegistrationAPI

	_, _, err := api.LookUpUser(anonymous).Email(email).Execute()
	expect(errorOf[auth.UserUnknownResponse](err).Error.Code == "user_unknown", "user_unknown")

	created, _, err := api.SignUp(anonymous).SignUpRequest(*auth.NewSignUpRequest(email)).Execute()
	expect(err == nil && !created.Data.VerifiedMail, "sign_up", err)
	userID := created.Data.Id

	code := auth.NewSendCodeRequest()
	code.SetCode("7505")
	sent, _, err := api.SendRegistrationCode(anonymous, userID).SendCodeRequest(*code).Execute()
	expect(err == nil && sent.Data.ExpiresIn > 0, "send_code", err)
	code.SetCode("7506")
	resent, _, err := api.ResendRegistrationCode(anonymous, userID).SendCodeRequest(*code).Execute()
	expect(err == nil && resent.Success, "resend_code", err)

	_, _, err = api.ConfirmEmail(anonymous, userID).ConfirmEmailRequest(*auth.NewConfirmEmailRequest("0000")).Execute()
	wrong := errorOf[auth.ConfirmEmailNotFoundResponse](err).Error
	expect(wrong.Code == "code_wrong" && wrong.GetAttemptsLeft() == 4, "code_wrong")
	confirmed, _, err := api.ConfirmEmail(anonymous, userID).ConfirmEmailRequest(*auth.NewConfirmEmailRequest("7506")).Execute()
	expect(err == nil && confirmed.Result == "Ok", "confirm_email", err)

	finish := auth.NewFinishRegistrationRequest()
	finish.SetPassword(password)
	finished, _, err := api.FinishSignUp(anonymous, userID).FinishRegistrationRequest(*finish).Execute()
	expect(err == nil && finished.Data.VerifiedMail, "finish_sign_up", err)
}

func signInAndOut(client *auth.APIClient, email string) {
	anonymous, sessions := context.Background(), client.SessionsAPI

	_, _, err := sessions.SignIn(anonymous).SignInRequest(*auth.NewSignInRequest(email, "wrong")).Execute()
	rejected := errorOf[auth.SignInUnauthenticatedResponse](err)
	expect(rejected.Error.Code == "credentials_rejected", "credentials_rejected")
	tokens, _, err := sessions.SignIn(anonymous).SignInRequest(*auth.NewSignInRequest(email, password)).Execute()
	expect(err == nil && tokens.Data.TokenType == "Bearer", "sign_in", err)
	me, _, err := client.AccountAPI.GetMe(bearer(tokens.Data.GetAccessToken())).Execute()
	expect(err == nil && me.Data.Email == email && me.Data.Acr == "aal1", "get_me", err)

	refresh := auth.NewRefreshRequest()
	refresh.SetRefreshToken(tokens.Data.GetRefreshToken())
	refreshed, _, err := sessions.RefreshTokens(anonymous).RefreshRequest(*refresh).Execute()
	expect(err == nil && refreshed.Data.GetAccessToken() != tokens.Data.GetAccessToken(), "refresh_tokens", err)
	signedIn := bearer(refreshed.Data.GetAccessToken())

	listed, _, err := sessions.ListMySessions(signedIn).Limit(5).Execute()
	isOne := err == nil && len(listed.Data) == 1 && listed.NextCursor.Get() == nil
	expect(isOne && listed.Data[0].Method == "password", "list_my_sessions", err)
	signedOut, _, err := sessions.SignOut(signedIn).SignOutRequest(*auth.NewSignOutRequest()).Execute()
	expect(err == nil && signedOut.Result == "Ok", "sign_out", err)
	_, _, err = client.AccountAPI.GetMe(signedIn).Execute()
	expect(errorOf[auth.RestrictedUnauthenticatedResponse](err).Error.Code == "token_invalid", "token_invalid")
}
