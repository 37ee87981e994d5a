"""What MiniStack fails on: templates are refused with an error, stacks do not stay in progress."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
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
# Operations that set a stack going, and how many stacks of an account and region may be at work:
# each has a thread while it waits, and who waits may wait for hours.
_DEPLOYING = ("CreateStack", "UpdateStack", "ExecuteChangeSet", "RollbackStack")
MOST_AT_WORK = 100
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
    known = need(MiniStack.part("cloudformation"), "_stacks")
    refuse = need(MiniStack.part("cloudformation.helpers"), "_error")
    for name in _DEPLOYING:
        handlers[name] = limited(handlers[name], known, refuse)
    stacks = MiniStack.part("cloudformation.stacks")
    deploy = _settling(need(stacks, "_deploy_stack_async"))
    for part in ("stacks", "handlers", "changesets"):
        module = MiniStack.part(f"cloudformation.{part}")
        need(module, "_deploy_stack_async")
        module._deploy_stack_async = deploy


def limited(
    handler: Callable[[Any], Any], stacks: Mapping[str, Any], refuse: Callable[..., Any]
) -> Callable[[Any], Any]:
    """A handler that refuses while as many stacks are at work as may be."""

    def handle(parameters: Any) -> Any:
        statuses = [str(each.get("StackStatus", "")) for each in stacks.values()]
        waiting = ("REVIEW_IN_PROGRESS",)  # for the execution of a change set
        at_work = [
            each for each in statuses if each.endswith("IN_PROGRESS") and each not in waiting
        ]
        if len(at_work) >= MOST_AT_WORK:
            message = f"At most {MOST_AT_WORK} stacks may be created or updated at a time"
            return refuse("LimitExceededException", message)
        return handler(parameters)

    return handle


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
