"""``lambent cost``: what functions have used and what that would cost on AWS."""

from __future__ import annotations

import argparse
from typing import Any

from lambent.cli import table
from lambent.cli.client import Client


def run(arguments: argparse.Namespace, client: Client) -> int:
    """A row a day and function, and the sum."""
    answer = client.request("GET", f"/_lambent/usage?days={arguments.days}", b"", {})
    rows: list[dict[str, Any]] = answer.json()["usage"]
    if arguments.json:
        table.show(rows, (), True)
        return 0
    shown = [
        {
            "day": row["day"],
            "function": row["function"],
            "invocations": row["invocations"],
            "errors": row["errors"],
            "throttles": row["throttles"],
            "gb-seconds": f"{row['gb_seconds']:.3f}",
            "price": f"${row['price']:.8f}",
        }
        for row in rows
    ]
    columns = ("day", "function", "invocations", "errors", "throttles", "gb-seconds", "price")
    table.show(shown, columns, False)
    print(f"Total: ${sum(row['price'] for row in rows):.8f} (free tier not deducted)")
    return 0
