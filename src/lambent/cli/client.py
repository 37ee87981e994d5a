"""A small signed client for the server's public API."""

from __future__ import annotations

import http.client
import json
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

from lambent.aws import sigv4


class Unreachable(Exception):
    """No server answers at the endpoint."""


class Refused(Exception):
    """The server answered with an error: AWS's code and message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the server is and who we are."""

    endpoint: str
    access_key_id: str
    secret: str
    region: str


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers (lower-case) and body of a response."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body or b"{}")


def profile(data_dir: Path, endpoint: str | None = None) -> Profile:
    """From the environment if it names a server and a key, else from the data directory."""
    environment = os.environ
    given = environment.get("AWS_ACCESS_KEY_ID"), environment.get("AWS_SECRET_ACCESS_KEY")
    where = endpoint or environment.get("AWS_ENDPOINT_URL")
    region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
    try:
        raw = json.loads((data_dir / "credentials.json").read_text())
        own = raw["access_key_id"], raw["secret_access_key"]
    except (OSError, KeyError, ValueError):
        own = None
    try:
        running = (data_dir / "endpoint").read_text().strip()
    except OSError:
        running = "http://127.0.0.1:4566"
    if where and given[0] and given[1]:
        key = (given[0], given[1])
    elif own is not None:
        key = own
    elif given[0] and given[1]:
        key = (given[0], given[1])
    else:
        raise Unreachable(
            f"no credentials: {data_dir} has none yet (start the server with `lambent serve`)"
        )
    return Profile(where or running, key[0], key[1], region)


class Client:
    """Signed requests, one connection each."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        service: str = "lambda",
        timeout: float = 930.0,
    ) -> Answer:
        """Send one request; raises Unreachable, and Refused for an error status."""
        parts = urlsplit(self.profile.endpoint)
        raw_path, _, query = path.partition("?")
        signed = sigv4.sign_headers(
            method,
            raw_path,
            query,
            {"host": parts.netloc, **(headers or {})},
            body,
            self.profile.access_key_id,
            self.profile.secret,
            self.profile.region,
            service,
            datetime.now(UTC),
        )
        host = parts.hostname or "127.0.0.1"
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout)
        if parts.scheme == "https":
            # The variable of the AWS CLI and SDKs, for certificates that nobody else knows.
            tls = ssl.create_default_context(cafile=os.environ.get("AWS_CA_BUNDLE"))
            connection = http.client.HTTPSConnection(host, parts.port, timeout=timeout, context=tls)
        try:
            connection.request(method, path, body, signed)
            response = connection.getresponse()
            answer = Answer(
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                response.read(),
            )
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"no server answers at {self.profile.endpoint} ({error})") from error
        finally:
            connection.close()
        if answer.status >= 400:
            raise _refused(answer)
        return answer

    def logs(self, operation: str, parameters: dict[str, Any]) -> Any:
        """Call a CloudWatch Logs operation."""
        headers = {
            "content-type": "application/x-amz-json-1.1",
            "x-amz-target": f"Logs_20140328.{operation}",
        }
        body = json.dumps(parameters).encode()
        return self.request("POST", "/", body, headers, service="logs").json()


def _refused(answer: Answer) -> Refused:
    code = answer.headers.get("x-amzn-errortype", f"HTTP {answer.status}")
    if answer.body.startswith(b"<"):
        found = ElementTree.fromstring(answer.body)  # noqa: S314 - what our own server wrote
        told = {each.tag.rpartition("}")[2]: each.text or "" for each in found.iter()}
        return Refused(told.get("Code", code), told.get("Message", ""))
    try:
        document = answer.json()
        message = document.get("message") or document.get("Message") or ""
    except (ValueError, AttributeError):
        message = answer.body[:200].decode("utf-8", "replace")
    return Refused(code, message)
