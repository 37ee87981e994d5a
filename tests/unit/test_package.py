"""Hostile archives: nothing lands outside, nothing special lands at all."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import stat
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambent.errors import InvalidParameterValue
from lambent.functions import package

LIMIT = 1 << 20


def archive(*entries: tuple[str, bytes, int]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for name, content, mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16 or 0x20  # as Windows writes it
            info.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(info, content)
    return buffer.getvalue()


def unpack(data: bytes, folder: Path, limit: int = LIMIT) -> Path:
    target = folder / "tree"
    package.unpack(io.BytesIO(data), target, limit)
    return target


def test_files_folders_modes_and_links_are_kept(tmp_path: Path) -> None:
    tree = unpack(
        archive(
            ("app.py", b"code", 0o100640),
            ("bin/run", b"#!", 0o100755),
            ("lib/", b"", 0o040755),
            ("lib/current", b"../bin/run", 0o120777),
            ("windows.txt", b"no mode", 0),
        ),
        tmp_path,
    )
    assert stat.S_IMODE((tree / "app.py").stat().st_mode) == 0o640
    assert stat.S_IMODE((tree / "bin/run").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "windows.txt").stat().st_mode) == 0o644
    assert os.readlink(tree / "lib/current") == "../bin/run"
    assert stat.S_IMODE(tree.stat().st_mode) == 0o755


def test_a_folder_can_be_removed_by_those_who_unpacked_it(tmp_path: Path) -> None:
    """Also by a server that is not root, whatever mode the archive gives it."""
    tree = unpack(archive(("d/", b"", 0o040000), ("d/x", b"", 0o100600)), tmp_path)
    tree_of_none = unpack(archive(("e/f/", b"", 0o040444), ("e/f/x", b"", 0)), tmp_path / "2")
    for folder in (tree / "d", tree_of_none / "e", tree_of_none / "e/f"):
        assert stat.S_IMODE(folder.stat().st_mode) & 0o700 == 0o700


def test_special_bits_are_dropped(tmp_path: Path) -> None:
    tree = unpack(archive(("run", b"", 0o107755), ("d/", b"", 0o043777)), tmp_path)
    assert stat.S_IMODE((tree / "run").stat().st_mode) == 0o755
    assert stat.S_IMODE((tree / "d").stat().st_mode) == 0o777


@pytest.mark.parametrize(
    "entries",
    [
        [("../evil", b"", 0o100644)],
        [("a/../../evil", b"", 0o100644)],
        [("/etc/evil", b"", 0o100644)],
        [("a\\..\\evil", b"", 0o100644)],
        [("x" * 300, b"", 0o100644)],
        [("link", b"/etc/passwd", 0o120777)],
        [("link", b"../outside", 0o120777)],
        [("a/link", b"../../outside", 0o120777)],
        [("link", b"target", 0o120777), ("link/file", b"", 0o100644)],
        [("file", b"", 0o100644), ("file/below", b"", 0o100644)],
        [("same", b"1", 0o100644), ("same", b"2", 0o100644)],
        [("same", b"1", 0o100644), ("./same", b"2", 0o100644)],
        [("fifo", b"", 0o010644)],
        [("device", b"", 0o060644)],
        [("link", b"x" * 5000, 0o120777)],
        [(".", b"", 0o100644)],
        [("./.", b"", 0o100644)],
        [("a/.", b"", 0o100644)],
        [("..", b"", 0o100644)],
        [("../", b"", 0o040755)],
        [("/", b"", 0o040755)],
        [("//", b"", 0o040755)],
        [(".", b"good.py", 0o120777)],
        [("folder/", b"", 0o040755), ("folder", b"", 0o100644)],
        [("folder/file", b"", 0o100644), ("folder", b"", 0o100644)],
        [("folder", b"", 0o100644), ("folder/", b"", 0o040755)],
        [("folder/file", b"", 0o100644), ("folder", b"good.py", 0o120777)],
        [("a/" * 300 + "b", b"", 0o100644)],
        [("a/" * 256, b"", 0o040755)],
        [(("x" * 200 + "/") * 11 + "y", b"", 0o100644)],
        [("é" * 128, b"", 0o100644)],
        [("socket", b"", 0o140644)],
        [("device", b"", 0o020644)],
    ],
    ids=lambda entries: entries[0][0][:20],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_hostile_archive_is_refused_whole(
    tmp_path: Path, entries: list[tuple[str, bytes, int]]
) -> None:
    data = archive(("good.py", b"", 0o100644), *entries)
    with pytest.raises(InvalidParameterValue, match="Could not unzip uploaded file"):
        unpack(data, tmp_path / "in")
    assert os.listdir(tmp_path / "in") == []
    assert sorted(os.listdir(tmp_path)) == ["in"]


@pytest.mark.parametrize(
    "entries",
    [
        [("./", b"", 0o040755)],
        [("./good.txt", b"", 0o100644)],
        [("...", b"", 0o100644), ("....//....", b"", 0o100644), (". ", b"", 0o100644)],
        [("~/x", b"", 0o100644), ("-rf", b"", 0o100644), ("*", b"", 0o100644)],
        [("a/b/", b"", 0o040755), ("a/", b"", 0o040755), ("a/b/c", b"", 0o100644)],
        [("a/" * 255 + "b", b"", 0o100644)],
        [("\n\x1b[31m", b"", 0o100644), ("\u202e", b"", 0o100644)],
        [("X", b"", 0o100644), ("x", b"", 0o100644)],
    ],
    ids=lambda entries: repr(entries[0][0][:20]),
)
def test_an_odd_name_is_a_name(tmp_path: Path, entries: list[tuple[str, bytes, int]]) -> None:
    tree = unpack(archive(*entries), tmp_path)
    assert all((tree / name).exists() for name, _, _ in entries)
    assert os.listdir(tmp_path) == ["tree"]


def test_a_name_that_is_not_utf8_stays_below_its_folder(tmp_path: Path) -> None:
    data = archive(("é", b"", 0o100644))
    assert os.listdir(unpack(data, tmp_path / "as-it-says")) == ["é"]
    with pytest.raises(InvalidParameterValue, match="Could not unzip"):
        unpack(data.replace("é".encode(), b"\xff\xfe"), tmp_path / "in")


def test_what_the_server_unpacked_it_can_remove(tmp_path: Path) -> None:
    data = archive(("d/", b"", 0o040000), ("d/e/", b"", 0o040111), ("d/e/x", b"", 0o100000))
    tree = unpack(data, tmp_path)
    for folder in (tree / "d", tree / "d/e"):
        assert folder.stat().st_mode & 0o700 == 0o700
    assert stat.S_IMODE((tree / "d/e").stat().st_mode) == 0o711


def test_folders_that_only_paths_imply_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "_ENTRIES", 1000)
    many = [(f"{number}/" + "a/" * 100 + "x", b"", 0o100644) for number in range(20)]
    package.inspect(archive(*many[:9]), LIMIT)
    with pytest.raises(InvalidParameterValue, match="more than 1000 entries"):
        package.inspect(archive(*many), LIMIT)


def test_entries_are_counted_before_there_is_an_object_of_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(package, "_ENTRIES", 1000)
    few, many = (
        archive(*((str(number), b"", 0o100644) for number in range(count)))
        for count in (1000, 1001)
    )  # fmt: skip
    assert package.inspect(few, LIMIT).unpacked == 0

    def made(*arguments: object) -> None:
        raise AssertionError("zipfile reads the directory")

    monkeypatch.setattr(zipfile, "ZipFile", made)
    with pytest.raises(InvalidParameterValue, match="more than 1000 entries"):
        package.inspect(many, LIMIT)


METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


def whole(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as target:
        for name, mode in (("app.py", 0o100644), ("d/", 0o040755), ("d/link", 0o120777)):
            info = zipfile.ZipInfo(name)
            info.external_attr, info.compress_type = mode << 16, method
            target.writestr(info, b"" if name == "d/" else b"app.py")
    return buffer.getvalue()


WHOLE = {method: whole(method) for method in METHODS}


@given(
    st.sampled_from(METHODS),
    st.lists(
        st.tuples(st.integers(0, 1000), st.binary(min_size=1, max_size=4)), min_size=1, max_size=6
    ),
    st.integers(0, 40),
)
def test_whatever_comes_is_unpacked_or_refused(
    method: int, changes: list[tuple[int, bytes]], cut: int
) -> None:
    data = bytearray(WHOLE[method])
    for at, new in changes:
        at %= len(data)
        data[at : at + len(new)] = new
    with tempfile.TemporaryDirectory() as folder:
        inside = Path(folder, "in")
        try:
            package.inspect(bytes(data[: len(data) - cut]), LIMIT)
            package.unpack(io.BytesIO(data), inside / "tree", LIMIT)
        except InvalidParameterValue:
            assert not inside.exists() or os.listdir(inside) == []
        assert os.listdir(folder) in ([], ["in"])


@pytest.mark.parametrize("data", [b"", b"not a zip", archive(("a", b"b", 0o100644))[:-30]])
def test_what_is_no_archive_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidParameterValue, match="Could not unzip uploaded file"):
        package.inspect(data, LIMIT)


def test_an_archive_that_declares_too_much_is_refused() -> None:
    data = archive(("big", b"\0" * (LIMIT + 1), 0o100644))
    with pytest.raises(
        InvalidParameterValue, match=f"Unzipped size must be smaller than {LIMIT} bytes"
    ):
        package.inspect(data, LIMIT)


def test_a_bomb_that_lies_about_its_size_is_stopped(tmp_path: Path) -> None:
    data = bytearray(archive(("bomb", b"\0" * (4 * LIMIT), 0o100644)))
    size = (4 * LIMIT).to_bytes(4, "little")
    while (at := data.find(size)) >= 0:
        data[at : at + 4] = (10).to_bytes(4, "little")
    with pytest.raises(InvalidParameterValue):
        unpack(bytes(data), tmp_path / "in")
    assert os.listdir(tmp_path / "in") == []


def test_an_encrypted_archive_is_refused() -> None:
    data = bytearray(archive(("a", b"b", 0o100644)))
    for magic, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        data[data.find(magic) + offset] |= 1
    with pytest.raises(InvalidParameterValue):
        package.inspect(bytes(data), LIMIT)


def test_sizes_and_digests_are_told() -> None:
    data = archive(("a", b"12345", 0o100644))
    found = package.inspect(data, LIMIT)
    assert (found.size, found.unpacked) == (len(data), 5)
    assert found.sha256 == package.code_sha256(hashlib.sha256(data).hexdigest())


def test_concurrent_requests_unpack_once(tmp_path: Path) -> None:
    data = archive(("a", b"1", 0o100644))
    source = tmp_path / "source.zip"
    source.write_bytes(data)

    async def scenario() -> None:
        cache = package.CodeCache(tmp_path / "code")
        cache.open()
        digest = hashlib.sha256(data).hexdigest()
        paths = await asyncio.gather(*(cache.ensure(digest, source, LIMIT) for _ in range(20)))
        assert set(paths) == {tmp_path / "code" / digest}
        assert cache.digests() == [digest]
        (tmp_path / "code/.unpacking-left").mkdir()
        cache.open()
        assert cache.digests() == [digest]
        (tmp_path / "code/boot").write_text("another boot")
        cache.open()
        assert cache.digests() == []

    asyncio.run(scenario())


def test_trees_are_laid_over_one_another(tmp_path: Path) -> None:
    for name, files in {
        "lower": {"a/one": "lower", "a/two": "lower", "b": "a file", "c/x": "in a folder"},
        "upper": {"a/one": "upper", "b/y": "now a folder", "c": "now a file"},
    }.items():
        for path, text in files.items():
            file = tmp_path / name / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
    (tmp_path / "lower/link").symlink_to("a/one")
    (tmp_path / "upper/a/two").symlink_to("one")
    target = tmp_path / "merged"
    package.merge([tmp_path / "lower", tmp_path / "upper"], target)
    assert (target / "a/one").read_text() == "upper"
    assert (target / "a/two").readlink() == Path("one")
    assert (target / "b/y").read_text() == "now a folder"
    assert (target / "c").read_text() == "now a file"
    assert (target / "link").readlink() == Path("a/one")
    # The trees themselves are as they were, and nothing was copied.
    assert (tmp_path / "lower/a/one").read_text() == "lower"
    assert (target / "a/one").stat().st_ino == (tmp_path / "upper/a/one").stat().st_ino
    package.merge([tmp_path / "upper"], target)  # somebody was first
    assert (target / "link").is_symlink()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["lower", "merged", "upper"]
