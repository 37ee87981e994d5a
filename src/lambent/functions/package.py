"""Code archives: checking and unpacking them without trusting them.

An archive is hostile.  Nothing in it may land outside its folder, overwrite what is there, be
anything but a file, a folder or a link that stays inside, carry set-uid bits, or grow past the
limit it declared.  Unpacked trees are named by the archive's digest and shared, read-only, by
every environment that needs them.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import io
import lzma
import os
import shutil
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lambent.errors import InvalidParameterValue

# Files, links and folders of an archive, those included that only paths imply.
_ENTRIES = 100_000
_CHUNK = 256 * 1024
_NAME_BYTES = 255
# A path goes on below folders of the server's and of the sandbox's; Linux takes 4096 bytes of it.
_PATH_BYTES, _PATH_PARTS = 2048, 256
_LINK_BYTES = 4096
UNREADABLE = "Could not unzip uploaded file. Please check your file, then try to upload again."


@dataclass(frozen=True, slots=True)
class Package:
    """An archive that has been checked: digest (hex), AWS's CodeSha256, sizes in bytes."""

    digest: str
    sha256: str
    size: int
    unpacked: int


def code_sha256(digest: str) -> str:
    """A hex digest as AWS shows it."""
    return base64.b64encode(bytes.fromhex(digest)).decode()


def _segments(info: zipfile.ZipInfo) -> tuple[str, ...]:
    """The path of an entry, safe to join below a folder; raises InvalidParameterValue.

    Empty for an entry of the folder itself.
    """
    name = info.filename
    try:
        encoded = name.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidParameterValue(f"{UNREADABLE} (an entry's name is not UTF-8)") from None
    parts = name.split("/")
    unsafe = (
        not name
        or name.startswith("/")
        or "\0" in name
        or "\\" in name
        or len(encoded) > _PATH_BYTES
        or len(parts) > _PATH_PARTS
        or any(part == ".." or len(part.encode()) > _NAME_BYTES for part in parts)
        # What is no folder has a name of its own.
        or (parts[-1] == "." and not info.is_dir())
    )
    if unsafe:
        raise InvalidParameterValue(f"{UNREADABLE} (unsafe path: {name[:100]!r})")
    return tuple(part for part in parts if part not in ("", "."))


def _kind(info: zipfile.ZipInfo) -> int:
    mode = info.external_attr >> 16
    kind = stat.S_IFMT(mode)
    if info.is_dir():
        return stat.S_IFDIR
    if kind in (0, stat.S_IFREG):
        return stat.S_IFREG
    if kind == stat.S_IFLNK:
        return stat.S_IFLNK
    raise InvalidParameterValue(
        f"{UNREADABLE} (not a file, folder or link: {info.filename[:100]!r})"
    )


def _permissions(info: zipfile.ZipInfo, default: int) -> int:
    """An entry's own mode without set-uid, set-gid and sticky bits."""
    mode = (info.external_attr >> 16) & 0o777
    return mode or default


def _stays_inside(segments: tuple[str, ...], target: str) -> bool:
    depth = len(segments) - 1
    if target.startswith("/"):
        return False
    for part in target.split("/"):
        if part == "..":
            depth -= 1
        elif part not in ("", "."):
            depth += 1
        if depth < 0:
            return False
    return True


def _check(archive: zipfile.ZipFile, limit: int) -> int:
    """Check every entry's declaration; returns the unpacked size in bytes."""
    entries = archive.infolist()
    total = sum(info.file_size for info in entries)
    if total > limit:
        raise InvalidParameterValue(f"Unzipped size must be smaller than {limit} bytes")
    kinds: dict[str, int] = {}
    for info in entries:
        segments, kind = _segments(info), _kind(info)
        shown = f"{info.filename[:100]!r}"
        if info.flag_bits & 0x1:
            raise InvalidParameterValue(f"{UNREADABLE} (encrypted: {shown})")
        path = "/".join(segments)
        known = kinds.get(path)
        if known is not None and not known == kind == stat.S_IFDIR:
            raise InvalidParameterValue(f"{UNREADABLE} (duplicate: {shown})")
        kinds[path] = kind
        # Folders that are known have known folders above them.
        above = path.rpartition("/")[0]
        while above and kinds.get(above) != stat.S_IFDIR:
            if above in kinds:
                raise InvalidParameterValue(f"{UNREADABLE} (inside a file or link: {shown})")
            kinds[above] = stat.S_IFDIR
            above = above.rpartition("/")[0]
        if len(kinds) > _ENTRIES:
            raise _too_many()
    return total


def _too_many() -> InvalidParameterValue:
    return InvalidParameterValue(f"{UNREADABLE} (more than {_ENTRIES} entries)")


@contextlib.contextmanager
def _opened(file: IO[bytes]) -> Iterator[zipfile.ZipFile]:
    """The archive; whatever zipfile finds wrong with it is the client's fault."""
    with _readable():
        _count(file)
        archive = zipfile.ZipFile(file)
    with archive:
        yield archive


