"""Writes the table of docs/reference/settings.md: python -m tools.settings_table."""

from __future__ import annotations

from pathlib import Path

from lambent.config import entries

PAGE = Path(__file__).resolve().parents[1] / "docs/reference/settings.md"


def main() -> None:
    """Replace the table's rows, keep the text around it."""
    lines = PAGE.read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("| `"))
    last = max(n for n, line in enumerate(lines) if line.startswith("| `"))
    rows = [
        f"| `{each.name}` | `{each.default}` | `{each.variable}` | {each.text} |"
        for each in entries()
    ]
    PAGE.write_text("\n".join([*lines[:first], *rows, *lines[last + 1 :]]) + "\n")


if __name__ == "__main__":
    main()
