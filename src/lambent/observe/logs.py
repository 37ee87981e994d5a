"""Function logs on disk: bounded, readable while written, surviving the server.

A log group is a folder of segments; a segment is a file of JSON lines ``[ms, stream, message]``.  A
group whose name is too long for a folder's has it in a file beside them.
Lines are collected in memory and written every FLUSH_SECONDS by a worker thread, so an invocation
never waits for a disk; what was collected within that time is all that ``kill -9`` can cost.  When
a group is over its size the oldest segment goes.  A full disk drops lines, counted, nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec

from lambent.errors import InvalidParameterValue
from lambent.paths import UnsafePart, account_part, name_of_part, name_part, region_part

_log = logging.getLogger(__name__)

Line = tuple[int, str, str]
"""When (ms since the epoch), from which stream, what."""
_encode_lines = msgspec.json.Encoder().encode_lines

FLUSH_SECONDS = 0.1
SEGMENTS = 8
_PENDING_BYTES = 32 * 1024 * 1024
# Messages that one reading returns: GetLogEvents returns as many events as fit in 1 MB.
READ_BYTES = 1024 * 1024
# What a line in memory takes beside its message, roughly.
_LINE_BYTES = 100
_FACTS = "group.json"
_NAME = "name"
_DAY_SECONDS = 86_400
_SEGMENT = re.compile(r"([0-9]{10})\.log")
_PLACE = re.compile(r"([0-9]{1,10}):([0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One line: when (ms since the epoch), from which stream, what, and its place in the group."""

    timestamp: int
    stream: str
    message: str
    segment: int
    offset: int

    @property
    def event_id(self) -> str:
        """Unique within the group and growing with time, as CloudWatch's is."""
        return f"{self.segment:010d}{self.offset:020d}"


@dataclass(frozen=True, slots=True)
class GroupFacts:
    """What is known of a group beside its events: when it was made (ms), for how many days events
    are kept (None: for ever), and the streams that were made by name, with when."""

    created: int
    retention_days: int | None = None
    streams: dict[str, int] = field(default_factory=dict)
    deleted_streams: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Place:
    """Where reading goes on: a segment and a byte offset in it."""

    segment: int = 0
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.segment}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """Read what str() wrote; raises ValueError."""
        found = _PLACE.fullmatch(text)
        if found is None:
            raise ValueError(f"not a place in a log group: {text[:100]!r}")
        return cls(int(found[1]), int(found[2]))


class _Group:
    """A group's lines on their way to disk, and the segment being written."""

    def __init__(self, folder: Path, name: str, maximum: int) -> None:
        self.folder = folder
        self._name = name
        self.pending: list[Line] = []
        self._segment_bytes = max(4096, maximum // SEGMENTS)

    def write(self, lines: list[Line]) -> None:
        """Append lines; runs in a thread."""
        _make(self.folder, self._name)
        numbers = segments(self.folder)
        number = numbers[-1] if numbers else 1
        path = self.folder / f"{number:010d}.log"
        if numbers and path.stat().st_size >= self._segment_bytes:
            number += 1
            path = self.folder / f"{number:010d}.log"
            for old in numbers[: max(0, len(numbers) - SEGMENTS + 1)]:
                (self.folder / f"{old:010d}.log").unlink(missing_ok=True)
        data = _encoded(lines)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            before = os.fstat(descriptor).st_size
            written = 0
            try:
                while written < len(data):
                    written += os.write(descriptor, data[written:])
            except OSError:
                # No half line may stay: readers go by lines.
                with contextlib.suppress(OSError):
                    os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)


def _encoded(lines: list[Line]) -> bytes:
    try:
        return _encode_lines(lines)
    except UnicodeEncodeError:  # half of a surrogate pair has no encoding
        plain = [(when, stream, ascii(message)[1:-1]) for when, stream, message in lines]
        return _encode_lines(plain)


def segments(folder: Path) -> list[int]:
    """The segments of a group, oldest first."""
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    return sorted(int(found[1]) for name in names if (found := _SEGMENT.fullmatch(name)))


