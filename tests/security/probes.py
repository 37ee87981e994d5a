"""An adversarial function: tries what a sandbox must not allow, and tells what worked.

Each probe returns True if it was contained.  It refuses to run outside a sandbox.
"""

import ctypes
import errno
import os
import platform
import resource
import socket
import struct
import subprocess
import sys

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
X86 = platform.machine() == "x86_64"
PROBES = {}


def probe(name):
    def register(function):
        PROBES[name] = function
        return function

    return register


def refused(function, *arguments, **options):
    """Whether a call fails, as it must."""
    try:
        function(*arguments, **options)
    except OSError:
        return True
    return False


def call(number, *arguments):
    """A system call by number; its errno, 0 if it succeeded."""
    ctypes.set_errno(0)
    result = libc.syscall(
        number, *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    )
    return ctypes.get_errno() if result < 0 else 0


def store(path, data):
    """Write without a buffer, so that a refusal is heard."""
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


def writable(path):
    try:
        os.close(os.open(path, os.O_WRONLY))
    except OSError:
        return False
    return True


# -- files ------------------------------------------------------------------------------------

for path in (
    "/",
    "/usr",
    "/usr/bin",
    "/etc",
    "/var",
    "/var/task",
    "/var/runtime",
    "/var/lang",
    "/opt",
    "/dev",
    "/run",
    "/home",
    "/root",
    "/proc",
    "/mnt",
):
    PROBES["create in " + path] = lambda path=path: refused(open, path + "/probe", "w")
for path in (
    "/etc/passwd",
    "/etc/ld.so.cache",
    "/var/runtime/bootstrap.py",
    "/usr/bin/env",
    "/var/task/app.py",
):
    PROBES["write " + path] = lambda path=path: not writable(path)
    PROBES["chmod " + path] = lambda path=path: refused(os.chmod, path, 0o777)
for path in (
    "/etc/shadow",
    "/root/.bashrc",
    "/home/nobody",
    "/var/lib/dpkg",
    "/sys/kernel",
    "/boot",
    "/lost+found",
    "/var/log",
    "/etc/hosts.allow",
    "/etc/ssh",
):
    PROBES["see " + path] = lambda path=path: not os.path.exists(path) or os.listdir(path) == []


@probe("canary of the host")
def _():
    return not os.path.exists(EVENT["canary"])


@probe("climb out of the root")
def _():
    return os.path.realpath("/../../../..") == "/" and not os.path.exists("/../" + EVENT["canary"])


@probe("/proc/1/root leads nowhere else")
def _():
    return refused(os.listdir, "/proc/1/root")


@probe("/proc/1/mem")
def _():
    # The owner of the namespace may list the numbers of init's descriptors, but see none of them.
    try:
        names = os.listdir("/proc/1/fd")
    except OSError:
        names = []
    hidden = all(refused(os.readlink, "/proc/1/fd/" + name) for name in names)
    return hidden and refused(open, "/proc/1/mem", "rb") and refused(open, "/proc/1/environ", "rb")


@probe("inherited descriptors")
def _():
    for number in os.listdir("/proc/self/fd"):
        try:
            target = os.readlink("/proc/self/fd/" + number)
        except FileNotFoundError:
            continue  # the listing's own
        # A shell keeps its script and what it redirects open: those are the function's own.
        own = ("/tmp/", "/var/task/")
        if not target.startswith(("pipe:", "socket:", "/dev/null", "/proc", *own)):
            return False
    return True


@probe("device nodes")
def _():
    return refused(os.mknod, "/tmp/node", 0o666 | 0o060000, os.makedev(8, 0)) and refused(
        os.mknod, "/tmp/node2", 0o666 | 0o020000, os.makedev(1, 1)
    )


@probe("only harmless devices")
def _():
    kept = {"null", "zero", "full", "random", "urandom", "fd", "stdin", "stdout", "stderr"}
    return set(os.listdir("/dev")) <= kept


@probe("no /sys")
def _():
    return not os.path.exists("/sys") or os.listdir("/sys") == []


@probe("set-uid programs give nothing")
def _():
    status = open("/proc/self/status").read()
    mounts = [line.split() for line in open("/proc/self/mounts").read().splitlines()]
    return "NoNewPrivs:\t1" in status and all("nosuid" in each[3] for each in mounts)


