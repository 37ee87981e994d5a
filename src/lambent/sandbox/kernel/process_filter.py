"""System-call filters of Lambent's own processes: allow lists compiled to classic BPF.

Each process of Lambent that reads bytes of others has one: it may make the calls that CPython and
its own work need, and every other call fails with EPERM.  None may execute a program, change its
uid, make a namespace, a mount or a key, trace a process, or create a socket of an unusual family.
clone3 answers ENOSYS, because its flags lie in memory that a filter cannot read; libc then uses
clone.  Filters of functions are in ``seccomp``, numbers of calls in ``calls``.
"""

from __future__ import annotations

import errno
import platform
from typing import NamedTuple

from . import bpf, calls

# Memory, threads, time, waiting, and what a process asks about itself.
RUN = """
    alarm arch_prctl brk clock_getres clock_gettime clock_nanosleep close close_range dup dup2 dup3
    epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd2 exit
    exit_group fcntl futex futex_waitv get_robust_list getcpu getegid geteuid getgid getgroups
    getitimer getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit
    getrusage getsid gettid gettimeofday getuid madvise membarrier mincore mmap mprotect mremap
    munmap nanosleep pause pipe pipe2 poll ppoll pselect6 read readv restart_syscall rseq
    rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn rt_sigsuspend rt_sigtimedwait
    sched_getaffinity sched_getparam sched_getscheduler sched_yield select set_robust_list
    set_tid_address setitimer sigaltstack sysinfo time timerfd_create timerfd_gettime
    timerfd_settime times umask uname write writev
"""
# Looking at files, and loading modules from them.
READ = """
    access chdir faccessat faccessat2 fadvise64 fchdir fstat fstatfs getcwd getdents64 lseek lstat
    newfstatat open openat pread64 preadv preadv2 readlink readlinkat stat statfs statx
"""
# Keeping files.
WRITE = """
    chmod copy_file_range fallocate fchmod fchmodat fchmodat2 fdatasync flock fsync ftruncate mkdir
    mkdirat pwrite64 pwritev pwritev2 rename renameat renameat2 rmdir sendfile truncate unlink
    unlinkat utimensat
"""
# Links: trees of code are unpacked with symbolic ones and merged by hard ones.
LINK = """
    link linkat symlink symlinkat
"""
# Sockets that are there, and those of allowed families.
TALK = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recvfrom recvmmsg recvmsg
    sendmmsg sendmsg sendto setsockopt shutdown
"""
# A snapshot of the state is written by a fork.
FORK = """
    fork setpriority vfork
"""
# Collecting a child that has ended: the snapshot's fork, the server's host agent.
WAIT = """
    wait4 waitid
"""
# Ending itself in a thread of its own (abort, faulthandler); its uid decides what else it reaches.
SIGNAL = """
    kill tgkill
"""

UNIX, INET, INET6, NETLINK = 1, 2, 10, 16
_NETLINK_ROUTE = 0
CLONE_NAMESPACES = 0x7E020080  # every CLONE_NEW* flag, CLONE_NEWTIME among them
CLONE_THREAD = 0x10000
# FIONBIO, FIOCLEX, FIONREAD; TCGETS and TIOCGWINSZ are how a stream asks whether it is a terminal.
IOCTLS = (0x5421, 0x5451, 0x541B, 0x5401, 0x5413)
# PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME, PR_SET_VMA (names that libc gives to its memory).
PRCTLS = (3, 15, 16, 0x53564D41)


class Profile(NamedTuple):
    """What one kind of process may call."""

    # Names of calls that are allowed whatever their arguments.
    calls: tuple[str, ...]
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


_EVERY = (*calls.ALLOWED, calls.METERED, calls.JUDGED, calls.DONE, calls.ABSENT, *calls.DENIED)


def _clone(forks: bool) -> list[bytes]:
    """Threads, and forks where they are allowed, without a namespace of their own."""
    allowed = bpf.returning(bpf.ALLOW)
    if not forks:
        allowed = bpf.unless_any_bit(CLONE_THREAD, bpf.refuse(errno.EPERM)) + allowed
    return bpf.load(0) + bpf.if_any_bit(CLONE_NAMESPACES, bpf.refuse(errno.EPERM)) + allowed


def _socket(families: tuple[int, ...]) -> list[bytes]:
    """Sockets of these families."""
    code = bpf.load(0)
    if NETLINK in families:
        route = bpf.only(2, (_NETLINK_ROUTE,), errno.EPERM)
        code += bpf.when((NETLINK,), route)
    others = tuple(each for each in families if each != NETLINK)
    return code + bpf.when(others, bpf.returning(bpf.ALLOW)) + bpf.refuse(errno.EPERM)


def compile_profile(profile: Profile, machine: str | None = None) -> bytes:
    """The filter of a profile for a machine ("x86_64" or "aarch64"; default: this one)."""
    machine = machine or platform.machine()
    known = calls.numbers(",".join(_EVERY), machine)
    refused = bpf.ERRNO | errno.EPERM
    verdicts: dict[int, bpf.Verdict] = dict.fromkeys(known.values(), refused)
    for names in profile.calls:
        verdicts.update((known[name], bpf.ALLOW) for name in names.split() if name in known)
    judged: dict[str, bpf.Verdict] = {
        "clone": _clone(profile.forks),
        "clone3": bpf.ERRNO | errno.ENOSYS,
        "socket": _socket(profile.families),
        "socketpair": bpf.only(0, (UNIX,), errno.EPERM),
        "ioctl": bpf.only(1, IOCTLS, errno.EPERM),
        "prctl": bpf.only(0, PRCTLS, errno.EPERM),
        "prlimit64": bpf.only(0, (0,), errno.EPERM),
    }
    verdicts.update((known[name], verdict) for name, verdict in judged.items())
    return bpf.program(verdicts, bpf.ERRNO | errno.ENOSYS, machine)
