"""The query protocol: parameters as a form with dotted names, answers as XML.

``Tags.member.1.Key=a`` is the first element of a list; ``Map.entry.1.key`` the first of a map.
Source: Smithy, "AWS query protocol".
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_plus
from xml.sax.saxutils import escape

from lambent.aws.model import Operation, Shape
from lambent.aws.parse import SerializationError, text_value
from lambent.aws.serialize import WireResponse

# The largest form takes a list of policies; decoding one of this size takes about 20 ms.
MOST_BYTES = 256 * 1024
_MOST_PAIRS = 10_000
_DEEPEST = 20
_HEADERS = [("Content-Type", "text/xml")]
_NUMBER = re.compile(r"[0-9]{1,9}")
# What XML 1.0 cannot say at all.
_UNSPEAKABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_Node = dict[str | None, Any]
"""Names with dots, taken apart: a value lies under None of its node, which no name is."""


def parse_form(body: bytes) -> dict[str, str]:
    """The form's pairs; of a repeated name the last counts.  Raises SerializationError."""
    if len(body) > MOST_BYTES:
        raise SerializationError("The request is too long")
    if body.count(b"&") >= _MOST_PAIRS:
        raise SerializationError("The request has too many parameters")
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        raise SerializationError("The request body is not a form") from None
    parts = text.split("&") if text else []
    pairs = (part.partition("=") for part in parts)
    return {unquote_plus(name): unquote_plus(value) for name, _, value in pairs}


def parameters(operation: Operation, form: dict[str, str]) -> dict[str, Any]:
    """An operation's parameters; raises SerializationError."""
    if operation.input is None:
        return {}
    root: _Node = {}
    for name, value in form.items():
        parts = name.split(".")
        if len(parts) > _DEEPEST:
            raise SerializationError("The request's parameters are nested too deeply")
        node = root
        for part in parts:
            node = node.setdefault(part, {})
        node[None] = value
    found = _read(operation.input, root)
    assert isinstance(found, dict)
    return found


def _read(shape: Shape, node: _Node) -> Any:
    if shape.kind == "structure":
        return {
            name: _read(member.shape, node[member.wire_name])
            for name, member in shape.members.items()
            if member.wire_name in node
        }
    if shape.kind == "list":
        assert shape.member is not None
        member = shape.member
        return [_read(member, each) for each in _numbered(node.get("member", {}))]
    if shape.kind == "map":
        assert shape.key is not None and shape.value is not None
        value = shape.value
        return {
            each.get("key", {}).get(None, ""): _read(value, each.get("value", {}))
            for each in _numbered(node.get("entry", {}))
        }
    text = node.get(None, "")
    if shape.kind == "blob":
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise SerializationError("Blob value must be valid base64") from None
    return text_value(shape, text, "query")


def _numbered(node: _Node) -> Iterator[_Node]:
    """A list's elements in the order of their numbers."""
    numbers = [name for name in node if name is not None and _NUMBER.fullmatch(name)]
    for number in sorted(numbers, key=int):
        yield node[number]


def serialize(
    operation: Operation, result: dict[str, Any], namespace: str, request_id: str
) -> WireResponse:
    """An operation's answer."""
    wrapped = ""
    if operation.output is not None:
        inner = "".join(_members(operation.output, result))
        wrapped = f"<{operation.name}Result>{inner}</{operation.name}Result>"
    text = (
        f'<{operation.name}Response xmlns="{namespace}">{wrapped}<ResponseMetadata>'
        f"<RequestId>{request_id}</RequestId></ResponseMetadata></{operation.name}Response>"
    )
    return WireResponse(200, [*_HEADERS], text.encode(), request_id=request_id)


def serialize_error(
    code: str, status: int, message: str, namespace: str, request_id: str
) -> WireResponse:
    """An error."""
    fault = "Receiver" if status >= 500 else "Sender"
    text = (
        f'<ErrorResponse xmlns="{namespace}"><Error><Type>{fault}</Type><Code>{_text(code)}</Code>'
        f"<Message>{_text(message)}</Message></Error><RequestId>{request_id}</RequestId>"
        "</ErrorResponse>"
    )
    return WireResponse(status, [*_HEADERS], text.encode(), request_id=request_id)


def _text(value: str) -> str:
    return escape(_UNSPEAKABLE.sub("\ufffd", value))


def _members(shape: Shape, value: dict[str, Any]) -> Iterator[str]:
    for name, member in shape.members.items():
        if value.get(name) is not None:
            inner = "".join(_value(member.shape, value[name]))
            yield f"<{member.wire_name}>{inner}</{member.wire_name}>"


def _value(shape: Shape, value: Any) -> Iterator[str]:
    if shape.kind == "structure":
        yield from _members(shape, value)
    elif shape.kind == "list":
        assert shape.member is not None
        for each in value:
            yield f"<member>{''.join(_value(shape.member, each))}</member>"
    elif shape.kind == "map":
        assert shape.value is not None
        for key, each in value.items():
            inner = "".join(_value(shape.value, each))
            yield f"<entry><key>{_text(str(key))}</key><value>{inner}</value></entry>"
    elif shape.kind == "boolean":
        yield "true" if value else "false"
    elif shape.kind == "timestamp":
        yield datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    elif shape.kind == "blob":
        yield base64.b64encode(value).decode()
    else:
        yield _text(str(value))
