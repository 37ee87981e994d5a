"""The filters of Lambent's own processes, run through a small interpreter of classic BPF."""

from __future__ import annotations

import errno
import struct

import pytest

from lambent.sandbox.kernel import calls, process_filter
from lambent.sandbox.kernel.process_filter import RESOLVER, SERVER, SERVICES, Profile

ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSE, UNKNOWN = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
MACHINES = ("x86_64", "aarch64")
PROFILES = {"services": SERVICES, "resolver": RESOLVER, "server": SERVER}
# What would let a process out of its place.
NEVER = """
    add_key bpf capset chroot execve execveat fsopen io_setup io_uring_setup keyctl memfd_create
    mount name_to_handle_at open_by_handle_at open_tree perf_event_open personality pidfd_getfd
    pivot_root process_vm_readv ptrace seccomp setns setresuid setuid shmget unshare userfaultfd
"""
EVERY = ",".join(
    (*calls.ALLOWED, calls.METERED, calls.JUDGED, calls.DONE, calls.ABSENT, *calls.DENIED)
)


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
        elif code == 0x05:
            at += value
        elif code == 0x06:
            return int(value)
        else:
            true = {
                0x15: accumulator == value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }.get(code, True)
            at += yes if true else no


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("kind", PROFILES)
def test_what_is_not_listed_is_refused(kind: str, machine: str) -> None:
    known = calls.numbers(EVERY, machine)
    for name in NEVER.split():
        assert judge(PROFILES[kind], machine, known[name]) == REFUSE, name
    assert judge(PROFILES[kind], machine, max(known.values()) + 1) == UNKNOWN
    assert judge(PROFILES[kind], machine, 0, other=True) == KILL
    assert judge(PROFILES[kind], machine, known["clone3"]) == UNKNOWN
    if machine == "x86_64":
        assert judge(PROFILES[kind], machine, 0x40000000) == KILL


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("kind", PROFILES)
def test_what_is_listed_is_allowed(kind: str, machine: str) -> None:
    known = calls.numbers(EVERY, machine)
    either = calls.numbers(EVERY, "x86_64") | calls.numbers(EVERY, "aarch64")
    for name in " ".join(PROFILES[kind].calls).split():
        assert name in either, f"there is no call {name}"
        if name in known:
            assert judge(PROFILES[kind], machine, known[name]) == ALLOW, name


@pytest.mark.parametrize("machine", MACHINES)
def test_arguments_are_judged(machine: str) -> None:
    known = calls.numbers(EVERY, machine)

    def answer(profile: Profile, call: str, *arguments: int) -> bool:
        return judge(profile, machine, known[call], *arguments) == ALLOW

    fork, thread = 0x1200011, 0x3D0F00
    assert answer(SERVICES, "clone", fork)
    assert not answer(SERVER, "clone", fork)
    assert answer(SERVER, "clone", thread)
    for flag in (0x80, 0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x40000000):
        assert not answer(SERVICES, "clone", fork | flag)
        assert not answer(SERVER, "clone", thread | flag)
    sockets = {family for family in range(46) if answer(SERVER, "socket", family, 1)}
    assert sockets == {1, 2, 10, 16}
    assert not answer(SERVER, "socket", 16, 3, 12)
    sockets = {family for family in range(46) if answer(SERVICES, "socket", family, 1)}
    assert sockets == {1}
    assert answer(SERVICES, "socketpair", 1)
    assert not answer(SERVICES, "socketpair", 40)
    assert answer(SERVER, "ioctl", 5, 0x5421)
    assert not answer(SERVER, "ioctl", 5, 0x5412)
    assert not answer(SERVER, "prctl", 4)
    assert answer(SERVER, "prlimit64", 0)
    assert not answer(SERVER, "prlimit64", 1)
