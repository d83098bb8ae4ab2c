"""The JSON forms of WebAuthn Level 3: credentials in requests, options in responses."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from auth_service.adapters.crypto.webauthn import AuthenticationResponse, RegistrationResponse
from auth_service.api.http.schemas import ResponseModel
from auth_service.api.v1.schemas.fields import RequestModel, example
from auth_service.errors.fields import FieldInvalid, FieldReason

MAX_CREDENTIAL = 8 * 1024
"""Characters of the members of a credential together."""
MAX_TRANSPORTS = 8
_ID, _DATA = "8b5lZb1gUYsW4cZ8R3q5AQ", "eyJ0eXBlIjoid2ViYXV0aG4ifQ"  # for examples

Base64Url = Annotated[str, Field(max_length=MAX_CREDENTIAL)]
Redundant = Annotated[Base64Url | None, Field(description="Ignored: the attestation object contains it.")]
Extensions = Annotated[
    dict[str, Any],
    Field(
        alias="clientExtensionResults",
        default_factory=dict,
        description="Ignored: the service requests no extensions.",
    ),
]
Attachment = Annotated[Literal["platform", "cross-platform"] | None, Field(description="Ignored.")]


def _check_size(*texts: str | None) -> None:
    if sum(len(text or "") for text in texts) > MAX_CREDENTIAL:
        raise FieldInvalid(FieldReason.TOO_LONG, f"Send a credential of at most {MAX_CREDENTIAL} bytes.")


class AttestationRequest(RequestModel):
    """`AuthenticatorAttestationResponseJSON` of WebAuthn."""

    model_config = example(clientDataJSON=_DATA, attestationObject=_DATA, transports=["internal"])

    client_data: Annotated[Base64Url, Field(alias="clientDataJSON")]
    attestation_object: Annotated[Base64Url, Field(alias="attestationObject")]
    transports: Annotated[
        list[Annotated[str, Field(max_length=32, pattern="^[a-z0-9-]+$")]],
        Field(max_length=MAX_TRANSPORTS, default_factory=list),
    ]
    authenticator_data: Annotated[Redundant, Field(alias="authenticatorData")] = None
    public_key: Annotated[Redundant, Field(alias="publicKey")] = None
    public_key_algorithm: Annotated[
        int | None, Field(alias="publicKeyAlgorithm", description="Ignored: the attestation object contains it.")
    ] = None


class RegistrationCredentialRequest(RequestModel):
    """`RegistrationResponseJSON` of WebAuthn: what `toJSON()` of a new credential returns."""

    model_config = example(
        id=_ID, rawId=_ID, type="public-key", response={"clientDataJSON": _DATA, "attestationObject": _DATA}
    )

    id: Base64Url
    raw_id: Annotated[Base64Url, Field(alias="rawId")]
    type: Literal["public-key"]
    response: AttestationRequest
    authenticator_attachment: Annotated[Attachment, Field(alias="authenticatorAttachment")] = None
    client_extension_results: Extensions

    @model_validator(mode="after")
    def _check(self) -> Self:
        response = self.response
        _check_size(
            *(self.id, self.raw_id, response.client_data, response.attestation_object),
            *(response.authenticator_data, response.public_key),
        )
        return self

    def verifiable(self) -> RegistrationResponse:
        """Return what the verification needs."""
        return RegistrationResponse(
            id=self.id,
            raw_id=self.raw_id,
            client_data=self.response.client_data,
            attestation_object=self.response.attestation_object,
        )


class AssertionRequest(RequestModel):
    """`AuthenticatorAssertionResponseJSON` of WebAuthn."""

    model_config = example(clientDataJSON=_DATA, authenticatorData=_DATA, signature=_DATA, userHandle=_DATA)

    client_data: Annotated[Base64Url, Field(alias="clientDataJSON")]
    authenticator_data: Annotated[Base64Url, Field(alias="authenticatorData")]
    signature: Base64Url
    user_handle: Annotated[Base64Url | None, Field(alias="userHandle")] = None


class CredentialRequest(RequestModel):
    """`AuthenticationResponseJSON` of WebAuthn: what `toJSON()` of an assertion returns."""

    model_config = example(
        id=_ID,
        rawId=_ID,
        type="public-key",
        response={"clientDataJSON": _DATA, "authenticatorData": _DATA, "signature": _DATA, "userHandle": _DATA},
    )

    id: Base64Url
    raw_id: Annotated[Base64Url, Field(alias="rawId")]
    type: Literal["public-key"]
    response: AssertionRequest
    authenticator_attachment: Annotated[Attachment, Field(alias="authenticatorAttachment")] = None
    client_extension_results: Extensions

    @model_validator(mode="after")
    def _check(self) -> Self:
        response = self.response
        _check_size(
            *(self.id, self.raw_id, response.client_data, response.authenticator_data, response.signature),
            response.user_handle,
        )
        return self

    def verifiable(self) -> AuthenticationResponse:
        """Return what the verification needs."""
        return AuthenticationResponse(
            id=self.id,
            raw_id=self.raw_id,
            client_data=self.response.client_data,
            authenticator_data=self.response.authenticator_data,
            signature=self.response.signature,
            user_handle=self.response.user_handle,
        )


class RelyingPartyResponse(ResponseModel):
    """`PublicKeyCredentialRpEntity` of WebAuthn."""

    id: str
    name: str


class PasskeyUserResponse(ResponseModel):
    """`PublicKeyCredentialUserEntityJSON` of WebAuthn."""

    id: Annotated[str, Field(description="The user handle: random, not the id of the user.")]
    name: str
    displayName: str  # noqa: N815 - the name of WebAuthn


class AlgorithmResponse(ResponseModel):
    """`PublicKeyCredentialParameters` of WebAuthn."""

    type: Literal["public-key"]
    alg: Annotated[int, Field(description="COSE: -8 EdDSA, -7 ES256, -257 RS256.")]


class DescriptorResponse(ResponseModel):
    """`PublicKeyCredentialDescriptorJSON` of WebAuthn."""

    type: Literal["public-key"]
    id: str
    transports: list[str]


class AuthenticatorSelectionResponse(ResponseModel):
    """`AuthenticatorSelectionCriteria` of WebAuthn."""

    residentKey: Literal["required"]  # noqa: N815 - the name of WebAuthn
    requireResidentKey: bool  # noqa: N815 - the name of WebAuthn
    userVerification: Literal["required"]  # noqa: N815 - the name of WebAuthn


class CreationOptionsResponse(ResponseModel):
    """`PublicKeyCredentialCreationOptionsJSON` of WebAuthn."""

    rp: RelyingPartyResponse
    user: PasskeyUserResponse
    challenge: str
    pubKeyCredParams: list[AlgorithmResponse]  # noqa: N815 - the name of WebAuthn
    timeout: Annotated[int, Field(description="In milliseconds.")]
    excludeCredentials: list[DescriptorResponse]  # noqa: N815 - the name of WebAuthn
    authenticatorSelection: AuthenticatorSelectionResponse  # noqa: N815 - the name of WebAuthn
    attestation: Literal["none"]


class RequestOptionsResponse(ResponseModel):
    """`PublicKeyCredentialRequestOptionsJSON` of WebAuthn."""

    challenge: str
    timeout: Annotated[int, Field(description="In milliseconds.")]
    rpId: str  # noqa: N815 - the name of WebAuthn
    allowCredentials: list[DescriptorResponse]  # noqa: N815 - the name of WebAuthn
    userVerification: Literal["required"]  # noqa: N815 - the name of WebAuthn
