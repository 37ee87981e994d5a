"""CloudFormation's resources: Lambda's, IAM's and log groups made by Lambent, the rest by leave.

A stack acts with the rights of who asked for it, or of the role it was given: for what Lambent
makes through its API, signed with a session of that principal; for what the services here make,
after asking whether that principal may.  Types of services that are not offered are unknown.
"""

from __future__ import annotations

import json
import os
from typing import Any

from lambent.neighbours.ministack import (
    stack_functions,
    stack_identities,
    stack_reads,
    stack_roles,
    template_expansion,
)
from lambent.neighbours.ministack.adapter import MiniStack, need
from lambent.neighbours.ministack.ours import Lambent
from lambent.neighbours.ministack.stack_permits import Permits, acting, client
from lambent.neighbours.ministack.stack_types import TYPES, Type, unsupported, values

Properties = dict[str, Any]

# Of CloudFormation itself, which make nothing elsewhere.
_PLAIN = (
    "AWS::CloudFormation::WaitCondition",
    "AWS::CloudFormation::WaitConditionHandle",
    "AWS::CloudFormation::Stack",
    "AWS::CloudFormation::CustomResource",
    "AWS::CDK::Metadata",
)


def install(stack: MiniStack, lambent: Lambent) -> None:
    """Replace and guard the resource types when CloudFormation is loaded."""
    permits = Permits(stack, lambent)

    def prepare() -> None:
        _Types(permits).put_in()
        template_expansion.install()
        stack_reads.install(permits)
        stack_roles.install(permits)

    stack.at_first_use("cloudformation", prepare)


class _Types:
    def __init__(self, permits: Permits) -> None:
        self._permits = permits

    def put_in(self) -> None:
        """Change MiniStack's table of resource types, and how it reaches custom ones."""
        custom = MiniStack.part("cloudformation.custom_resource")
        need(custom, "_response_url")
        custom._response_url = _answer_here
        functions = MiniStack.part("lambda_svc")
        functions._get_func_record_for_ref = lambda arn: (arn, arn, arn)
        functions._execution_record_for_config = lambda arn, _: arn
        functions._execute_function_with_config_scope = _run
        provisioners = MiniStack.part("cloudformation.provisioners")
        table: dict[str, Any] = need(provisioners, "_RESOURCE_HANDLERS")
        name = need(provisioners, "_physical_name")
        kept = {kind: table[kind] for kind in _PLAIN if kind in table}
        self._physical = name
        guarded = {kind: self._guarded(kind, table[kind]) for kind in TYPES}
        ours = {
            kind: _handlers(made)
            for kind, made in (
                *stack_functions.kinds(client, name).items(),
                *stack_identities.kinds(client, name).items(),
            )
        }
        table.clear()
        table.update({**kept, **guarded, **ours})
        # Lambent may ask the services here before it answers, so nothing here may wait for it.
        deployment = MiniStack.part("cloudformation.stacks")
        waits = need(deployment, "_runs_on_worker_thread")
        deployment._runs_on_worker_thread = lambda kind: kind in ours or waits(kind)

    def _guarded(self, name: str, handlers: dict[str, Any]) -> dict[str, Any]:
        """MiniStack's handlers of a type, which ask first whether the stack may."""
        kind = TYPES[name]
        create, delete = handlers["create"], handlers["delete"]
        update = handlers.get("update")

        def creating(logical_id: str, properties: Properties, stack: str) -> Any:
            given = self._named(name, properties, logical_id, stack)
            self._permit(kind, kind.making, _resources(kind, given), given)
            return create(logical_id, given, stack)

        def updating(identity: str, old: Properties, new: Properties, *rest: Any) -> Any:
            if update is None:
                return creating(rest[1], new, rest[0])
            if kind.named and old.get(kind.named) != new.get(kind.named):
                # The handler may replace the resource: it makes the one and removes the other.
                given = self._named(name, new, rest[1], rest[0])
                self._permit(kind, kind.making, _resources(kind, given), given)
                self._permit(kind, kind.removing, _resources(kind, old, identity), {})
            self._permit(kind, kind.changing, _resources(kind, old, identity), new)
            return update(identity, old, new, *rest[: 2 if with_logical_id else 1])

        def deleting(identity: str, properties: Properties) -> None:
            self._permit(kind, kind.removing, _resources(kind, properties, identity), {})
            delete(identity, properties)

        with_logical_id = handlers.get("update_with_logical_id")
        # Without an import: no handler of it says which resource becomes the stack's.
        return {
            "create": creating,
            "update": updating,
            "update_with_logical_id": True,
            "delete": deleting,
        }

    def _named(self, name: str, properties: Properties, logical_id: str, stack: str) -> Properties:
        """The properties with the name that the resource gets; raises ValueError."""
        kind = TYPES[name]
        wrong = unsupported(kind, properties)
        if wrong:
            raise ValueError(wrong)
        given = properties.get(kind.named)
        if not kind.named or kind.named in ("Queues", "Topics", "TopicArn", "Bucket"):
            return properties
        if not given:
            given = self._generated(name, logical_id, stack)
            given += ".fifo" if str(properties.get("FifoQueue")).lower() == "true" else ""
        if not isinstance(given, str) or given.startswith("arn:"):
            raise ValueError(f"{kind.named} is not valid: a name is expected.")
        return {**properties, kind.named: given}

    def _generated(self, name: str, logical_id: str, stack: str) -> str:
        """The name that MiniStack would give to a resource without one."""
        if name == "AWS::SSM::Parameter":
            return f"/{stack}/{logical_id}"
        if name == "AWS::KMS::Alias":
            return f"alias/{stack}-{logical_id}"
        longest = {"s3": 63, "sqs": 75, "sns": 256, "dynamodb": 255, "events": 64, "scheduler": 64}
        service = TYPES[name].service
        lower = service in ("s3", "kinesis")
        most = longest.get(service, 128)
        return str(self._physical(stack, logical_id, lowercase=lower, max_len=most))

    def _permit(
        self, kind: Type, action: str, resources: list[str], properties: Properties
    ) -> None:
        """Raise ValueError if the stack may not; also for the roles that properties pass on."""
        for resource in resources:
            self._permits.ask(f"{kind.service}:{action}", resource)
        for path in kind.roles:
            for role in values(properties, path):
                if role:
                    keys = {"iam:passedtoservice": kind.passed_to}
                    self._permits.ask("iam:PassRole", str(role), keys=keys)


