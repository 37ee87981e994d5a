"""Patterns that callers give MiniStack, matched in time in proportion to pattern and text.

MiniStack matches them with Python's own regular expressions, which backtrack: one subscription and
one message would keep its only thread for hours.  Wildcards are matched by ``aws.wildcards``
instead.  Expressions of templates are matched by ``template_patterns``.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from lambent.aws.wildcards import between
from lambent.neighbours.ministack.adapter import MiniStack, need


def install(stack: MiniStack) -> None:
    """Replace the matchers, before any service is asked."""
    in_sns(stack.module("sns"))
    in_s3(stack.module("s3"))
    in_eventbridge(stack.module("eventbridge"))


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
