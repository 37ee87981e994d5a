"""What the gateway lets through touches, tells and changes nothing that was not authorised.

The fuzzer is a process of its own (``differential``), because MiniStack's services run inside it.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.fuzz.kit import COUNT, SEED

_ROOT = Path(__file__).resolve().parents[2]
_DEFAULT = 400
# Operations that answered although their request was random, of a short run: a fuzzer whose
# requests are all refused would find nothing.
_LEAST_ANSWERED = 25


def test_services_touch_what_was_authorised() -> None:
    command = [sys.executable, "-m", "tests.fuzz.differential", SEED, str(COUNT or _DEFAULT)]
    run = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=3600)
    repeat = f"to repeat it: {' '.join(['.venv/bin/python', *command[1:]])}"
    assert run.returncode == 0, f"{repeat}\n{run.stdout[-20_000:]}\n{run.stderr[-4_000:]}"
    answered = re.search(r"(\d+) of \d+ operations answered", run.stdout)
    assert answered is not None
    assert int(answered[1]) >= min(_LEAST_ANSWERED, (COUNT or _DEFAULT) // 10), run.stdout
