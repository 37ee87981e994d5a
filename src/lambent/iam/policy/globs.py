"""Patterns of policies: ``*`` for any text, ``?`` for one character, ``${key}`` for a value.

A pattern comes from outside, so no pattern makes matching go back: its pieces between stars are
searched for in turn, each where it is first after the one before it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

# Tokens besides single characters.
_MANY = "*"
_VARIABLE = re.compile(r"\$\{([^{}]*)\}")
_DEFAULTED = re.compile(r"\s*([^,\s]+)\s*(?:,\s*'([^']*)'\s*)?")
# What stands for itself between braces.
_LITERAL = frozenset(("*", "?", "$"))
_SPECIAL = re.compile(r"[*?$]")
_WILDCARDS = re.compile(r"([*?])")
_Token = tuple[str, bool]
"""A text that stands for itself and False, or a wildcard and True."""

Lookup = Callable[[str], str | None]
"""The single value of a context key, None if it has none."""


class Glob:
    """A pattern without variables: pieces of text, with any text between one and the next.

    Each piece is searched for once, behind the one before it: there is nothing to come back to.
    """

    __slots__ = ("_begin", "_end", "_least", "_middle", "_whole")

    def __init__(self, tokens: list[_Token]) -> None:
        pieces: list[list[_Token]] = [[]]
        for token in tokens:
            if token == (_MANY, True):
                pieces.append([])
            else:
                pieces[-1].append(token)
        self._whole = len(pieces) == 1
        self._begin = _Piece(pieces[0])
        self._end = self._begin if self._whole else _Piece(pieces[-1])
        self._middle = [_Piece(each) for each in pieces[1:-1]]
        self._least = sum(each.length for each in (self._begin, *self._middle))
        self._least += 0 if self._whole else self._end.length

    def matches(self, text: str) -> bool:
        """Whether it describes the whole of a text."""
        length = len(text)
        if length < self._least or (self._whole and length != self._least):
            return False
        if not self._begin.is_at(text, 0):
            return False
        if self._whole:
            return True
        last = length - self._end.length
        at = self._begin.length
        for piece in self._middle:
            at = piece.find(text, at, last)
            if at < 0:
                return False
            at += piece.length
        return self._end.is_at(text, last)


class _Piece:
    """Characters in a row, of which some may be any character."""

    __slots__ = ("_expression", "_runs", "_text", "_tokens", "length")

    def __init__(self, tokens: list[_Token]) -> None:
        self.length = sum(len(text) for text, _ in tokens)
        self._text = "".join(text for text, _ in tokens)
        # With question marks: what is between them, with where it begins.
        self._tokens = tokens if any(wild for _, wild in tokens) else None
        self._runs: list[tuple[int, str]] = []
        self._expression: re.Pattern[str] | None = None
        at = 0
        for text, wild in self._tokens or ():
            if not wild:
                self._runs.append((at, text))
            at += len(text)

    def is_at(self, text: str, at: int) -> bool:
        """Whether a text, which is long enough, has it at a place."""
        if self._tokens is None:
            return text.startswith(self._text, at)
        return all(text.startswith(run, at + offset) for offset, run in self._runs)

    def find(self, text: str, begin: int, end: int) -> int:
        """Where it first is in a part of a text; -1 if nowhere."""
        if self._tokens is None:
            return text.find(self._text, begin, end)
        if self._expression is None:
            # As long as the piece, whatever it matches: it has no choice to come back to.
            parts = ["." if wild else re.escape(each) for each, wild in self._tokens]
            self._expression = re.compile("".join(parts), re.DOTALL)
        found = self._expression.search(text, begin, end)
        return found.start() if found is not None else -1


class Pattern:
    """A pattern as a policy has it; folded: without regard to case."""

    __slots__ = ("_folded", "_glob", "_parts", "_plain")

    def __init__(self, text: str, variables: bool = True, folded: bool = False) -> None:
        """variables: whether ${...} means anything, as it does from version 2012-10-17 on."""
        self._folded = folded
        # The usual kind, which is compared as a text.
        self._plain: str | None = None
        if _SPECIAL.search(text) is None:
            self._plain = text.lower() if folded else text
            return
        # Tokens, and variables: (name, default or None).
        self._parts: list[_Token | tuple[str, str | None]] = []
        self._glob: Glob | None = None
        at = 0
        for found in _VARIABLE.finditer(text) if variables and "${" in text else ():
            self._parts += _tokens(text[at : found.start()])
            at = found.end()
            if found[1] in _LITERAL:
                self._parts.append((found[1], False))
            elif named := _DEFAULTED.fullmatch(found[1]):
                self._parts.append((named[1].lower(), named[2]))
            else:
                self._parts.append((found[0], False))
        self._parts += _tokens(text[at:])
        if all(isinstance(second, bool) for _, second in self._parts):
            self._glob = Glob(self._resolved(lambda key: None) or [])

    def matches(self, text: str, lookup: Lookup) -> bool:
        """Whether it describes a text; never if it names a key that has no value."""
        if self._folded:
            text = text.lower()
        if self._plain is not None:
            return text == self._plain
        if self._glob is not None:
            return self._glob.matches(text)
        tokens = self._resolved(lookup)
        return tokens is not None and Glob(tokens).matches(text)

    def resolved(self, lookup: Lookup) -> str | None:
        """Its text with variables replaced and wildcards as they are; None if one has no value."""
        if self._plain is not None:
            return self._plain
        tokens = self._resolved(lookup)
        return None if tokens is None else "".join(text for text, _ in tokens)

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
            tokens.append((value, False))
        return tokens


def _tokens(text: str) -> list[_Token]:
    tokens: list[_Token] = []
    for at, part in enumerate(_WILDCARDS.split(text)):
        token = (part, at % 2 == 1)
        # Two stars in a row say no more than one.
        if part and (token != (_MANY, True) or tokens[-1:] != [token]):
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
