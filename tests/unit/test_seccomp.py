"""The system-call filter, run through a small interpreter of classic BPF."""

from __future__ import annotations

import errno
import os
import re
import struct
from functools import cache
from pathlib import Path

import pytest

from lambent.sandbox.kernel import calls, seccomp

ALLOW, KILL, DONE = 0x7FFF0000, 0x80000000, 0x00050000
MACHINES = pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
HEADERS = {
    "x86_64": Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
    "aarch64": Path("/usr/include/asm-generic/unistd.h"),
}
# Numbers of other machines, and words that are no calls.
OTHERS = {"arch_specific_syscall", "syscalls", "sync_file_range2", "umount"}
TIME_OF_32_BITS = range(403, 424)
TABLES: list[str | tuple[str, ...]] = [
    calls.ALLOWED,
    calls.METERED,
    calls.JUDGED,
    calls.DONE,
    calls.ABSENT,
    calls.DENIED,
]
program = cache(seccomp.compile_filter)


def denied(error: int) -> int:
    return 0x00050000 | error


def run(
    machine: str,
    number: int,
    *arguments: int,
    architecture: int | None = None,
    metered: bool = True,
) -> tuple[int, int]:
    """What the filter answers to a call, and in how many steps."""
    code_bytes = program(metered, machine)
    arch = architecture or {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}[machine]
    data = struct.pack("IIQ6Q", number, arch, 0, *(list(arguments) + [0] * 6)[:6])
    accumulator, at, steps = 0, 0, 0
    while True:
        code, yes, no, value = struct.unpack_from("HBBI", code_bytes, at * 8)
        at += 1
        steps += 1
        if code == 0x20:
            accumulator = struct.unpack_from("I", data, value)[0]
        elif code == 0x05:
            at += value
        elif code == 0x06:
            return int(value), steps
        else:
            true = {
                0x15: accumulator == value,
                0x35: accumulator >= value,
                0x45: bool(accumulator & value),
            }[code]
            at += yes if true else no


def judge(machine: str, name: str, *arguments: int, metered: bool = True) -> int:
    """What the filter answers to a call by its name."""
    numbers = {key: value for each in TABLES for key, value in calls.numbers(each, machine).items()}
    return run(machine, numbers[name], *arguments, metered=metered)[0]


@MACHINES
@pytest.mark.parametrize("metered", [True, False])
def test_every_number_is_answered_as_its_table_says_and_unknown_ones_do_not_exist(
    machine: str, metered: bool
) -> None:
    expected = {}
    for table, answer in (
        (calls.ALLOWED, ALLOW),
        (calls.METERED, ALLOW if metered else denied(errno.ENOSYS)),
        (calls.DONE, DONE),
        (calls.ABSENT, denied(errno.ENOSYS)),
        (calls.DENIED, denied(errno.EPERM)),
    ):
        expected.update(dict.fromkeys(calls.numbers(table, machine).values(), answer))
    judged = set(calls.numbers(calls.JUDGED, machine).values())
    for number in range(1024):
        if number not in judged:
            answer, steps = run(machine, number, metered=metered)
            assert answer == expected.get(number, denied(errno.ENOSYS)), number
            assert steps <= 24


@MACHINES
def test_no_call_is_in_two_tables_and_no_number_has_two_names(machine: str) -> None:
    pairs = [pair for table in TABLES for pair in calls.numbers(table, machine).items()]
    assert len({name for name, _ in pairs}) == len({number for _, number in pairs}) == len(pairs)


@MACHINES
def test_every_call_of_the_kernels_table_is_in_ours_under_its_number(machine: str) -> None:
    if not HEADERS[machine].exists():
        assert not os.environ.get("CI"), "the kernel's headers (linux-libc-dev) are not installed"
        pytest.skip("the kernel's headers are not installed")
    found = re.findall(r"#define __NR(?:3264)?_(\w+) (\d+)", HEADERS[machine].read_text())
    theirs = {
        {"fstatat": "newfstatat"}.get(name, name): int(number)
        for name, number in found
        if name not in OTHERS and int(number) not in TIME_OF_32_BITS
    }
    assert len(theirs) > 290
    ours = {key: value for each in TABLES for key, value in calls.numbers(each, machine).items()}
    assert {name: ours.get(name) for name in theirs} == theirs


@MACHINES
def test_what_no_function_needs_is_denied(machine: str) -> None:
    names = (
        "bpf io_uring_setup userfaultfd memfd_secret vmsplice keyctl perf_event_open mount unshare "
        "setns ptrace process_vm_readv pidfd_getfd kcmp kexec_load init_module reboot swapon "
        "quotactl fanotify_init name_to_handle_at open_by_handle_at clock_settime statmount"
    )
    assert {judge(machine, name) for name in names.split()} == {denied(errno.EPERM)}


@MACHINES
def test_what_programs_do_without_does_not_exist(machine: str) -> None:
    for name in ("clone3", "seccomp", "io_setup", "io_submit", "io_destroy"):
        assert judge(machine, name) == denied(errno.ENOSYS)


