"""EventBridge Scheduler's, whose paths say what is meant."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from lambent.aws.model import Operation
from lambent.neighbours.subjects import canonical
from lambent.neighbours.subjects.base import Asked, Outgoing, Unreadable, Wanted

_PATH = re.compile(r"/(schedules|schedule-groups|tags)(?:/([^/]+))?/?")
_NAME = re.compile(r"[0-9a-zA-Z_.-]{1,64}")
_ARN = re.compile(r"arn:aws:scheduler:[a-z0-9-]+:\d{12}:schedule-group/[0-9a-zA-Z_.-]{1,64}")
_VERBS = {"POST": "Create", "PUT": "Update", "GET": "Get", "DELETE": "Delete"}
_TAGS = {"GET": "ListTagsForResource", "POST": "TagResource", "DELETE": "UntagResource"}
_UNKNOWN = Unreadable("UnknownOperationException", "The operation is not known.", 404)


def read(
    method: str,
    path: str,
    query: dict[str, list[str]],
    body: bytes,
    account: str,
    region: str,
) -> Asked:
    """A request; raises Unreadable."""
    found = _PATH.fullmatch(path)
    if found is None or method not in _VERBS:
        raise _UNKNOWN
    kind, name = found[1], unquote(found[2] or "")
    parameters: dict[str, Any] = {}
    if kind == "tags":
        if not _ARN.fullmatch(name):
            raise Unreadable("ValidationException", "The ARN of the resource is not valid.")
        operation = _TAGS.get(method, "")
        parameters["ResourceArn"] = name
    else:
        thing = "ScheduleGroup" if kind == "schedule-groups" else "Schedule"
        operation = _VERBS[method] + thing if name else f"List{thing}s"
        if not name and method != "GET":
            raise _UNKNOWN
        if name and not _NAME.fullmatch(name):
            raise Unreadable("ValidationException", "The name is not valid.")
        parameters.update({"Name": name} if name else {})
    known = canonical.operation_of("scheduler", operation)
    parameters.update(_beside(known, query, body, parameters))
    sent = {wire: parameters[each] for each, wire, _ in known.takes.body if each in parameters}
    pairs = tuple(
        (wire, value)
        for each, wire, _ in known.takes.query
        for value in _listed(parameters.get(each))
    )
    place = f"/{kind}/{name}" if name else f"/{kind}"
    headers = {"content-type": "application/json"} if sent else {}
    request = Outgoing(method, place, pairs, headers)
    content = canonical.write_json(sent) if sent else b""
    return Asked("scheduler", operation, account, region, parameters, request, content)


def _beside(
    operation: Operation, query: dict[str, list[str]], body: bytes, named: dict[str, Any]
) -> dict[str, Any]:
    """What a request says beside its path; raises Unreadable where it says something twice."""
    found: dict[str, Any] = {}
    for each, wire, shape in operation.takes.query:
        values = query.get(wire, [])
        if len(values) > 1 and shape.kind != "list":
            raise Unreadable("ValidationException", f"{wire} is given twice.")
        if values:
            found[each] = values if shape.kind == "list" else values[0]
    document = canonical.read_json(operation.input, body)
    in_body = {each for each, _, _ in operation.takes.body}
    for each, value in document.items():
        if each in in_body:
            found[each] = value
        elif named.get(each, value) != value or each in found:
            raise Unreadable("ValidationException", f"{each} is given twice.")
    return found


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(each) for each in value] if isinstance(value, list) else [str(value)]


def wanted(asked: Asked) -> Iterator[Wanted]:
    """What it wants."""
    action, parameters = f"scheduler:{asked.operation}", asked.parameters
    if "ResourceArn" in parameters:
        yield Wanted(action, str(parameters["ResourceArn"]))
    elif asked.operation.startswith("List"):
        yield Wanted(action, "*")
    elif asked.operation.endswith("Group"):
        yield Wanted(action, asked.arn(f"schedule-group/{parameters['Name']}"))
    else:
        group = str(parameters.get("GroupName") or "default")
        if not _NAME.fullmatch(group):
            raise Unreadable("ValidationException", "The name of the group is not valid.")
        yield Wanted(action, asked.arn(f"schedule/{group}/{parameters['Name']}"))
        role = parameters.get("Target", {}).get("RoleArn")
        if isinstance(role, str):
            keys = (("iam:passedtoservice", "scheduler.amazonaws.com"),)
            yield Wanted("iam:PassRole", role, keys=keys)
