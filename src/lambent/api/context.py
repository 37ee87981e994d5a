"""What a handler may use, and who asks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from lambent.iam.authenticate import Principal

Handler = Callable[["Context", dict[str, Any]], Awaitable[dict[str, Any]]]


@dataclass(slots=True)
class Context:
    """One request: its caller, the server's own endpoint, the headers, the caller's address, and
    whether it came over TLS."""

    principal: Principal
    server: str
    headers: dict[str, str]
    source: str = ""
    secure: bool = False
    gone: Callable[[], bool] = bool
    """Whether the caller has hung up."""

    @property
    def caller(self) -> str:
        """Who asks, as an ARN."""
        return self.principal.requester.arn

    @property
    def endpoint(self) -> str:
        """The server as the caller reached it."""
        host = self.headers.get("host")
        return f"http{'s' if self.secure else ''}://{host}" if host else self.server

    @property
    def account(self) -> str:
        """Whose resources are meant."""
        return self.principal.account

    @property
    def region(self) -> str:
        """Which region's."""
        return self.principal.region