@MACHINES
def test_forks_and_threads_are_allowed_and_new_namespaces_are_not(machine: str) -> None:
    assert judge(machine, "clone", 17) == judge(machine, "clone", 0x3D0F00) == ALLOW
    for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert judge(machine, "clone", flag | 17) == denied(errno.EPERM)


@MACHINES
def test_sockets_are_judged_by_family_and_protocol(machine: str) -> None:
    for family in (1, 2, 10):
        assert judge(machine, "socket", family, 1) == ALLOW
    for protocol in (1, 6, 17, 58):
        assert judge(machine, "socket", 2, 2, protocol) == ALLOW
    # IGMP, DCCP, SCTP, MPTCP, raw.
    for protocol in (2, 33, 132, 262, 255):
        assert judge(machine, "socket", 10, 1, protocol) == denied(errno.EPROTONOSUPPORT)
    for family in (0, 3, 17, 29, 30, 38, 40, 44):
        assert judge(machine, "socket", family, 1) == denied(errno.EAFNOSUPPORT)
    assert judge(machine, "socket", 16, 3, 0) == ALLOW
    for protocol in (9, 12, 15):
        assert judge(machine, "socket", 16, 3, protocol) == denied(errno.EPERM)
    assert judge(machine, "socketpair", 1, 1) == ALLOW
    for family in (2, 30, 40):
        assert judge(machine, "socketpair", family, 1) == denied(errno.EAFNOSUPPORT)


@MACHINES
def test_sockets_take_options_but_no_programs(machine: str) -> None:
    assert judge(machine, "setsockopt", 3, 1, 2) == ALLOW
    assert judge(machine, "setsockopt", 3, 6, 1) == ALLOW
    assert judge(machine, "setsockopt", 3, 41, 26) == ALLOW
    for option in (26, 50, 51, 52):
        assert judge(machine, "setsockopt", 3, 1, option) == denied(errno.EPERM)
    assert judge(machine, "setsockopt", 3, 6, 31) == denied(errno.ENOPROTOOPT)


@MACHINES
def test_terminals_personalities_and_process_controls_are_judged(machine: str) -> None:
    assert judge(machine, "ioctl", 0, 0x5412) == judge(machine, "ioctl", 0, 0x541C)
    assert judge(machine, "ioctl", 0, 0x5412) == denied(errno.EPERM)
    assert judge(machine, "ioctl", 0, 0x5401) == ALLOW
    assert judge(machine, "personality", 0xFFFFFFFF) == judge(machine, "personality", 0) == ALLOW
    assert judge(machine, "personality", 0x40000) == denied(errno.EPERM)
    assert judge(machine, "prctl", 15) == ALLOW
    assert judge(machine, "prctl", 22, 2) == denied(errno.EINVAL)
    assert judge(machine, "prctl", 35) == denied(errno.EPERM)


@MACHINES
def test_init_cannot_be_named_where_a_process_is_changed(machine: str) -> None:
    for name in (
        "prlimit64",
        "sched_setaffinity",
        "sched_setscheduler",
        "sched_setparam",
        "sched_setattr",
    ):
        assert judge(machine, name, 1) == denied(errno.EPERM)
        assert judge(machine, name, 0) == judge(machine, name, 2) == ALLOW
    for name, process, group, user in (("setpriority", 0, 1, 2), ("ioprio_set", 1, 2, 3)):
        assert judge(machine, name, process, 0) == judge(machine, name, group, 0) == ALLOW
        assert judge(machine, name, process, 1) == denied(errno.EPERM)
        assert judge(machine, name, group, 1) == denied(errno.EPERM)
        assert judge(machine, name, user, 0) == denied(errno.EPERM)


@MACHINES
def test_memory_of_no_process_is_refused_where_nothing_counts_it(machine: str) -> None:
    private, shared, anonymous = 0x02, 0x01, 0x20
    for kind in (shared, 0x03):
        assert judge(machine, "mmap", 0, 1, 3, kind | anonymous, metered=False) == denied(
            errno.ENOMEM
        )
        assert judge(machine, "mmap", 0, 1, 3, kind | anonymous) == ALLOW
        assert judge(machine, "mmap", 0, 1, 3, kind, metered=False) == ALLOW
    assert judge(machine, "mmap", 0, 1, 3, private | anonymous, metered=False) == ALLOW
    for name in ("memfd_create", "shmget", "msgget", "semget"):
        assert judge(machine, name, metered=False) == denied(errno.ENOSYS)
        assert judge(machine, name) == ALLOW


def test_foreign_architectures_are_killed() -> None:
    assert run("x86_64", 0, architecture=0x40000003)[0] == KILL
    assert run("x86_64", 0x40000000 | 1)[0] == run("x86_64", 0xFFFFFFFF)[0] == KILL
    assert run("aarch64", 0, architecture=0xC000003E)[0] == KILL
