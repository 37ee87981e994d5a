"""What a function says of a batch: which of its records failed.

Source: AWS Lambda Developer Guide, "Implementing partial batch responses".
"""

from __future__ import annotations

from collections.abc import Collection

from lambent.aws import jsontext
from lambent.functions.types import Outcome


def failed(outcome: Outcome, batch: Collection[str], reports: bool) -> Collection[str]:
    """The identifiers of those records of a batch that are to come again.

    reports: whether the function says so itself (ReportBatchItemFailures).  An answer that cannot
    be understood, or names a record that was not in the batch, fails all of it.
    """
    if outcome.function_error is not None:
        return batch
    if not reports:
        return ()
    try:
        answer = jsontext.decode(outcome.payload or b"null")
    except ValueError:
        return batch
    if not answer:
        return ()
    failures = answer.get("batchItemFailures") if isinstance(answer, dict) else batch
    if failures is None:
        return ()
    if not isinstance(failures, list):
        return batch
    named = [each.get("itemIdentifier") if isinstance(each, dict) else None for each in failures]
    there = set(batch)
    known = [each for each in named if isinstance(each, str) and each in there]
    return known if len(known) == len(named) else batch
