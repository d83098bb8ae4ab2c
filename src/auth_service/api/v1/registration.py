"""Registration endpoints: look-up, sign-up, emailed code, confirmation, finish."""

from dataclasses import replace

from flask_restx import Resource

from auth_service.api.contract.contract import Contract
from auth_service.api.contract.endpoint import Namespace
from auth_service.api.current import services
from auth_service.api.http.language import accepted_language, preferred_language
from auth_service.api.security.authentication import anyone, anyone_or_service, current_service
from auth_service.api.security.client import client_network
from auth_service.api.security.client_info import client_info
from auth_service.api.security.flow_cookies import REGISTRATION
from auth_service.api.security.rate_limits import CODE_ATTEMPTS, CODE_REQUESTS, LOOK_UPS, SIGN_UPS
from auth_service.api.v1.schemas.fields import revealed
from auth_service.api.v1.schemas.registration import (
    CodeSentResponse,
    ConfirmEmailRequest,
    FinishRegistrationRequest,
    LookUpQuery,
    SendCodeRequest,
    SignUpRequest,
    UserResponse,
)
from auth_service.errors import (
    CodeExpired,
    CodeWrong,
    EmailTaken,
    MailAlreadyVerified,
    MailNotConfirmed,
    PasswordAlreadySet,
    RedisUnavailable,
    RegistrationClosed,
    TooManyAttempts,
    TooManyCodes,
    UserUnknown,
    ValidationFailed,
)
from auth_service.services.credentials.one_time_codes import CodeSent
from auth_service.services.users.statements import PublicUser

registration = Namespace("registration", description="Registration with an emailed code.")


@registration.route("")
class LookUp(Resource):
    """Look-up of users by email address."""

    @registration.contract(
        operation="look_up_user",
        summary="Look up a user by email address",
        access=anyone,
        query=LookUpQuery,
        data=UserResponse,
        limits=[LOOK_UPS],
        errors=[UserUnknown],
    )
    def get(self, query: LookUpQuery) -> PublicUser:
        return services().users.look_up(email=query.email)


@registration.route("/sign_up")
class SignUp(Resource):
    """Creation of temporary users."""

    @registration.contract(
        operation="sign_up",
        summary="Create a temporary user for an email address",
        access=anyone,
        body=SignUpRequest,
        data=UserResponse,
        status=201,
        limits=[SIGN_UPS],
        errors=[RegistrationClosed, EmailTaken],
    )
    def post(self, body: SignUpRequest) -> PublicUser:
        return services().registration.sign_up(email=body.email, language=preferred_language())


SEND_CODE = Contract(
    operation="send_registration_code",
    summary="Send a code to the email address of the user",
    description="It replaces the codes that were sent before under the same flow ticket.",
    access=anyone_or_service,
    body=SendCodeRequest,
    data=CodeSentResponse,
    done=True,
    reads_cookies=[REGISTRATION.cookie],
    sets_cookies=[REGISTRATION.cookie],
    limits=[CODE_REQUESTS],
    errors=[RegistrationClosed, UserUnknown, MailAlreadyVerified, TooManyCodes, RedisUnavailable],
)


def send_code(user_id: int, body: SendCodeRequest) -> CodeSent:
    """Send a code that confirms the address."""
    return REGISTRATION.issue(
        services().registration.send_code(
            user_id=user_id,
            client_supplied=body.code,
            by_service=current_service() is not None,
            ticket=REGISTRATION.renewed(),
            language=accepted_language(),
            network=client_network(),
        )
    )


@registration.route("/<user_id:user_id>/send_code")
class SendCode(Resource):
    """Emailed codes that confirm the address."""

    @registration.under(SEND_CODE)
    def post(self, user_id: int, body: SendCodeRequest) -> CodeSent:
        return send_code(user_id, body)


@registration.route("/<user_id:user_id>/resend_code")
class ResendCode(Resource):
    """The same under a second path, which clients use to request another code."""

    @registration.under(replace(SEND_CODE, operation="resend_registration_code"))
    def post(self, user_id: int, body: SendCodeRequest) -> CodeSent:
        return send_code(user_id, body)


@registration.route("/<user_id:user_id>/mail")
class Mail(Resource):
    """Confirmation of the email address."""

    @registration.contract(
        operation="confirm_email",
        summary="Confirm the email address with the emailed code",
        description="Send the code once: in the query string or in the body.",
        access=anyone,
        query_or_body=ConfirmEmailRequest,
        done=True,
        reads_cookies=[REGISTRATION.cookie],
        limits=[CODE_ATTEMPTS],
        errors=[CodeWrong, CodeExpired, RedisUnavailable],
    )
    def put(self, user_id: int, payload: ConfirmEmailRequest) -> None:
        services().registration.confirm(user_id=user_id, code=payload.code, ticket=REGISTRATION.presented())


@registration.route("/<user_id:user_id>/sign_up")
class Finish(Resource):
    """End of the registration."""

    @registration.contract(
        operation="finish_sign_up",
        summary="Finish the registration, with or without a password",
        access=anyone,
        body=FinishRegistrationRequest,
        data=UserResponse,
        reads_cookies=[REGISTRATION.cookie],
        limits=[CODE_ATTEMPTS],
        errors=[
            UserUnknown,
            MailNotConfirmed,
            RegistrationClosed,
            PasswordAlreadySet,
            TooManyAttempts,
            ValidationFailed,
            RedisUnavailable,
        ],
    )
    def patch(self, user_id: int, body: FinishRegistrationRequest) -> PublicUser:
        return services().registration.finish(
            user_id=user_id,
            ticket=REGISTRATION.presented(),
            password=revealed(body.password),
            client=client_info(),
        )
