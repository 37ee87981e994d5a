"""What the gateway lets through touches, tells and changes nothing that was not authorised.

And what it answers itself is an answer, whatever it is asked.

The fuzzer is a process of its own (``differential``), because MiniStack's services run inside it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.fuzz.kit import COUNT, SEED

_ROOT = Path(__file__).resolve().parents[2]
# Operations that must answer although requests are random, in a run of the default length: a fuzzer
# whose requests are all refused would find nothing.
_BESIDE, _OWN = (300, 20), (800, 10)


def _run(default: int, least: int, *services: str) -> None:
    count = COUNT or default
    command = [sys.executable, "-m", "tests.fuzz.differential", SEED, str(count), *services]
    run = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=36_000)
    repeat = f"to repeat it: {' '.join(['.venv/bin/python', *command[1:]])}"
    assert run.returncode == 0, f"{repeat}\n{run.stdout[-20_000:]}\n{run.stderr[-4_000:]}"
    answered = re.search(r"(\d+) of \d+ operations answered", run.stdout)
    assert answered is not None
    assert int(answered[1]) >= least or count < default, run.stdout


def test_services_touch_what_was_authorised() -> None:
    _run(*_BESIDE)


def test_no_request_to_lambent_s_own_services_is_answered_with_a_failure() -> None:
    _run(*_OWN, "lambda", "iam", "sts", "logs", "cloudwatch")
