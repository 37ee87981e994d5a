"""The operations there are, and the page that says so."""

from __future__ import annotations

import pytest

from lambent.api import operations
from lambent.aws import model
from tools.operations_table import PAGE, answered


def test_the_reference_page_is_what_the_handlers_say() -> None:
    assert PAGE.read_text() == operations.table(answered()), "run tools/operations_table.py"


def test_only_what_nobody_has_built_is_refused() -> None:
    refused = set(model.load("lambda").operations) - answered()
    families = ("CapacityProvider", "Durable", "ScalingConfig", "ResponseStream")
    assert all(any(family in name for family in families) for name in refused)
    assert set(operations.PARTLY) <= answered()


def test_an_operation_with_two_handlers_is_a_mistake() -> None:
    class One:
        async def get_alias(self) -> None: ...

    assert list(operations.handlers(One())) == ["GetAlias"]
    with pytest.raises(TypeError, match="GetAlias has more than one handler"):
        operations.handlers(One(), One())
