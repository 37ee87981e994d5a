"""A service model, loaded from the stripped copies of botocore's that ``tools/`` writes."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass, field
from importlib import resources
from typing import Any


@dataclass(slots=True)
class Shape:
    """One shape: its type and, where it has them, its constraints and members."""

    name: str
    kind: str
    members: dict[str, Member] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    member: Shape | None = None
    key: Shape | None = None
    value: Shape | None = None
    minimum: float | None = None
    maximum: float | None = None
    pattern: str | None = None
    matcher: re.Pattern[str] | None = None
    enum: tuple[str, ...] = ()
    payload: str | None = None
    sensitive: bool = False
    event_stream: bool = False
    event: bool = False
    error_status: int = 0
    # Whether a value of it can break a constraint.
    constrained: bool = True
    # Short strings found valid lately: function names come again and again.
    valid: set[str] = field(default_factory=set)


@dataclass(slots=True)
class Member:
    """A structure's member: its shape and where on the wire it travels ("" is the body)."""

    name: str
    shape: Shape
    location: str
    wire_name: str
    # Whether it is, as it is, the payload of an event in a stream.
    event_payload: bool = False


class Travellers:
    """An input's or output's members by the way they travel: (name, name on the wire, shape)."""

    def __init__(self, shape: Shape | None, lower: bool = False) -> None:
        """lower: names of headers as they are looked up, in lower case."""
        self.uri: list[tuple[str, str, Shape]] = []
        self.query: list[tuple[str, str, Shape]] = []
        self.headers: list[tuple[str, str, Shape]] = []
        self.body: list[tuple[str, str, Shape]] = []
        self.payload: tuple[str, Shape] | None = None
        self.status: str | None = None
        for name, member in shape.members.items() if shape is not None else ():
            if shape is not None and name == shape.payload:
                self.payload = (name, member.shape)
            elif member.location == "uri":
                self.uri.append((name, member.wire_name, member.shape))
            elif member.location == "querystring":
                self.query.append((name, member.wire_name, member.shape))
            elif member.location == "header":
                wire_name = member.wire_name.lower() if lower else member.wire_name
                self.headers.append((name, wire_name, member.shape))
            elif member.location == "statusCode":
                self.status = name
            elif not member.location:
                self.body.append((name, member.wire_name, member.shape))


@dataclass(slots=True)
class Operation:
    """One operation: how it is asked for and what it takes and gives."""

    name: str
    method: str
    path: tuple[str, ...]
    query: tuple[tuple[str, str], ...]
    status: int
    input: Shape | None
    output: Shape | None
    errors: tuple[str, ...]
    takes: Travellers
    gives: Travellers


@dataclass(slots=True)
class ServiceModel:
    """One service: protocol (rest-json, json, query), operations by name, shapes by name."""

    source: str
    protocol: str
    service_id: str
    signing_name: str
    target_prefix: str
    json_version: str
    xml_namespace: str
    operations: dict[str, Operation]
    shapes: dict[str, Shape]


def _compile(pattern: str) -> re.Pattern[str]:
    """Java's regular expression as Python's; of \\p classes the models use one combination."""
    return re.compile(pattern.replace(r"\p{L}\p{Z}\p{N}_", r"\w\s"))


def _shape(name: str, raw: dict[str, Any]) -> Shape:
    pattern = raw.get("pattern")
    error = raw.get("error", {})
    return Shape(
        name=name,
        kind=raw["type"],
        required=tuple(raw.get("required", ())),
        minimum=raw.get("min"),
        maximum=raw.get("max"),
        pattern=pattern,
        matcher=_compile(pattern) if pattern else None,
        enum=tuple(raw.get("enum", ())),
        payload=raw.get("payload"),
        sensitive=raw.get("sensitive", False),
        event_stream=raw.get("eventstream", False),
        event=raw.get("event", False),
        error_status=error.get("httpStatusCode", 500 if raw.get("fault") else 400)
        if raw.get("exception")
        else 0,
    )


def _link(shapes: dict[str, Shape], raw: dict[str, Any]) -> None:
    for name, shape in shapes.items():
        source = raw[name]
        for member_name, reference in source.get("members", {}).items():
            shape.members[member_name] = Member(
                member_name,
                shapes[reference["shape"]],
                reference.get("location", ""),
                reference.get("locationName", member_name),
                reference.get("eventpayload", False),
            )
        for attribute in ("member", "key", "value"):
            if attribute in source:
                setattr(shape, attribute, shapes[source[attribute]["shape"]])
        bounds = (shape.minimum, shape.maximum, shape.matcher)
        container = shape.kind in ("structure", "list", "map")
        shape.constrained = (
            container or bool(shape.enum) or any(each is not None for each in bounds)
        )


def _operation(name: str, raw: dict[str, Any], shapes: dict[str, Shape]) -> Operation:
    path, _, query = raw["http"]["requestUri"].partition("?")
    pairs = [part.partition("=") for part in query.split("&") if part]
    taken = shapes[raw["input"]["shape"]] if "input" in raw else None
    given = shapes[raw["output"]["shape"]] if "output" in raw else None
    return Operation(
        name=name,
        method=raw["http"]["method"],
        path=tuple(path.rstrip("/").split("/")[1:]),
        query=tuple((key, value) for key, _, value in pairs),
        status=raw["http"].get("responseCode", 200),
        input=taken,
        output=given,
        errors=tuple(error["shape"] for error in raw.get("errors", ())),
        takes=Travellers(taken, lower=True),
        gives=Travellers(given),
    )


@functools.cache
def load(service: str) -> ServiceModel:
    """The model of a service by the name of its file, "lambda" or "logs"."""
    text = resources.files("lambent.aws.models").joinpath(f"{service}.json").read_text()
    raw = json.loads(text)
    shapes = {name: _shape(name, each) for name, each in raw["shapes"].items()}
    _link(shapes, raw["shapes"])
    metadata = raw["metadata"]
    return ServiceModel(
        source=raw["source"],
        protocol=metadata["protocol"],
        service_id=metadata["serviceId"],
        signing_name=metadata.get("signingName", metadata["endpointPrefix"]),
        target_prefix=metadata.get("targetPrefix", ""),
        json_version=metadata.get("jsonVersion", "1.1"),
        xml_namespace=metadata.get("xmlNamespace", ""),
        operations={
            name: _operation(name, each, shapes) for name, each in raw["operations"].items()
        },
        shapes=shapes,
    )
