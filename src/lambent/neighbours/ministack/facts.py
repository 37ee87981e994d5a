"""What only a service knows of a resource and the gateway needs to decide: whose, its policy.

All of it is read where MiniStack keeps it, at the moment of the request: nothing is remembered.
"""

from __future__ import annotations

from typing import Any

from lambent.neighbours.ministack.adapter import MiniStack, need


def facts(stack: MiniStack, service: str, account: str, region: str, about: str) -> dict[str, str]:
    """Of a resource that about names; {} if there is none.

    arn: its whole ARN; owner: its account; policy: its own; partition_key: of a table.
    """
    find = _OF.get(service)
    if find is None:
        return {}
    module = stack.module(_MODULES.get(service, service))
    with stack.scope(account, region):
        found = find(module, about)
    return {name: str(value) for name, value in found.items() if value}


def _s3(module: Any, bucket: str) -> dict[str, Any]:
    owner = need(module, "_bucket_owner_account")(bucket)
    if owner is None:
        return {}
    return {"owner": owner, "policy": module._bucket_policies.get_scoped(owner, None, bucket)}


def _sqs(module: Any, arn: str) -> dict[str, Any]:
    queue = need(module, "_queue_by_arn")(arn)
    return {"arn": arn, "policy": queue["attributes"].get("Policy")} if queue else {}


def _sns(module: Any, arn: str) -> dict[str, Any]:
    topic = need(module, "_topic_by_arn_any_scope")(arn)
    return {"arn": arn, "policy": topic["attributes"].get("Policy")} if topic else {}


def _dynamodb(module: Any, arn: str) -> dict[str, Any]:
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return {}
    _, _, _, region, account, rest = parts
    name = rest.removeprefix("table/").partition("/")[0]
    table = need(module, "_tables").get_scoped(account, region, name)
    entry = module._resource_policies.get_scoped(account, region, arn)
    policy = entry["Policy"] if entry else ""
    return {"arn": arn, "policy": policy, "partition_key": table["pk_name"] if table else ""}


def _kinesis(module: Any, about: str) -> dict[str, Any]:
    kind, _, token = about.partition(":")
    arn = about
    if kind == "iterator":
        iterator = need(module, "_shard_iterators").get(token)
        if iterator is None:
            return {}
        arn = iterator["stream_arn"]
    parts = arn.split(":", 5)
    if len(parts) < 6:
        return {}
    return {
        "arn": arn,
        "policy": need(module, "_resource_policies").get_scoped(parts[4], parts[3], arn),
    }


def _kms(module: Any, name: str) -> dict[str, Any]:
    key = need(module, "_resolve_key")(name)
    return {"arn": key["Arn"], "policy": key.get("Policy")} if key else {}


def _secretsmanager(module: Any, name: str) -> dict[str, Any]:
    _, secret = need(module, "_resolve")(name)
    if secret is None:
        return {}
    return {"arn": secret["ARN"], "policy": module._resource_policies.get(secret["ARN"])}


def _cloudformation(module: Any, arn: str) -> dict[str, Any]:
    """Of a change set, its stack."""
    change = need(module, "_change_sets").get(arn)
    return {"arn": change["StackId"]} if change else {}


_MODULES = {"dynamodbstreams": "dynamodb"}
_OF = {
    "s3": _s3,
    "cloudformation": _cloudformation,
    "sqs": _sqs,
    "sns": _sns,
    "dynamodb": _dynamodb,
    "kinesis": _kinesis,
    "kms": _kms,
    "secretsmanager": _secretsmanager,
}
