"""The filters of Lambent's own processes, run through a small interpreter of classic BPF."""

from __future__ import annotations

import errno
import struct

import pytest

from lambent.sandbox.kernel import process_filter
from lambent.sandbox.kernel.process_filter import RESOLVER, SERVER, SERVICES, Profile

ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSE, UNKNOWN = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
MACHINES = ("x86_64", "aarch64")
PROFILES = {"services": SERVICES, "resolver": RESOLVER, "server": SERVER}
# What would let a process out of its place: (x86_64, aarch64).
NEVER = {
    "add_key": (248, 217),
    "bpf": (321, 280),
    "capset": (126, 91),
    "chroot": (161, 51),
    "execve": (59, 221),
    "execveat": (322, 281),
    "fsopen": (430, 430),
    "io_setup": (206, 0),
    "io_uring_setup": (425, 425),
    "keyctl": (250, 219),
    "memfd_create": (319, 279),
    "mount": (165, 40),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_vm_readv": (310, 270),
    "ptrace": (101, 117),
    "seccomp": (317, 277),
    "setns": (308, 268),
    "setresuid": (117, 147),
    "setuid": (105, 146),
    "shmget": (29, 194),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
}


def judge(profile: Profile, machine: str, number: int, *arguments: int, other: bool = False) -> int:
    """What the filter answers to a call; other: one of another architecture."""
    program = process_filter.compile_profile(profile, machine)
    architecture = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine] ^ other
    data = struct.pack("IIQ6Q", number, architecture, 0, *(list(arguments) + [0] * 6)[:6])
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


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("kind", PROFILES)
def test_what_is_not_listed_is_refused(kind: str, machine: str) -> None:
    column = MACHINES.index(machine)
    for name, numbers in NEVER.items():
        assert judge(PROFILES[kind], machine, numbers[column]) == REFUSE, name
    assert judge(PROFILES[kind], machine, process_filter.YOUNGEST) == REFUSE
    assert judge(PROFILES[kind], machine, process_filter.YOUNGEST + 1) == UNKNOWN
    assert judge(PROFILES[kind], machine, 0, other=True) == KILL
    assert judge(PROFILES[kind], machine, process_filter.CLONE3[column]) == UNKNOWN


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("kind", PROFILES)
def test_what_is_listed_is_allowed(kind: str, machine: str) -> None:
    for table in PROFILES[kind].calls:
        for name, numbers in table.items():
            number = numbers[MACHINES.index(machine)]
            if number is not None:
                assert judge(PROFILES[kind], machine, number) == ALLOW, name


@pytest.mark.parametrize("machine", MACHINES)
def test_arguments_are_judged(machine: str) -> None:
    column = MACHINES.index(machine)

    def answer(profile: Profile, call: tuple[int, int], *arguments: int) -> bool:
        return judge(profile, machine, call[column], *arguments) == ALLOW

    fork, thread = 0x1200011, 0x3D0F00
    assert answer(SERVICES, process_filter.CLONE, fork)
    assert not answer(SERVER, process_filter.CLONE, fork)
    assert answer(SERVER, process_filter.CLONE, thread)
    for flag in (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x40000000):
        assert not answer(SERVICES, process_filter.CLONE, fork | flag)
    sockets = {family for family in range(46) if answer(SERVER, process_filter.SOCKET, family, 1)}
    assert sockets == {1, 2, 10, 16}
    assert not answer(SERVER, process_filter.SOCKET, 16, 3, 12)
    sockets = {family for family in range(46) if answer(SERVICES, process_filter.SOCKET, family, 1)}
    assert sockets == {1}
    assert answer(SERVICES, process_filter.SOCKETPAIR, 1)
    assert not answer(SERVICES, process_filter.SOCKETPAIR, 40)
    assert answer(SERVER, process_filter.IOCTL, 5, 0x5421)
    assert not answer(SERVER, process_filter.IOCTL, 5, 0x5412)
    assert not answer(SERVER, process_filter.PRCTL, 4)
    assert answer(SERVER, process_filter.PRLIMIT, 0)
    assert not answer(SERVER, process_filter.PRLIMIT, 1)