def _resources(kind: Type, properties: Properties, identity: str = "") -> list[str]:
    """The ARNs of what a resource is; identity: its physical id, "" before it is made."""
    named = properties.get(kind.named)
    if kind.named in ("Queues", "Topics"):
        names = named if isinstance(named, list) else [named]
    elif kind.named in ("TopicArn", "Bucket"):
        names = [named]
    else:
        names = [identity or named]
    if kind.service == "events" and kind.arn == "rule/":
        bus = str(properties.get("EventBusName") or "default").rpartition("/")[2]
        names = [each if bus == "default" else f"{bus}/{each}" for each in names]
    if kind.service == "scheduler" and kind.arn == "schedule/":
        names = [f"{properties.get('GroupName') or 'default'}/{each}" for each in names]
    return [_arn(kind, str(each or "*")) for each in names]


def _arn(kind: Type, name: str) -> str:
    if name.startswith("arn:"):
        return name
    who = acting()
    if kind.service == "s3":
        return f"arn:aws:s3:::{name}"
    if kind.service == "sqs":
        name = name.rpartition("/")[2]  # of a URL
    if kind.service == "ssm":
        name = name.removeprefix("/")
    if kind.service == "secretsmanager":
        name += "-??????"
    return f"arn:aws:{kind.service}:{who.region}:{who.account}:{kind.arn}{name}"


def _handlers(kind: Any) -> dict[str, Any]:
    """A type of ours as MiniStack wants it."""
    return {
        "create": kind.create,
        "update": kind.update,
        "update_with_logical_id": True,
        "delete": kind.delete,
    }


def _run(arn: str, event: dict[str, Any]) -> None:
    """Run the function behind a custom resource; it answers at the event's ResponseURL."""
    client("lambda").call("Invoke", FunctionName=arn, Payload=json.dumps(event).encode())


def _answer_here(token: str) -> str:
    """Where a custom resource's function says what became of it: whoever has the token may."""
    return f"{os.environ['LAMBENT_ENDPOINT']}/_lambent/stacks/{token}"


def answered(token: str, body: bytes) -> bool:
    """A custom resource's function has answered; False if nobody waits for it."""
    try:
        document = json.loads(body)
    except ValueError:
        return False
    custom = MiniStack.part("cloudformation.custom_resource")
    return isinstance(document, dict) and bool(custom.deliver_response(token, document))
