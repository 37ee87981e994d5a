"""A template's text as a document, within limits that hold before anything of it is built.

CloudFormation's YAML is YAML 1.1 without aliases, merges and the tags binary, omap, pairs, set
(User Guide, "Template format"), and with a tag for each function.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any, NoReturn

import yaml

# Levels of maps and lists: templates of the CDK have fewer than 30.
MOST_LEVELS = 64
# Keys and values together: 500 resources with a hundred each.
MOST_NODES = 50_000
# Characters of a number: Python reads longer ones in quadratic time.
_MOST_DIGITS = 64
_LONGEST_KEY = 1024
# Sections that are maps of maps, and how many members AWS's quotas let them have.
_SECTIONS = (
    ("Resources", 500),
    ("Parameters", 200),
    ("Outputs", 200),
    ("Mappings", 200),
    ("Rules", None),
)
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\Z)|[\[{]|[\]}]|[^\s\[\]{}:,"]+', re.DOTALL)
_DIRECTIVE = re.compile(r"^%", re.MULTILINE)
_CORE = ("null", "bool", "int", "float", "str", "seq", "map", "timestamp")
_FUNCTIONS = (
    "And",
    "Base64",
    "Cidr",
    "Equals",
    "FindInMap",
    "GetAZs",
    "If",
    "ImportValue",
    "Join",
    "Not",
    "Or",
    "Select",
    "Split",
    "Sub",
    "Transform",
)

_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Malformed(ValueError):
    """A text that is no template; the message is CloudFormation's where one is known."""


class _Loader(_Base):  # type: ignore[misc]
    """YAML's core types, and texts for dates."""


class _Shorthand(_Loader):
    """And the functions' tags."""


def _plain(loader: Any, node: Any) -> Any:
    return loader.construct_scalar(node)


def _number(construct: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def checked(loader: Any, node: Any) -> Any:
        if len(node.value) > _MOST_DIGITS:
            raise Malformed("a number is too long")
        return construct(loader, node)

    return checked


def _function(name: str) -> Callable[[Any, Any], Any]:
    def constructed(loader: Any, node: Any) -> dict[str, Any]:
        value: Any
        if isinstance(node, yaml.SequenceNode):
            value = loader.construct_sequence(node, deep=True)
        elif isinstance(node, yaml.MappingNode):
            value = loader.construct_mapping(node, deep=True)
        else:
            value = loader.construct_scalar(node)
            if name == "Fn::GetAtt":
                value = value.split(".", 1) if "." in value else [value, ""]
        return {name: value}

    return constructed


def _refused(_: Any, node: Any) -> NoReturn:
    raise Malformed(f"could not determine a constructor for the tag {str(node.tag)[:64]!r}")


_Loader.yaml_constructors = {
    tag: construct
    for tag, construct in _Base.yaml_constructors.items()
    if tag is not None and tag.rpartition(":")[2] in _CORE
}
_Loader.add_constructor(None, _refused)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _plain)
for _kind in ("int", "float"):
    _tag = f"tag:yaml.org,2002:{_kind}"
    _Loader.add_constructor(_tag, _number(_Base.yaml_constructors[_tag]))
_Shorthand.yaml_constructors = dict(_Loader.yaml_constructors)
for _name in _FUNCTIONS:
    _Shorthand.add_constructor(f"!{_name}", _function(f"Fn::{_name}"))
_Shorthand.add_constructor("!Ref", _function("Ref"))
_Shorthand.add_constructor("!Condition", _function("Condition"))
_Shorthand.add_constructor("!GetAtt", _function("Fn::GetAtt"))


def parse(text: str) -> dict[str, Any]:
    """A template; raises Malformed."""
    document = read(text, _Shorthand)
    if not isinstance(document, dict):
        raise Malformed("Template must be a JSON or YAML mapping")
    for section, most in _SECTIONS:
        if section in document:
            _check_section(section, document[section], most)
    return document