# What zipfile and the decompressors raise for what is not as it should be.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
    # bz2 has no error of its own.
    OSError,
)


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Raises InvalidParameterValue for whatever reading an archive raises."""
    try:
        yield
    except _BROKEN as error:
        raise InvalidParameterValue(UNREADABLE) from error


def _count(file: IO[bytes]) -> None:
    """Refuse a directory of too many entries before zipfile makes an object of each."""
    # The reading of the end that zipfile itself relies on: no other could differ from it.
    end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    if not end:
        raise zipfile.BadZipFile
    size, place = end[_END_SIZE], end[_END_PLACE]
    start = place - size - (_ZIP64_BYTES if end[0] == _ZIP64_END else 0)
    if start < 0:
        raise zipfile.BadZipFile
    file.seek(start)
    directory = file.read(size)
    at = entries = 0
    while at < size:
        name, extra, comment = _LENGTHS.unpack_from(directory, at + _LENGTHS_AT)
        at += _CENTRAL_BYTES + name + extra + comment
        entries += 1
        if entries > _ENTRIES:
            raise _too_many()


# Source: PKWARE APPNOTE, 4.3.12, 4.3.14 and 4.3.15; the end as zipfile has it, with its place.
_END_SIZE, _END_PLACE = 5, 9
_ZIP64_END, _ZIP64_BYTES = b"PK\6\6", 56 + 20
_CENTRAL_BYTES, _LENGTHS_AT, _LENGTHS = 46, 28, struct.Struct("<HHH")


def inspect(data: bytes, limit: int) -> Package:
    """Check an archive held in memory; raises InvalidParameterValue."""
    return _inspected(io.BytesIO(data), hashlib.sha256(data).hexdigest(), len(data), limit)


def inspect_file(path: Path, digest: str, limit: int) -> Package:
    """Check an archive on disk whose digest is known; raises InvalidParameterValue."""
    with path.open("rb") as file:
        return _inspected(file, digest, path.stat().st_size, limit)


def _inspected(file: IO[bytes], digest: str, size: int, limit: int) -> Package:
    with _opened(file) as archive:
        unpacked = _check(archive, limit)
    return Package(digest, code_sha256(digest), size, unpacked)


def merge(trees: list[Path], target: Path) -> None:
    """Lay trees over one another, the later over the earlier, in a new folder.

    Files are hard links, so fifty functions with the same layers share one copy of each; the
    folder appears whole or not at all.
    """
    with _whole(target) as work:
        for tree in trees:
            _overlay(tree, work)


def _overlay(tree: Path, target: Path) -> None:
    for entry in os.scandir(tree):
        path = target / entry.name
        folder = entry.is_dir(follow_symlinks=False)
        if path.is_symlink() or path.exists():
            if folder and path.is_dir() and not path.is_symlink():
                _overlay(Path(entry.path), path)
                continue
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        if folder:
            path.mkdir(mode=0o755)
            _overlay(Path(entry.path), path)
            path.chmod(entry.stat(follow_symlinks=False).st_mode & 0o777 | 0o700)
        else:
            try:
                os.link(entry.path, path, follow_symlinks=False)
            except OSError:  # too many links, or a file system without them
                shutil.copy2(entry.path, path, follow_symlinks=False)


def unpack(source: IO[bytes], target: Path, limit: int) -> None:
    """Check an archive and unpack it into a new folder; raises InvalidParameterValue.

    The folder appears whole or not at all.
    """
    with _whole(target) as work, _opened(source) as archive:
        _check(archive, limit)
        _extract(archive, work, limit)


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A folder to fill that becomes the target in the end; one that somebody made first stays."""
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=target.parent, prefix=".unpacking-"))
    try:
        yield work
        work.chmod(0o755)
        try:
            work.rename(target)
        except OSError:
            if not target.exists():
                raise
    finally:
        if work.exists():
            remove_tree(work)


def remove_tree(root: Path) -> None:
    """Remove a folder with all in it: however deep, and whatever its modes forbid."""
    folders = [str(root)]
    for folder in folders:  # which grows meanwhile
        os.chmod(folder, 0o700)
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    os.unlink(entry.path)
    for folder in reversed(folders):
        os.rmdir(folder)


def tree_size(root: Path) -> int:
    """Bytes of the disk that a folder takes with all in it, 0 if there is none."""
    if not root.is_dir():
        return 0
    total = 0
    folders = [str(root)]
    for folder in folders:  # which grows meanwhile
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    total += entry.stat(follow_symlinks=False).st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        folders.append(entry.path)
        except PermissionError:  # of an ordinary user's own making
            continue
    return total


