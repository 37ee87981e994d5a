"""What templates expand to, within a budget: functions of functions grow with every level.

MiniStack resolves a template's functions and loops by recursion through names of its modules; here
each of these is replaced by one that counts first.
"""

from __future__ import annotations

import contextvars
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lambent.neighbours.ministack.adapter import MiniStack, need
from lambent.neighbours.ministack.template_patterns import Unmatchable, matches
from lambent.neighbours.ministack.template_text import closed

# Of one request, in characters: all that its templates expand to, and one text of it.
MOST_EXPANDED = 8_000_000
# What a key or a value costs beside its characters.
_NODE = 16
# What a step of a loop costs: it takes longer than another.
_STEP = 64
MOST_TEXT = 1_000_000
# AWS's quota of resources in one operation on nested stacks, and levels of these.
MOST_RESOURCES = 2_500
MOST_NESTED = 10
_VARIABLE = re.compile(r"\$\{([^}]+)\}")
# Bounded, so that texts that begin many references and end none are read once.
_REFERENCE = re.compile(r"\{\{resolve:([a-z-]{1,32}):([^{}]{0,2048})\}\}")
_FUNCTIONS = ("Fn::", "Ref", "Condition")


class TooLarge(ValueError):
    """A template expands to more than the budget."""


@dataclass(slots=True)
class Budget:
    """What a request may still expand to, and make."""

    left: int = MOST_EXPANDED
    resources: int = MOST_RESOURCES

    def take(self, size: int) -> None:
        """Raise TooLarge when a request's templates expand to more than it may have."""
        self.left -= size
        if self.left < 0:
            raise TooLarge("Template error: the template expands to more than is allowed")

    def text(self, size: int) -> None:
        """Raise TooLarge for a text of this many characters that is still to be made."""
        if size > MOST_TEXT:
            raise TooLarge(f"Template error: a value may not exceed {MOST_TEXT} characters")

    def resource(self) -> None:
        """Raise TooLarge when one operation makes more resources than it may."""
        self.resources -= 1
        if self.resources < 0:
            raise TooLarge(
                f"Number of resources in an operation is greater than maximum allowed, "
                f"{MOST_RESOURCES}"
            )


_budget: contextvars.ContextVar[Budget] = contextvars.ContextVar("budget")
_nested: contextvars.ContextVar[int] = contextvars.ContextVar("nested", default=0)


def begin() -> None:
    """A request's own budget; what it sets going shares it."""
    _budget.set(Budget())


def budget() -> Budget:
    """The request's."""
    result = _budget.get(None)
    if result is None:
        result = Budget()
        _budget.set(result)
    return result


def install() -> None:
    """Put the counting functions where MiniStack's are."""
    engine = MiniStack.part("cloudformation.engine")
    resolve = _resolving(need(engine, "_resolve_refs"))
    for part in ("engine", "stacks", "changesets", "handlers"):
        module = MiniStack.part(f"cloudformation.{part}")
        need(module, "_resolve_refs")
        module._resolve_refs = resolve
    need(engine, "_DYNAMIC_REFERENCE")
    engine._DYNAMIC_REFERENCE = _REFERENCE
    need(engine, "_check_parameter_constraints")
    engine._check_parameter_constraints = _constrained(engine)
    _loops(MiniStack.part("cloudformation.language_extensions"))
    provisioners = MiniStack.part("cloudformation.provisioners")
    provisioners._cfn_nested_stack_deploy = _nesting(need(provisioners, "_cfn_nested_stack_deploy"))
    for name in ("_provision_resource", "_update_resource"):
        counted = _counted(need(provisioners, name))
        setattr(provisioners, name, counted)
        stacks = MiniStack.part("cloudformation.stacks")
        need(stacks, name)
        setattr(stacks, name, counted)


# -- functions ------------------------------------------------------------------------------


def _resolving(original: Callable[..., Any]) -> Callable[..., Any]:
    """``_resolve_refs``, whose recursion goes through this."""

    def resolve(value: Any, *context: Any) -> Any:
        share = budget()
        if isinstance(value, str | _Resolved):
            share.take(_NODE)
            return value
        if not isinstance(value, dict):
            share.take(_NODE)
            return original(value, *context)
        if "Fn::GetStackOutput" in value:
            # No function of AWS's: it reads any stack's outputs, also of a principal that may not.
            raise ValueError("Template format error: Fn::GetStackOutput is not supported")
        if "Fn::Sub" in value:
            return _sub(value, context, resolve, original)
        if "Fn::Join" in value:
            return _join(value, context, resolve, original)
        result = original(value, *context)
        function = any(str(key).startswith(_FUNCTIONS) for key in value)
        share.take(_size(result) if function else _NODE)
        return result

    return resolve


def _sub(
    value: dict[str, Any],
    context: tuple[Any, ...],
    resolve: Callable[..., Any],
    original: Callable[..., Any],
) -> Any:
    given = value["Fn::Sub"]
    text, variables = (*given, {})[:2] if isinstance(given, list) else (given, {})
    if not isinstance(text, str) or not isinstance(variables, dict):
        raise ValueError("Template error: every Fn::Sub object must be a string or a list")
    closed(text)
    known = {name: str(resolve(each, *context)) for name, each in variables.items()}
    resources, parameters = context[0], context[1]
    size = len(text)
    for name in _VARIABLE.findall(text):
        size += len(str(_meant(name, known, resources, parameters)))
        budget().text(size)
    budget().take(size)
    return original({"Fn::Sub": [text, known]}, *context)


