"""``lambent events``: what waits to be run asynchronously, and what failed."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import Any

from lambent.cli import table
from lambent.cli.client import Client

_PATH = "/_lambent/events"


def ls(arguments: argparse.Namespace, client: Client) -> int:
    """A row for each function that has events."""
    rows: list[dict[str, Any]] = client.request("GET", _PATH).json()["events"]
    if not arguments.json:
        for row in rows:
            age = row["oldest_seconds"]
            row["oldest"] = "" if age is None else _ago(age)
    table.show(rows, ("function", "waiting", "failed", "oldest"), arguments.json)
    return 0


def peek(arguments: argparse.Namespace, client: Client) -> int:
    """A row for each event: those that wait, the next to run first, then those that failed."""
    path = f"{_PATH}/{arguments.name}?limit={arguments.limit}"
    rows: list[dict[str, Any]] = client.request("GET", path).json()["events"]
    if not arguments.json:
        for row in rows:
            row["due"] = _moment(row["due"])
            row["payload"] = table.clean(row["payload"])[:60]
            row["error"] = table.clean(row["error"] or row["condition"] or "")[:60]
    table.show(rows, ("id", "state", "due", "attempts", "payload", "error"), arguments.json)
    return 0


def purge(arguments: argparse.Namespace, client: Client) -> int:
    """Remove a function's events."""
    answer = client.request("DELETE", f"{_PATH}/{arguments.name}").json()
    return _said(arguments, answer, f"{answer['purged']} events removed")


def replay(arguments: argparse.Namespace, client: Client) -> int:
    """Let a function's failed events begin anew."""
    answer = client.request("POST", f"{_PATH}/{arguments.name}/replay").json()
    return _said(arguments, answer, f"{answer['replayed']} events begin anew")


def _said(arguments: argparse.Namespace, answer: dict[str, Any], text: str) -> int:
    if arguments.json:
        table.show([answer], (), True)
    else:
        table.say(text)
    return 0


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _ago(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f}{unit}"
    return f"{seconds:.1f}s"


ACTIONS = {"ls": ls, "peek": peek, "purge": purge, "replay": replay}