class LogStore:
    """All log groups of all accounts."""

    def __init__(self, root: Path, group_bytes: int) -> None:
        self._root = root
        self._group_bytes = group_bytes
        self._groups: dict[tuple[str, str, str], _Group] = {}
        self._dirty: dict[tuple[str, str, str], _Group] = {}
        self._pending_bytes = 0
        self._flusher: asyncio.TimerHandle | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self.dropped = 0

    # -- what is known of a group beside its events ------------------------------------------

    async def create(self, account: str, region: str, group: str, now: int) -> bool:
        """Make an empty group; False if it is there.  now: ms since the epoch."""
        await self.flush()
        folder = self.folder(account, region, group)
        if folder.exists():
            return False
        await asyncio.to_thread(_make, folder, group)
        await self.update(account, region, group, created=now)
        return True

    async def facts(self, account: str, region: str, group: str) -> GroupFacts:
        """What is known of a group."""
        return await asyncio.to_thread(_facts, self.folder(account, region, group))

    async def update(self, account: str, region: str, group: str, **changes: Any) -> None:
        """Change what is known of it."""
        folder = self.folder(account, region, group)
        async with self._changing:
            facts = await self.facts(account, region, group)
            changed = json.dumps(asdict(replace(facts, **changes)))
            await asyncio.to_thread(_replace, folder / _FACTS, changed)

    async def expire(self, now: float) -> None:
        """Remove segments whose newest event is older than their group keeps."""
        await asyncio.to_thread(_expire, self._root, now)

    def folder(self, account: str, region: str, group: str) -> Path:
        """Where a group lives; raises InvalidParameterValue where no path may be made of it."""
        try:
            return self._region(account, region) / name_part(group)
        except UnsafePart as unsafe:
            raise InvalidParameterValue(f"There is no log group here: {unsafe}.") from None

    def _region(self, account: str, region: str) -> Path:
        """Where an account's groups of a region live; raises UnsafePart."""
        return self._root / account_part(account) / region_part(region)

    def writer(
        self, account: str, region: str, group: str, stream: str
    ) -> Callable[[int, list[str]], None]:
        """How one stream takes lines: (ms, messages); on disk within FLUSH_SECONDS."""
        key = (account, region, group)
        folder = self.folder(account, region, group)
        loop = asyncio.get_running_loop()

        def append(timestamp: int, messages: list[str]) -> None:
            entry = self._groups.get(key)
            if entry is None:
                entry = self._groups[key] = _Group(folder, group, self._group_bytes)
            if self._pending_bytes > _PENDING_BYTES:
                self.dropped += len(messages)
                return
            for message in messages:
                self._pending_bytes += len(message) + _LINE_BYTES
                entry.pending.append((timestamp, stream, message))
            self._dirty[key] = entry
            if self._flusher is None and self._flushing is None:
                self._flusher = loop.call_later(FLUSH_SECONDS, self._start_flush)

        return append

    def _start_flush(self) -> None:
        self._flusher = None
        self._flushing = asyncio.ensure_future(self._flush())

    async def _flush(self) -> None:
        dirty, self._dirty = self._dirty, {}
        batches = []
        for entry in dirty.values():
            batches.append((entry, entry.pending))
            entry.pending = []
        self._pending_bytes = 0
        try:
            await asyncio.to_thread(self._write, batches)
        finally:
            self._flushing = None
            if self._dirty and self._flusher is None:
                # One hop to the thread per interval, however much is written meanwhile.
                loop = asyncio.get_running_loop()
                self._flusher = loop.call_later(FLUSH_SECONDS, self._start_flush)

    def _write(self, batches: list[tuple[_Group, list[Line]]]) -> None:
        for entry, lines in batches:
            try:
                entry.write(lines)
            except OSError as error:
                if not self.dropped:
                    _log.error("function logs cannot be written: %s", error)
                self.dropped += len(lines)

    async def flush(self) -> None:
        """Put everything taken so far on disk."""
        if self._flushing is not None:
            await asyncio.shield(self._flushing)
        if self._flusher is not None:
            self._flusher.cancel()
            self._start_flush()
        if self._flushing is not None:
            await asyncio.shield(self._flushing)

    async def read(
        self,
        account: str,
        region: str,
        group: str,
        place: Place,
        limit: int,
        most_bytes: int = READ_BYTES,
    ) -> tuple[list[LogEvent], Place]:
        """Up to limit events from a place on, and the place after them.

        Fewer where their lines together reach most_bytes; none only where there are none.
        """
        await self.flush()
        return await asyncio.to_thread(
            self._read, self.folder(account, region, group), place, limit, most_bytes
        )

    @staticmethod
    def _read(
        folder: Path, place: Place, limit: int, most_bytes: int
    ) -> tuple[list[LogEvent], Place]:
        found: list[LogEvent] = []
        total = 0
        for number in segments(folder):
            if number < place.segment:
                continue
            offset = place.offset if number == place.segment else 0
            for event in _lines(folder / f"{number:010d}.log", number, offset):
                if len(found) >= limit or total >= most_bytes:
                    return found, Place(number, offset)
                found.append(event)
                total += event.offset - offset
                offset = event.offset
            place = Place(number, offset)
        return found, place

    async def end(self, account: str, region: str, group: str) -> Place:
        """The place after everything that a group holds."""
        await self.flush()
        folder = self.folder(account, region, group)
        numbers = segments(folder)
        if not numbers:
            return Place()
        return Place(numbers[-1], (folder / f"{numbers[-1]:010d}.log").stat().st_size)

    async def groups(self, account: str, region: str) -> list[str]:
        """The names of an account's groups in a region."""
        await self.flush()
        try:
            folder = self._region(account, region)
        except UnsafePart:
            return []
        return await asyncio.to_thread(_names, folder)

    async def delete(self, account: str, region: str, group: str) -> None:
        """Remove a group with its events."""
        await self.flush()
        self._groups.pop((account, region, group), None)
        await asyncio.to_thread(shutil.rmtree, self.folder(account, region, group), True)


