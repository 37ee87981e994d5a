"""AWS's own clients, built before any test here runs."""

from __future__ import annotations

import subprocess

import pytest

from tests.official.functions import ROOT


@pytest.fixture(scope="session", autouse=True)
def clients() -> None:
    """See scripts/setup-official."""
    subprocess.run([str(ROOT / "scripts/setup-official")], check=True)
