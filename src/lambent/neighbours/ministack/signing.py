"""Requests to Lambent's own API from inside, signed with a principal's session, over its socket."""

from __future__ import annotations

import functools
import http.client
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import botocore.awsrequest
import botocore.config
import botocore.exceptions
import botocore.session

from lambent.neighbours.ministack.ours import Connection


@dataclass(frozen=True, slots=True)
class Credentials:
    """A session's."""

    access_key_id: str
    secret: str = field(repr=False)
    token: str = field(repr=False)


class Failed(ValueError):
    """Lambent said no; code: AWS's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@functools.cache
def _session() -> Any:
    return botocore.session.Session()


_making = threading.Lock()


@functools.lru_cache(32)
def _client(service: str, region: str, credentials: Credentials) -> Any:
    """Botocore's client over the socket; it takes long to make and may be shared."""
    with _making:
        made = _session().create_client(
            service,
            region_name=region,
            endpoint_url="http://lambent",
            aws_access_key_id=credentials.access_key_id,
            aws_secret_access_key=credentials.secret,
            aws_session_token=credentials.token,
            config=botocore.config.Config(
                retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}
            ),
        )
    made._endpoint.http_session = _OverSocket()
    return made


class Client:
    """Calls of one service by name; what is not there raises Failed with AWS's code."""

    def __init__(self, service: str, region: str, credentials: Credentials) -> None:
        self._client = _client(service, region, credentials)

    def call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        """What an operation answers; raises Failed."""
        given = {name: value for name, value in parameters.items() if value is not None}
        try:
            answer: dict[str, Any] = self._client._make_api_call(operation, given)
        except botocore.exceptions.ClientError as error:
            said = error.response["Error"]
            raise Failed(said["Code"], said.get("Message") or said["Code"]) from None
        except botocore.exceptions.BotoCoreError as error:
            raise Failed("ValidationError", str(error)) from None
        return answer

    def fitting(self, operation: str, properties: dict[str, Any]) -> dict[str, Any]:
        """The properties that are parameters of an operation, in its types."""
        shape = self._client.meta.service_model.operation_model(operation).input_shape
        found: dict[str, Any] = _cast(shape, properties)
        return found


def _cast(shape: Any, value: Any) -> Any:
    """A template's value, where numbers and truths may be strings, as a shape wants it."""
    kind = shape.type_name
    if kind == "structure" and isinstance(value, dict):
        return {n: _cast(s, value[n]) for n, s in shape.members.items() if n in value}
    if kind == "list" and isinstance(value, list):
        return [_cast(shape.member, each) for each in value]
    if kind == "map" and isinstance(value, dict):
        return {str(key): _cast(shape.value, each) for key, each in value.items()}
    if kind in ("integer", "long") and isinstance(value, str):
        return int(value)
    if kind == "boolean" and isinstance(value, str):
        return value.lower() == "true"
    if kind == "string" and isinstance(value, int | float):
        return str(value).lower() if isinstance(value, bool) else str(value)
    return value


class _Raw:
    """A body as botocore reads it."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        body, self._body = self._body, b""
        yield body

    def read(self, size: int | None = None) -> bytes:
        size = len(self._body) if size is None else size
        piece, self._body = self._body[:size], self._body[size:]
        return piece


class _OverSocket:
    """Botocore's HTTP session, to the server's endpoint on a socket in the working directory."""

    def send(self, request: Any) -> Any:
        connection = Connection("endpoint")
        target = request.url.removeprefix("http://lambent") or "/"
        body = request.body
        if hasattr(body, "read"):
            body = body.read()
        try:
            connection.request(request.method, target, body, dict(request.headers))
            answer = connection.getresponse()
            data = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Failed("ServiceUnavailable", f"Lambent did not answer: {error}") from None
        finally:
            connection.close()
        headers = botocore.awsrequest.HeadersDict(answer.getheaders())
        return botocore.awsrequest.AWSResponse(request.url, answer.status, headers, _Raw(data))

    def close(self) -> None:
        pass