def _extract(archive: zipfile.ZipFile, root: Path, limit: int) -> None:
    """Files first, then links, then the modes of folders (which may forbid writing)."""
    links: list[tuple[Path, str]] = []
    modes: list[tuple[Path, int]] = []
    left = limit
    for info in archive.infolist():
        segments = _segments(info)
        path = root.joinpath(*segments)
        kind = _kind(info)
        if kind == stat.S_IFDIR:
            _make_folder(path)
            # What its owner cannot open, an ordinary user's server could not remove.
            modes.append((path, _permissions(info, 0o755) | 0o700))
            continue
        _make_folder(path.parent)
        if kind == stat.S_IFLNK:
            links.append((path, _link_target(archive, info, segments)))
            continue
        left = _write_file(archive, info, path, left)
    for path, target in links:
        os.symlink(target, path)
    for path, mode in reversed(modes):
        # Its owner is the server, which must be able to remove it.
        path.chmod(mode | 0o700)


def _make_folder(path: Path) -> None:
    """Make a folder and those above it; sandboxes may read it, whatever the server's umask is."""
    if not path.is_dir():
        _make_folder(path.parent)
        path.mkdir()
        path.chmod(0o755)


def _link_target(archive: zipfile.ZipFile, info: zipfile.ZipInfo, segments: tuple[str, ...]) -> str:
    with _readable(), archive.open(info) as content:
        raw = content.read(_LINK_BYTES + 1)
    target = raw.decode("utf-8", "surrogateescape")
    if not raw or len(raw) > _LINK_BYTES or b"\0" in raw or not _stays_inside(segments, target):
        raise InvalidParameterValue(f"{UNREADABLE} (link leads outside: {info.filename[:100]!r})")
    return target


def _content(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with _readable():
        content = archive.open(info)
    with content:
        while True:
            with _readable():
                chunk = content.read(_CHUNK)
            if not chunk:
                return
            yield chunk


def _write_file(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, left: int) -> int:
    """Write one file, trusting neither its declared size nor its mode; returns bytes left."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o600), "wb") as file:
        for chunk in _content(archive, info):
            left -= len(chunk)
            if left < 0:
                raise InvalidParameterValue("Unzipped size is larger than the archive declares")
            file.write(chunk)
        os.fchmod(file.fileno(), _permissions(info, 0o644))
    return left


_MERGED = "merged-"


def merged_name(digests: tuple[str, ...]) -> str:
    """What the tree is called that these digests' trees make in this order."""
    if len(digests) == 1:
        return digests[0]
    return _MERGED + hashlib.sha256("/".join(digests).encode()).hexdigest()


def is_merged(name: str) -> bool:
    """Whether a tree was made of others, and so has no archive of its own."""
    return name.startswith(_MERGED)


class CodeCache:
    """Unpacked trees by digest; made again from the archive whenever one is missing."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._making: dict[str, asyncio.Future[None]] = {}

    def open(self) -> None:
        """Clear what an interrupted unpacking left, and everything after a crash of the machine.

        Trees are not fsynced: they are trusted only within the boot that made them.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        marker = self._root / "boot"
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        same = marker.exists() and marker.read_text() == boot
        for entry in self._root.iterdir():
            if entry.is_dir() and (not same or entry.name.startswith(".")):
                remove_tree(entry)
        marker.write_text(boot)

    def path(self, digest: str) -> Path:
        """Where the tree is, once ``ensure`` has returned."""
        return self._root / digest

    async def ensure(self, digest: str, archive: Path, limit: int) -> Path:
        """The unpacked tree, made now if need be; raises InvalidParameterValue."""
        target = self.path(digest)
        if target.exists():
            return target
        making = self._making.get(digest)
        if making is None:
            making = asyncio.ensure_future(asyncio.to_thread(self._unpack, archive, target, limit))
            self._making[digest] = making
            making.add_done_callback(lambda done: self._making.pop(digest, None))
        await asyncio.shield(making)
        return target

    async def merged(self, digests: tuple[str, ...]) -> Path:
        """The trees of these digests, all there already, laid over one another in order."""
        target = self.path(merged_name(digests))
        if target.exists():
            return target
        making = self._making.get(target.name)
        if making is None:
            trees = [self.path(digest) for digest in digests]
            making = asyncio.ensure_future(asyncio.to_thread(merge, trees, target))
            self._making[target.name] = making
            making.add_done_callback(lambda done: self._making.pop(target.name, None))
        await asyncio.shield(making)
        return target

    @staticmethod
    def _unpack(archive: Path, target: Path, limit: int) -> None:
        with archive.open("rb") as file:
            unpack(file, target, limit)

    def remove(self, digest: str) -> None:
        """Forget a tree."""
        target = self.path(digest)
        if target.exists():
            # Whatever happens next, it is not half there.
            going = self._root / f".going-{digest}"
            target.rename(going)
            remove_tree(going)

    def size(self, digest: str) -> int:
        """Bytes of the disk that a tree takes, 0 if it is not there."""
        return tree_size(self.path(digest))

    def digests(self) -> list[str]:
        """The digests of all trees."""
        return [entry.name for entry in self._root.iterdir() if entry.is_dir()]
