"""A policy document, read and ready to be asked.

A document comes from outside: it is read within limits, and what is wrong with it is said as AWS
says it.  Messages: IAM's MalformedPolicyDocument, recorded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from lambent.iam.policy import conditions
from lambent.iam.policy.conditions import Condition, Values
from lambent.iam.policy.globs import ARN_PARTS, ArnPattern, Lookup, Pattern, split_pattern

_VERSIONS = ("2012-10-17", "2008-10-17")
_TOP = {"Version", "Id", "Statement"}
_ELEMENTS = {
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource",
    "Condition",
}  # fmt: skip
_PRINCIPALS = {"AWS", "Service", "Federated", "CanonicalUser"}
# However a document is nested, what is read of it is not.
_MOST_STATEMENTS = 2_000
_MOST_VALUES = 5_000


class Malformed(Exception):
    """A document that is no policy; its text is AWS's message."""


@dataclass(frozen=True, slots=True)
class Principals:
    """The Principal element: kind ("AWS", "Service", ...) → names; everybody for ``*``."""

    everybody: bool
    names: dict[str, tuple[str, ...]]


def _nothing(key: str) -> str | None:
    return None


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement."""

    sid: str
    allows: bool
    actions: tuple[Pattern, ...]
    but_actions: bool
    resources: tuple[ArnPattern, ...]
    but_resources: bool
    principals: Principals | None
    but_principals: bool
    conditions: tuple[Condition, ...]
    # Whether context keys have a say, and whether they do in its actions or resources.
    conditional: bool = False
    variable: bool = False

    def may_concern(self, action: str, arn: list[str]) -> bool:
        """Whether it speaks of a request in some context; False only if it does in none."""
        return self.variable or self._describes(action, arn, _nothing)

    def concerns(self, action: str, arn: list[str], values: Values, lookup: Lookup) -> bool:
        """Whether it speaks of a request (whoever makes it); action in lower case."""
        return self._describes(action, arn, lookup) and all(
            each.holds(values, lookup) for each in self.conditions
        )

    def _describes(self, action: str, arn: list[str], lookup: Lookup) -> bool:
        if any(each.matches(action, lookup) for each in self.actions) is self.but_actions:
            return False
        if not self.resources:
            return True
        found = any(each.matches_parts(arn, lookup) for each in self.resources)
        return found is not self.but_resources


@dataclass(frozen=True, slots=True)
class Policy:
    """A whole document."""

    statements: tuple[Statement, ...]


def read(text: str, principals: bool = False, resources: bool = True) -> Policy:
    """Read a document; raises Malformed.

    principals: whether its statements say whom they are about, as those of resources and roles'
    trust do; resources: whether they say what, which those of a role's trust do not.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed("Syntax errors in policy.") from None
    if not isinstance(document, dict) or not document.keys() <= _TOP:
        raise Malformed("Syntax errors in policy.")
    version = document.get("Version", _VERSIONS[1])
    if version not in _VERSIONS:
        raise Malformed("The policy must contain a valid version string")
    statements = document.get("Statement")
    listed: list[Any] = statements if isinstance(statements, list) else [statements]
    if not listed or not all(isinstance(each, dict) for each in listed):
        raise Malformed("Syntax errors in policy.")
    if len(listed) > _MOST_STATEMENTS:
        raise Malformed("The policy has too many statements.")
    variables = version == _VERSIONS[0]
    found = tuple(_statement(each, variables, principals, resources) for each in listed)
    sids = [each.sid for each in found if each.sid]
    if len(sids) != len(set(sids)):
        raise Malformed("Statement IDs (SID) in a single policy must be unique.")
    return Policy(found)


def _statement(
    told: dict[str, Any], variables: bool, principals: bool, resources: bool
) -> Statement:
    if not told.keys() <= _ELEMENTS:
        raise Malformed("Syntax errors in policy.")
    sid = told.get("Sid", "")
    if not isinstance(sid, str):
        raise Malformed("Syntax errors in policy.")
    effect = told.get("Effect")
    if effect not in ("Allow", "Deny"):
        raise Malformed("Syntax errors in policy.")
    actions, but_actions = _either(told, "Action", "Policy statement must contain actions.")
    for each in actions:
        if each != "*" and (":" not in each or " " in each):
            raise Malformed(
                "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
            )
    described: list[str] = []
    but_resources = False
    if resources:
        message = "Policy statement must contain resources."
        described, but_resources = _either(told, "Resource", message)
    elif "Resource" in told or "NotResource" in told:
        raise Malformed("Has prohibited field Resource.")
    who: Principals | None = None
    but_principals = False
    if principals:
        who, but_principals = _principals(told)
    elif "Principal" in told or "NotPrincipal" in told:
        raise Malformed("Policy document should not specify a principal.")
    return Statement(
        sid,
        effect == "Allow",
        tuple(Pattern(each, variables, folded=True) for each in actions),
        but_actions,
        tuple(_resource(each, variables) for each in described),
        but_resources,
        who,
        but_principals,
        tuple(_conditions(told.get("Condition", {}), variables)),
        bool(told.get("Condition")) or any("${" in each for each in (*actions, *described)),
        any("${" in each for each in (*actions, *described)),
    )


def _resource(text: str, variables: bool) -> ArnPattern:
    parts = split_pattern(text)
    if text != "*" and (len(parts) < ARN_PARTS or parts[0] not in ("arn", "*")):
        raise Malformed(f'Resource {text} must be in ARN format or "*".')
    return ArnPattern(text, variables)


def _either(told: dict[str, Any], name: str, message: str) -> tuple[list[str], bool]:
    """The values of an element or of its opposite, and whether it is the opposite."""
    opposite = f"Not{name}"
    if (name in told) is (opposite in told):
        raise Malformed(message if name not in told else "Syntax errors in policy.")
    values = _texts(told.get(name, told.get(opposite)))
    if not values:
        raise Malformed(message)
    return values, opposite in told


def _texts(value: Any, scalars: bool = False) -> list[str]:
    """A text or a list of them; with scalars numbers and truth values too, as JSON writes them."""
    values = value if isinstance(value, list) else [value]
    if len(values) > _MOST_VALUES:
        raise Malformed("The policy has too many values.")
    found = []
    for each in values:
        if isinstance(each, str):
            found.append(each)
        elif scalars and isinstance(each, bool | int | float):
            found.append(json.dumps(each))
        else:
            raise Malformed("Syntax errors in policy.")
    return found


def _principals(told: dict[str, Any]) -> tuple[Principals, bool]:
    if ("Principal" in told) is ("NotPrincipal" in told):
        raise Malformed("Policy statement must contain principals.")
    value = told.get("Principal", told.get("NotPrincipal"))
    opposite = "NotPrincipal" in told
    if value == "*":
        return Principals(True, {}), opposite
    if not isinstance(value, dict) or not value or not value.keys() <= _PRINCIPALS:
        raise Malformed("Invalid principal in policy.")
    names = {kind: tuple(_texts(each)) for kind, each in value.items()}
    return Principals("*" in names.get("AWS", ()), names), opposite


def _conditions(told: Any, variables: bool) -> Iterator[Condition]:
    if not isinstance(told, dict):
        raise Malformed("Syntax errors in policy.")
    for operator, keys in told.items():
        if not conditions.known(operator) or not isinstance(keys, dict):
            raise Malformed(f"Invalid Condition type : {operator}.")
        for key, value in keys.items():
            if ":" not in key:
                raise Malformed(
                    "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
                )
            yield Condition(operator, key, _texts(value, scalars=True), variables)
