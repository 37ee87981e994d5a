"""The Neighbour seam: a service beside Lambda, wherever it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol

from lambent.errors import ServiceError
from lambent.http.client import Headers
from lambent.neighbours.subjects.base import Facts, Outgoing


class NeighbourUnavailable(ServiceError):
    """The service cannot answer now; clients retry by themselves."""

    code = "ServiceUnavailable"
    status = 503
    default = "The service is unavailable. Please retry."


@dataclass(slots=True)
class Message:
    """A request of a verified and authorised caller.

    service: as signatures name it, but "dynamodbstreams" for DynamoDB's streams.  account: the
    owner of the resources it is about.  request: method, path, parameters and headers, built from
    what was read and authorised.  length: of the body in bytes, None if it is not known.
    trailers: headers that are known when the whole body has been sent.  payload: the digest of a
    body of bytes.  host, source: where and from where the caller's request came.  credentials: a
    session with which a stack acts, as JSON.
    """

    service: str
    account: str
    region: str
    request: Outgoing
    body: AsyncIterator[bytes] | bytes = b""
    length: int | None = None
    trailers: Callable[[], dict[str, str]] = dict
    payload: str = ""
    host: str = ""
    source: str = ""
    trace_id: str = ""
    credentials: dict[str, str] = field(default_factory=dict)


class Reply(Protocol):
    """An answer: status, headers (names in lower case), and its body in pieces, once.

    length: of the body in bytes, None if it is not known; of an answer to HEAD what GET's has.
    """

    headers: Headers

    @property
    def status(self) -> int:
        """The HTTP status."""

    @property
    def length(self) -> int | None:
        """See the class."""

    def header(self, name: str) -> str | None:
        """The first header of a name in lower case."""

    def body(self) -> AsyncIterator[bytes]:
        """The body as it comes; raises UpstreamError where it breaks off."""

    async def read(self, limit: int) -> bytes:
        """The whole body; raises UpstreamError past limit bytes."""

    def close(self) -> None:
        """Close the connection."""


class Neighbour(Protocol):
    """Where a service's requests go."""

    async def send(self, message: Message) -> Reply:
        """The answer, once its head is there; raises NeighbourUnavailable."""

    async def facts(self, service: str, account: str, region: str, about: str) -> Facts:
        """What it knows of a resource; nothing where it cannot say."""
