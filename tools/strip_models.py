"""Writes the service models Lambent is driven by, from the newest botocore installed.

    python tools/strip_models.py

Keeps what a server needs (operations, shapes, constraints), drops documentation and client-side
hints, and records botocore's version in each file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import botocore
import botocore.loaders

TARGET = Path(__file__).resolve().parents[1] / "src/lambent/aws/models"
SERVICES: dict[str, tuple[str, ...] | None] = {
    "lambda": None,
    "iam": (
        "AddUserToGroup",
        "AttachGroupPolicy",
        "AttachRolePolicy",
        "AttachUserPolicy",
        "CreateAccessKey",
        "CreateGroup",
        "CreatePolicy",
        "CreatePolicyVersion",
        "CreateRole",
        "CreateUser",
        "DeleteAccessKey",
        "DeleteGroup",
        "DeleteGroupPolicy",
        "DeletePolicy",
        "DeletePolicyVersion",
        "DeleteRole",
        "DeleteRolePermissionsBoundary",
        "DeleteRolePolicy",
        "DeleteUser",
        "DeleteUserPermissionsBoundary",
        "DeleteUserPolicy",
        "DetachGroupPolicy",
        "DetachRolePolicy",
        "DetachUserPolicy",
        "GetAccessKeyLastUsed",
        "GetAccountSummary",
        "GetGroup",
        "GetGroupPolicy",
        "GetPolicy",
        "GetPolicyVersion",
        "GetRole",
        "GetRolePolicy",
        "GetUser",
        "GetUserPolicy",
        "ListAccessKeys",
        "ListAccountAliases",
        "ListAttachedGroupPolicies",
        "ListAttachedRolePolicies",
        "ListAttachedUserPolicies",
        "ListEntitiesForPolicy",
        "ListGroupPolicies",
        "ListGroups",
        "ListGroupsForUser",
        "ListInstanceProfiles",
        "ListInstanceProfilesForRole",
        "ListPolicies",
        "ListPolicyTags",
        "ListPolicyVersions",
        "ListRolePolicies",
        "ListRoleTags",
        "ListRoles",
        "ListUserPolicies",
        "ListUserTags",
        "ListUsers",
        "PutGroupPolicy",
        "PutRolePermissionsBoundary",
        "PutRolePolicy",
        "PutUserPermissionsBoundary",
        "PutUserPolicy",
        "RemoveUserFromGroup",
        "SetDefaultPolicyVersion",
        "SimulateCustomPolicy",
        "SimulatePrincipalPolicy",
        "TagPolicy",
        "TagRole",
        "TagUser",
        "UntagPolicy",
        "UntagRole",
        "UntagUser",
        "UpdateAccessKey",
        "UpdateAssumeRolePolicy",
        "UpdateGroup",
        "UpdateRole",
        "UpdateRoleDescription",
        "UpdateUser",
    ),
    "sts": (
        "AssumeRole",
        "DecodeAuthorizationMessage",
        "GetAccessKeyInfo",
        "GetCallerIdentity",
        "GetSessionToken",
    ),
    "cloudwatch": ("GetMetricData", "GetMetricStatistics", "ListMetrics"),
    "logs": (
        "CreateLogGroup",
        "CreateLogStream",
        "DeleteLogGroup",
        "DeleteLogStream",
        "DeleteRetentionPolicy",
        "DescribeLogGroups",
        "DescribeLogStreams",
        "FilterLogEvents",
        "GetLogEvents",
        "PutLogEvents",
        "PutRetentionPolicy",
        "StartLiveTail",
    ),
}
# Services whose requests the gateway reads and rebuilds: what they take, not what they answer.
_PARAMETERS = (
    "AddTagsToResource",
    "DeleteParameter",
    "DeleteParameters",
    "DescribeParameters",
    "GetParameter",
    "GetParameterHistory",
    "GetParameters",
    "GetParametersByPath",
    "LabelParameterVersion",
    "ListTagsForResource",
    "PutParameter",
    "RemoveTagsFromResource",
    "UnlabelParameterVersion",
)
REQUESTS: dict[str, tuple[str, ...] | None] = {
    "cloudformation": None,
    "dynamodb": None,
    "dynamodbstreams": None,
    "events": None,
    "kinesis": None,
    "kms": None,
    "scheduler": None,
    "secretsmanager": None,
    "sns": None,
    "sqs": None,
    "ssm": _PARAMETERS,
}
_DROPPED = {
    "documentation",
    "documentationUrl",
    "endpoint",
    "endpointdiscovery",
    "deprecatedMessage",
    "deprecatedSince",
    "staticContextParams",
    "operationContextParams",
    "contextParam",
    "examples",
    "readonly",
    "hostLabel",
    "idempotent",
    "synthetic",
    "httpChecksum",
}


# What a request's structure can be read without: the service itself holds values to these.
_CONSTRAINTS = {"pattern", "min", "max", "enum", "required", "sensitive", "exception", "error"}


def _strip_shape(shape: dict[str, Any], requests_only: bool) -> dict[str, Any]:
    dropped = _DROPPED | _CONSTRAINTS if requests_only else _DROPPED
    kept = {key: value for key, value in shape.items() if key not in dropped}
    if "members" in kept:
        kept["members"] = {
            name: {key: value for key, value in member.items() if key not in _DROPPED}
            for name, member in kept["members"].items()
        }
    for name in ("member", "key", "value"):
        if name in kept:
            kept[name] = {key: value for key, value in kept[name].items() if key not in _DROPPED}
    return kept


def _reachable(model: dict[str, Any], names: list[str]) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        shape = model["shapes"][name]
        references = list(shape.get("members", {}).values())
        references += [shape[key] for key in ("member", "key", "value") if key in shape]
        waiting.extend(reference["shape"] for reference in references)
    return found


def strip(
    service: str, wanted: tuple[str, ...] | None, requests_only: bool = False
) -> dict[str, Any]:
    """One service's model, reduced to the wanted operations (None: all), or to their requests."""
    model = botocore.loaders.Loader().load_service_model(service, "service-2")
    dropped = _DROPPED | {"output", "errors"} if requests_only else _DROPPED
    operations = {
        name: {key: value for key, value in operation.items() if key not in dropped}
        for name, operation in model["operations"].items()
        if wanted is None or name in wanted
    }
    roots: list[str] = []
    for operation in operations.values():
        roots += [operation[key]["shape"] for key in ("input", "output") if key in operation]
        roots += [error["shape"] for error in operation.get("errors", [])]
    names = _reachable(model, roots)
    return {
        "source": f"botocore {botocore.__version__}",
        "metadata": {
            key: model["metadata"][key]
            for key in (
                "apiVersion",
                "protocol",
                "serviceId",
                "signingName",
                "targetPrefix",
                "jsonVersion",
                "endpointPrefix",
                "xmlNamespace",
            )
            if key in model["metadata"]
        },
        "operations": operations,
        "shapes": {
            name: _strip_shape(model["shapes"][name], requests_only) for name in sorted(names)
        },
    }


def main() -> None:
    """Write every model."""
    models = {service: strip(service, wanted) for service, wanted in SERVICES.items()}
    models |= {service: strip(service, wanted, True) for service, wanted in REQUESTS.items()}
    for service, stripped in models.items():
        text = json.dumps(stripped, separators=(",", ":"))
        (TARGET / f"{service}.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
