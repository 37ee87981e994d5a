"""Text with ``*`` for anything, matched piece by piece: no pattern makes it try twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def between(pieces: Sequence[str]) -> Callable[[str], bool]:
    """A test whether a whole text is these pieces in order with anything between them.

    pieces: a pattern split at its wildcards; one piece is the whole text.  The first place of each
    piece after the one before is as good as any other, so each is looked for once.
    """
    first, *others = pieces
    if not others:
        return lambda value: value == first
    *middle, last = others

    def matches(value: str) -> bool:
        end = len(value) - len(last)
        if end < len(first) or not (value.startswith(first) and value.endswith(last)):
            return False
        at = len(first)
        for piece in middle:
            at = value.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return True

    return matches
