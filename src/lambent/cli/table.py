"""Tables on a terminal, JSON for everything else."""

from __future__ import annotations

import json
import sys
import unicodedata
from typing import Any, TextIO


def show(rows: list[dict[str, Any]], columns: tuple[str, ...], as_json: bool) -> None:
    """Print rows as a table, or as JSON."""
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    lines = [[clean(str(row.get(column, ""))) for column in columns] for row in rows]
    widths = [max(len(text) for text in each) for each in zip(columns, *lines, strict=True)]
    bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
    print(
        bold
        + "  ".join(c.upper().ljust(w) for c, w in zip(columns, widths, strict=True)).rstrip()
        + plain
    )
    for line in lines:
        print(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        )


# What languages and emojis need of the characters that are not seen: joiners.
_HARMLESS = frozenset("\t\u200c\u200d")
# Control and format characters (those that turn the direction of a text among them), halves of
# characters, and separators of lines and paragraphs.
_STEERING = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp"))


def clean(text: str) -> str:
    """A line that cannot steer the terminal: what is not seen in it but a tab is shown, not sent.

    Source: Unicode Standard Annex 9 (directional formatting), Unicode Technical Report 36.
    """
    if text.isprintable():
        return text
    return "".join(
        character
        if character in _HARMLESS or unicodedata.category(character) not in _STEERING
        else _escaped(ord(character))
        for character in text
    )


def _escaped(code: int) -> str:
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def say(text: str, to: TextIO | None = None) -> None:
    """Print lines of which parts come from elsewhere, to standard output if not to another."""
    for line in text.split("\n"):
        print(clean(line), file=to)