def _check_section(section: str, members: Any, most: int | None) -> None:
    """Raise Malformed unless a section is a map of maps, with as many members as it may have."""
    if not isinstance(members, dict):
        raise Malformed(f"[/{section}] must be an object")
    if most is not None and len(members) > most:
        noun = section.lower()
        raise Malformed(
            f"Number of {noun}, {len(members)}, is greater than maximum allowed, {most}"
        )
    for name, member in members.items():
        if name.startswith(("Fn::ForEach::", "Fn::Transform")):
            continue
        if not isinstance(member, dict):
            raise Malformed(f"[/{section}/{name}] {section[:-1].lower()} definition is malformed")
        if section == "Resources" and not isinstance(member.get("Type"), str):
            raise Malformed(
                f"[/Resources/{name}] Every Resources object must contain a Type member"
            )
        if not isinstance(member.get("Properties", {}), dict):
            raise Malformed(f"[/{section}/{name}/Properties] must be an object")


def read(text: str, loader: Any = _Loader) -> Any:
    """A document of JSON or YAML within the limits; raises Malformed."""
    text = text.strip()
    try:
        if text.startswith("{"):
            _count(_json_steps(text))
            document = json.loads(text, parse_constant=_no_constant)
        else:
            _count(_yaml_steps(text))
            document = yaml.load(text, Loader=loader)  # noqa: S506 - a safe loader
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Malformed(str(error)) from None
    _check(document)
    return document


def closed(text: str) -> None:
    """Raise Malformed for variables that begin and never end: each would be looked for."""
    rest = text[text.rfind("}") + 1 :]
    if rest.count("${") > 1 or rest.count("&{") > 1:
        raise Malformed(
            "variable names in Fn::Sub syntax must contain only alphanumeric characters, "
            "underscores, periods, and colons"
        )


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _count(steps: Iterable[int]) -> None:
    """Raise Malformed when steps (1: a level down, -1: up, 0: a value) pass the limits."""
    level = nodes = 0
    for step in steps:
        level += step
        nodes += step >= 0
        if level > MOST_LEVELS:
            raise Malformed(f"it is nested deeper than {MOST_LEVELS} levels")
        if nodes > MOST_NODES:
            raise Malformed(f"it has more than {MOST_NODES} keys and values")


def _json_steps(text: str) -> Iterable[int]:
    for token in _JSON_TOKEN.finditer(text):
        first = text[token.start()]
        yield 1 if first in "[{" else -1 if first in "]}" else 0


def _yaml_steps(text: str) -> Iterable[int]:
    if len(_DIRECTIVE.findall(text)) > 1:
        raise Malformed("directives are not allowed in CloudFormation templates")
    for event in yaml.parse(text, Loader=_Base):
        if isinstance(event, yaml.AliasEvent):
            raise Malformed("YAML aliases are not allowed in CloudFormation templates")
        if isinstance(event, yaml.CollectionStartEvent):
            yield 1
        elif isinstance(event, yaml.CollectionEndEvent):
            yield -1
        elif isinstance(event, yaml.ScalarEvent):
            if event.value == "<<" and event.implicit[0]:
                raise Malformed("YAML merges are not allowed in CloudFormation templates")
            yield 0


def _check(document: Any) -> None:
    """Make keys texts, as they are in JSON; raise Malformed for long ones, and open variables."""
    rest = [document]
    while rest:
        node = rest.pop()
        if isinstance(node, dict):
            for key in [each for each in node if not isinstance(each, str)]:
                node[str(key)] = node.pop(key)
            if any(len(key) > _LONGEST_KEY for key in node):
                raise Malformed(f"a key is longer than {_LONGEST_KEY} characters")
            given = node.get("Fn::Sub")
            text = given[0] if isinstance(given, list) and given else given
            closed(text if isinstance(text, str) else "")
            rest.extend(node.values())
        elif isinstance(node, list):
            rest.extend(node)
