"""What every router promises."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from lambent.functions.types import FunctionVersion, Invocation, Outcome
from lambent.router.base import NoCapacity
from lambent.router.direct import DirectRouter


class Node:
    async def run(self, invocation: Invocation) -> Outcome:
        return Outcome(invocation.payload, "1")


def test_an_invocation_goes_to_a_node_that_announced_itself() -> None:
    invocation = Invocation(cast(FunctionVersion, None), "id", b"payload", "arn")

    async def scenario() -> None:
        router = DirectRouter()
        with pytest.raises(NoCapacity):
            await router.dispatch(invocation)
        router.announce(Node())
        assert (await router.dispatch(invocation)).payload == b"payload"

    asyncio.run(scenario())
