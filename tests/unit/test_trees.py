"""The server lists what lies in an unpacked archive, and nothing that its links lead to outside."""

from __future__ import annotations

import io
import os
import stat
import zipfile
from pathlib import Path

import pytest

from lambent.functions.package import merge, unpack
from lambent.pool.trees import files_in


def unpacked(tmp_path: Path, name: str, files: dict[str, str], links: dict[str, str]) -> Path:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
        for path, target in links.items():
            info = zipfile.ZipInfo(path)
            info.external_attr = (stat.S_IFLNK | 0o777) << 16
            archive.writestr(info, target)
    tree = tmp_path / "code" / name
    buffer.seek(0)
    unpack(buffer, tree, 1 << 20)
    return tree


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the trees with a name that is secret."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "id_rsa_prod").touch()
    return folder


def test_files_and_links_that_stay_inside_are_listed(tmp_path: Path) -> None:
    tree = unpacked(
        tmp_path,
        "t",
        {"extensions/b": "x", "extensions/folder/c": "x", "bin/tool": "x"},
        {
            "extensions/a": "../bin/tool",
            "extensions/dangling": "none",
            "extensions/loop": "loop",
            "extensions/to-folder": "folder",
        },
    )
    assert files_in(tree, "extensions") == ["a", "b"]
    assert files_in(tree, "none") == [] and files_in(tree / "none", "extensions") == []


def test_a_folder_that_is_a_link_inside_is_listed(tmp_path: Path) -> None:
    tree = unpacked(tmp_path, "t", {"real/x": "x", "y": "x"}, {"extensions": "real/../real"})
    (tree / "real" / "up").symlink_to("../y")
    assert files_in(tree, "extensions") == ["up", "x"]


def test_links_that_lead_out_by_way_of_others_are_not_followed(
    tmp_path: Path, outside: Path
) -> None:
    deep = "/".join(f"d{number}" for number in range(20))
    up = "../" * 20
    for target in (f"{deep}/up/{up}outside", f"{deep}/up/../../outside", f"{deep}/up/.."):
        tree = unpacked(
            tmp_path,
            f"t{abs(hash(target))}",
            {f"{deep}/f": "x"},
            {f"{deep}/up": "../" * 19 + "..", "extensions": target},
        )
        assert files_in(tree, "extensions") == []


def test_links_that_lead_out_only_once_layers_are_merged_are_not_followed(
    tmp_path: Path, outside: Path
) -> None:
    first = unpacked(tmp_path, "1", {"a/b/f": "x"}, {"a/b/up": "../.."})
    second = unpacked(tmp_path, "2", {"g": "x"}, {"extensions": "a/b/up/../../outside"})
    target = tmp_path / "code" / "merged"
    merge([first, second], target)
    assert (target / "extensions").resolve() == outside
    assert files_in(target, "extensions") == []


def test_a_file_outside_is_not_listed_as_a_file(tmp_path: Path, outside: Path) -> None:
    tree = unpacked(tmp_path, "t", {"extensions/b": "x"}, {})
    os.symlink("../../../outside/id_rsa_prod", tree / "extensions" / "a")
    os.symlink(outside / "id_rsa_prod", tree / "extensions" / "absolute")
    assert (tree / "extensions" / "a").is_file()
    assert files_in(tree, "extensions") == ["b"]


def test_no_descriptor_stays_open(tmp_path: Path, outside: Path) -> None:
    tree = unpacked(tmp_path, "t", {"extensions/b": "x"}, {"extensions/a": "../a/b/../c"})
    before = os.listdir("/proc/self/fd")
    files_in(tree, "extensions")
    files_in(tree, "none")
    assert os.listdir("/proc/self/fd") == before
