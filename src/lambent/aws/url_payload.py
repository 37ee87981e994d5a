"""Payload format 2.0: HTTP requests as events, and what functions answer as HTTP responses.

Source: AWS Lambda Developer Guide, "Invoking Lambda function URLs", and events of AWS.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

from lambent.aws import jsontext

# What comes between the head of a streamed response and its body, and how long a head may be.
SEPARATOR = bytes(8)
HEAD_BYTES = 64 * 1024
HTTP_STREAM = "application/vnd.awslambda.http-integration-response"
_TEXT = ("application/json", "application/javascript", "application/xml")
# Of the connection, or the server's own to say.
_NOT_THEIRS = {"connection", "content-length", "transfer-encoding", "keep-alive", "upgrade", "te"}


class BadAnswer(Exception):
    """What a function answered is no HTTP response."""


@dataclass(slots=True)
class HttpRequest:
    """A request as it came: path and query percent-encoded, header names in lower case."""

    method: str
    path: str
    query: str
    protocol: str
    headers: dict[str, str]
    body: bytes
    source_ip: str


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed a request."""

    access_key: str
    account: str
    caller_id: str
    arn: str
    user_id: str


@dataclass(slots=True)
class HttpResponse:
    """Status, headers and body to send; cookies are among the headers."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""


def event(
    request: HttpRequest, url_id: str, request_id: str, now: float, caller: Caller | None
) -> bytes:
    """The event of a request, as JSON; now: POSIX time."""
    headers = dict(request.headers)
    cookies = headers.pop("cookie", None)
    host = headers.get("host", "")
    moment = datetime.fromtimestamp(now, UTC)
    context: dict[str, Any] = {
        "accountId": caller.account if caller is not None else "anonymous",
        "apiId": url_id,
        "authentication": None,
        "domainName": host.partition(":")[0],
        "domainPrefix": url_id,
        "http": {
            "method": request.method,
            "path": request.path,
            "protocol": request.protocol,
            "sourceIp": request.source_ip,
            "userAgent": headers.get("user-agent", ""),
        },
        "requestId": request_id,
        "routeKey": "$default",
        "stage": "$default",
        "time": moment.strftime("%d/%b/%Y:%H:%M:%S +0000"),
        "timeEpoch": int(now * 1000),
    }
    if caller is not None:
        context["authorizer"] = {
            "iam": {
                "accessKey": caller.access_key,
                "accountId": caller.account,
                "callerId": caller.caller_id,
                "cognitoIdentity": None,
                "principalOrgId": None,
                "userArn": caller.arn,
                "userId": caller.user_id,
            }
        }
    document: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": context,
    }
    if cookies is not None:
        document["cookies"] = [each.strip() for each in cookies.split(";") if each.strip()]
    if request.query:
        document["queryStringParameters"] = _parameters(request.query)
    text = _text(headers.get("content-type", ""), request.body)
    if request.body:
        document["body"] = text if text is not None else base64.b64encode(request.body).decode()
    document["isBase64Encoded"] = bool(request.body) and text is None
    return jsontext.encode(document)


def _parameters(query: str) -> dict[str, str]:
    """Parameters by name, those that come again joined by commas."""
    found: dict[str, str] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _text(content_type: str, body: bytes) -> str | None:
    """A body that is text; None if it travels in base64."""
    kind = content_type.partition(";")[0].strip().lower()
    if not (kind.startswith("text/") or kind in _TEXT):
        return None
    try:
        return body.decode()
    except ValueError:
        return None


def response(payload: bytes) -> HttpResponse:
    """What a function's answer means; raises BadAnswer."""
    try:
        answer = jsontext.decode(payload or b"null")
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or "statusCode" not in answer:
        return HttpResponse(200, [("Content-Type", "application/json")], payload)
    found = head(answer)
    body = answer.get("body")
    if body is None:
        return found
    if not isinstance(body, str):
        raise BadAnswer("body is not a string")
    if answer.get("isBase64Encoded") is True:
        try:
            found.body = base64.b64decode(body, validate=True)
        except (binascii.Error, ValueError):
            raise BadAnswer("body is not base64") from None
    else:
        found.body = body.encode("utf-8", "surrogatepass")
    return found


def head(answer: dict[str, Any]) -> HttpResponse:
    """Status, headers and cookies of an answer; raises BadAnswer."""
    status = answer.get("statusCode", 200)
    if isinstance(status, str) and status.isdecimal():
        status = int(status)
    if isinstance(status, bool) or not isinstance(status, int) or not 200 <= status <= 599:
        raise BadAnswer("statusCode is no status")
    headers, cookies = answer.get("headers") or {}, answer.get("cookies") or []
    if not isinstance(headers, dict) or not isinstance(cookies, list):
        raise BadAnswer("headers are no object, or cookies no list")
    found = HttpResponse(status)
    for name, value in headers.items():
        if not _is_token(name) or not isinstance(value, str | int | float | bool):
            raise BadAnswer("a header is not one")
        if name.lower() not in _NOT_THEIRS:
            found.headers.append((name, _said(value)))
    for cookie in cookies:
        if not isinstance(cookie, str):
            raise BadAnswer("a cookie is not a string")
        found.headers.append(("Set-Cookie", cookie))
    if not any(name.lower() == "content-type" for name, _ in found.headers):
        found.headers.append(("Content-Type", "application/json"))
    return found


def _said(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _is_token(name: str) -> bool:
    """Whether a header can be called so (RFC 9110, 5.6.2)."""
    return bool(name) and all((c.isascii() and c.isalnum()) or c in "!#$%&'*+-.^_`|~" for c in name)
