"""System-call filters of Lambent's own processes: allow lists compiled to classic BPF.

Each process of Lambent that reads bytes of others has one: it may make the calls that CPython and
its own work need, and every other call fails with EPERM.  None may execute a program, change who it
is, make a namespace, a mount or a key, trace a process, or create a socket of an unusual family.
clone3 answers ENOSYS, because its flags lie in memory that a filter cannot read; libc then uses
clone.  So do calls younger than these tables, for which libc has another way as well.  Filters of
functions are in ``seccomp``.  Numbers: Linux unistd tables of both machines.
"""

from __future__ import annotations

import errno
import platform
import struct
from typing import NamedTuple

# Of each table: name: (x86_64, aarch64); None where the machine lacks the call.

# Memory, threads, time, waiting, and what a process asks about itself.
RUN: dict[str, tuple[int | None, int | None]] = {
    "alarm": (37, None),
    "arch_prctl": (158, None),
    "brk": (12, 214),
    "clock_getres": (229, 114),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "close": (3, 57),
    "close_range": (436, 436),
    "dup": (32, 23),
    "dup2": (33, None),
    "dup3": (292, 24),
    "epoll_create": (213, None),
    "epoll_create1": (291, 20),
    "epoll_ctl": (233, 21),
    "epoll_pwait": (281, 22),
    "epoll_pwait2": (441, 441),
    "epoll_wait": (232, None),
    "eventfd2": (290, 19),
    "exit": (60, 93),
    "exit_group": (231, 94),
    "fcntl": (72, 25),
    "futex": (202, 98),
    "futex_waitv": (449, 449),
    "get_robust_list": (274, 100),
    "getcpu": (309, 168),
    "getegid": (108, 177),
    "geteuid": (107, 175),
    "getgid": (104, 176),
    "getgroups": (115, 158),
    "getitimer": (36, 102),
    "getpgid": (121, 155),
    "getpgrp": (111, None),
    "getpid": (39, 172),
    "getppid": (110, 173),
    "getpriority": (140, 141),
    "getrandom": (318, 278),
    "getresgid": (120, 150),
    "getresuid": (118, 148),
    "getrlimit": (97, 163),
    "getrusage": (98, 165),
    "getsid": (124, 156),
    "gettid": (186, 178),
    "gettimeofday": (96, 169),
    "getuid": (102, 174),
    "madvise": (28, 233),
    "membarrier": (324, 283),
    "mincore": (27, 232),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "mremap": (25, 216),
    "munmap": (11, 215),
    "nanosleep": (35, 101),
    "pause": (34, None),
    "pipe": (22, None),
    "pipe2": (293, 59),
    "poll": (7, None),
    "ppoll": (271, 73),
    "pselect6": (270, 72),
    "read": (0, 63),
    "readv": (19, 65),
    "restart_syscall": (219, 128),
    "rseq": (334, 293),
    "rt_sigaction": (13, 134),
    "rt_sigpending": (127, 136),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "rt_sigsuspend": (130, 133),
    "rt_sigtimedwait": (128, 137),
    "sched_getaffinity": (204, 123),
    "sched_getparam": (143, 121),
    "sched_getscheduler": (145, 120),
    "sched_yield": (24, 124),
    "select": (23, None),
    "set_robust_list": (273, 99),
    "set_tid_address": (218, 96),
    "setitimer": (38, 103),
    "sigaltstack": (131, 132),
    "sysinfo": (99, 179),
    "time": (201, None),
    "timerfd_create": (283, 85),
    "timerfd_gettime": (287, 87),
    "timerfd_settime": (286, 86),
    "times": (100, 153),
    "umask": (95, 166),
    "uname": (63, 160),
    "write": (1, 64),
    "writev": (20, 66),
}
# Looking at files, and loading modules from them.
READ: dict[str, tuple[int | None, int | None]] = {
    "access": (21, None),
    "chdir": (80, 49),
    "faccessat": (269, 48),
    "faccessat2": (439, 439),
    "fadvise64": (221, 223),
    "fchdir": (81, 50),
    "fstat": (5, 80),
    "fstatfs": (138, 44),
    "getcwd": (79, 17),
    "getdents64": (217, 61),
    "lseek": (8, 62),
    "lstat": (6, None),
    "newfstatat": (262, 79),
    "open": (2, None),
    "openat": (257, 56),
    "pread64": (17, 67),
    "preadv": (295, 69),
    "preadv2": (327, 286),
    "readlink": (89, None),
    "readlinkat": (267, 78),
    "stat": (4, None),
    "statfs": (137, 43),
    "statx": (332, 291),
}
# Keeping files.
WRITE: dict[str, tuple[int | None, int | None]] = {
    "chmod": (90, None),
    "copy_file_range": (326, 285),
    "fallocate": (285, 47),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "fdatasync": (75, 83),
    "flock": (73, 32),
    "fsync": (74, 82),
    "ftruncate": (77, 46),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "pwrite64": (18, 68),
    "pwritev": (296, 70),
    "pwritev2": (328, 287),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "rmdir": (84, None),
    "sendfile": (40, 71),
    "truncate": (76, 45),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "utimensat": (280, 88),
}
# Links: trees of code are unpacked with symbolic ones and merged by hard ones.
LINK: dict[str, tuple[int | None, int | None]] = {
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
}
# Sockets that are there, and those of allowed families.
TALK: dict[str, tuple[int | None, int | None]] = {
    "accept": (43, 202),
    "accept4": (288, 242),
    "bind": (49, 200),
    "connect": (42, 203),
    "getpeername": (52, 205),
    "getsockname": (51, 204),
    "getsockopt": (55, 209),
    "listen": (50, 201),
    "recvfrom": (45, 207),
    "recvmmsg": (299, 243),
    "recvmsg": (47, 212),
    "sendmmsg": (307, 269),
    "sendmsg": (46, 211),
    "sendto": (44, 206),
    "setsockopt": (54, 208),
    "shutdown": (48, 210),
}
# A snapshot of the state is written by a fork.
FORK: dict[str, tuple[int | None, int | None]] = {
    "fork": (57, None),
    "setpriority": (141, 140),
    "vfork": (58, None),
}
# Collecting a child that has ended: the snapshot's fork, the server's host agent.
WAIT: dict[str, tuple[int | None, int | None]] = {"wait4": (61, 260), "waitid": (247, 95)}
# Ending itself in a thread of its own (abort, faulthandler); whom else it reaches its uid decides.
SIGNAL: dict[str, tuple[int | None, int | None]] = {"kill": (62, 129), "tgkill": (234, 131)}

