"""Templates that MiniStack fails on: refused with an error, and a stack never stays in progress."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from lambent.neighbours.ministack.adapter import MiniStack, need

_log = logging.getLogger(__name__)

# Operations that read a template.
_READING = (
    "CreateStack",
    "UpdateStack",
    "CreateChangeSet",
    "ValidateTemplate",
    "GetTemplateSummary",
)
# What a value of an unexpected kind, or a function of functions without end, makes.
_UNEXPECTED = (
    RecursionError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    IndexError,
    OverflowError,
)


def install() -> None:
    """Put what answers where MiniStack raises."""
    handlers = need(MiniStack.part("cloudformation"), "_ACTION_HANDLERS")
    for name in _READING:
        handlers[name] = _answering(handlers[name])
    stacks = MiniStack.part("cloudformation.stacks")
    deploy = _settling(need(stacks, "_deploy_stack_async"))
    for part in ("stacks", "handlers", "changesets"):
        module = MiniStack.part(f"cloudformation.{part}")
        need(module, "_deploy_stack_async")
        module._deploy_stack_async = deploy


def _answering(handler: Callable[[Any], Any]) -> Callable[[Any], Any]:
    refuse = need(MiniStack.part("cloudformation.helpers"), "_error")

    def handle(parameters: Any) -> Any:
        try:
            return handler(parameters)
        except _UNEXPECTED as error:
            return refuse("ValidationError", f"Template error: {_message(error)}")

    return handle


def _settling(original: Callable[..., Any]) -> Callable[..., Any]:
    stacks = MiniStack.part("cloudformation.stacks")
    known = need(MiniStack.part("cloudformation"), "_stacks")

    async def deploy(name: str, identifier: str, *rest: Any, **named: Any) -> None:
        try:
            await original(name, identifier, *rest, **named)
        except _UNEXPECTED as error:
            _log.warning("the stack %s could not be deployed: %r", name, error)
            stack = known.get(name)
            if stack is None:
                return
            status = "UPDATE_FAILED" if named.get("is_update") else "CREATE_FAILED"
            reason = f"Template error: {_message(error)}"
            stack["StackStatus"], stack["StackStatusReason"] = status, reason
            kind = "AWS::CloudFormation::Stack"
            need(stacks, "_add_event")(identifier, name, name, kind, status, reason, identifier)

    return deploy


def _message(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it refers to itself"
    return str(error)[:500] if isinstance(error, ValueError) else repr(error)[:500]
