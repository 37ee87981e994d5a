"""Patterns that callers give MiniStack, matched in time in proportion to pattern and text.

MiniStack matches them with Python's own regular expressions, which backtrack: one subscription and
one message would keep its only thread for hours.  Wildcards are matched by ``aws.wildcards``
instead.  A template's AllowedPattern is any regular expression, so it is tried in a child process
that is ended after EXPRESSION_SECONDS.
"""

from __future__ import annotations

import functools
import os
import re
import signal
from collections.abc import Callable
from typing import Any

from lambent.aws.wildcards import between
from lambent.neighbours.ministack.adapter import MiniStack, need

EXPRESSION_SECONDS = 0.2
_MATCHES, _DIFFERS, _INVALID = 0, 1, 2


def install(stack: MiniStack) -> None:
    """Replace the matchers, before any service is asked."""
    in_sns(stack.module("sns"))
    in_s3(stack.module("s3"))
    in_eventbridge(stack.module("eventbridge"))
    stack.at_first_use("cloudformation", lambda: in_cloudformation(stack))


def in_sns(module: Any) -> None:
    """Filter policies of subscriptions."""
    need(module, "_wildcard_matches")
    module._wildcard_matches = lambda value, pattern: between(pattern.split("*"))(value)


def in_s3(module: Any) -> None:
    """AllowedOrigin and AllowedHeader of CORS rules."""
    need(module, "_cors_pattern_matches")

    def matches(pattern: str, value: str, flags: int = 0) -> bool:
        if flags & re.IGNORECASE:
            pattern, value = pattern.lower(), value.lower()
        return between(pattern.split("*"))(value)

    module._cors_pattern_matches = matches


def in_eventbridge(module: Any) -> None:
    """Patterns of rules."""
    need(need(module, "_wildcard_regex"), "cache_clear")
    module._wildcard_regex = _wildcard


class _Wildcard:
    """Stands where MiniStack has a compiled expression."""

    def __init__(self, pattern: str) -> None:
        pieces = [""]
        for token in re.findall(r"\\[\s\S]?|\*|[^\\*]+", pattern):
            if token == "*":
                pieces.append("")
            else:
                pieces[-1] += token[1:] or token if token[0] == "\\" else token
        self._test = between(pieces)

    def match(self, value: str) -> _Wildcard | None:
        """Itself where the whole of a value is as described."""
        return self if self._test(value) else None


@functools.lru_cache(maxsize=1024)
def _wildcard(pattern: str) -> _Wildcard:
    return _Wildcard(pattern)


def in_cloudformation(stack: MiniStack) -> None:
    """Parameters' AllowedPattern."""
    engine = stack.part("cloudformation.engine")
    check = need(engine, "_check_parameter_constraints")
    wrong: Callable[..., ValueError] = need(engine, "_constraint_error")

    def checked(name: str, definition: dict[str, Any], kind: str, value: str) -> None:
        pattern = definition.get("AllowedPattern")
        left = {each: said for each, said in definition.items() if each != "AllowedPattern"}
        if pattern is not None and kind != "Number":
            listed = kind in ("CommaDelimitedList", "List<Number>")
            members = [each.strip() for each in value.split(",")] if listed else [value]
            outcome = matches_all(str(pattern), members)
            if outcome is None:
                raise ValueError(f"Parameter '{name}' has an AllowedPattern that cannot be used")
            if not outcome:
                raise wrong(name, definition, f"must match pattern {pattern}")
        check(name, left, kind, value)

    engine._check_parameter_constraints = checked


def matches_all(pattern: str, values: list[str]) -> bool | None:
    """Whether an expression describes the whole of each value; None if it cannot be told.

    That is where it is no expression, or takes longer than EXPRESSION_SECONDS.
    """
    child = os.fork()
    if child == 0:
        os._exit(_tried(pattern, values))
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return code == _MATCHES if code in (_MATCHES, _DIFFERS) else None


def _tried(pattern: str, values: list[str]) -> int:
    """In the child: the exit code; SIGALRM ends it in the middle of a match."""
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, EXPRESSION_SECONDS)
        compiled = re.compile(pattern)
        return _MATCHES if all(compiled.fullmatch(each) for each in values) else _DIFFERS
    except BaseException:
        return _INVALID