CLONE, CLONE3 = (56, 220), (435, 435)
SOCKET, SOCKETPAIR = (41, 198), (53, 199)
IOCTL, PRCTL, PRLIMIT = (16, 29), (157, 167), (302, 261)

UNIX, INET, INET6, NETLINK = 1, 2, 10, 16
_NETLINK_ROUTE = 0
CLONE_NAMESPACES = 0x7E020080  # every CLONE_NEW* flag, CLONE_NEWTIME among them
CLONE_THREAD = 0x10000
# FIONBIO, FIOCLEX, FIONREAD; TCGETS and TIOCGWINSZ are how a stream asks whether it is a terminal.
IOCTLS = (0x5421, 0x5451, 0x541B, 0x5401, 0x5413)
# PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME, PR_SET_VMA (names that libc gives to its memory).
PRCTLS = (3, 15, 16, 0x53564D41)

# The last call that these tables know of.
YOUNGEST = 462

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_X32 = 0x40000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


class Profile(NamedTuple):
    """What one kind of process may call."""

    calls: tuple[dict[str, tuple[int | None, int | None]], ...]
    # Address families of sockets it may create; a netlink one only of NETLINK_ROUTE.
    families: tuple[int, ...]
    # Whether it may fork; else it makes threads only.
    forks: bool


# The embedded services: files, and sockets within this host; a fork writes their state.  No
# signals: an ordinary user's services have his uid.
SERVICES = Profile((RUN, READ, WRITE, TALK, FORK, WAIT), (UNIX,), True)
# The name server: asks other name servers, and reads who they are.
RESOLVER = Profile((RUN, READ, TALK), (INET, INET6), False)
# The server: files, and sockets to everywhere; libc's getaddrinfo asks netlink for addresses.
SERVER = Profile((RUN, READ, WRITE, LINK, TALK, SIGNAL, WAIT), (UNIX, INET, INET6, NETLINK), False)


def _instruction(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value & 0xFFFFFFFF)


def _return(value: int) -> bytes:
    return _instruction(_RETURN, 0, 0, value)


def _load(argument: int) -> bytes:
    return _instruction(_LOAD, 0, 0, _ARGUMENTS + 8 * argument)


_REFUSE = _return(_ERRNO | errno.EPERM)


def _one_of(argument: int, values: tuple[int, ...]) -> list[bytes]:
    """Allow a call whose argument has one of these values."""
    body = [_load(argument)]
    for position, value in enumerate(values):
        body.append(_instruction(_EQUAL, len(values) - position, 0, value))
    return [*body, _REFUSE, _return(_ALLOW)]


def _clone(forks: bool) -> list[bytes]:
    body = [_load(0), _instruction(_ANY_BIT, 0, 1, CLONE_NAMESPACES), _REFUSE]
    if not forks:
        body += [_instruction(_ANY_BIT, 1, 0, CLONE_THREAD), _REFUSE]
    return [*body, _return(_ALLOW)]


def _socket(families: tuple[int, ...]) -> list[bytes]:
    netlink = []
    if NETLINK in families:
        netlink = [_load(0), _instruction(_EQUAL, 0, 3, NETLINK), _load(2)]
        netlink += [_instruction(_EQUAL, 1, 0, _NETLINK_ROUTE), _REFUSE]
    family = _one_of(0, families)[:-1]
    return [*family, *netlink, _return(_ALLOW)]


def compile_profile(profile: Profile, machine: str | None = None) -> bytes:
    """The filter of a profile for a machine ("x86_64" or "aarch64"; default: this one)."""
    machine = machine or platform.machine()
    column = {"x86_64": 0, "aarch64": 1}[machine]
    code = [
        _instruction(_LOAD, 0, 0, _ARCHITECTURE),
        _instruction(_EQUAL, 1, 0, _AUDIT[machine]),
        _return(_KILL),
        _instruction(_LOAD, 0, 0, _NUMBER),
    ]
    if machine == "x86_64":
        code += [_instruction(_AT_LEAST, 0, 1, _X32), _return(_KILL)]
    judged = {
        CLONE: _clone(profile.forks),
        CLONE3: [_return(_ERRNO | errno.ENOSYS)],
        SOCKET: _socket(profile.families),
        SOCKETPAIR: _one_of(0, (UNIX,)),
        IOCTL: _one_of(1, IOCTLS),
        PRCTL: _one_of(0, PRCTLS),
        PRLIMIT: _one_of(0, (0,)),
    }
    for numbers, body in judged.items():
        code += [_instruction(_EQUAL, 0, len(body), numbers[column]), *body]
    code += [_instruction(_AT_LEAST, 0, 1, YOUNGEST + 1), _return(_ERRNO | errno.ENOSYS)]
    for table in profile.calls:
        for name in sorted(table):
            number = table[name][column]
            if number is not None:
                code += [_instruction(_EQUAL, 0, 1, number), _return(_ALLOW)]
    return b"".join([*code, _REFUSE])
