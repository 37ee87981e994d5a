"""Requests in one canonical form: what the service model knows of them, written again.

A member that the model does not know is left out, one of another type is refused, a name that is
given twice counts once.  So what was authorised and what is sent on are one reading.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, urlencode

from lambent.aws import jsontext, model
from lambent.aws.model import Operation, Shape
from lambent.neighbours.subjects.base import Unreadable

_DEEPEST = 100


def operation_of(service: str, name: str, unknown: str = "UnknownOperationException") -> Operation:
    """An operation of a service's model; raises Unreadable with the code ``unknown``."""
    operation = model.load(service).operations.get(name)
    if operation is None:
        raise Unreadable(unknown, f"The operation {name[:64]} is not known.")
    return operation


def read_json(shape: Shape | None, body: bytes) -> dict[str, Any]:
    """The parameters in a JSON document; raises Unreadable."""
    try:
        document = jsontext.decode(body) if body else {}
    except ValueError:
        raise Unreadable("SerializationException", "The body is not JSON.") from None
    if not isinstance(document, dict):
        raise Unreadable("SerializationException", "The body is not a JSON object.")
    return _structure(shape, document, 0) if shape is not None else {}


def write_json(parameters: dict[str, Any]) -> bytes:
    """Parameters as a JSON document; raises Unreadable for half a pair of surrogates."""
    try:
        return jsontext.encode(parameters)
    except UnicodeEncodeError:
        raise Unreadable("SerializationException", "The body is not Unicode text.") from None


def check_form(operation: Operation, form: Iterable[str]) -> None:
    """Raise Unreadable for a name in a form that is no parameter of the operation."""
    members = operation.input.members if operation.input is not None else {}
    known = {member.wire_name: member.shape for member in members.values()}
    for name in form:
        first, _, rest = name.partition(".")
        if first in ("Action", "Version") and not rest:
            continue
        shape = known.get(first)
        if shape is None or (bool(rest) and shape.kind not in ("structure", "list", "map")):
            raise Unreadable(
                "InvalidParameterValue", f"{name[:64]} is not a parameter of {operation.name}."
            )


def write_form(form: dict[str, str]) -> bytes:
    """A form's body."""
    return urlencode(form, quote_via=quote).encode()


# -- values by their shapes ---------------------------------------------------------------


def _mismatch(shape: Shape) -> Unreadable:
    return Unreadable("SerializationException", f"A {shape.kind} is expected for {shape.name}.")


def _structure(shape: Shape, value: Any, depth: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _mismatch(shape)
    found = {}
    members = shape.members
    for name, each in value.items():
        member = members.get(name)
        if member is not None and each is not None:
            found[name] = _value(member.shape, each, depth)
    return found


def _list(shape: Shape, value: Any, depth: int) -> list[Any]:
    if not isinstance(value, list) or shape.member is None:
        raise _mismatch(shape)
    element = shape.member
    return [_value(element, each, depth) for each in value]


def _map(shape: Shape, value: Any, depth: int) -> dict[str, Any]:
    if not isinstance(value, dict) or shape.value is None:
        raise _mismatch(shape)
    element = shape.value
    return {key: _value(element, each, depth) for key, each in value.items()}


_CONTAINERS: dict[str, Callable[[Shape, Any, int], Any]] = {
    "structure": _structure,
    "list": _list,
    "map": _map,
}
_SCALARS: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "blob": (str,),
    "boolean": (bool,),
    "integer": (int, float),
    "long": (int, float),
    "double": (int, float),
    "float": (int, float),
    "timestamp": (int, float, str),
}


def _value(shape: Shape, value: Any, depth: int) -> Any:
    kind = shape.kind
    container = _CONTAINERS.get(kind)
    if container is not None:
        if depth >= _DEEPEST:
            raise Unreadable("SerializationException", "The document is nested too deeply.")
        return container(shape, value, depth + 1)
    if not isinstance(value, _SCALARS[kind]) or (isinstance(value, bool) and kind != "boolean"):
        raise _mismatch(shape)
    if isinstance(value, float) and kind in ("integer", "long"):
        if not value.is_integer():
            raise _mismatch(shape)
        return int(value)
    return value
