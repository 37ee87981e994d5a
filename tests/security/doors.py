"""A client that can be made to lie: requests signed, changed after that, and sent byte by byte."""

from __future__ import annotations

import http.client
import socket
import time
from dataclasses import dataclass, field, replace
from urllib.parse import quote, urlsplit

from lambent.aws import sigv4
from lambent.clock import utc
from tests.conftest import Server, User, allow

ACCOUNT, OTHER, REGION = "000000000000", "222222222222", "us-east-1"
REFUSED = range(400, 500)


@dataclass(frozen=True)
class Keys:
    """Credentials."""

    access_key: str
    secret: str
    token: str | None = None


@dataclass
class Asked:
    """A request, before and after it is signed; headers are those that are sent."""

    method: str = "GET"
    path: str = "/"
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    more: list[tuple[str, str]] = field(default_factory=list)

    @property
    def target(self) -> str:
        return self.path + ("?" + self.query if self.query else "")


class Door:
    """A server's port, and how one signs for it."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.host = urlsplit(server.endpoint).netloc
        self.owner = Keys(server.key["access_key_id"], server.key["secret_access_key"])

    def sign(
        self,
        asked: Asked,
        service: str = "lambda",
        keys: Keys | None = None,
        region: str = REGION,
        when: float = 0.0,
        payload: str = "",
    ) -> Asked:
        """The request as a client of AWS signs it; when: seconds from now."""
        who, headers = keys or self.owner, {"host": self.host, **asked.headers}
        if service == "s3":
            headers.setdefault("x-amz-content-sha256", payload or sigv4.sha256(asked.body))
        place = (who.access_key, who.secret, region, service, utc(time.time() + when), who.token)
        signed = sigv4.sign_headers(
            asked.method, asked.path, asked.query, headers, asked.body, *place, payload=payload
        )
        return replace(asked, headers=signed)

    def presign(self, asked: Asked, keys: Keys | None = None, **scope: str) -> Asked:
        """The request with all that its signature needs in its query."""
        who = keys or self.owner
        stamp = utc(time.time()).strftime("%Y%m%dT%H%M%SZ")
        named = sigv4.scope_of(
            who.access_key, stamp[:8], scope.get("region", REGION), scope.get("service", "s3")
        )
        parameters = {
            "X-Amz-Algorithm": sigv4.ALGORITHM,
            "X-Amz-Credential": f"{who.access_key}/{named.text}",
            "X-Amz-Date": stamp,
            "X-Amz-Expires": "60",
            "X-Amz-SignedHeaders": "host",
            **({"X-Amz-Security-Token": who.token} if who.token else {}),
        }
        pairs = [f"{name}={quote(value, safe='-_.~')}" for name, value in parameters.items()]
        query = "&".join(filter(None, [asked.query, *pairs]))
        text = sigv4.string_to_sign(
            asked.method,
            asked.path,
            query,
            {"host": self.host},
            ("host",),
            sigv4.UNSIGNED,
            stamp,
            named,
        )
        signature = sigv4.SigningKey(who.secret, named).sign(text)
        query = f"{query}&X-Amz-Signature={signature}"
        return replace(asked, query=query, headers={"host": self.host})

    def send(self, asked: Asked) -> tuple[int, bytes]:
        """Status and body."""
        headers = {"content-length": str(len(asked.body)), **asked.headers}
        lines = [f"{asked.method} {asked.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in [*headers.items(), *asked.more]]
        data = "\r\n".join([*lines, "connection: close", "", ""]).encode() + asked.body
        found = urlsplit(self.server.endpoint)
        with socket.create_connection((found.hostname or "", found.port or 0), 60) as connection:
            connection.sendall(data)
            answer = http.client.HTTPResponse(connection, method=asked.method)
            answer.begin()
            return answer.status, answer.read()


def administrator(server: Server) -> Keys:
    """Who may do everything in another account."""
    organiser = User(server, f"organiser-{time.monotonic_ns()}")
    organiser.may(allow("sts:AssumeRole"))
    given = organiser.client("sts").assume_role(
        RoleArn=f"arn:aws:iam::{OTHER}:role/OrganizationAccountAccessRole", RoleSessionName="door"
    )["Credentials"]
    return Keys(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
