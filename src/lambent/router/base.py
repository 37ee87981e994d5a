"""What every router promises (tests/contract/test_router.py)."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Protocol

from lambent.functions.types import Invocation, Outcome


class Executor(Protocol):
    """Runs invocations on this node."""

    async def run(self, invocation: Invocation) -> Outcome:
        """Acquire an environment, run, settle."""


class Router(Protocol):
    """Finds the node for an invocation."""

    def announce(self, executor: Executor) -> None:
        """This node can run invocations."""

    def dispatch(self, invocation: Invocation) -> Awaitable[Outcome]:
        """Run it somewhere; raises NoCapacity where no node has announced itself."""


class NoCapacity(Exception):
    """No node can run invocations."""
