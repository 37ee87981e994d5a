"""From a request on the wire to an operation's parameters.

Parameters are plain Python values named as in the model: str, int, float, bool, bytes (blobs),
float seconds since the epoch (timestamps), list, dict.  Unknown members are ignored and null ones
are absent, as AWS has it.
"""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote_plus

from lambent.aws import cbor, jsontext
from lambent.aws.large_json import LongStrings
from lambent.aws.model import Operation, Shape

_DEPTH = 100


class SerializationError(Exception):
    """The request's body or a parameter has the wrong type or form; AWS: SerializationException."""


def parse_query(query: str) -> dict[str, list[str]]:
    """A query string, percent-decoded: name → values in order."""
    found: dict[str, list[str]] = {}
    if not query:
        return found
    for part in query.split("&"):
        name, _, value = part.partition("=")
        found.setdefault(unquote_plus(name), []).append(unquote_plus(value))
    return found


def parse_rest(
    operation: Operation,
    labels: dict[str, str],
    query: dict[str, list[str]],
    headers: dict[str, str],
    body: bytes,
) -> dict[str, Any]:
    """The parameters of a rest-json request; raises SerializationError."""
    takes = operation.takes
    parameters: dict[str, Any] = {}
    for name, wire_name, shape in takes.uri:
        parameters[name] = text_value(shape, labels[wire_name], "querystring")
    for name, wire_name, shape in takes.headers:
        value = headers.get(wire_name)
        if value is not None:
            parameters[name] = text_value(shape, value, "header")
    if query:
        for name, wire_name, shape in takes.query:
            if wire_name in query:
                parameters[name] = _query_value(shape, query[wire_name])
    if takes.payload is not None:
        name, shape = takes.payload
        if shape.kind == "blob":
            parameters[name] = body
        elif body:
            parameters[name] = _value(shape, _load(body), 0)
    elif takes.body and body:
        document = _load(body)
        if not isinstance(document, dict):
            raise SerializationError(_mismatch(document, "a structure"))
        for name, wire_name, shape in takes.body:
            if document.get(wire_name) is not None:
                parameters[name] = _value(shape, document[wire_name], 0)
    return parameters


def parse_large_rest(
    operation: Operation,
    labels: dict[str, str],
    query: dict[str, list[str]],
    headers: dict[str, str],
    body: bytes,
) -> dict[str, Any]:
    """Like ``parse_rest``, for a large JSON body; to be called in a thread."""
    strings = LongStrings()
    try:
        left = strings.cut(body)
    except ValueError:
        raise SerializationError("Could not parse request body into json") from None
    parameters = strings.put_back(parse_rest(operation, labels, query, headers, left))
    if strings.left:
        raise SerializationError("Could not parse request body into json")
    assert isinstance(parameters, dict)
    return parameters


def parse_json(operation: Operation, body: bytes) -> dict[str, Any]:
    """The parameters of a json-protocol request; raises SerializationError."""
    if operation.input is None or not body:
        return {}
    parameters = _value(operation.input, _load(body), 0)
    assert isinstance(parameters, dict)
    return parameters


def parse_cbor(operation: Operation, body: bytes) -> dict[str, Any]:
    """The parameters of an rpc-v2-cbor request; raises SerializationError."""
    if operation.input is None or not body:
        return {}
    try:
        parameters = _value(operation.input, cbor.loads(body), 0)
    except (cbor.CborError, OverflowError, ValueError) as error:
        raise SerializationError(f"Could not parse request body into cbor: {error}") from None
    if not isinstance(parameters, dict):
        raise SerializationError("Could not parse request body into cbor: not a map")
    return parameters


def _load(body: bytes) -> Any:
    try:
        return jsontext.decode(body)
    except ValueError:
        raise SerializationError("Could not parse request body into json") from None


def _query_value(shape: Shape, values: list[str]) -> Any:
    if shape.kind == "list":
        assert shape.member is not None
        return [text_value(shape.member, value, "querystring") for value in values]
    return text_value(shape, values[0], "querystring")


def text_value(shape: Shape, text: str, location: str) -> Any:
    """A value that travels as text."""
    kind = shape.kind
    if kind == "string":
        return text
    try:
        if kind in ("integer", "long"):
            return int(text)
        if kind in ("double", "float"):
            return float(text)
        if kind == "boolean":
            return {"true": True, "false": False}[text.lower()]
        if kind == "timestamp":
            return _timestamp(text, location)
    except (ValueError, KeyError, TypeError):
        pass
    raise SerializationError(f"STRING_VALUE cannot be converted to {_title(kind)}")


def _timestamp(text: str, location: str) -> float:
    if location == "header":
        return parsedate_to_datetime(text).timestamp()
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


_TITLES = {
    "string": "String",
    "integer": "Integer",
    "long": "Long",
    "double": "Double",
    "float": "Float",
    "boolean": "Boolean",
    "timestamp": "Timestamp",
    "blob": "Blob",
    "list": "List",
    "map": "Map",
}


def _title(kind: str) -> str:
    return _TITLES.get(kind, kind)


def _mismatch(value: Any, wanted: str) -> str:
    if isinstance(value, bool):
        token = "TRUE_VALUE" if value else "FALSE_VALUE"
    elif isinstance(value, int | float):
        token = "NUMBER_VALUE"
    elif isinstance(value, str):
        token = "STRING_VALUE"
    elif isinstance(value, list):
        token = "Start of list"
    else:
        token = "Start of structure or map"
    return f"{token} cannot be converted to {wanted}"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _value(shape: Shape, value: Any, depth: int) -> Any:
    """A value that travels as JSON."""
    if depth > _DEPTH:
        raise SerializationError("Could not parse request body into json: nested too deeply")
    kind = shape.kind
    if kind == "structure" and isinstance(value, dict):
        return {
            name: _value(member.shape, value[member.wire_name], depth + 1)
            for name, member in shape.members.items()
            if value.get(member.wire_name) is not None
        }
    if kind == "list" and isinstance(value, list):
        assert shape.member is not None
        return [_value(shape.member, each, depth + 1) for each in value if each is not None]
    if kind == "map" and isinstance(value, dict):
        assert shape.value is not None
        return {
            key: _value(shape.value, each, depth + 1)
            for key, each in value.items()
            if each is not None
        }
    if kind == "string" and isinstance(value, str):
        return value
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind in ("integer", "long") and _number(value) and value == int(value):
        return int(value)
    if kind in ("double", "float") and _number(value):
        return float(value)
    if kind == "timestamp" and _number(value):
        return float(value)
    if kind == "timestamp" and isinstance(value, str):
        return text_value(shape, value, "body")
    if kind == "blob" and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise SerializationError("Blob value must be valid base64") from None
    raise SerializationError(_mismatch(value, _title(kind)))
