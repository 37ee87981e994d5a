"""The hostile programs that the tests of this folder run inside sandboxes."""

from pathlib import Path

PROBES = Path(__file__).with_name("probes.py")
INTRUDER = Path(__file__).with_name("intruder.py")
