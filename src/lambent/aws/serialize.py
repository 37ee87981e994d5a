"""From an operation's result, or an error, to a response on the wire."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

from lambent.aws import cbor, eventstream
from lambent.aws.model import Operation, ServiceModel, Shape

JSON_TYPE = ("Content-Type", "application/json")


@dataclass(slots=True)
class WireResponse:
    """Status, headers and body, ready to be sent; request_id is "" until somebody knows it."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    request_id: str = ""
    # Pieces that follow instead of a body.
    stream: AsyncIterator[bytes] | None = None


def serialize_rest(operation: Operation, result: dict[str, Any]) -> WireResponse:
    """The rest-json response for a result; members that are None or absent are left out."""
    response = WireResponse(operation.status)
    if operation.output is None or operation.status == 204:
        return response
    gives = operation.gives
    if gives.status is not None:
        response.status = result.get(gives.status, operation.status)
    for name, wire_name, shape in gives.headers:
        value = result.get(name)
        if value is not None:
            response.headers.append((wire_name, _header(shape, value)))
    if gives.payload is None:
        response.headers.append(JSON_TYPE)
        document = {
            wire_name: _value(shape, result[name])
            for name, wire_name, shape in gives.body
            if result.get(name) is not None
        }
        response.body = json.dumps(document).encode()
        return response
    name, shape = gives.payload
    value = result.get(name)
    if shape.event_stream:
        if value is not None:
            response.headers.append(("Content-Type", eventstream.CONTENT_TYPE))
            response.stream = _events(shape, value)
    elif shape.kind == "blob":
        response.headers.append(JSON_TYPE)
        response.body = value or b""
    elif value is not None:
        response.headers.append(JSON_TYPE)
        response.body = json.dumps(_value(shape, value)).encode()
    return response


def serialize_json(operation: Operation, result: dict[str, Any], version: str) -> WireResponse:
    """The json-protocol response for a result."""
    document = _value(operation.output, result) if operation.output is not None else {}
    headers = [("Content-Type", f"application/x-amz-json-{version}")]
    return WireResponse(200, headers, json.dumps(document).encode())


def serialize_rest_error(
    model: ServiceModel, code: str, status: int, message: str, extra: dict[str, Any]
) -> WireResponse:
    """An error as rest-json tells it: the code in a header, members cased as modelled."""
    shape = model.shapes.get(code)
    document: dict[str, Any] = {}
    headers = [("x-amzn-ErrorType", code)]
    if shape is not None and shape.error_status:
        if "Type" in shape.members:
            document["Type"] = "Service" if status >= 500 else "User"
        document["Message" if "Message" in shape.members else "message"] = message
        for name, value in extra.items():
            member = shape.members.get(name)
            if member is not None and member.location == "header":
                headers.append((member.wire_name, str(value)))
            elif member is not None:
                document[member.wire_name] = value
    elif status == 403 or code == "AccessDeniedException":
        document["Message"] = message
    else:
        document["message"] = message
    headers.append(JSON_TYPE)
    return WireResponse(status, headers, json.dumps(document).encode())


def serialize_json_error(code: str, status: int, message: str, version: str) -> WireResponse:
    """An error as the json protocols tell it."""
    document = {"__type": code, "message": message}
    headers = [("Content-Type", f"application/x-amz-json-{version}"), ("x-amzn-ErrorType", code)]
    return WireResponse(status, headers, json.dumps(document).encode())


Events = AsyncIterator[tuple[str, dict[str, Any]]]
"""A stream's events: the name of a member of its shape, and that member's value."""


def serialize_json_stream(stream: Shape, events: Events) -> WireResponse:
    """The json-protocol response that goes on: events of a stream."""

    first = eventstream.event("initial-response", b"{}")
    headers = [("Content-Type", eventstream.CONTENT_TYPE)]
    return WireResponse(200, headers, stream=_events(stream, events, first))


async def _events(stream: Shape, events: Events, first: bytes = b"") -> AsyncIterator[bytes]:
    """Events as messages; one that has a payload of its own carries that, others a document."""
    try:
        if first:
            yield first
        async for name, value in events:
            shape = stream.members[name].shape
            raw = next((each.name for each in shape.members.values() if each.event_payload), None)
            if raw is not None:
                yield eventstream.event(name, value[raw], "application/octet-stream")
            else:
                yield eventstream.event(name, json.dumps(_value(shape, value)).encode())
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()


_CBOR = [("Content-Type", "application/cbor"), ("smithy-protocol", "rpc-v2-cbor")]


def serialize_cbor(operation: Operation, result: dict[str, Any]) -> WireResponse:
    """The rpc-v2-cbor response for a result."""
    document = _dated(operation.output, result) if operation.output is not None else {}
    return WireResponse(200, list(_CBOR), cbor.dumps(document))


def serialize_cbor_error(code: str, status: int, message: str) -> WireResponse:
    """An error as rpc-v2-cbor tells it; older clients go by the query protocol's code."""
    side = "Receiver" if status >= 500 else "Sender"
    query = ("x-amzn-query-error", f"{code.removesuffix('Exception')};{side}")
    return WireResponse(status, [*_CBOR, query], cbor.dumps({"__type": code, "message": message}))


def _dated(shape: Shape, value: Any) -> Any:
    """Values with their timestamps marked, as CBOR wants them."""
    if shape.kind == "structure":
        return {
            member.wire_name: _dated(member.shape, value[name])
            for name, member in shape.members.items()
            if value.get(name) is not None
        }
    if shape.kind == "list":
        assert shape.member is not None
        return [_dated(shape.member, each) for each in value]
    if shape.kind == "map":
        assert shape.value is not None
        return {key: _dated(shape.value, each) for key, each in value.items()}
    return cbor.Timestamp(value) if shape.kind == "timestamp" else value


def _header(shape: Shape, value: Any) -> str:
    if shape.kind == "string":
        return str(value)
    if shape.kind == "boolean":
        return "true" if value else "false"
    if shape.kind == "timestamp":
        return format_datetime(datetime.fromtimestamp(value, UTC), usegmt=True)
    return str(value)


def _value(shape: Shape, value: Any) -> Any:
    kind = shape.kind
    if kind == "structure":
        return {
            member.wire_name: _value(member.shape, value[name])
            for name, member in shape.members.items()
            if value.get(name) is not None
        }
    if kind == "list":
        assert shape.member is not None
        return [_value(shape.member, each) for each in value]
    if kind == "map":
        assert shape.value is not None
        return {key: _value(shape.value, each) for key, each in value.items()}
    if kind == "blob":
        return base64.b64encode(value).decode()
    return value
