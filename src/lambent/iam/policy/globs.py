"""Patterns of policies: ``*`` for any text, ``?`` for one character, ``${key}`` for a value.

A pattern is somebody else's, so matching takes time in proportion to the text alone, whatever the
pattern: all of its positions are one integer, moved on by each character.
"""

from __future__ import annotations

import re
from collections.abc import Callable

# Tokens besides single characters.
_MANY = "*"
_ONE = "?"
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_DEFAULTED = re.compile(r"\s*([^,\s]+)\s*(?:,\s*'([^']*)'\s*)?")
# What stands for itself between braces.
_LITERAL = frozenset(("*", "?", "$"))
_Token = tuple[str, bool]
"""A character and whether it is a wildcard."""

Lookup = Callable[[str], str | None]
"""The single value of a context key, None if it has none."""


class Glob:
    """A pattern without variables."""

    __slots__ = ("_length", "_loops", "_moves", "_ones", "_prefix", "_text")

    def __init__(self, tokens: list[_Token]) -> None:
        characters = [token for token in tokens if token != (_MANY, True)]
        plain = not any(wild for _, wild in tokens)
        trailing = tokens[-1:] == [(_MANY, True)] and not any(wild for _, wild in tokens[:-1])
        text = "".join(character for character, _ in characters)
        # The two usual kinds are compared as strings.
        self._text = text if plain else None
        self._prefix = text if trailing else None
        self._length = len(characters)
        # Bit i: so many characters of the pattern have been seen. Positions that may stay where
        # they are, those that any character moves on, and those that a certain one does.
        self._loops = self._ones = 0
        self._moves: dict[str, int] = {}
        if plain or trailing:
            return
        at = 0
        for character, wild in tokens:
            bit = 1 << at
            if not wild:
                self._moves[character] = self._moves.get(character, 0) | bit
            elif character == _ONE:
                self._ones |= bit
            else:
                self._loops |= bit
                continue
            at += 1

    def matches(self, text: str) -> bool:
        """Whether it describes the whole of a text."""
        if self._text is not None:
            return text == self._text
        if self._prefix is not None:
            return text.startswith(self._prefix)
        state, moves, ones, loops = 1, self._moves, self._ones, self._loops
        for character in text:
            state = ((state & (moves.get(character, 0) | ones)) << 1) | (state & loops)
            if not state:
                return False
        return bool(state >> self._length & 1)


class Pattern:
    """A pattern as a policy has it; folded: without regard to case."""

    __slots__ = ("_folded", "_glob", "_parts")

    def __init__(self, text: str, variables: bool = True, folded: bool = False) -> None:
        """variables: whether ${...} means anything, as it does from version 2012-10-17 on."""
        self._folded = folded
        # Tokens, and variables: (name, default or None).
        self._parts: list[_Token | tuple[str, str | None]] = []
        self._glob: Glob | None = None
        at = 0
        for found in _VARIABLE.finditer(text) if variables else ():
            self._parts += _tokens(text[at : found.start()])
            at = found.end()
            if found[1] in _LITERAL:
                self._parts.append((found[1], False))
            elif named := _DEFAULTED.fullmatch(found[1]):
                self._parts.append((named[1].lower(), named[2]))
            else:
                self._parts += [(character, False) for character in found[0]]
        self._parts += _tokens(text[at:])
        if all(isinstance(second, bool) for _, second in self._parts):
            self._glob = Glob(self._resolved(lambda key: None) or [])

    def matches(self, text: str, lookup: Lookup) -> bool:
        """Whether it describes a text; never if it names a key that has no value."""
        if self._folded:
            text = text.lower()
        if self._glob is not None:
            return self._glob.matches(text)
        tokens = self._resolved(lookup)
        return tokens is not None and Glob(tokens).matches(text)

    def resolved(self, lookup: Lookup) -> str | None:
        """Its text with variables replaced and wildcards as they are; None if one has no value."""
        tokens = self._resolved(lookup)
        return None if tokens is None else "".join(character for character, _ in tokens)

    def _resolved(self, lookup: Lookup) -> list[_Token] | None:
        tokens: list[_Token] = []
        for first, second in self._parts:
            if isinstance(second, bool):
                tokens.append((first.lower() if self._folded else first, second))
                continue
            value = lookup(first)
            if value is None:
                value = second
            if value is None:
                return None
            # What a variable stands for is never a wildcard.
            value = value.lower() if self._folded else value
            tokens += [(character, False) for character in value]
        return tokens


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    for character in text:
        token = (character, character in (_MANY, _ONE))
        # Two stars in a row say no more than one.
        if token != (_MANY, True) or tokens[-1:] != [token]:
            tokens.append(token)
    return tokens


ARN_PARTS = 6


class ArnPattern:
    """A pattern of ARNs: a wildcard in one of the first five parts never reaches beyond it.

    ``*`` alone is a pattern of everything.
    """

    __slots__ = ("_everything", "_parts")

    def __init__(self, text: str, variables: bool = True) -> None:
        self._everything = text == "*"
        self._parts = [Pattern(each, variables) for each in split_pattern(text)]

    def matches(self, arn: str, lookup: Lookup) -> bool:
        """Whether it describes an ARN."""
        return self.matches_parts(arn.split(":", ARN_PARTS - 1), lookup)

    def matches_parts(self, arn: list[str], lookup: Lookup) -> bool:
        """The same of an ARN taken apart at its first five colons."""
        if self._everything:
            return True
        return len(arn) == len(self._parts) and all(
            pattern.matches(part, lookup) for pattern, part in zip(self._parts, arn, strict=True)
        )


def split_pattern(text: str) -> list[str]:
    """The parts of an ARN's pattern; colons within ``${...}`` part nothing."""
    parts = [""]
    inside = False
    for at, character in enumerate(text):
        if character == "{" and at and text[at - 1] == "$":
            inside = True
        elif character == "}":
            inside = False
        if character == ":" and not inside and len(parts) < ARN_PARTS:
            parts.append("")
        else:
            parts[-1] += character
    return parts
