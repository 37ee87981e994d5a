"""Host uids of sandboxes: two servers of one host never hand out the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from lambent.sandbox import uids
from lambent.sandbox.base import SandboxError
from lambent.sandbox.uids import Uids


def test_two_servers_hand_out_different_uids_and_a_range_is_free_when_one_ends(
    tmp_path: Path,
) -> None:
    one, other = Uids([tmp_path]), Uids([tmp_path])
    first = {one.take() for _ in range(100)}
    second = {other.take() for _ in range(100)}
    both = first | second
    # Each with the one after it.
    assert len(both | {each + 1 for each in both}) == 400
    one.close()
    one.close()
    successor = Uids([tmp_path])
    assert successor.first == one.first != other.first
    successor.close()
    other.close()


def test_a_uid_given_back_is_the_last_to_be_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uids, "EACH", 6)
    range_ = Uids([tmp_path])
    taken = [range_.take() for _ in range(2)]
    range_.give_back(taken[0])
    range_.give_back(taken[0])
    assert [range_.take(), range_.take()] == [taken[1] + 2, taken[0]]
    with pytest.raises(SandboxError, match="all 6 uids"):
        range_.take()
    range_.close()


def test_there_are_only_so_many_ranges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uids, "RANGES", 1)
    held = Uids([tmp_path])
    with pytest.raises(SandboxError, match="held by other servers"):
        Uids([tmp_path])
    held.close()


def test_the_locks_lie_in_the_first_folder_that_only_this_user_can_write(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "link").symlink_to(tmp_path)
    bad = [tmp_path / "nowhere" / "at all", tmp_path / "open", tmp_path / "link"]
    range_ = Uids([*bad, tmp_path / "made"])
    assert [each.name for each in (tmp_path / "made").iterdir()] == ["uids-0"]
    range_.close()
    with pytest.raises(SandboxError, match="no uids"):
        Uids(bad)
