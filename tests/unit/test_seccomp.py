"""The system-call filter, run through a small interpreter of classic BPF."""

from __future__ import annotations

import errno
import struct

import pytest

from lambent.sandbox.kernel import seccomp

ALLOW, KILL = 0x7FFF0000, 0x80000000


def denied(error: int) -> int:
    return 0x00050000 | error


def judge(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the filter answers to a call."""
    program = seccomp.compile_filter(machine)
    arch = architecture or {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine]
    data = struct.pack("IIQ6Q", number, arch, 0, *(list(arguments) + [0] * 6)[:6])
    accumulator, at = 0, 0
    while True:
        code, yes, no, value = struct.unpack_from("HBBI", program, at * 8)
        at += 1
        if code == 0x20:
            accumulator = struct.unpack_from("I", data, value)[0]
        elif code == 0x06:
            return int(value)
        else:
            true = {
                0x15: accumulator == value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }[code]
            at += yes if true else no


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize("name", sorted(seccomp.DENIED))
def test_every_listed_call_is_denied(machine: str, name: str) -> None:
    number = seccomp.DENIED[name][machine == "aarch64"]
    if number is not None:
        assert judge(machine, number) == denied(errno.EPERM)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_arguments_are_judged(machine: str) -> None:
    column = machine == "aarch64"
    clone, socket = seccomp.CLONE[column], seccomp.SOCKET[column]
    assert judge(machine, clone, 17) == ALLOW
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert judge(machine, clone, flag | 17) == denied(errno.EPERM)
    assert judge(machine, seccomp.CLONE3[column]) == denied(errno.ENOSYS)
    for family in (1, 2, 10):
        assert judge(machine, socket, family, 1) == ALLOW
    for family in (0, 3, 17, 29, 30, 38, 40, 44):
        assert judge(machine, socket, family, 1) == denied(errno.EAFNOSUPPORT)
    assert judge(machine, socket, 16, 3, 0) == ALLOW
    assert judge(machine, socket, 16, 3, 9) == denied(errno.EPERM)
    assert judge(machine, seccomp.IOCTL[column], 0, 0x5412) == denied(errno.EPERM)
    assert judge(machine, seccomp.IOCTL[column], 0, 0x5401) == ALLOW
    assert judge(machine, seccomp.PERSONALITY[column], 0xFFFFFFFF) == ALLOW
    assert judge(machine, seccomp.PERSONALITY[column], 0x40000) == denied(errno.EPERM)


def test_foreign_architectures_are_killed() -> None:
    assert judge("x86_64", 0, architecture=0x40000003) == KILL
    assert judge("x86_64", 0x40000000 | 1) == KILL


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_ordinary_calls_are_allowed(machine: str) -> None:
    numbers = {
        "x86_64": (0, 1, 9, 59, 61, 202, 231, 257),
        "aarch64": (56, 63, 64, 93, 98, 221, 222),
    }
    assert {judge(machine, number) for number in numbers[machine]} == {ALLOW}
