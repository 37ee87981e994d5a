"""A parameter's AllowedPattern, matched in steps that are counted.

Python's own engine backtracks, which a template could make last for ever.  This one follows all
possibilities at once, over Python's own reading of the expression.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from re import _constants as kinds  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

_MOST_STATES = 2_000
_MOST_STEPS = 200_000

Test = Callable[[str], bool]
_CATEGORIES: dict[Any, Test] = {
    kinds.CATEGORY_DIGIT: lambda c: c in "0123456789",
    kinds.CATEGORY_NOT_DIGIT: lambda c: c not in "0123456789",
    kinds.CATEGORY_SPACE: lambda c: c in " \t\n\x0b\f\r",
    kinds.CATEGORY_NOT_SPACE: lambda c: c not in " \t\n\x0b\f\r",
    kinds.CATEGORY_WORD: lambda c: c.isascii() and (c.isalnum() or c == "_"),
    kinds.CATEGORY_NOT_WORD: lambda c: not (c.isascii() and (c.isalnum() or c == "_")),
}
_STARTS = (kinds.AT_BEGINNING, kinds.AT_BEGINNING_STRING)
_ENDS = (kinds.AT_END, kinds.AT_END_STRING)


class Unmatchable(ValueError):
    """An expression that is none, that is not of the subset, or that takes too many steps."""


def matches(pattern: str, texts: list[str]) -> bool:
    """Whether an expression matches each text as a whole; raises Unmatchable."""
    try:
        tree = parser.parse(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise Unmatchable(str(error)) from None
    machine = _Machine()
    machine.final = machine.add(tree, 0)
    return all(machine.run(text) for text in texts)


class _Machine:
    """States with edges: on a character that passes a test, or without one."""

    def __init__(self) -> None:
        self.final = 0
        self._on: list[list[tuple[Test, int]]] = [[]]
        self._free: list[list[tuple[str, int]]] = [[]]
        self._steps = 0

    def _state(self) -> int:
        if len(self._on) >= _MOST_STATES:
            raise Unmatchable("it is too large")
        self._on.append([])
        self._free.append([])
        return len(self._on) - 1

    def add(self, tree: Any, state: int) -> int:
        """The state after a sequence of parsed operations from a state on."""
        for kind, value in tree:
            state = self._one(kind, value, state)
        return state

    def _one(self, kind: Any, value: Any, state: int) -> int:
        if kind in (kinds.MAX_REPEAT, kinds.MIN_REPEAT):
            least, most, tree = value
            return self._repeat(least, most, tree, state)
        if kind is kinds.SUBPATTERN:
            _, flags, unflags, tree = value
            if flags or unflags:
                raise Unmatchable("flags are not offered")
            return self.add(tree, state)
        after = self._state()
        if kind is kinds.BRANCH:
            for tree in value[1]:
                self._free[self.add(tree, state)].append(("", after))
        elif kind is kinds.AT and value in (*_STARTS, *_ENDS):
            self._free[state].append(("start" if value in _STARTS else "end", after))
        else:
            self._on[state].append((_test(kind, value), after))
        return after

    def _repeat(self, least: int, most: Any, tree: Any, state: int) -> int:
        for _ in range(least):
            self._work(1)
            state = self.add(tree, state)
        if most is kinds.MAXREPEAT:
            again, after = self._state(), self._state()
            self._free[state].append(("", again))
            self._free[self.add(tree, again)].append(("", again))
            self._free[again].append(("", after))
            return after
        after = self._state()
        for _ in range(most - least):
            self._work(1)
            self._free[state].append(("", after))
            state = self.add(tree, state)
        self._free[state].append(("", after))
        return after

    def run(self, text: str) -> bool:
        """Whether the machine ends in its final state after a text."""
        states = self._reached({0}, 0, len(text))
        for place, character in enumerate(text, 1):
            after = {to for each in states for test, to in self._on[each] if test(character)}
            states = self._reached(after, place, len(text))
        return self.final in states

    def _reached(self, states: set[int], place: int, length: int) -> set[int]:
        rest = list(states)
        while rest:
            for condition, to in self._free[rest.pop()]:
                met = {"": True, "start": place == 0, "end": place == length}[condition]
                if met and to not in states:
                    states.add(to)
                    rest.append(to)
        self._work(len(states) + 1)
        return states

    def _work(self, steps: int) -> None:
        self._steps += steps
        if self._steps > _MOST_STEPS:
            raise Unmatchable("it takes too many steps")


def _test(kind: Any, value: Any) -> Test:
    if kind is kinds.LITERAL:
        return lambda c: ord(c) == value
    if kind is kinds.NOT_LITERAL:
        return lambda c: ord(c) != value
    if kind is kinds.ANY:
        return lambda c: c != "\n"
    if kind is kinds.IN:
        negated = value[0][0] is kinds.NEGATE
        tests = list(_members(value[1:] if negated else value))
        return lambda c: any(test(c) for test in tests) is not negated
    raise Unmatchable(f"{str(kind).lower()} is not offered")


def _members(values: Any) -> Iterator[Test]:
    for kind, value in values:
        if kind is kinds.RANGE:
            yield _between(*value)
        elif kind is kinds.CATEGORY:
            yield _CATEGORIES[value]
        else:
            yield _test(kind, value)


def _between(low: int, high: int) -> Test:
    return lambda c: low <= ord(c) <= high
