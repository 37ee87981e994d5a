"""The system-call filter of every sandbox: an allow list compiled to classic BPF.

The policy is the data of ``calls`` and the judgements here; the rest compiles it to a binary search
over the numbers, so that every call takes some ten steps (and, from Linux 5.11 on, none where its
arguments do not matter).  Sockets are limited to UNIX, INET, INET6 and NETLINK_ROUTE.  PID 1 of a
sandbox cannot be named where a call changes a process.
"""

from __future__ import annotations

import errno
import platform
import struct
from typing import Union

from . import calls

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

_LOAD, _JUMP, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x05, 0x15, 0x35, 0x45, 0x06
_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_ERRNO = 0x00050000
_X32 = 0x40000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_FARTHEST = 255

# What a call is answered: a value to return, or what finds it.
_Verdict = Union[int, "list[bytes]"]


def _instruction(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value & 0xFFFFFFFF)


def _return(value: int) -> list[bytes]:
    return [_instruction(_RETURN, 0, 0, value)]


def _refuse(error: int) -> list[bytes]:
    return _return(_ERRNO | error)


def _argument(index: int) -> list[bytes]:
    """Load the lower half of an argument; all that are judged are of 32 bits."""
    return [_instruction(_LOAD, 0, 0, _ARGUMENTS + 8 * index)]


def _when(values: tuple[int, ...], body: list[bytes]) -> list[bytes]:
    """Go through body if what is loaded is one of the values, else past it."""
    tests = []
    for position, value in enumerate(values):
        last = position == len(values) - 1
        to_body = len(values) - position - 1
        tests.append(_instruction(_EQUAL, to_body, len(body) if last else 0, value))
    return tests + body


def _only(argument: int, values: tuple[int, ...], error: int) -> list[bytes]:
    return _argument(argument) + _when(values, _return(_ALLOW)) + _refuse(error)


def _none_of(argument: int, values: tuple[int, ...], error: int = errno.EPERM) -> list[bytes]:
    return _argument(argument) + _when(values, _refuse(error)) + _return(_ALLOW)


def _all_bits(argument: int, bits: tuple[int, ...], error: int) -> list[bytes]:
    """Refuse where each of these has a bit of the argument."""
    code = _argument(argument)
    for position, each in enumerate(bits):
        # Past the remaining tests and the refusal.
        code.append(_instruction(_ANY_BIT, 0, len(bits) - position, each))
    return code + _refuse(error) + _return(_ALLOW)


def _judgements(metered: bool) -> dict[str, list[bytes]]:
    """What finds the answer to each call of JUDGED."""
    internet = _only(2, _PROTOCOLS, errno.EPROTONOSUPPORT)
    return {
        "clone": _all_bits(0, (_NAMESPACES,), errno.EPERM),
        "socket": _argument(0)
        + _when((_UNIX,), _return(_ALLOW))
        + _when((_INET, _INET6), internet)
        + _when((_NETLINK,), _only(2, (_NETLINK_ROUTE,), errno.EPERM))
        + _refuse(errno.EAFNOSUPPORT),
        "socketpair": _only(0, (_UNIX,), errno.EAFNOSUPPORT),
        "setsockopt": _argument(1)
        + _when((_SOL_SOCKET,), _none_of(2, _ATTACH))
        + _when((_SOL_TCP,), _none_of(2, _ULP, errno.ENOPROTOOPT))
        + _return(_ALLOW),
        "ioctl": _none_of(1, _TERMINAL),
        "personality": _only(0, _PERSONALITIES, errno.EPERM),
        "prctl": _argument(0)
        + _when(_PR_SECCOMP, _refuse(errno.EINVAL))
        + _when(_PR_DENIED, _refuse(errno.EPERM))
        + _return(_ALLOW),
        "prlimit64": _none_of(0, _INIT),
        "setpriority": _argument(0)
        + _when((_PRIO_PROCESS, _PRIO_PGRP), _none_of(1, _INIT))
        + _refuse(errno.EPERM),
        "sched_setaffinity": _none_of(0, _INIT),
        "sched_setscheduler": _none_of(0, _INIT),
        "sched_setparam": _none_of(0, _INIT),
        "sched_setattr": _none_of(0, _INIT),
        "ioprio_set": _argument(0)
        + _when((_IOPRIO_PROCESS, _IOPRIO_PGRP), _none_of(1, _INIT))
        + _refuse(errno.EPERM),
        # Shared memory without a file can be kept while no process has it mapped.
        "mmap": _return(_ALLOW)
        if metered
        else _all_bits(3, (_MAP_ANONYMOUS, _MAP_SHARED), errno.ENOMEM),
    }


def _verdicts(machine: str, metered: bool) -> dict[int, _Verdict]:
    """What each known call of a machine is answered."""
    judged = _judgements(metered)
    answers: list[tuple[str | tuple[str, ...], int]] = [
        (calls.ALLOWED, _ALLOW),
        (calls.METERED, _ALLOW if metered else _ERRNO | errno.ENOSYS),
        (calls.DONE, _ERRNO | 0),
        (calls.ABSENT, _ERRNO | errno.ENOSYS),
        (calls.DENIED, _ERRNO | errno.EPERM),
    ]
    verdicts: dict[int, _Verdict] = {
        number: verdict
        for table, verdict in answers
        for number in calls.numbers(table, machine).values()
    }
    for name, number in calls.numbers(calls.JUDGED, machine).items():
        verdicts[number] = judged[name]
    return verdicts


def _ranges(verdicts: dict[int, _Verdict], machine: str) -> list[tuple[int, _Verdict]]:
    """Where each run of numbers with one answer begins."""
    unknown: _Verdict = _ERRNO | errno.ENOSYS
    ranges: list[tuple[int, _Verdict]] = []
    for number in range(max(verdicts) + 2):
        verdict = verdicts.get(number, unknown)
        if not ranges or ranges[-1][1] != verdict:
            ranges.append((number, verdict))
    if machine == "x86_64":
        ranges.append((_X32, _KILL))
    return ranges


def _search(ranges: list[tuple[int, _Verdict]]) -> list[bytes]:
    """Find the range of the number that is loaded."""
    if len(ranges) == 1:
        verdict = ranges[0][1]
        return _return(verdict) if isinstance(verdict, int) else verdict
    middle = len(ranges) // 2
    low, high = _search(ranges[:middle]), _search(ranges[middle:])
    first = ranges[middle][0]
    if len(low) <= _FARTHEST:
        return [_instruction(_AT_LEAST, len(low), 0, first), *low, *high]
    far = _instruction(_JUMP, 0, 0, len(low))
    return [_instruction(_AT_LEAST, 0, 1, first), far, *low, *high]


def compile_filter(metered: bool, machine: str | None = None) -> bytes:
    """The filter program for a machine ("x86_64" or "aarch64"; default: this one).

    metered: whether a control group counts the memory of the sandbox.
    """
    machine = machine or platform.machine()
    program = [
        _instruction(_LOAD, 0, 0, _ARCHITECTURE),
        _instruction(_EQUAL, 1, 0, _AUDIT[machine]),
        *_return(_KILL),
        _instruction(_LOAD, 0, 0, _NUMBER),
        *_search(_ranges(_verdicts(machine, metered), machine)),
    ]
    return b"".join(program)
