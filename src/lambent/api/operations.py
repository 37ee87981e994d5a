"""Which handler answers which operation: by name, so that none needs a line of its own.

An operation ``PutFunctionConcurrency`` is answered by the method ``put_function_concurrency`` of
one of the handler classes; one that no class has is answered as not offered.
"""

from __future__ import annotations

import re

from lambent.api.context import Handler
from lambent.aws import model

_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def method_name(operation: str) -> str:
    """The name of the method that handles an operation."""
    return _WORD.sub("_", operation).lower()


def handlers(*resources: object) -> dict[str, Handler]:
    """The handlers of the Lambda API among these resources' methods."""
    found: dict[str, Handler] = {}
    for operation in model.load("lambda").operations:
        name = method_name(operation)
        owners = [each for each in resources if callable(getattr(each, name, None))]
        if len(owners) > 1:
            raise TypeError(f"{operation} has more than one handler")
        if owners:
            found[operation] = getattr(owners[0], name)
    return found
