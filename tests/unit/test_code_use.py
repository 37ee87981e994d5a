"""Code goes when nobody uses it any longer, and never before."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambent.functions import code_use
from lambent.functions.code_use import CodeUse
from lambent.functions.package import remove_tree, tree_size


class World:
    """What there is, and what environments have mounted."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.mounted: set[str] = set()
        self.removing = asyncio.Event()
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.use = CodeUse(self._remove, lambda: self.mounted)

    async def _remove(self, name: str) -> None:
        self.removing.set()
        await self.go_on.wait()
        self.there.discard(name)

    async def start(self) -> None:
        await self.use.counted(set(self.there))

    async def bring(self, name: str, owner: str = "", until: asyncio.Event | None = None) -> None:
        """A request that takes an archive in and, with an owner, stores who names it."""

        async def request() -> None:
            await self.use.hold(name)
            self.there.add(name)
            if until is not None:
                await until.wait()
            if owner:
                self.use.observe(owner, {name})

        await asyncio.create_task(request())

    async def settled(self) -> set[str]:
        await asyncio.sleep(0.001)  # what ends with a task comes after it
        while self.use._looking is not None:
            await asyncio.sleep(0.001)
        return self.there


def play(scenario: Callable[[World], Awaitable[None]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(code_use, "GRACE_SECONDS", 0.01)
    monkeypatch.setattr(code_use, "_LOOK_SECONDS", 0.002)

    async def whole() -> None:
        world = World()
        await scenario(world)
        await world.use.close()

    asyncio.run(whole())


def test_what_was_only_tried_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        await world.start()
        await world.bring("tried")
        assert world.there == {"tried"}
        assert await world.settled() == set()

    play(scenario, monkeypatch)


def test_what_is_replaced_or_deleted_goes_and_what_another_names_stays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(world: World) -> None:
        await world.start()
        await world.bring("a", "1/r/f")
        await world.bring("a", "1/r/g")
        await world.bring("b", "1/r/f")
        assert await world.settled() == {"a", "b"}
        world.use.observe("1/r/g", ())
        assert await world.settled() == {"b"}
        world.use.observe("1/r/f", ())
        assert await world.settled() == set()

    play(scenario, monkeypatch)


def test_a_request_keeps_what_it_brought_until_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        await world.start()
        stored = asyncio.Event()
        request = asyncio.create_task(world.bring("a", "1/r/f", stored))
        await asyncio.sleep(0.05)
        assert world.there == {"a"}
        stored.set()
        await request
        await asyncio.sleep(0.05)
        assert await world.settled() == {"a"}

    play(scenario, monkeypatch)


def test_what_an_environment_has_mounted_stays_until_it_is_gone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(world: World) -> None:
        await world.start()
        world.mounted = {"a"}
        await world.bring("a", "1/r/f")
        world.use.observe("1/r/f", ())
        await asyncio.sleep(0.05)
        assert world.there == {"a"}
        world.mounted = set()
        assert await world.settled() == set()

    play(scenario, monkeypatch)


def test_what_comes_again_while_it_is_removed_is_taken_in_after_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(world: World) -> None:
        await world.start()
        world.go_on.clear()
        await world.bring("a")
        await world.removing.wait()
        again = asyncio.create_task(world.bring("a", "1/r/f"))
        await asyncio.sleep(0.01)
        assert not again.done()
        world.go_on.set()
        await again
        assert await world.settled() == {"a"}

    play(scenario, monkeypatch)


def test_nothing_goes_before_all_have_been_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        world.there = {"old", "orphan", "replaced"}
        world.use.observe("1/r/changed", {"new"})
        world.there.add("new")
        await asyncio.sleep(0.03)
        world.use.count("1/r/f", {"old"})
        world.use.count("1/r/changed", {"replaced"})
        assert world.there == {"old", "orphan", "replaced", "new"}
        await world.start()
        assert world.there == {"old", "new"}

    play(scenario, monkeypatch)


def test_an_account_is_charged_once_for_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(world: World) -> None:
        for name, size in (("a", 10), ("b", 200)):
            world.use.measured(name, size)
        world.use.observe("1/r/f", {"a"})
        world.use.observe("1/s/g", {"a", "b"})
        world.use.observe("12/r/f", {"a"})
        assert (world.use.total("1"), world.use.total("12"), world.use.total("2")) == (210, 10, 0)
        assert world.use.names("1", "b") and not world.use.names("12", "b")

    play(scenario, monkeypatch)


STEPS = st.lists(
    st.tuples(st.sampled_from("fgh"), st.sets(st.sampled_from("abcd"), max_size=3), st.booleans()),
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(STEPS)
def test_what_is_there_in_the_end_is_what_is_named(
    steps: list[tuple[str, set[str], bool]],
) -> None:
    async def scenario(world: World) -> None:
        await world.start()
        named: dict[str, set[str]] = {}
        for owner, names, pause in steps:

            async def request(owner: str = owner, names: set[str] = names) -> None:
                for name in names:
                    await world.use.hold(name)
                    world.there.add(name)
                world.use.observe(f"1/r/{owner}", names)

            await asyncio.create_task(request())
            named[owner] = names
            if pause:
                await asyncio.sleep(0.015)
            assert set().union(*named.values()) <= world.there
        assert await world.settled() == set().union(*named.values())

    with pytest.MonkeyPatch.context() as monkeypatch:
        play(scenario, monkeypatch)


def test_a_tree_goes_however_deep_and_whatever_its_modes_forbid(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    folder = root
    root.mkdir()
    for _ in range(1500):
        folder = folder / "d"
        folder.mkdir()
    os.makedirs(root / "locked" / "inner")
    (root / "locked" / "inner" / "file").write_text("x" * 10_000)
    (root / "link").symlink_to(tmp_path)
    size = tree_size(root)
    assert size >= 10_000
    (root / "locked" / "inner").chmod(0)
    (root / "locked").chmod(0)
    remove_tree(root)
    assert not root.exists() and tmp_path.exists()
