"""The environment of a process that runs already.

A program that was executed before its function was known, and has no way to set its own
environment variables (a JVM), gets them here: its ``environ`` array and the strings behind it are
overwritten where execve has put them.  ``room`` makes the place for that at its start.
"""

from __future__ import annotations

import os
import struct

_VARIABLES = 1200
_BYTES = 32 * 1024
# Fields of /proc/PID/stat after the command's name, see proc(5): startstack, env_start, env_end.
_STACK, _START, _END = 25, 47, 48


def room() -> dict[str, str]:
    """Variables that reserve space for any environment AWS allows."""
    reserved = {"_%d" % number: "" for number in range(_VARIABLES)}
    reserved["_"] = " " * _BYTES
    return reserved


def _pointers(memory: int, stack: int) -> tuple[int, int]:
    """Where the array of a process begins and how many variables it has."""
    # argc, argv ..., NULL, envp ..., NULL
    (argc,) = struct.unpack("Q", os.pread(memory, 8, stack))
    first = stack + 8 * (argc + 2)
    data = os.pread(memory, 8 * (_VARIABLES + 200), first)
    values = struct.unpack("%dQ" % (len(data) // 8), data)
    return first, values.index(0)


def rewrite(pid: int, environment: dict[str, str]) -> None:
    """Replace the environment of a process started with ``room``; raises OSError, ValueError."""
    with open("/proc/%d/stat" % pid) as file:
        fields = file.read().rpartition(")")[2].split()
    stack, start, end = (int(fields[index]) for index in (_STACK, _START, _END))
    strings = [os.fsencode("%s=%s" % pair) + b"\0" for pair in environment.items()]
    memory = os.open("/proc/%d/mem" % pid, os.O_RDWR | os.O_CLOEXEC)
    try:
        first, count = _pointers(memory, stack)
        if len(strings) > count or sum(map(len, strings)) > end - start:
            raise ValueError("no room for this environment")
        places = []
        place = start
        for string in strings:
            places.append(place)
            place += len(string)
        os.pwrite(memory, b"".join(strings), start)
        os.pwrite(memory, struct.pack("%dQ" % (len(places) + 1), *places, 0), first)
    finally:
        os.close(memory)
