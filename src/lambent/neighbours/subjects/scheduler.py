"""EventBridge Scheduler's, whose paths say what is meant."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from urllib.parse import unquote

from lambent.neighbours.subjects.base import Asked, Unreadable, Wanted

_PATH = re.compile(r"/(schedules|schedule-groups|tags)(?:/([^/]+))?/?")
_VERBS = {"POST": "Create", "PUT": "Update", "GET": "Get", "DELETE": "Delete"}


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
        raise Unreadable("UnknownOperationException", "The operation is not known.", 404)
    kind, name = found[1], unquote(found[2] or "")
    if "/" in name and kind != "tags":
        raise Unreadable("ValidationException", "A name has no slash.")
    thing = "ScheduleGroup" if kind == "schedule-groups" else "Schedule"
    if kind == "tags":
        tags = {"GET": "ListTagsForResource", "POST": "TagResource", "DELETE": "UntagResource"}
        if method not in tags:
            raise Unreadable("UnknownOperationException", "The operation is not known.", 404)
        return Asked("scheduler", tags[method], account, region, {"ResourceArn": name})
    if not name:
        if method != "GET":
            raise Unreadable("UnknownOperationException", "The operation is not known.", 404)
        return Asked("scheduler", f"List{thing}s", account, region)
    parameters: dict[str, object] = {"Name": name}
    parameters["GroupName"] = query.get("groupName", [""])[-1]
    if body and thing == "Schedule":
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            raise Unreadable("ValidationException", "The body is not JSON.") from None
        if not isinstance(document, dict):
            raise Unreadable("ValidationException", "The body is not a JSON object.")
        target = document.get("Target")
        parameters["GroupName"] = document.get("GroupName") or ""
        if "groupName" in query or document.get("Name", name) != name:
            raise Unreadable("ValidationException", "What is meant is said twice.")
        parameters["RoleArn"] = target.get("RoleArn") if isinstance(target, dict) else None
    return Asked("scheduler", _VERBS[method] + thing, account, region, parameters)


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
        group = parameters.get("GroupName") or "default"
        yield Wanted(action, asked.arn(f"schedule/{group}/{parameters['Name']}"))
        role = parameters.get("RoleArn")
        if isinstance(role, str):
            keys = (("iam:passedtoservice", "scheduler.amazonaws.com"),)
            yield Wanted("iam:PassRole", role, keys=keys)
