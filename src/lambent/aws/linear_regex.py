"""The regular expressions of filter patterns, matched in time linear in the text.

The guide's subset: characters, ``.``, classes ``[a-z]``, escapes ``\\d \\w \\s``, anchors, ``|``,
and ``? * + {n,m}`` on one of these; no groups.  Python's own engine backtracks, which a pattern
from outside could make last for ever.  Here all positions that a text can have reached are the bits
of one integer, and the moves from one such set to the next are kept while the text is read, a
bounded number of them: most characters cost one look-up, none more than a few operations on the
integer.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable

# Positions in one expression, its alternatives together.
MOST_STEPS = 500
# Characters between two reports of progress.
SLICE = 4096
# Moves that are kept for one expression: about 200 bytes each.
_MOVES = 2048
_ATOM = re.compile(r"\\(.)|\[(\^?)((?:\\.|[^\]\\])+)\]|([^\\\[\]{}?*+|()^$])", re.DOTALL)
_CLASS = re.compile(r"\[\^?(?:\\.|[^\]\\])+\]", re.DOTALL)
_REPEAT = re.compile(r"([?*+])|\{(\d{1,3})(,?)(\d{0,3})\}")

Test = Callable[[str], bool]
Spend = Callable[[int], None]
"""Takes note of work done, in characters; may wait, or raise to end the search."""
# What one character must be, whether it may be missing, whether it may come again.
Step = tuple["_Atom", bool, bool]


class InvalidExpression(Exception):
    """Not of the subset."""


class _Atom:
    """What one character must be; ranges: which it may name, from and to, before any negation."""

    __slots__ = ("ranges", "test")

    def __init__(self, test: Test, ranges: list[tuple[str, str]]) -> None:
        self.test = test
        self.ranges = ranges


def compile_regex(text: str, spend: Spend = lambda work: None) -> Callable[[str], bool]:
    """A test whether the expression occurs in a text; raises InvalidExpression.

    spend: called with the number of characters after each SLICE of them.
    """
    return _Automaton([_branch(each) for each in _split(text)], spend).search


def _split(text: str) -> list[str]:
    parts, place, begin = [], 0, 0
    while place < len(text):
        if text[place] == "\\":
            place += 1
        elif text[place] == "[":
            end = _CLASS.match(text, place)
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
        test = _atom(*atom.groups())
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


def _repeated(test: _Atom, sign: str | None, low: str, comma: str, high: str) -> list[Step]:
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


def _atom(escaped: str | None, negated: str, members: str | None, plain: str | None) -> _Atom:
    if members is not None:
        ranges, tests = _members(members)
        expected = not negated
        return _Atom(
            lambda c: (
                (any(low <= c <= high for low, high in ranges) or any(test(c) for test in tests))
                is expected
            ),
            ranges,
        )
    if escaped is not None:
        known = _CLASSES.get(escaped)
        if known is not None:
            return _Atom(known, [])
        if escaped.isalnum():
            raise InvalidExpression
        return _Atom(lambda c: c == escaped, [(escaped, escaped)])
    if plain == ".":
        return _Atom(lambda c: c != "\n", [])
    only = plain or ""
    return _Atom(lambda c: c == only, [(only, only)])


def _members(text: str) -> tuple[list[tuple[str, str]], list[Test]]:
    ranges: list[tuple[str, str]] = []
    tests: list[Test] = []
    for each in re.finditer(r"(\\.|[^\\])-(\\.|[^\\])|\\(.)|(.)", text, re.DOTALL):
        low, high, escaped, plain = each.groups()
        if low is not None:
            ranges.append((low[-1], high[-1]))
        elif escaped in _CLASSES:
            tests.append(_CLASSES[escaped])
        else:
            ranges.append((escaped or plain,) * 2)
    return ranges, tests


class _State(dict[str, "_State"]):
    """A set of positions, and the states that characters lead to from it, made when first needed.

    final: the search ends here; hit: with success; hit_at_end: with success where the text ends.
    """

    __slots__ = ("_automaton", "final", "hit", "hit_at_end", "places")

    def __init__(self, automaton: _Automaton, places: int) -> None:
        self._automaton = automaton
        self.places = places
        self.hit = bool(places & automaton.ends)
        self.hit_at_end = bool(places & (automaton.ends | automaton.bound_ends))
        self.final = self.hit or not places

    def __missing__(self, character: str) -> _State:
        return self._automaton.move(self, character)


class _Automaton:
    """All alternatives side by side.  Bit i of a set: the text may have reached position i.

    ends, bound_ends: the positions after the last step of an alternative, without and with ``$``.
    """

    def __init__(self, branches: list[tuple[list[Step], bool, bool]], spend: Spend) -> None:
        self._spend = spend
        self._optional = self._loops = self._again = self.ends = self.bound_ends = 0
        # What a character must be, and at which positions.
        self._atoms: dict[_Atom, int] = {}
        begin = at = 0
        for steps, start, end in branches:
            begin |= 1 << at
            self._again |= 0 if start else 1 << at
            for atom, optional, loops in steps:
                bit = 1 << at
                self._atoms[atom] = self._atoms.get(atom, 0) | bit
                self._optional |= bit if optional else 0
                self._loops |= bit if loops else 0
                at += 1
            self.ends |= 0 if end else 1 << at
            self.bound_ends |= 1 << at if end else 0
            at += 1
        if at - len(branches) > MOST_STEPS:
            raise InvalidExpression
        self._again = self._reached(self._again)
        self._begin = self._reached(begin)
        self._bounds = _bounds(self._atoms)
        self._masks: dict[tuple[object, ...], int] = {}
        self._states: dict[int, _State] = {}
        self._moves = 0

    def search(self, text: str) -> bool:
        """Whether the expression occurs in a text."""
        state = self._state(self._begin)
        if state.final:
            return state.hit
        for begin in range(0, len(text), SLICE):
            piece = text[begin : begin + SLICE]
            for character in piece:
                state = state[character]
                if state.final:
                    self._spend(len(piece))
                    return state.hit
            self._spend(len(piece))
        return state.hit_at_end

    def move(self, state: _State, character: str) -> _State:
        """The state that a character leads to, kept for the next time."""
        if self._moves >= _MOVES:
            for each in self._states.values():
                each.clear()
            self._states.clear()
            self._moves = 0
        matched = state.places & self._mask(character)
        places = (matched << 1) | (matched & self._loops) | self._again
        following = self._state(self._reached(places))
        state[character] = following
        self._moves += 1
        return following

    def _reached(self, places: int) -> int:
        """With the positions that are reached without a character, past optional steps.

        Adding carries a bit through a run of optional positions to the first that is not.
        """
        optional = self._optional
        return places | (((places & optional) + optional) ^ optional)

    def _state(self, places: int) -> _State:
        state = self._states.get(places)
        if state is None:
            state = self._states[places] = _State(self, places)
        return state

    def _mask(self, character: str) -> int:
        """The positions whose step takes a character.

        Kept by what the expression can tell apart, so few however many characters there are.
        """
        kind = (
            bisect_right(self._bounds, character),
            character == "\n",
            character == "_",
            character.isalnum(),
            character.isdigit(),
            character.isspace(),
        )
        mask = self._masks.get(kind)
        if mask is None:
            mask = 0
            for atom, places in self._atoms.items():
                if atom.test(character):
                    mask |= places
            self._masks[kind] = mask
        return mask


def _bounds(atoms: dict[_Atom, int]) -> list[str]:
    """The characters at which an expression's ranges begin, and those after which they end."""
    found = set()
    for atom in atoms:
        for low, high in atom.ranges:
            found.add(low)
            found.add(chr(min(ord(high) + 1, 0x10FFFF)))
    return sorted(found)