@probe("tmp is size limited")
def _():
    info = os.statvfs("/tmp")
    # A disk has blocks beyond what can be written: those a file system keeps for itself.
    return info.f_bavail * info.f_frsize < 513 << 20 and 0 < info.f_files <= 1 << 16


# -- identity and capabilities ----------------------------------------------------------------


@probe("not root, no groups")
def _():
    return os.getuid() == 993 and os.getgid() == 990 and 0 not in os.getgroups()


@probe("setuid 0")
def _():
    return refused(os.setuid, 0) and refused(os.setgid, 0) and refused(os.setgroups, [0])


@probe("no capability anywhere")
def _():
    lines = dict(
        l.split(":\t", 1) for l in open("/proc/self/status").read().splitlines() if ":\t" in l
    )
    names = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    return all(int(lines[name], 16) == 0 for name in names)


@probe("seccomp is on")
def _():
    return "Seccomp:\t2" in open("/proc/self/status").read()


@probe("uid map cannot be rewritten")
def _():
    return not writable("/proc/self/uid_map") or refused(store, "/proc/self/uid_map", b"0 0 1")


@probe("resource limits cannot be raised")
def _():
    return all(
        refused_or_value(limit, top)
        for limit, top in (
            (resource.RLIMIT_NPROC, 1024),
            (resource.RLIMIT_NOFILE, 1024),
            (resource.RLIMIT_CORE, 0),
        )
    )


def refused_or_value(limit, top):
    soft, hard = resource.getrlimit(limit)
    if soft > top or hard > top:
        return False
    try:
        resource.setrlimit(limit, (hard + 1, hard + 1))
    except (OSError, ValueError):
        return True
    return False


@probe("nice and realtime")
def _():
    return refused(os.nice, -5) and refused(
        os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1)
    )


# -- processes --------------------------------------------------------------------------------


@probe("only own processes are seen")
def _():
    names = [open("/proc/%s/comm" % p).read().strip() for p in os.listdir("/proc") if p.isdigit()]
    return len(names) <= 3


@probe("signals to the host")
def _():
    return all(refused(os.kill, pid, 0) for pid in EVENT["pids"] if pid > 50)


@probe("init cannot be killed or stopped")
def _():
    for number in (9, 19, 15):
        try:
            os.kill(1, number)
        except OSError:
            pass
    return os.path.exists("/proc/1")


@probe("ptrace of init")
def _():
    return call(101 if X86 else 117, 16, 1, 0, 0) != 0


@probe("the host's name and users are hidden")
def _():
    return socket.gethostname() != EVENT["hostname"] and refused(socket.sethostname, "evil")


# -- kernel interfaces ------------------------------------------------------------------------

