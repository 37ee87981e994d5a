"""The regular expressions of filter patterns, matched in time linear in the text.

The guide's subset: characters, ``.``, classes ``[a-z]``, escapes ``\\d \\w \\s``, anchors, ``|``,
and ``? * + {n,m}`` on one of these; no groups.  Python's own engine backtracks, which a pattern
that somebody else wrote could make last for ever; this one follows all possibilities at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable

MOST_STEPS = 500
_ATOM = re.compile(r"\\(.)|\[(\^?)((?:\\.|[^\]\\])+)\]|([^\\\[\]{}?*+|()^$])", re.DOTALL)
_REPEAT = re.compile(r"([?*+])|\{(\d{1,3})(,?)(\d{0,3})\}")

Test = Callable[[str], bool]
# What one character must be, whether it may be missing, whether it may come again.
Step = tuple[Test, bool, bool]


class InvalidExpression(Exception):
    """Not of the subset."""


def compile_regex(text: str) -> Callable[[str], bool]:
    """What tells whether the expression is somewhere in a text; raises InvalidExpression."""
    branches = [_branch(each) for each in _split(text)]
    return lambda message: any(_search(*branch, message) for branch in branches)


def _split(text: str) -> list[str]:
    parts, place, begin = [], 0, 0
    while place < len(text):
        if text[place] == "\\":
            place += 1
        elif text[place] == "[":
            end = re.compile(r"\[\^?(?:\\.|[^\]\\])+\]", re.DOTALL).match(text, place)
            if end is None:
                raise InvalidExpression
            place = end.end() - 1
        elif text[place] == "|":
            parts.append(text[begin:place])
            begin = place + 1
        place += 1
    return [*parts, text[begin:]]


def _branch(text: str) -> tuple[list[Step], bool, bool]:
    """The steps of an alternative, and whether it is bound to the begin and the end."""
    start = text.startswith("^")
    end = text.endswith("$") and not text.endswith("\\$")
    body = text[start : len(text) - end]
    if not body and not (start or end):
        raise InvalidExpression
    steps: list[Step] = []
    place = 0
    while place < len(body):
        atom = _ATOM.match(body, place)
        if atom is None:
            raise InvalidExpression
        test = _test(*atom.groups())
        place = atom.end()
        repeat = _REPEAT.match(body, place)
        if repeat is None:
            steps.append((test, False, False))
        else:
            place = repeat.end()
            steps += _repeated(test, *repeat.groups())
        if len(steps) > MOST_STEPS:
            raise InvalidExpression
    return steps, start, end


def _repeated(test: Test, sign: str | None, low: str, comma: str, high: str) -> list[Step]:
    if sign is not None:
        return {
            "?": [(test, True, False)],
            "*": [(test, True, True)],
            "+": [(test, False, False), (test, True, True)],
        }[sign]
    least = int(low)
    steps: list[Step] = [(test, False, False)] * least
    if not comma:
        return steps
    if not high:
        return [*steps, (test, True, True)]
    if int(high) < least:
        raise InvalidExpression
    return steps + [(test, True, False)] * (int(high) - least)


_CLASSES: dict[str, Test] = {
    "d": str.isdigit,
    "w": lambda c: c.isalnum() or c == "_",
    "s": str.isspace,
    "D": lambda c: not c.isdigit(),
    "W": lambda c: not (c.isalnum() or c == "_"),
    "S": lambda c: not c.isspace(),
}


def _test(escaped: str | None, negated: str, members: str | None, plain: str | None) -> Test:
    if members is not None:
        inside = _members(members)
        return lambda c: inside(c) is not bool(negated)
    if escaped is not None:
        known = _CLASSES.get(escaped)
        if known is not None:
            return known
        if escaped.isalnum():
            raise InvalidExpression
        return lambda c: c == escaped
    if plain == ".":
        return lambda c: c != "\n"
    return lambda c: c == plain


def _members(text: str) -> Test:
    ranges: list[tuple[str, str]] = []
    tests: list[Test] = []
    for found in re.finditer(r"(\\.|[^\\])-(\\.|[^\\])|\\(.)|(.)", text, re.DOTALL):
        low, high, escaped, plain = found.groups()
        if low is not None:
            ranges.append((low[-1], high[-1]))
        elif escaped in _CLASSES:
            tests.append(_CLASSES[escaped])
        else:
            ranges.append((escaped or plain,) * 2)
    return lambda c: any(low <= c <= high for low, high in ranges) or any(t(c) for t in tests)


def _search(steps: list[Step], start: bool, end: bool, message: str) -> bool:
    last = len(steps)

    def reach(place: int, places: set[int]) -> None:
        """Add a place and those reached from it without a character."""
        while place not in places:
            places.add(place)
            if place == last or not steps[place][1]:
                return
            place += 1

    current: set[int] = set()
    reach(0, current)
    for character in message:
        if last in current and not end:
            return True
        following: set[int] = set()
        for place in current:
            if place < last and steps[place][0](character):
                if steps[place][2]:
                    reach(place, following)
                reach(place + 1, following)
        if not start:
            reach(0, following)
        current = following
        if not current:
            return False
    return last in current
