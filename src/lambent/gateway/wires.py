"""Errors of the gateway's own in the words of each neighbour's protocol."""

from __future__ import annotations

from xml.sax.saxutils import escape

from lambent import ids
from lambent.aws import query as aws_query
from lambent.aws.serialize import WireResponse, serialize_json_error
from lambent.errors import ServiceError
from lambent.neighbours.subjects.base import Unreadable

_NAMESPACES = {
    "sns": "http://sns.amazonaws.com/doc/2010-03-31/",
    "sqs": "http://queue.amazonaws.com/doc/2012-11-05/",
    "cloudformation": "http://cloudformation.amazonaws.com/doc/2010-05-15/",
}
_JSON_1_0 = ("dynamodb", "sqs")
# S3's names, and its messages where it has others.
_S3 = {
    "AccessDeniedException": ("AccessDenied", ""),
    "UnrecognizedClientException": (
        "InvalidAccessKeyId",
        "The AWS Access Key Id you provided does not exist in our records.",
    ),
    "ExpiredTokenException": ("ExpiredToken", "The provided token has expired."),
    "MissingAuthenticationTokenException": ("AccessDenied", "Access Denied"),
    "InvalidSignatureException": ("RequestTimeTooSkewed", ""),
    "IncompleteSignatureException": ("AuthorizationHeaderMalformed", ""),
    "RequestEntityTooLargeException": (
        "EntityTooLarge",
        "Your proposed upload exceeds the maximum allowed size",
    ),
    "ServiceException": ("InternalError", ""),
}
_QUERY = {
    "AccessDeniedException": "AccessDenied",
    "UnrecognizedClientException": "InvalidClientTokenId",
    "InvalidSignatureException": "SignatureDoesNotMatch",
    "ServiceException": "InternalFailure",
}


def refuse(service: str, headers: dict[str, str], error: ServiceError | Unreadable) -> WireResponse:
    """An error as the clients of a service read it."""
    code, status, message = error.code, error.status, error.message
    if service == "s3":
        return _s3(code, status, message)
    if service in _NAMESPACES and "x-amz-target" not in headers:
        code = _QUERY.get(code) or code.removesuffix("Exception")
        if service == "sns" and code == "AccessDenied":
            code = "AuthorizationError"
        return aws_query.serialize_error(code, status, message, _NAMESPACES[service], ids.uuid())
    if status == 403 and service != "scheduler":
        status = 400  # the json protocols' AccessDenied
    version = "1.0" if service in _JSON_1_0 else "1.1"
    response = serialize_json_error(code, status, message, version)
    if service == "sqs":
        plain = _QUERY.get(code) or code.removesuffix("Exception")
        fault = "Receiver" if status >= 500 else "Sender"
        response.headers.append(("x-amzn-query-error", f"{plain};{fault}"))
    return response


def _s3(code: str, status: int, message: str) -> WireResponse:
    code, other = _S3.get(code, (code, ""))
    request_id = ids.uuid()
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(other or message)}</Message>"
        f"<RequestId>{request_id}</RequestId></Error>"
    )
    headers = [("Content-Type", "application/xml"), ("x-amz-request-id", request_id)]
    return WireResponse(status, headers, text.encode(), request_id=request_id)