CALLS = {
    "unshare user": (272, 97, (0x10000000,)),
    "unshare mount": (272, 97, (0x20000,)),
    "unshare net": (272, 97, (0x40000000,)),
    "setns": (308, 268, (0, 0)),
    "clone3": (435, 435, (0, 0)),
    "mount": (165, 40, (b"none", b"/tmp", b"tmpfs", 0, 0)),
    "remount root": (165, 40, (0, b"/", 0, 0x20 | 0x1000, 0)),
    "umount proc": (166, 39, (b"/proc", 2)),
    "umount tmp": (166, 39, (b"/tmp", 2)),
    "pivot_root": (155, 41, (b"/tmp", b"/tmp")),
    "chroot": (161, 51, (b"/tmp",)),
    "open_tree": (428, 428, (-100, b"/", 1)),
    "move_mount": (429, 429, (0, b"", 0, b"", 0)),
    "fsopen": (430, 430, (b"tmpfs", 0)),
    "mount_setattr": (442, 442, (-100, b"/", 0, 0, 0)),
    "bpf": (321, 280, (0, 0, 0)),
    "perf_event_open": (298, 241, (0, 0, 0, 0, 0)),
    "userfaultfd": (323, 282, (0,)),
    "io_uring_setup": (425, 425, (1, 0)),
    "keyctl": (250, 219, (0, 0)),
    "add_key": (248, 217, (b"user", b"x", b"y", 1, -3)),
    "kexec_load": (246, 104, (0, 0, 0, 0)),
    "init_module": (175, 105, (0, 0, b"")),
    "finit_module": (313, 273, (0, b"", 0)),
    "delete_module": (176, 106, (b"x", 0)),
    "reboot": (169, 142, (0xFEE1DEAD, 672274793, 0)),
    "syslog": (103, 116, (3, 0, 0)),
    "sethostname": (170, 161, (b"evil", 4)),
    "settimeofday": (164, 170, (0, 0)),
    "clock_settime": (227, 112, (0, 0)),
    "swapon": (167, 224, (b"/tmp/x", 0)),
    "acct": (163, 89, (b"/tmp/x",)),
    "quotactl": (179, 60, (0, 0, 0, 0)),
    "name_to_handle_at": (303, 264, (-100, b"/", 0, 0, 0)),
    "open_by_handle_at": (304, 265, (-100, 0, 0)),
    "process_vm_readv": (310, 270, (1, 0, 0, 0, 0, 0)),
    "process_vm_writev": (311, 271, (1, 0, 0, 0, 0, 0)),
    "pidfd_getfd": (438, 438, (0, 0, 0)),
    "kcmp": (312, 272, (1, 1, 0, 0, 0)),
    "fanotify_init": (300, 262, (0, 0)),
    "personality": (135, 92, (0x0040000,)),
    "io_setup": (206, 0, (1, 0)),
    "io_destroy": (207, 1, (0,)),
    "io_submit": (209, 2, (0, 0, 0)),
    "seccomp": (317, 277, (1, 8, 0)),
    "memfd_secret": (447, 447, (0,)),
    "vmsplice": (278, 75, (0, 0, 0, 0)),
    "socketpair vsock": (53, 199, (40, 1, 0, 0)),
    "a call yet to come": (600, 600, ()),
    "prlimit of init": (302, 261, (1, 7, 0, 0)),
    "renice init": (141, 140, (0, 1, 19)),
    "pin init": (203, 122, (1, 8, b"\1\0\0\0\0\0\0\0")),
}
for name, (x86, arm, arguments) in CALLS.items():
    PROBES["call " + name] = lambda n=x86 if X86 else arm, a=arguments: (
        call(n, *a)
        in (
            errno.EPERM,
            errno.ENOSYS,
            errno.EAFNOSUPPORT,
        )
    )
if X86:
    for name, number in (("iopl", 172), ("ioperm", 173), ("modify_ldt", 154)):
        PROBES["call " + name] = lambda n=number: call(n, 0, 0, 0) != 0

for flag, name in (
    (0x10000000, "user"),
    (0x20000, "mount"),
    (0x40000000, "net"),
    (0x20000000, "pid"),
):
    PROBES["clone into a new %s namespace" % name] = lambda flag=flag: (
        call(56 if X86 else 220, flag | 17, 0, 0, 0, 0) == errno.EPERM
    )

for path in ("kcore", "keys", "key-users", "kmsg", "kallsyms", "timer_list"):
    PROBES["/proc/%s tells nothing" % path] = lambda path=path: silent("/proc/" + path)
for path in (
    "sys/kernel/core_pattern",
    "sys/kernel/modprobe",
    "sys/vm/drop_caches",
    "sys/fs/binfmt_misc/register",
    "sysrq-trigger",
    "sys/kernel/hostname",
    "sys/net/ipv4/ip_forward",
    "irq/default_smp_affinity",
):
    PROBES["/proc/%s is read-only" % path] = lambda path=path: (
        not writable("/proc/" + path)
        or (path == "sysrq-trigger" and os.stat("/proc/sysrq-trigger").st_rdev == os.makedev(1, 3))
    )


def silent(path):
    try:
        with open(path, "rb") as file:
            return file.read(16) == b""
    except OSError:
        return True


@probe("/proc shows processes, and else what runtimes read")
def _():
    kept = set(
        "cgroups cpuinfo filesystems loadavg meminfo mounts net self stat sys thread-self uptime "
        "version".split()
    )
    for name in os.listdir("/proc"):
        path = "/proc/" + name
        if name.isdigit() or name in kept:
            continue
        if os.path.isdir(path):
            if os.listdir(path):
                return path + " has entries"
        elif os.stat(path).st_rdev != os.makedev(1, 3):
            return path + " can be read"
    return open("/proc/loadavg").read() == "0.00 0.00 0.00 1/1 1\n"


@probe("the host's control groups are hidden")
def _():
    lines = open("/proc/self/cgroup").read().splitlines()
    return all(line.endswith(":/") for line in lines) and not os.path.exists("/sys/fs/cgroup")


@probe("no path of the host's is told")
def _():
    for name in ("mountinfo", "mounts", "mountstats"):
        text = open("/proc/self/" + name).read()
        for path in EVENT.get("paths", ()):
            if path in text:
                return path + " is in " + name
    return True


