"""A stack's own role: given once, used by every later operation on the stack.

AWS's CreateStack, "RoleARN": CloudFormation uses the role for all future operations on the stack,
also for users without iam:PassRole for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lambent.neighbours.ministack.adapter import MiniStack, need
from lambent.neighbours.ministack.stack_permits import Denied, Permits, acting

_CHANGING = (
    "CreateStack",
    "UpdateStack",
    "DeleteStack",
    "CreateChangeSet",
    "ExecuteChangeSet",
    "ContinueUpdateRollback",
    "RollbackStack",
)
_ROLE = "RoleARN"
_NONE = ("", "")

Handler = Callable[[dict[str, Any]], Any]


def install(permits: Permits) -> None:
    """Have the operations that change a stack act as its role."""
    handlers = need(MiniStack.part("cloudformation"), "_ACTION_HANDLERS")
    for name in _CHANGING:
        handlers[name] = _with_role(name, need(handlers, "get")(name), permits)


def _with_role(operation: str, handler: Handler, permits: Permits) -> Handler:
    parts = {name: MiniStack.part(f"cloudformation.{name}") for name in ("handlers", "changesets")}
    helpers = MiniStack.part("cloudformation.helpers")
    stack_of = need(parts["handlers"], "_resolve_stack")
    change_set_of = need(parts["changesets"], "_find_change_set")

    def stored(parameters: dict[str, Any]) -> tuple[Any, Any]:
        """The change set and the stack that are meant, None where there is none."""
        name = helpers._p(parameters, "StackName")
        change_set = None
        if "ChangeSet" in operation:
            _, change_set = change_set_of(helpers._p(parameters, "ChangeSetName"), name)
            name = change_set["StackName"] if change_set else name
        stack = stack_of(name) if name else None
        gone = stack is None or stack.get("StackStatus") == "DELETE_COMPLETE"
        return change_set, None if gone else stack

    def handle(parameters: dict[str, Any]) -> Any:
        # A role of the request itself is acted as already: the gateway has seen to it.
        given = helpers._p(parameters, _ROLE)
        change_set, stack = stored(parameters)
        executes = operation == "ExecuteChangeSet"
        role, proof = given, acting().proof
        if not role and operation not in ("CreateStack",):
            records = [change_set if executes else None, stack]
            role, proof = next((each[_ROLE] for each in records if each and _ROLE in each), _NONE)
            if role:
                try:
                    permits.assume(role, proof)
                except Denied as refused:
                    return helpers._error("ValidationError", str(refused))
        answer = handler(parameters)
        if role and answer[0] == 200:
            change_set, stack = stored(parameters)
            kept = change_set if operation == "CreateChangeSet" else stack
            if kept is not None:
                # Where it is kept beside the stack: the role, and the proof that it was passed.
                kept[_ROLE] = [role, proof]
        return answer

    return handle
