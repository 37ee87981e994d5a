"""The system-call filter of every sandbox: an allow list compiled to classic BPF.

The policy is the data of ``calls`` and the judgements here; ``bpf`` compiles it.  Sockets are
limited to UNIX, INET, INET6 and NETLINK_ROUTE.  PID 1 of a sandbox cannot be named where a call
changes a process.
"""

from __future__ import annotations

import errno
import platform

from . import bpf, calls

_NAMESPACES = 0x7E020000  # every CLONE_NEW* flag clone(2) knows
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
# Any, ICMP, TCP, UDP, ICMPv6: asking for others loads the host's modules.
_PROTOCOLS = (0, 1, 6, 17, 58)
_NETLINK_ROUTE = 0
# Programs of classic or extended BPF on a socket.
_SOL_SOCKET, _ATTACH = 1, (26, 50, 51, 52)
# Protocols in the kernel above TCP (TLS, for one).
_SOL_TCP, _ULP = 6, (31,)
_PERSONALITIES = (0x0, 0xFFFFFFFF)  # PER_LINUX, and asking for the present one
_TERMINAL = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
# PR_SET_SECCOMP, as ABSENT; PR_SET_MM, what /proc says of a process; PR_SCHED_CORE.
_PR_SECCOMP, _PR_DENIED = (22,), (35, 62)
_PRIO_PROCESS, _PRIO_PGRP = 0, 1
_IOPRIO_PROCESS, _IOPRIO_PGRP = 1, 2
_INIT = (1,)
_MAP_SHARED, _MAP_ANONYMOUS = 0x01, 0x20


def _judgements(metered: bool) -> dict[str, list[bytes]]:
    """What finds the answer to each call of JUDGED."""
    internet = bpf.only(2, _PROTOCOLS, errno.EPROTONOSUPPORT)
    return {
        "clone": bpf.all_bits(0, (_NAMESPACES,), errno.EPERM),
        "socket": bpf.load(0)
        + bpf.when((_UNIX,), bpf.returning(bpf.ALLOW))
        + bpf.when((_INET, _INET6), internet)
        + bpf.when((_NETLINK,), bpf.only(2, (_NETLINK_ROUTE,), errno.EPERM))
        + bpf.refuse(errno.EAFNOSUPPORT),
        "socketpair": bpf.only(0, (_UNIX,), errno.EAFNOSUPPORT),
        "setsockopt": bpf.load(1)
        + bpf.when((_SOL_SOCKET,), bpf.none_of(2, _ATTACH))
        + bpf.when((_SOL_TCP,), bpf.none_of(2, _ULP, errno.ENOPROTOOPT))
        + bpf.returning(bpf.ALLOW),
        "ioctl": bpf.none_of(1, _TERMINAL),
        "personality": bpf.only(0, _PERSONALITIES, errno.EPERM),
        "prctl": bpf.load(0)
        + bpf.when(_PR_SECCOMP, bpf.refuse(errno.EINVAL))
        + bpf.when(_PR_DENIED, bpf.refuse(errno.EPERM))
        + bpf.returning(bpf.ALLOW),
        "prlimit64": bpf.none_of(0, _INIT),
        "setpriority": bpf.load(0)
        + bpf.when((_PRIO_PROCESS, _PRIO_PGRP), bpf.none_of(1, _INIT))
        + bpf.refuse(errno.EPERM),
        "sched_setaffinity": bpf.none_of(0, _INIT),
        "sched_setscheduler": bpf.none_of(0, _INIT),
        "sched_setparam": bpf.none_of(0, _INIT),
        "sched_setattr": bpf.none_of(0, _INIT),
        "ioprio_set": bpf.load(0)
        + bpf.when((_IOPRIO_PROCESS, _IOPRIO_PGRP), bpf.none_of(1, _INIT))
        + bpf.refuse(errno.EPERM),
        # Shared memory without a file can be kept while no process has it mapped.
        "mmap": bpf.returning(bpf.ALLOW)
        if metered
        else bpf.all_bits(3, (_MAP_ANONYMOUS, _MAP_SHARED), errno.ENOMEM),
    }


def _verdicts(machine: str, metered: bool) -> dict[int, bpf.Verdict]:
    """What each known call of a machine is answered."""
    judged = _judgements(metered)
    answers: list[tuple[str | tuple[str, ...], int]] = [
        (calls.ALLOWED, bpf.ALLOW),
        (calls.METERED, bpf.ALLOW if metered else bpf.ERRNO | errno.ENOSYS),
        (calls.DONE, bpf.ERRNO | 0),
        (calls.ABSENT, bpf.ERRNO | errno.ENOSYS),
        (calls.DENIED, bpf.ERRNO | errno.EPERM),
    ]
    verdicts: dict[int, bpf.Verdict] = {
        number: verdict
        for table, verdict in answers
        for number in calls.numbers(table, machine).values()
    }
    for name, number in calls.numbers(calls.JUDGED, machine).items():
        verdicts[number] = judged[name]
    return verdicts


def compile_filter(metered: bool, machine: str | None = None) -> bytes:
    """The filter program for a machine ("x86_64" or "aarch64"; default: this one).

    metered: whether a control group counts the memory of the sandbox.
    """
    machine = machine or platform.machine()
    return bpf.program(_verdicts(machine, metered), bpf.ERRNO | errno.ENOSYS, machine)
