"""How often each function has been run in a chain of requests, as its tracing header says.

A function that calls AWS with an SDK sends its own tracing header along; so does what Lambda, SNS,
SQS and S3 do next.  The member ``Lineage=HASH:COUNT,HASH:COUNT`` of it counts, per function.
Source: AWS Lambda Developer Guide, "Use Lambda recursive loop detection".
"""

from __future__ import annotations

import functools
import re
import zlib
from collections.abc import Iterable

# A function that has been run so often in one chain is not run again.
LIMIT = 16
_LINEAGE = re.compile(r";Lineage=([0-9a-f:,]*)")
_MOST = 32


@functools.lru_cache(4096)
def _hash(account: str, region: str, name: str) -> str:
    return f"{zlib.crc32(f'{account}/{region}/{name}'.encode()):08x}"


def extended(trace_id: str, account: str, region: str, name: str) -> tuple[str, int]:
    """A tracing header with one more run of a function, and how many that are."""
    mine = _hash(account, region, name)
    found = _LINEAGE.search(trace_id)
    if found is None:
        return f"{trace_id};Lineage={mine}:1", 1
    counts = _counts(found[1])
    count = counts.pop(mine, 0) + 1
    counts[mine] = count
    return f"{trace_id[: found.start()]}{_member(counts)}{trace_id[found.end() :]}", count


def joined(trace_id: str, others: Iterable[str]) -> str:
    """A tracing header without a lineage, with that of what several others have led to.

    Each function counts as often as in that of them where it was run most.
    """
    counts: dict[str, int] = {}
    for other in others:
        found = _LINEAGE.search(other)
        for known, count in _counts(found[1]).items() if found is not None else ():
            counts[known] = max(count, counts.get(known, 0))
    return trace_id + (_member(counts) if counts else "")


def _counts(text: str) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in text.split(","):
        known, _, count = entry.partition(":")
        if len(known) == 8 and count.isdecimal() and len(count) < 6:
            counts[known] = int(count)
    return counts


def _member(counts: dict[str, int]) -> str:
    # Those that were run longest ago are forgotten first.
    kept = list(counts.items())[-_MOST:]
    return ";Lineage=" + ",".join(f"{known}:{number}" for known, number in kept)
