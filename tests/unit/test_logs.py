"""Function logs on disk: bounded, whole lines, readable from any place."""

from __future__ import annotations

import asyncio
from pathlib import Path

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
