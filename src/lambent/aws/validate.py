"""AWS's validation of parameters against the model, with AWS's wording.

All violations of one request are told in one message:
``2 validation errors detected: Value 'x' at 'functionName' failed to satisfy constraint: …; …``.
"""

from __future__ import annotations

from typing import Any

from lambent.aws.model import Shape

_ENOUGH = 20
# For each of some hundred kinds of strings.
_CACHED, _CACHED_LENGTH = 256, 200


class ValidationError(Exception):
    """At least one constraint of the model is broken; the text is AWS's."""


def validate(shape: Shape | None, parameters: dict[str, Any]) -> None:
    """Raise ValidationError unless the parameters satisfy the operation's input shape."""
    if shape is None:
        return
    found: list[str] = []
    _structure(shape, parameters, "", found)
    if found:
        count = len(found)
        noun = "error" if count == 1 else "errors"
        raise ValidationError(f"{count} validation {noun} detected: {'; '.join(found)}")


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _structure(shape: Shape, value: dict[str, Any], path: str, found: list[str]) -> None:
    for name in shape.required:
        if name not in value:
            member_path = _join(path, _lower(name))
            found.append(
                f"Value null at '{member_path}' failed to satisfy constraint: "
                "Member must not be null"
            )
    for name, each in value.items():
        member = shape.members.get(name)
        if member is None or not member.shape.constrained or len(found) >= _ENOUGH:
            continue
        if member.shape.kind == "string" and each in member.shape.valid:
            continue
        _member(member.shape, each, _join(path, _lower(name)), found)


def _member(shape: Shape, value: Any, path: str, found: list[str]) -> None:
    kind = shape.kind
    for constraint in _broken(shape, value):
        shown = "***" if shape.sensitive else _shown(value)
        found.append(f"Value '{shown}' at '{path}' failed to satisfy constraint: {constraint}")
    if kind == "structure":
        _structure(shape, value, path, found)
    elif kind == "list":
        _list(shape, value, path, found)
    elif kind == "map":
        _map(shape, value, path, found)


def _list(shape: Shape, value: list[Any], path: str, found: list[str]) -> None:
    element = shape.member
    assert element is not None
    if element.kind in ("structure", "list", "map"):
        for index, each in enumerate(value, 1):
            _member(element, each, f"{path}.{index}.member", found)
    elif any(_broken(element, each) for each in value):
        found.append(
            f"Value '{_shown(value)}' at '{path}' failed to satisfy constraint: "
            f"Member must satisfy constraint: [{', '.join(_constraints(element))}]"
        )


def _map(shape: Shape, value: dict[str, Any], path: str, found: list[str]) -> None:
    assert shape.key is not None and shape.value is not None
    shown = "***" if shape.sensitive or shape.value.sensitive else _shown(value)
    if any(_broken(shape.key, key) for key in value):
        found.append(
            f"Value '{shown}' at '{path}' failed to satisfy constraint: "
            f"Map keys must satisfy constraint: [{', '.join(_constraints(shape.key))}]"
        )
    if shape.value.kind in ("structure", "list", "map"):
        for key, each in value.items():
            _member(shape.value, each, f"{path}.{key}.member", found)
    elif any(_broken(shape.value, each) for each in value.values()):
        found.append(
            f"Value '{shown}' at '{path}' failed to satisfy constraint: "
            f"Map value must satisfy constraint: [{', '.join(_constraints(shape.value))}]"
        )


def _size(shape: Shape, value: Any) -> tuple[float, str] | None:
    if shape.kind in ("string", "blob", "list", "map"):
        return len(value), "length"
    if shape.kind in ("integer", "long", "double", "float"):
        return value, "value"
    return None


def _bound(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _broken(shape: Shape, value: Any) -> list[str]:
    """The constraints a value itself (not its parts) breaks."""
    if shape.kind == "string" and value in shape.valid:
        return []
    broken: list[str] = []
    if shape.maximum is not None or shape.minimum is not None:
        measured = _size(shape, value)
        if measured is not None:
            size, noun = measured
            if shape.maximum is not None and size > shape.maximum:
                broken.append(_at_most(noun, shape.maximum))
            if shape.minimum is not None and size < shape.minimum:
                broken.append(_at_least(noun, shape.minimum))
    if shape.matcher is not None and shape.matcher.fullmatch(value) is None:
        broken.append(_pattern(shape))
    if shape.enum and value not in shape.enum:
        broken.append(_enum(shape))
    if not broken and shape.matcher is not None and len(value) <= _CACHED_LENGTH:
        if len(shape.valid) >= _CACHED:
            shape.valid.clear()
        shape.valid.add(value)
    return broken


def _constraints(shape: Shape) -> list[str]:
    """All constraints of a scalar shape, for lists and maps, which AWS tells in full."""
    texts = []
    noun = "value" if shape.kind in ("integer", "long", "double", "float") else "length"
    if shape.maximum is not None:
        texts.append(_at_most(noun, shape.maximum))
    if shape.minimum is not None:
        texts.append(_at_least(noun, shape.minimum))
    if shape.pattern is not None:
        texts.append(_pattern(shape))
    if shape.enum:
        texts.append(_enum(shape))
    return texts


def _at_most(noun: str, bound: float) -> str:
    return f"Member must have {noun} less than or equal to {_bound(bound)}"


def _at_least(noun: str, bound: float) -> str:
    return f"Member must have {noun} greater than or equal to {_bound(bound)}"


def _pattern(shape: Shape) -> str:
    return f"Member must satisfy regular expression pattern: {shape.pattern}"


def _enum(shape: Shape) -> str:
    return f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"


def _shown(value: Any) -> str:
    """A value as AWS's messages print it: the way Java does."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return f"java.nio.HeapByteBuffer[pos=0 lim={len(value)} cap={len(value)}]"
    if isinstance(value, list):
        return f"[{', '.join(_shown(each) for each in value)}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_shown(each)}" for key, each in value.items()) + "}"
    return str(value)
