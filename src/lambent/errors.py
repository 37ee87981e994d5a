"""The one error tree.

    LambentError
    ├── StartError                     the server cannot start; the message says what to do
    └── ServiceError                   an AWS error: code, HTTP status, message, extra members
        ├── ResourceNotFound           404
        ├── ResourceConflict           409
        ├── InvalidParameterValue      400
        ├── InvalidRequestContent      400
        ├── ValidationFailed           400  (AWS: ValidationException)
        ├── SerializationFailed        400  (AWS: SerializationException)
        ├── PreconditionFailed         412
        ├── RequestTooLarge            413
        ├── TooManyRequests            429
        ├── RecursiveInvocation        400
        ├── PolicyLengthExceeded       400
        ├── CodeSigningConfigNotFound  404
        ├── ProvisionedConcurrencyConfigNotFound  404
        ├── AccessDenied               403
        ├── UnknownOperation           404
        ├── IAM's and STS's: NoSuchEntity 404; EntityAlreadyExists, DeleteConflict, QuotaExceeded
        │   409; MalformedPolicyDocument, InvalidInput, UnmodifiableEntity, InvalidAction,
        │   MalformedInput, ValidationError 400
        └── ServiceFailure             500  (AWS: ServiceException)

Codes, statuses and texts are AWS's; ``OperationNotOffered`` is the one of our own, a modelled
InvalidParameterValueException that names what this version does not do.
"""

from __future__ import annotations

from typing import Any, ClassVar


class LambentError(Exception):
    """Anything Lambent itself says went wrong."""


class StartError(LambentError):
    """The server cannot start."""


class ServiceError(LambentError):
    """An error a client sees."""

    code: ClassVar[str] = "ServiceException"
    status: ClassVar[int] = 500
    default: ClassVar[str] = "An internal error occurred."

    def __init__(self, message: str | None = None, **extra: Any) -> None:
        self.message = self.default if message is None else message
        self.extra = extra
        super().__init__(self.message)


class ServiceFailure(ServiceError):
    """The server's own fault; the cause is in its log, not in the answer."""


class ResourceNotFound(ServiceError):
    code = "ResourceNotFoundException"
    status = 404
    default = "The resource you requested does not exist."


class ResourceConflict(ServiceError):
    code = "ResourceConflictException"
    status = 409
    default = "The resource already exists, or another operation is in progress."


class ResourceAlreadyExists(ServiceError):
    """CloudWatch Logs: something of this name is there."""

    code = "ResourceAlreadyExistsException"
    status = 400
    default = "The specified resource already exists"


class LimitExceeded(ServiceError):
    """CloudWatch Logs: a quota is used up."""

    code = "LimitExceededException"
    status = 400
    default = "You have reached the maximum number of resources that can be created."


class InvalidParameter(ServiceError):
    """CloudWatch Logs: a parameter cannot be."""

    code = "InvalidParameterException"
    status = 400
    default = "A parameter is not valid."


class InvalidParameterValue(ServiceError):
    code = "InvalidParameterValueException"
    status = 400
    default = "One of the parameters in the request is not valid."


class OperationNotOffered(InvalidParameterValue):
    """An operation or parameter of the model that this version does not offer."""


class InvalidRequestContent(ServiceError):
    code = "InvalidRequestContentException"
    status = 400
    default = "The request body could not be parsed as JSON."


class ValidationFailed(ServiceError):
    code = "ValidationException"
    status = 400


class SerializationFailed(ServiceError):
    code = "SerializationException"
    status = 400


class PreconditionFailed(ServiceError):
    code = "PreconditionFailedException"
    status = 412
    default = (
        "The Revision Id provided does not match the latest Revision Id. Call the "
        "GetFunction/GetAlias API to retrieve the latest Revision Id"
    )


class RequestTooLarge(ServiceError):
    code = "RequestTooLargeException"
    status = 413
    default = "Request must be smaller than 6291456 bytes for the InvokeFunction operation"


class SerializedRequestEntityTooLarge(ServiceError):
    """An event that is too large to be queued."""

    code = "SerializedRequestEntityTooLargeException"
    status = 413


class CodeStorageExceeded(ServiceError):
    code = "CodeStorageExceededException"
    status = 400
    default = "Code storage limit exceeded."


class RequestEntityTooLarge(ServiceError):
    code = "RequestEntityTooLargeException"
    status = 413


class TooManyRequests(ServiceError):
    code = "TooManyRequestsException"
    status = 429
    default = "Rate Exceeded."


class RecursiveInvocation(ServiceError):
    """A function that calls itself, by whatever way, has done so often enough."""

    code = "RecursiveInvocationException"
    status = 400


class PolicyLengthExceeded(ServiceError):
    code = "PolicyLengthExceededException"
    status = 400


class CodeSigningConfigNotFound(ServiceError):
    code = "CodeSigningConfigNotFoundException"
    status = 404


class ProvisionedConcurrencyConfigNotFound(ServiceError):
    code = "ProvisionedConcurrencyConfigNotFoundException"
    status = 404
    default = "No Provisioned Concurrency Config found for this function"


class AccessDenied(ServiceError):
    code = "AccessDeniedException"
    status = 403


class UnrecognizedClient(ServiceError):
    code = "UnrecognizedClientException"
    status = 403
    default = "The security token included in the request is invalid."


class ExpiredToken(ServiceError):
    code = "ExpiredTokenException"
    status = 403
    default = "The security token included in the request is expired"


class MissingAuthentication(ServiceError):
    code = "MissingAuthenticationTokenException"
    status = 403
    default = "Missing Authentication Token"


class UnknownOperation(ServiceError):
    code = "UnknownOperationException"
    status = 404
    default = "Unable to determine service/operation name to be authorized"


# -- IAM and STS, whose codes have no "Exception" at their end ---------------------------------


class NoSuchEntity(ServiceError):
    code = "NoSuchEntity"
    status = 404


class EntityAlreadyExists(ServiceError):
    code = "EntityAlreadyExists"
    status = 409


class DeleteConflict(ServiceError):
    code = "DeleteConflict"
    status = 409


class QuotaExceeded(ServiceError):
    """IAM: a quota is used up."""

    code = "LimitExceeded"
    status = 409


class MalformedPolicyDocument(ServiceError):
    code = "MalformedPolicyDocument"
    status = 400


class InvalidInput(ServiceError):
    code = "InvalidInput"
    status = 400


class UnmodifiableEntity(ServiceError):
    code = "UnmodifiableEntity"
    status = 400


class InvalidAction(ServiceError):
    code = "InvalidAction"
    status = 400


class MalformedInput(ServiceError):
    code = "MalformedInput"
    status = 400


class ValidationError(ServiceError):
    """What other services call a ValidationException."""

    code = "ValidationError"
    status = 400