def _meant(name: str, known: Any, resources: Any, parameters: Any) -> Any:
    """What a variable stands for, where it may be long."""
    if name in known:
        return known[name]
    if name in parameters:
        return parameters[name].get("Value", "")
    logical_id, _, attribute = name.partition(".")
    resource = resources.get(logical_id, {})
    if attribute:
        return resource.get("Attributes", {}).get(attribute, "")
    return resource.get("PhysicalResourceId", "")


def _join(
    value: dict[str, Any],
    context: tuple[Any, ...],
    resolve: Callable[..., Any],
    original: Callable[..., Any],
) -> Any:
    given = value["Fn::Join"]
    if not isinstance(given, list) or len(given) != 2 or not isinstance(given[0], str):
        raise ValueError(
            "Template error: every Fn::Join object requires two parameters, (1) a string "
            "delimiter and (2) a list of strings to be joined"
        )
    items = resolve(given[1], *context)
    if not isinstance(items, list):
        raise ValueError("Template error: Fn::Join requires a list of strings to be joined")
    size = sum(len(str(each)) for each in items) + len(given[0]) * len(items)
    budget().text(size)
    budget().take(size)
    return original({"Fn::Join": [given[0], _Resolved(items)]}, *context)


class _Resolved(list[Any]):
    """A list that is resolved already."""


def _size(value: Any) -> int:
    """Characters and nodes of a value."""
    size = 0
    rest = [value]
    while rest:
        node = rest.pop()
        size += len(node) if isinstance(node, str) else _NODE
        if size > MOST_EXPANDED:
            break
        if isinstance(node, dict):
            rest.extend(node.values())
            rest.extend(node)
        elif isinstance(node, list):
            rest.extend(node)
    return size


# -- parameters -----------------------------------------------------------------------------


def _constrained(engine: Any) -> Callable[..., None]:
    """``_check_parameter_constraints`` with patterns that are matched in counted steps."""
    original = engine._check_parameter_constraints
    refuse = need(engine, "_constraint_error")

    def check(name: str, definition: dict[str, Any], kind: str, value: str) -> None:
        pattern = definition.get("AllowedPattern")
        if pattern is not None and kind != "Number":
            many = kind in ("CommaDelimitedList", "List<Number>")
            texts = [each.strip() for each in value.split(",")] if many else [value]
            try:
                fits = matches(str(pattern), texts)
            except Unmatchable as error:
                message = f"Parameter '{name}' has an invalid AllowedPattern: {error}"
                raise ValueError(message) from None
            if not fits:
                raise refuse(name, definition, f"must match pattern {pattern}")
        rest = {key: each for key, each in definition.items() if key != "AllowedPattern"}
        original(name, rest, kind, value)

    return check


# -- loops ----------------------------------------------------------------------------------


def _loops(module: Any) -> None:
    """Count what the transform AWS::LanguageExtensions makes."""
    for name in ("_expand", "_for_each", "_collection"):
        setattr(module, name, _charged(need(module, name), name == "_collection"))
    fill = need(module, "_substitute")

    def filled(*arguments: Any) -> Any:
        text = fill(*arguments)
        closed(text)
        return text

    module._substitute = filled
    unresolved = need(module, "_Unresolved")
    value = _charged(need(module, "_value"), True)
    module._value = value
    join = need(module, "_two_argument_value")
    sub_text, removed = need(module, "_sub_text"), need(module, "_REMOVE")
    need(module, "_sub_value")

    def joined(function: str, argument: Any, bindings: Any, context: Any) -> Any:
        if function == "Fn::Join":
            items = value(argument[1], bindings, context)
            if isinstance(items, list):
                size = sum(len(str(each)) for each in items)
                budget().text(size + len(str(argument[0])) * len(items))
        return join(function, argument, bindings, context)

    def substituted(argument: Any, bindings: Any, context: Any) -> Any:
        """``_sub_value``, which looks at how long the text becomes before it does."""
        text, variables = (argument, {}) if isinstance(argument, str) else _pair(argument)
        if text is None:
            raise unresolved("Fn::Sub")
        closed(text)
        text = sub_text(text, bindings)
        for name, each in variables.items():
            result = value(each, bindings, context)
            if result is removed or isinstance(result, list | dict):
                raise unresolved("Fn::Sub")
            place = "${" + name + "}"
            budget().text(len(text) + text.count(place) * len(str(result)))
            text = text.replace(place, str(result))
        if "${" in text.replace("${!", ""):
            raise unresolved("Fn::Sub")
        return text.replace("${!", "${")

    module._two_argument_value = joined
    module._sub_value = substituted


def _pair(argument: Any) -> tuple[str | None, dict[str, Any]]:
    if isinstance(argument, list) and len(argument) == 2:
        text, variables = argument
        if isinstance(text, str) and isinstance(variables, dict):
            return text, variables
    return None, {}


def _charged(original: Callable[..., Any], by_size: bool) -> Callable[..., Any]:
    """A function whose calls are counted, and where by_size its results too."""

    def charged(*arguments: Any, **named: Any) -> Any:
        budget().take(_STEP)
        result = original(*arguments, **named)
        if by_size:
            budget().take(_size(result))
        return result

    return charged


# -- resources ------------------------------------------------------------------------------


def _counted(original: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*arguments: Any, **named: Any) -> Any:
        budget().resource()
        return original(*arguments, **named)

    return counted


def _nesting(original: Callable[..., Any]) -> Callable[..., Any]:
    def deploy(*arguments: Any, **named: Any) -> Any:
        level = _nested.get() + 1
        if level > MOST_NESTED:
            raise ValueError(f"Stacks may be nested {MOST_NESTED} levels deep at most")
        token = _nested.set(level)
        try:
            return original(*arguments, **named)
        finally:
            _nested.reset(token)

    return deploy
