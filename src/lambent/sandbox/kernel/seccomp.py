"""The system-call filter of every sandbox: a deny list compiled to classic BPF.

The policy is the data in this file; the rest compiles it.  It denies what no function needs and
what has a history of kernel bugs: namespaces, mounts, keyrings, bpf, perf, userfaultfd, io_uring,
module loading, clocks, foreign process memory.  Sockets are limited to UNIX, INET, INET6 and
NETLINK_ROUTE.  clone3 answers ENOSYS, because its flags lie in memory a filter cannot read; libc,
the JVM and Go then use clone, whose flags it can.  Numbers: Linux unistd tables of both machines.
"""

from __future__ import annotations

import errno
import platform
import struct

# name: (x86_64, aarch64); None where the machine lacks the call.
DENIED: dict[str, tuple[int | None, int | None]] = {
    "_sysctl": (156, None),
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bpf": (321, 280),
    "cachestat": (451, 451),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "create_module": (174, None),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "get_kernel_syms": (177, None),
    "get_mempolicy": (239, 236),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "listmount": (458, 458),
    "lookup_dcookie": (212, 18),
    "lsm_set_self_attr": (460, 460),
    "mbind": (237, 235),
    "migrate_pages": (256, 238),
    "modify_ldt": (154, None),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "name_to_handle_at": (303, 264),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "query_module": (178, None),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "set_mempolicy": (238, 237),
    "set_mempolicy_home_node": (450, 450),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "statmount": (457, 457),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "sysfs": (139, None),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, None),
    "userfaultfd": (323, 282),
    "ustat": (136, None),
    "vhangup": (153, 58),
}
# Calls judged by their arguments: (x86_64, aarch64).
CLONE = (56, 220)
CLONE3 = (435, 435)
SOCKET = (41, 198)
IOCTL = (16, 29)
PERSONALITY = (135, 92)

SOCKET_FAMILIES = (1, 2, 10, 16)  # UNIX, INET, INET6, NETLINK
NETLINK = 16
NETLINK_ROUTE = 0
PERSONALITIES = (0x0, 0xFFFFFFFF)  # PER_LINUX, and "tell me the present one"
DENIED_IOCTLS = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
CLONE_NAMESPACES = 0x7E020000  # every CLONE_NEW* flag clone(2) knows

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW = 0x7FFF0000
_KILL = 0x80000000
_ERRNO = 0x00050000
_X32 = 0x40000000
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def _instruction(code: int, if_true: int, if_false: int, value: int) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value & 0xFFFFFFFF)


def _argument(index: int) -> int:
    return _ARGUMENTS + 8 * index


class _Program:
    """Collects instructions; each ``when_*`` block leaves the call's number loaded."""

    def __init__(self) -> None:
        self.code: list[bytes] = []

    def add(self, code: int, if_true: int, if_false: int, value: int) -> None:
        self.code.append(_instruction(code, if_true, if_false, value))

    def deny(self, number: int, error: int) -> None:
        self.add(_EQUAL, 0, 1, number)
        self.add(_RETURN, 0, 0, _ERRNO | error)

    def when(self, number: int, body: list[bytes]) -> None:
        """Run body only for this call; body starts with the number loaded and may clobber it."""
        self.add(_EQUAL, 0, len(body) + 1, number)
        self.code.extend(body)
        self.add(_LOAD, 0, 0, _NUMBER)


def _only_values(argument: int, allowed: tuple[int, ...], error: int) -> list[bytes]:
    body = [_instruction(_LOAD, 0, 0, _argument(argument))]
    for position, value in enumerate(allowed):
        body.append(_instruction(_EQUAL, len(allowed) - position, 0, value))
    body.append(_instruction(_RETURN, 0, 0, _ERRNO | error))
    return body


def compile_filter(machine: str | None = None) -> bytes:
    """The filter program for a machine ("x86_64" or "aarch64"; default: this one)."""
    machine = machine or platform.machine()
    column = {"x86_64": 0, "aarch64": 1}[machine]
    program = _Program()
    program.add(_LOAD, 0, 0, _ARCHITECTURE)
    program.add(_EQUAL, 1, 0, _AUDIT[machine])
    program.add(_RETURN, 0, 0, _KILL)
    program.add(_LOAD, 0, 0, _NUMBER)
    if machine == "x86_64":
        program.add(_AT_LEAST, 0, 1, _X32)
        program.add(_RETURN, 0, 0, _KILL)
    program.deny(CLONE3[column], errno.ENOSYS)
    program.when(
        CLONE[column],
        [
            _instruction(_LOAD, 0, 0, _argument(0)),
            _instruction(_ANY_BIT, 0, 1, CLONE_NAMESPACES),
            _instruction(_RETURN, 0, 0, _ERRNO | errno.EPERM),
        ],
    )
    netlink = [
        _instruction(_LOAD, 0, 0, _argument(0)),
        _instruction(_EQUAL, 0, 3, NETLINK),
        _instruction(_LOAD, 0, 0, _argument(2)),
        _instruction(_EQUAL, 1, 0, NETLINK_ROUTE),
        _instruction(_RETURN, 0, 0, _ERRNO | errno.EPERM),
    ]
    program.when(SOCKET[column], _only_values(0, SOCKET_FAMILIES, errno.EAFNOSUPPORT) + netlink)
    program.when(PERSONALITY[column], _only_values(0, PERSONALITIES, errno.EPERM))
    program.when(
        IOCTL[column],
        [_instruction(_LOAD, 0, 0, _argument(1))]
        + [
            instruction
            for request in DENIED_IOCTLS
            for instruction in (
                _instruction(_EQUAL, 0, 1, request),
                _instruction(_RETURN, 0, 0, _ERRNO | errno.EPERM),
            )
        ],
    )
    for name in sorted(DENIED):
        number = DENIED[name][column]
        if number is not None:
            program.deny(number, errno.EPERM)
    program.add(_RETURN, 0, 0, _ALLOW)
    return b"".join(program.code)
