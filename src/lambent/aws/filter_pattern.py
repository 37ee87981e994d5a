"""CloudWatch Logs filter patterns.

    error "two words" -debug ?warn %5\\d\\d%        terms: all, none, any of, a regular expression
    { $.level = "ERROR" && $.ms > 100 }            JSON events: comparisons, && || ( )
    [ip, user, ..., status = 5*, bytes > 1000]     fields between spaces, "..." and [...]

A pattern and the messages it is held against come from outside.  Every test takes time in
proportion to the message times the length of the pattern, and reports its work as it goes, so that
the caller can pause it or end it.

Source: Amazon CloudWatch Logs User Guide, "Filter pattern syntax".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from lambent.aws.linear_regex import InvalidExpression, Spend, compile_regex
from lambent.aws.wildcards import between

MOST = 1024
# Source: the quotas in the guide's "Supported regular expressions (regex) syntax".
MOST_EXPRESSIONS = 2
Predicate = Callable[[str], bool]
_Json = Callable[[Any], bool]

_TERM = re.compile(r'\s*([-?]?)(?:"((?:[^"\\]|\\.)*)"|(%[^%]*%)|([^\s"]+))')
_TOKEN = re.compile(
    r'\s*(?:(&&|\|\||!=|>=|<=|[()=<>])|"((?:[^"\\]|\\.)*)"|(%[^%]*%)|(\$[^\s()=<>!&|]*)|([^\s()=<>!&|]+))'
)
_WORD = re.compile(r"\S+")
_SPACE = re.compile(r"\s*")
# Fields of a message that are read between two reports of progress.
_FIELDS_SLICE = 1024
# A field takes as long to read as so many characters do for an expression.
_FIELD_WORK = 8
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\*)\]|\[[\"']([^\"']+)[\"']\]")


class InvalidPattern(Exception):
    """The pattern cannot be read."""


def compile_pattern(pattern: str, spend: Spend = lambda work: None) -> Predicate:
    """A test whether a message matches; raises InvalidPattern.

    spend: called, again and again while a message is looked at, with the work done since the last
    call, in characters or values.
    """
    text = pattern.strip()
    if len(text) > MOST:
        raise InvalidPattern
    if not text:
        return lambda message: True
    if text.startswith("{"):
        if not text.endswith("}"):
            raise InvalidPattern
        return _json(text[1:-1], _Expressions(spend))
    if text.startswith("["):
        if not text.endswith("]"):
            raise InvalidPattern
        return _fields(text[1:-1], _Expressions(spend))
    return _terms(text, _Expressions(spend))


class _Expressions:
    """Makes the tests of a pattern that look into a text, and counts its regular expressions."""

    def __init__(self, spend: Spend) -> None:
        self.spend = spend
        self._count = 0

    def regex(self, text: str) -> Predicate:
        """The test of an expression between its two percent signs."""
        self._count += 1
        if self._count > MOST_EXPRESSIONS:
            raise InvalidPattern
        try:
            return compile_regex(text[1:-1], self.spend)
        except InvalidExpression:
            raise InvalidPattern from None

    def containing(self, term: str) -> Predicate:
        """Whether a term occurs in a message."""

        def test(message: str) -> bool:
            self.spend(len(message) // _FAST)
            return term in message

        return test


# Python finds a piece of text about so many times as fast as an expression's automaton does.
_FAST = 16


# -- terms ------------------------------------------------------------------------------------


def _terms(text: str, make: _Expressions) -> Predicate:
    wanted: list[Predicate] = []
    optional: list[Predicate] = []
    place = 0
    while place < len(text.rstrip()):
        found = _TERM.match(text, place)
        if found is None:
            raise InvalidPattern
        place = found.end()
        sign, quoted, regex, plain = found.groups()
        if regex is not None:
            test = make.regex(regex)
        else:
            term = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            test = make.containing(term)
        if sign == "-":
            wanted.append(lambda message, test=test: not test(message))  # type: ignore[misc]
        elif sign == "?":
            optional.append(test)
        else:
            wanted.append(test)

    def matches(message: str) -> bool:
        if wanted:  # optional terms beside others are passed over, as AWS does
            return all(test(message) for test in wanted)
        return any(test(message) for test in optional)

    return matches


# -- JSON -------------------------------------------------------------------------------------


class _Parser:
    """Recursive descent over { ... }."""

    def __init__(self, text: str, make: _Expressions) -> None:
        self._make = make
        self._tokens: list[tuple[str, str]] = []
        place = 0
        while text[place:].strip():
            found = _TOKEN.match(text, place)
            if found is None:
                raise InvalidPattern
            place = found.end()
            kinds = ("operator", "string", "regex", "path", "word")
            kind, value = next(
                (kind, value)
                for kind, value in zip(kinds, found.groups(), strict=True)
                if value is not None
            )
            self._tokens.append((kind, value))
        self._at = 0

    def parse(self) -> _Json:
        test = self._any(0)
        if self._at != len(self._tokens):
            raise InvalidPattern
        return test

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "")

    def _next(self) -> tuple[str, str]:
        token = self._peek()
        self._at += 1
        return token

    def _any(self, depth: int) -> _Json:
        tests = [self._all(depth)]
        while self._peek() == ("operator", "||"):
            self._next()
            tests.append(self._all(depth))
        return lambda value: any(test(value) for test in tests)

    def _all(self, depth: int) -> _Json:
        tests = [self._one(depth)]
        while self._peek() == ("operator", "&&"):
            self._next()
            tests.append(self._one(depth))
        return lambda value: all(test(value) for test in tests)

    def _one(self, depth: int) -> _Json:
        if depth > 20:
            raise InvalidPattern
        if self._peek() == ("operator", "("):
            self._next()
            test = self._any(depth + 1)
            if self._next() != ("operator", ")"):
                raise InvalidPattern
            return test
        kind, text = self._next()
        if kind != "path":
            raise InvalidPattern
        path = _path(text, self._make.spend)
        kind, operator = self._next()
        if kind == "word":
            return self._is(path, operator)
        if kind != "operator" or operator in ("&&", "||", "(", ")"):
            raise InvalidPattern
        kind, wanted = self._next()
        if kind in ("operator", "path", "end"):
            raise InvalidPattern
        test = _comparison(operator, kind, wanted, self._make)
        return lambda value: any(test(each) for each in path(value))

    def _is(self, path: Callable[[Any], list[Any]], word: str) -> _Json:
        _, second = self._next()
        phrase = f"{word} {second}".upper()
        constants = {"IS NULL": None, "IS TRUE": True, "IS FALSE": False}
        if phrase == "NOT EXISTS":
            return lambda value: not path(value)
        if phrase not in constants:
            raise InvalidPattern
        constant = constants[phrase]
        return lambda value: any(each is constant for each in path(value))


def _path(text: str, spend: Spend) -> Callable[[Any], list[Any]]:
    """What a path such as $.a.b[0] finds in a value."""
    steps: list[str | int] = []
    place = 1
    while place < len(text):
        found = _STEP.match(text, place)
        if found is None:
            raise InvalidPattern
        place = found.end()
        name, index, quoted = found.groups()
        steps.append(int(index) if index and index != "*" else name or quoted or "*")

    def find(value: Any) -> list[Any]:
        values = [value]
        for step in steps:
            deeper = []
            for each in values:
                if isinstance(each, list):
                    if step == "*":
                        deeper += each
                    elif isinstance(step, int) and step < len(each):
                        deeper.append(each[step])
                elif isinstance(each, dict) and step in each:
                    deeper.append(each[str(step)])
            values = deeper
            spend(len(values) + 1)
        return values

    return find


def _number(text: object) -> float | None:
    if isinstance(text, bool) or not isinstance(text, int | float | str):
        return None
    try:
        return float(text)
    except (ValueError, OverflowError):
        return None


def _comparison(operator: str, kind: str, wanted: str, make: _Expressions) -> _Json:
    if kind == "regex":
        test = make.regex(wanted)
        if operator not in ("=", "!="):
            raise InvalidPattern
        return lambda value: isinstance(value, str) and test(value) is (operator == "=")
    number = _number(wanted) if kind == "word" else None
    if operator in ("=", "!="):
        pattern = between(wanted.split("*"))

        def equal(value: Any) -> bool:
            if number is not None and not isinstance(value, str):
                return _number(value) == number
            return isinstance(value, str) and pattern(value)

        return lambda value: equal(value) is (operator == "=")
    if number is None:
        raise InvalidPattern
    bound = number
    tests: dict[str, Callable[[float], bool]] = {
        "<": lambda value: value < bound,
        "<=": lambda value: value <= bound,
        ">": lambda value: value > bound,
        ">=": lambda value: value >= bound,
    }
    compare = tests[operator]

    def ordered(value: Any) -> bool:
        found = _number(value)
        return found is not None and compare(found)

    return ordered


def _json(text: str, make: _Expressions) -> Predicate:
    test = _Parser(text, make).parse()

    def matches(message: str) -> bool:
        if message.lstrip()[:1] not in ("{", "["):
            return False
        try:
            value = json.loads(message)
        except (ValueError, RecursionError):
            return False
        make.spend(len(message))
        return isinstance(value, dict | list) and test(value)

    return matches


# -- fields between spaces --------------------------------------------------------------------


def _fields(text: str, make: _Expressions) -> Predicate:
    names = [each.strip() for each in text.split(",")]
    tests: list[_Json | None] = []
    rest = -1
    for number, each in enumerate(names):
        found = re.fullmatch(r"(\.\.\.)|[\w-]+(?:\s*(!=|>=|<=|=|<|>)\s*(.+))?", each)
        if found is None or (found[1] and rest >= 0):
            raise InvalidPattern
        if found[1]:
            rest = number
        wanted = (found[3] or "").strip()
        kind = "regex" if wanted.startswith("%") else "word"
        if wanted.startswith('"'):
            kind, wanted = "string", wanted.strip('"')
        tests.append(_comparison(found[2], kind, wanted, make) if found[2] else None)

    def matches(message: str) -> bool:
        found = _split(message, make.spend)
        wanted = list(tests)
        if rest >= 0:
            missing = len(found) - (len(tests) - 1)
            if missing < 0:
                return False
            wanted[rest : rest + 1] = [None] * missing
        if len(wanted) != len(found):
            return False
        return all(test is None or test(value) for test, value in zip(wanted, found, strict=True))

    return matches


def _split(message: str, spend: Spend) -> list[str]:
    """The fields of a message: between spaces, between quotation marks, between brackets."""
    fields: list[str] = []
    closing = {'"': '"', "[": "]"}
    end = _SPACE.match(message, 0).end()  # type: ignore[union-attr]
    while end < len(message):
        if len(fields) % _FIELDS_SLICE == _FIELDS_SLICE - 1:
            spend(_FIELDS_SLICE * _FIELD_WORK)
        closes = closing.get(message[end])
        close = message.find(closes, end + 1) if closes is not None else -1
        if close >= 0:
            fields.append(message[end + 1 : close])
            end = close + 1
        else:
            if closes is not None:  # none from here on: not looked for again
                del closing[message[end]]
            word = _WORD.match(message, end)
            assert word is not None
            fields.append(word[0])
            end = word.end()
        end = _SPACE.match(message, end).end()  # type: ignore[union-attr]
    return fields
