"""Servers of both kinds: of root's, and of an ordinary user who has no control groups."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Functions, Server, start_server

ORDINARY = 1001


@pytest.fixture(scope="session")
def ordinary_server(server: Server) -> Iterator[Server]:
    """A server of an ordinary user's; the shared one where the tests run as one."""
    if os.getuid() != 0:
        yield server
        return
    # Whether that user can read what a server is made of: the package and its interpreter.
    asked = subprocess.run(
        [sys.executable, "-c", "import lambent"],
        user=ORDINARY,
        group=ORDINARY,
        extra_groups=[],
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if asked.returncode != 0:
        pytest.skip("an ordinary user cannot read this working copy")
    # pytest's own folders are closed to other users.
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, ORDINARY, ORDINARY)
        started = start_server(Path(folder, "data"), user=ORDINARY)
        yield started
        assert started.stop() == 0


@pytest.fixture(params=["root", "ordinary user"] if os.getuid() == 0 else ["ordinary user"])
def owner(request: pytest.FixtureRequest) -> str:
    """Who runs the server of ``anyones``."""
    return str(request.param)


@pytest.fixture
def anyones(owner: str, request: pytest.FixtureRequest) -> Iterator[Functions]:
    """Functions on a server of each kind."""
    fixture = "server" if owner == "root" else "ordinary_server"
    prefix = re.sub(r"[^a-zA-Z0-9]", "-", request.node.name)[:40]
    made = Functions(request.getfixturevalue(fixture), prefix)
    yield made
    made.remove()
