"""Function logs on disk: bounded, whole lines, readable from any place."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from lambent.errors import ServiceError
from lambent.observe.logs import SEGMENTS, LogStore, Place

KEY = ("000000000000", "us-east-1", "/aws/lambda/f")


def test_lines_are_read_back_in_order_from_any_place(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = LogStore(tmp_path, 1 << 20)
        append = store.writer(*KEY, "stream")
        append(1, ["one", 'quote " and \\ and é \x1b'])
        append(2, ["three"])
        events, place = await store.read(*KEY, Place(), 2)
        assert [(e.timestamp, e.message) for e in events] == [
            (1, "one"),
            (1, 'quote " and \\ and é \x1b'),
        ]
        rest, end = await store.read(*KEY, Place.parse(str(place)), 10)
        assert [event.message for event in rest] == ["three"]
        assert await store.read(*KEY, end, 10) == ([], end)
        assert await store.groups(*KEY[:2]) == ["/aws/lambda/f"]
        ids = [event.event_id for event in events + rest]
        assert ids == sorted(set(ids))

    asyncio.run(scenario())


def test_a_group_stays_within_its_size(tmp_path: Path) -> None:
    async def scenario() -> None:
        limit = 80_000
        store = LogStore(tmp_path, limit)
        append = store.writer(*KEY, "stream")
        for number in range(100):
            append(number, ["x" * 5000])
            await store.flush()
        files = list(tmp_path.rglob("*.log"))
        assert len(files) <= SEGMENTS
        assert sum(path.stat().st_size for path in files) <= limit + SEGMENTS * 6000
        events, _ = await store.read(*KEY, Place(), 1000)
        assert events[-1].timestamp == 99

    asyncio.run(scenario())


def test_a_half_written_line_is_not_shown(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = LogStore(tmp_path, 1 << 20)
        store.writer(*KEY, "s")(1, ["whole"])
        await store.flush()
        path = next(tmp_path.rglob("*.log"))
        with path.open("ab") as file:
            file.write(b'[2,"s","half')
        events, _ = await store.read(*KEY, Place(), 10)
        assert [event.message for event in events] == ["whole"]

    asyncio.run(scenario())


def test_a_disk_that_cannot_be_written_costs_lines_only(tmp_path: Path) -> None:
    async def scenario() -> None:
        (tmp_path / "logs").write_text("a file where the folder should be")
        store = LogStore(tmp_path / "logs", 1 << 20)
        store.writer(*KEY, "s")(1, ["lost"])
        await store.flush()
        assert store.dropped == 1

    asyncio.run(scenario())


HOSTILE_REGIONS = ["..", ".", "", "../000000000000/us-east-1", "us-east-1/..", "/", "a\0b", "US"]


@pytest.mark.parametrize("region", HOSTILE_REGIONS)
def test_a_region_leads_to_no_other_account(tmp_path: Path, region: str) -> None:
    async def scenario() -> None:
        store = LogStore(tmp_path, 1 << 20)
        store.writer(*KEY, "s")(1, ["kept"])
        await store.flush()
        thief = ("222222222222", region)
        assert await store.groups(*thief) == []
        for group in ("000000000000", "us-east-1", "..", "%2Faws%2Flambda%2Ff"):
            for call in (
                lambda group=group: store.delete(*thief, group),
                lambda group=group: store.create(*thief, group, 1),
                lambda group=group: store.read(*thief, group, Place(), 10),
                lambda group=group: store.update(*thief, group, retention_days=1),
            ):
                with pytest.raises(ServiceError) as refused:
                    await call()
                assert refused.value.status == 400
            with pytest.raises(ServiceError):
                store.writer(*thief, group, "s")
        events, _ = await store.read(*KEY, Place(), 10)
        assert [each.message for each in events] == ["kept"]

    asyncio.run(scenario())


@pytest.mark.parametrize("group", [".", "..", "...", "/", "../..", "/" * 512, "x" * 512, "~"])
def test_a_group_of_any_name_is_a_folder_of_its_own(tmp_path: Path, group: str) -> None:
    async def scenario() -> None:
        store = LogStore(tmp_path / "logs", 1 << 20)
        store.writer(*KEY, "s")(1, ["kept"])
        key = (*KEY[:2], group)
        store.writer(*key, "s")(2, ["mine"])
        assert await store.groups(*KEY[:2]) == sorted([KEY[2], group])
        events, _ = await store.read(*key, Place(), 10)
        assert [each.message for each in events] == ["mine"]
        await store.update(*key, retention_days=1)
        await store.delete(*key)
        assert await store.groups(*KEY[:2]) == [KEY[2]]
        assert await store.create(*key, 3) and not await store.create(*key, 3)
        assert await store.groups(*KEY[:2]) == sorted([KEY[2], group])
        assert os.listdir(tmp_path) == ["logs"] and os.listdir(tmp_path / "logs") == [KEY[0]]
        events, _ = await store.read(*KEY, Place(), 10)
        assert [each.message for each in events] == ["kept"]

    asyncio.run(scenario())


@pytest.mark.parametrize("text", ["", ":", "1", "-1:0", "0:-1", "1:" + "9" * 19, "9" * 5000 + ":0"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a place"):
        Place.parse(text)
