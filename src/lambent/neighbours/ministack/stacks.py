"""CloudFormation's resources, each made through Lambent's API.

A stack acts with the rights of its caller, or of the role it was given: its calls are signed
with a session of that principal, and are authorised as any other.  Types of services that are not
offered are unknown.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from typing import Any

from lambent.neighbours.ministack import (
    stack_drift,
    stack_events,
    stack_failures,
    stack_functions,
    stack_identities,
    stack_keys,
    stack_messages,
    stack_reads,
    stack_roles,
    stack_stores,
    template_expansion,
)
from lambent.neighbours.ministack.adapter import MiniStack, need
from lambent.neighbours.ministack.ours import Lambent
from lambent.neighbours.ministack.signing import Failed
from lambent.neighbours.ministack.stack_functions import Kind, Made
from lambent.neighbours.ministack.stack_permits import Permits, acting, client
from lambent.neighbours.ministack.stack_types import TYPES, Type, roles, unsupported

Properties = dict[str, Any]

_NESTED = "AWS::CloudFormation::Stack"
# Of CloudFormation itself, which make nothing elsewhere.
_PLAIN = (
    "AWS::CloudFormation::WaitCondition",
    "AWS::CloudFormation::WaitConditionHandle",
    _NESTED,
    "AWS::CloudFormation::CustomResource",
    "AWS::CDK::Metadata",
)


def install(stack: MiniStack, lambent: Lambent) -> None:
    """Replace and guard the resource types when CloudFormation is loaded."""
    permits = Permits(stack, lambent)

    def prepare() -> None:
        _Types(permits).put_in()
        template_expansion.install()
        stack_failures.install()
        stack_reads.install(permits)
        stack_roles.install(permits)
        stack_drift.install(permits)

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
        table: dict[str, Any] = need(
            MiniStack.part("cloudformation.provisioners"), "_RESOURCE_HANDLERS"
        )
        kept = {kind: table[kind] for kind in _PLAIN if kind in table}
        kept[_NESTED] = self._nested(kept[_NESTED])
        ours = {name: self._handlers(name, kind) for name, kind in self._kinds().items()}
        table.clear()
        table.update({**{name: _checked(name, each) for name, each in kept.items()}, **ours})
        # Lambent may ask the services here before it answers, so nothing here may wait for it.
        deployment = MiniStack.part("cloudformation.stacks")
        waits = need(deployment, "_runs_on_worker_thread")
        deployment._runs_on_worker_thread = lambda kind: kind in ours or waits(kind)

    def _kinds(self) -> dict[str, Kind]:
        return {
            **stack_functions.kinds(client, _physical_name),
            **stack_identities.kinds(client, _physical_name),
            **stack_messages.kinds(client, _physical_name, self._permits),
            **stack_events.kinds(client, _physical_name, self._permits),
            **stack_stores.kinds(client, _physical_name, self._permits),
            **stack_keys.kinds(client, _physical_name, self._permits),
        }

    def _handlers(self, name: str, kind: Kind) -> dict[str, Any]:
        """A type of ours as MiniStack calls it."""
        own = TYPES[name]

        def create(logical_id: str, properties: Properties, stack: str) -> Made:
            self._pass(own, {}, properties)
            return kind.create(logical_id, properties, stack)

        def update(identity: str, old: Properties, new: Properties, *rest: str) -> Made:
            self._pass(own, old, new)
            return kind.update(identity, old, new, *rest)

        # Without an import: whether who imports a resource may read it is asked by none.
        handlers = {"create": create, "update": update, "delete": kind.delete}
        return {**_checked(name, handlers), "update_with_logical_id": True}

    def _pass(self, kind: Type, old: Properties, new: Properties) -> None:
        """Raise Denied unless who acts may pass on the roles that are new."""
        for role in sorted(roles(kind, new) - roles(kind, old)):
            keys = {"iam:passedtoservice": kind.passed_to}
            self._permits.ask("iam:PassRole", role, keys=keys)

    def _nested(self, handlers: dict[str, Any]) -> dict[str, Any]:
        """A stack in a stack, for principals that may create a stack."""
        ask = self._permits.ask

        def create(logical_id: str, properties: Properties, stack: str) -> Any:
            who = acting()
            place = f"arn:aws:cloudformation:{who.region}:{who.account}:stack/"
            ask("cloudformation:CreateStack", f"{place}{stack}-{logical_id}-*/*")
            return handlers["create"](logical_id, properties, stack)

        def update(identity: str, *rest: Any) -> Any:
            ask("cloudformation:UpdateStack", identity)
            return handlers["update"](identity, *rest)

        def delete(identity: str, properties: Properties) -> Any:
            ask("cloudformation:DeleteStack", identity)
            return handlers["delete"](identity, properties)

        return {**handlers, "create": create, "update": update, "delete": delete}


def _checked(name: str, handlers: dict[str, Any]) -> dict[str, Any]:
    """Handlers that refuse properties which the type lacks, and say which are missing."""
    kind = TYPES.get(name)
    if kind is None:
        return handlers

    def create(logical_id: str, properties: Properties, *rest: Any) -> Any:
        return _telling(lambda: handlers["create"](logical_id, properties, *rest), properties)

    def update(identity: str, old: Properties, new: Properties, *rest: Any) -> Any:
        return _telling(lambda: handlers["update"](identity, old, new, *rest), new)

    def _telling(handler: Callable[[], Any], properties: Properties) -> Any:
        wrong = unsupported(kind, properties)
        if wrong:
            raise ValueError(wrong)
        try:
            return handler()
        except (KeyError, AttributeError, TypeError, IndexError) as error:
            raise ValueError(f"Properties validation failed: {error!r}") from error

    checked = {**handlers, "create": create}
    return {**checked, "update": update} if "update" in handlers else checked


def _physical_name(
    stack: str, logical_id: str, *, max_len: int = 128, lowercase: bool = False, drawn: bool = False
) -> str:
    """The name of a resource that has none; drawn: another one for each that is made."""
    provisioners = MiniStack.part("cloudformation.provisioners")
    seed = need(provisioners, "_NAME_SEED")
    if drawn:
        seed.set(secrets.token_hex(4))
    name = need(provisioners, "_physical_name")
    return str(name(stack, logical_id, max_len=max_len, lowercase=lowercase))


def _run(arn: str, event: dict[str, Any]) -> None:
    """Run the function behind a custom resource; it answers at the event's ResponseURL.

    Where it cannot be run, that is the answer: nothing else would ever come.
    """
    try:
        client("lambda").call("Invoke", FunctionName=arn, Payload=json.dumps(event).encode())
    except Failed as error:
        answer = {"Status": "FAILED", "Reason": str(error)}
        answered(event["ResponseURL"].rpartition("/")[2], json.dumps(answer).encode())


def _answer_here(token: str) -> str:
    """Where a custom resource's function says what became of it: the token is what permits it."""
    return f"{os.environ['LAMBENT_ENDPOINT']}/_lambent/stacks/{token}"


def answered(token: str, body: bytes) -> bool:
    """A custom resource's function has answered; False if none waits for it."""
    try:
        document = json.loads(body)
    except ValueError:
        return False
    custom = MiniStack.part("cloudformation.custom_resource")
    return isinstance(document, dict) and bool(custom.deliver_response(token, document))