def _make(folder: Path, name: str) -> None:
    """Make a group's folder, from which its name can be read."""
    folder.mkdir(parents=True, exist_ok=True)
    if name_of_part(folder.name) is None and not (folder / _NAME).exists():
        _replace(folder / _NAME, name)


def _names(region: Path) -> list[str]:
    """The names of the groups below a folder."""
    try:
        parts = os.listdir(region)
    except FileNotFoundError:
        return []
    names = []
    for part in parts:
        name = name_of_part(part)
        if name is None:
            try:
                name = (region / part / _NAME).read_text()
            except FileNotFoundError:
                continue  # it is being made, or removed
        names.append(name)
    return sorted(names)


def _facts(folder: Path) -> GroupFacts:
    try:
        return GroupFacts(**json.loads((folder / _FACTS).read_text()))
    except FileNotFoundError:
        numbers = segments(folder)
        first = next(_lines(folder / f"{numbers[0]:010d}.log", 1, 0), None) if numbers else None
        return GroupFacts(first.timestamp if first is not None else 0)
    except (OSError, ValueError, TypeError) as error:
        _log.error("a log group's facts cannot be read: %s", error)
        return GroupFacts(0)


def _replace(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    temporary.replace(path)


def _expire(root: Path, now: float) -> None:
    for facts in root.glob(f"*/*/*/{_FACTS}"):
        kept = _facts(facts.parent).retention_days
        if kept is None:
            continue
        for number in segments(facts.parent):
            path = facts.parent / f"{number:010d}.log"
            with contextlib.suppress(FileNotFoundError):
                if now - path.stat().st_mtime > kept * _DAY_SECONDS:
                    path.unlink()


def _lines(path: Path, number: int, offset: int) -> Iterator[LogEvent]:
    """The events of a segment from a byte offset on; each carries the offset after it."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            try:
                timestamp, stream, message = json.loads(line)
            except ValueError:
                continue
            yield LogEvent(timestamp, stream, message, number, offset)
