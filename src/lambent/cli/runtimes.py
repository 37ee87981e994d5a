"""``lambent runtimes``: the languages this host has, and how to get the others."""

from __future__ import annotations

import argparse
from typing import Any

from lambent.cli import table
from lambent.runtime.languages import Languages


def rows() -> list[dict[str, Any]]:
    """One for each runtime AWS knows."""
    languages = Languages()
    found = []
    for name in languages.names():
        language = languages.get(name)
        assert language is not None
        place = language.prefix or "any executable named bootstrap"
        version = languages.version(name)
        found.append(
            {"runtime": name, "state": "ok", "version": version, "found": place, "remedy": ""}
        )
    for missing in languages.missing():
        found.append(
            {
                "runtime": missing.name,
                "state": "missing",
                "version": "",
                "found": "",
                "remedy": missing.remedy,
            }
        )
    return found


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    table.show(rows(), ("runtime", "state", "version", "found", "remedy"), arguments.json)
    return 0
