"""One request as the gateway understands it, and what it wants."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Parameters = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request as it is sent on, built from what was read of the caller's, never copied from it.

    path: decoded, and without parameters; query: their names and values; headers: names in lower
    case, none that is about the connection or the signature.
    """

    method: str = "POST"
    path: str = "/"
    query: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request of a caller: service as ``base.Message`` has it, parameters by their names.

    request, body: what is sent on; all of it comes from these parameters.
    """

    service: str
    operation: str
    account: str
    region: str
    parameters: Parameters = field(default_factory=dict)
    request: Outgoing = field(default_factory=Outgoing)
    body: bytes = b""

    def arn(self, rest: str, service: str = "") -> str:
        """A resource of the caller's own; what is an ARN already stays as it is."""
        if rest.startswith("arn:"):
            return rest
        return f"arn:aws:{service or self.service}:{self.region}:{self.account}:{rest}"


@dataclass(frozen=True, slots=True)
class Wanted:
    """An action on a resource.

    about: what its own policy is found by ("" where it has none); keys: of the request, names in
    lower case; service: whose resource it is, where that is not the service that was asked.
    """

    action: str
    resource: str
    about: str = ""
    keys: tuple[tuple[str, str], ...] = ()
    service: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What only the neighbour knows of a resource: its full ARN, its account, its policy.

    "" where there is none; names: of the parts of a table's key.
    """

    arn: str = ""
    owner: str = ""
    policy: str = ""
    partition_key: str = ""


def owner_of(resource: str, otherwise: str) -> str:
    """The account in an ARN."""
    parts = resource.split(":", 5)
    return parts[4] if len(parts) == 6 and parts[4].isdigit() else otherwise


class Unreadable(Exception):
    """A request that cannot be understood: code, message and status as AWS has them."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


def texts(value: Any) -> list[str]:
    """Texts of a list that came from a client."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise Unreadable("ValidationException", "A list of strings is expected.")
    return value


def text(asked: Asked, *names: str) -> str:
    """The first of these parameters that is there; "" if none is."""
    for name in names:
        value = asked.parameters.get(name)
        if value is not None:
            if not isinstance(value, str):
                raise Unreadable("ValidationException", f"{name} must be a string.")
            return value
    return ""


def items(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise Unreadable("ValidationException", "A list of structures is expected.")
    return value