@probe("pressure cannot be watched")
def _():
    return not any(writable("/proc/pressure/" + name) for name in ("cpu", "memory", "io"))


@probe("oom score cannot be lowered")
def _():
    return refused(store, "/proc/self/oom_score_adj", b"-1000")


# -- network ----------------------------------------------------------------------------------

for family, name in (
    (17, "packet"),
    (40, "vsock"),
    (38, "alg"),
    (44, "xdp"),
    (30, "tipc"),
    (31, "bluetooth"),
    (29, "can"),
):
    PROBES["socket family " + name] = lambda family=family: refused(socket.socket, family, 3, 0)
PROBES["raw sockets"] = lambda: refused(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1)
for protocol, name in ((9, "audit"), (12, "netfilter"), (15, "uevent")):
    PROBES["netlink " + name] = lambda p=protocol: refused(socket.socket, 16, 3, p)


def unreachable(host, port):
    probe = socket.socket()
    probe.settimeout(0.2)
    try:
        probe.connect((host, port))
    except OSError:
        return True
    finally:
        probe.close()
    return False


@probe("the host's loopback")
def _():
    return unreachable("127.0.0.1", EVENT["port"])


@probe("instance metadata")
def _():
    return unreachable("169.254.169.254", 80)


@probe("no interface but its own")
def _():
    return [name for _, name in socket.if_nameindex()] == EVENT.get("interfaces", ["lo"])


def netlink_refused(kind, flags, body):
    """Whether a request to change links, addresses or routes is not permitted."""
    header = struct.pack("IHHII", 16 + len(body), kind, 5 | flags, 1, 0)
    end = socket.socket(16, socket.SOCK_RAW, 0)
    try:
        end.send(header + body)
        return struct.unpack_from("i", end.recv(4096), 16)[0] == -errno.EPERM
    finally:
        end.close()


for name, kind, flags, body in (
    ("link down", 16, 0, struct.pack("BxHiII", 0, 0, 1, 0, 1)),
    ("new link", 16, 0x600, struct.pack("BxHiII", 0, 0, 0, 0, 0) + b"\x0c\0\x12\0\x08\0\1\0veth"),
    ("new address", 20, 0x600, struct.pack("BBBBI", 2, 32, 0, 0, 1) + b"\x08\0\2\0\x0a\1\2\3"),
    ("new route", 24, 0x600, struct.pack("BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0)),
    ("no route", 25, 0, struct.pack("BBBBBBBBI", 2, 0, 0, 0, 254, 3, 0, 1, 0)),
):
    PROBES["netlink: " + name] = lambda args=(kind, flags, body): netlink_refused(*args)


@probe("the host's connections are hidden")
def _():
    return len(open("/proc/net/tcp").read().splitlines()) < 8


@probe("abstract sockets of the host")
def _():
    client = socket.socket(socket.AF_UNIX)
    return refused(client.connect, "\0" + EVENT["abstract"])


@probe("the interface cannot be changed")
def _():
    import fcntl

    control = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    return refused(fcntl.ioctl, control, 0x8914, struct.pack("16sH22x", b"lo", 0))


@probe("terminal injection")
def _():
    import fcntl

    return refused(fcntl.ioctl, 0, 0x5412, b"x")


@probe("shared memory is private")
def _():
    # There is none where no control group counts it.
    return not os.path.exists("/dev/shm") and call(29 if X86 else 194, 0x4C414D42, 1, 0) in (
        errno.ENOENT,
        errno.ENOSYS,
    )


@probe("programs run confined too")
def _():
    done = subprocess.run(
        [sys.executable, "-c", "print(open('/proc/self/status').read())"],
        capture_output=True,
        text=True,
    )
    return "Seccomp:\t2" in done.stdout and "CapBnd:\t0000000000000000" in done.stdout


EVENT = {}


def handler(event, context):
    if (
        os.getuid() != 993
        or os.environ.get("LAMBDA_TASK_ROOT") != "/var/task"
        or os.path.exists("/sys/kernel")
    ):
        raise SystemExit("probes run inside a sandbox only")
    EVENT.update(event)
    results = {}
    for name, function in PROBES.items():
        try:
            results[name] = bool(function())
        except Exception as error:
            results[name] = "%s: %s" % (type(error).__name__, error)
    return results
