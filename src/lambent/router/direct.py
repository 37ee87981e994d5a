"""The embedded Router: this node runs everything."""

from __future__ import annotations

from collections.abc import Awaitable

from lambent.functions.types import Invocation, Outcome
from lambent.router.base import Executor, NoCapacity


class DirectRouter:
    """See ``lambent.router.base.Router``; a call, nothing more."""

    def __init__(self) -> None:
        self._executor: Executor | None = None

    def announce(self, executor: Executor) -> None:
        self._executor = executor

    def dispatch(self, invocation: Invocation) -> Awaitable[Outcome]:
        if self._executor is None:
            raise NoCapacity
        return self._executor.run(invocation)
