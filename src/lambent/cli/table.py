"""Tables on a terminal, JSON for everything else."""

from __future__ import annotations

import json
import sys
from typing import Any


def show(rows: list[dict[str, Any]], columns: tuple[str, ...], as_json: bool) -> None:
    """Print rows as a table, or as JSON."""
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    lines = [[str(row.get(column, "")) for column in columns] for row in rows]
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


def clean(text: str) -> str:
    """A log line that cannot steer the terminal: control characters but tab are shown, not sent."""
    return "".join(
        c
        if c == "\t" or (c >= " " and c != "\x7f" and not "\x80" <= c < "\xa0")
        else f"\\x{ord(c):02x}"
        for c in text
    )
