"""The Neighbour seam: a service beside Lambda, wherever it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Protocol

from lambent.errors import ServiceError
from lambent.http.client import Headers, Reply
from lambent.neighbours.subjects.base import Facts


class NeighbourUnavailable(ServiceError):
    """The service cannot answer now; clients retry by themselves."""

    code = "ServiceUnavailable"
    status = 503
    default = "The service is unavailable. Please retry."


@dataclass(slots=True)
class Message:
    """A request of a caller who was verified and may make it.

    service: as signatures name it, but "dynamodbstreams" for DynamoDB's streams.  account: whose
    resource it is about.  target: path and query, encoded; S3's begin with the bucket.  headers:
    none that are about the connection or the signature.  payload: the digest of a body that is
    all here.
    """

    service: str
    account: str
    region: str
    method: str
    target: str
    headers: Headers
    body: AsyncIterator[bytes] | bytes = b""
    host: str = ""
    source: str = ""
    payload: str = ""
    extra: dict[str, str] = field(default_factory=dict)


class Neighbour(Protocol):
    """Where a service's requests go.

    wants_framing: whether a body in aws-chunked framing is sent on as it is.
    """

    wants_framing: bool

    async def send(self, message: Message) -> Reply:
        """The answer, once its head is there; raises NeighbourUnavailable."""

    async def facts(self, service: str, account: str, region: str, about: str) -> Facts:
        """What it knows of a resource; nothing where it cannot say."""
