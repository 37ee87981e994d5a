"""Runs tests in a virtual machine whose kernel has control groups version 2 and nothing else.

Most machines of today are such; a machine with version 1 can test version 2 only this way.

    tools/guest_test.py KERNEL [--user] [pytest arguments]

KERNEL is a bzImage (of Debian's linux-image-cloud-amd64, say).  qemu-system-x86_64 runs it, in
software unless --kvm: slow, but it needs no privilege.  The guest's root is made of this host's
Python and of the project with its .venv; the tests run as root, or with --user as an ordinary user
with a delegated subtree, as systemd hands them out.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = ("sh", "mount", "setpriv", "cp", "poweroff", "cat", "sleep", "wc", "env")
SERVICES = ("lambda", "logs", "s3", "sts")
DONE = "guest: tests ended with "
INIT = """#!{python}
import ctypes, os, subprocess, sys

def mount(kind, target, options=""):
    os.makedirs(target, exist_ok=True)
    subprocess.run(["/usr/bin/mount", "-t", kind, kind, target, *options.split()], check=True)

if sys.argv[1:] != ["switched"]:
    # pivot_root does not work on the first root file system: move to one where it does.
    mount("tmpfs", "/new", "-o size=90%")
    names = [name for name in os.listdir("/") if name not in ("new", "dev", "proc", "sys")]
    for name in names:
        subprocess.run(["/usr/bin/cp", "-a", "/" + name, "/new/" + name], check=True)
    for name in ("dev", "proc", "sys", "tmp"):
        os.makedirs("/new/" + name, exist_ok=True)
    os.chmod("/new/tmp", 0o1777)
    os.chdir("/new")
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mount(b".", b"/", None, 0x2000, None) == 0
    os.chroot(".")
    os.chdir("/")
    os.execv("/init", ["/init", "switched"])
mount("proc", "/proc")
mount("sysfs", "/sys")
mount("devtmpfs", "/dev")
mount("cgroup2", "/sys/fs/cgroup")
os.makedirs("/dev/shm", exist_ok=True)
os.symlink("/proc/self/fd", "/dev/fd") if not os.path.exists("/dev/fd") else None
sys.path.insert(0, "/project/src")
from lambent.sandbox.kernel.syscalls import loopback_up
loopback_up()
group = "/sys/fs/cgroup/tests"
os.makedirs(group)
command = {command!r}
environment = {{"PATH": "/usr/bin:/bin", "HOME": "/tmp", "PYTHONPATH": "/project/src:/project",
                "PYTHONDONTWRITEBYTECODE": "1", "LANG": "C.UTF-8"}}
if {user!r}:
    with open("/sys/fs/cgroup/cgroup.subtree_control", "w") as file:
        file.write("+memory +cpu")
    for path in (group, group + "/cgroup.procs", group + "/cgroup.subtree_control",
                 group + "/cgroup.threads"):
        os.chown(path, 1000, 1000)
    command = ["/usr/bin/setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", *command]

def enter():
    with open(group + "/cgroup.procs", "w") as file:
        file.write("0")

child = subprocess.Popen(command, cwd="/project", env=environment, preexec_fn=enter)
code = None
while code is None:  # process 1 reaps everybody's orphans
    pid, status = os.wait()
    if pid == child.pid:
        code = os.waitstatus_to_exitcode(status)
print("{done}%d" % code, flush=True)
with open("/proc/sysrq-trigger", "w") as file:
    file.write("o")
import time
time.sleep(60)
"""


def libraries(objects: Iterable[Path]) -> set[Path]:
    """The shared libraries these need, by the loader's own word."""
    found: set[Path] = set()
    for each in objects:
        told = subprocess.run(["ldd", str(each)], capture_output=True, text=True).stdout
        words = [word for word in told.split() if word.startswith("/")]
        found |= {Path(word) for word in words if Path(word).exists()}
    return found


def copy(source: Path, root: Path, *ignored: str) -> None:
    """Copy a file or tree to the same place below root."""
    target = root / str(source).lstrip("/")
    if source.is_dir():
        shutil.copytree(
            source, target, symlinks=True, dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("__pycache__", *ignored),
        )  # fmt: skip
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def build_root(root: Path, arguments: list[str], user: bool) -> None:
    """The guest's root: this Python, what it needs, the project."""
    for name in ("bin", "sbin", "lib", "lib64"):
        if Path("/", name).is_symlink():
            (root / name).symlink_to(os.readlink(f"/{name}"))
            (root / os.readlink(f"/{name}")).mkdir(parents=True)
    python = Path(sys.executable).resolve()
    standard = Path(sysconfig.get_path("stdlib"))
    copy(standard, root, "test", "idlelib", "tkinter", "lib2to3", "ensurepip")
    site = Path(sysconfig.get_path("purelib"))
    skipped = ("awscli", "mypy*", "ruff*", "pip*", "docutils", "setuptools", "bin")
    shutil.copytree(
        site, root / "project/site", symlinks=True, ignore=shutil.ignore_patterns(*skipped, "data")
    )
    data = site / "botocore/data"
    for entry in data.iterdir():
        if entry.is_file() or entry.name in SERVICES:
            target = root / "project/site/botocore/data" / entry.name
            target.parent.mkdir(exist_ok=True)
            (shutil.copy2 if entry.is_file() else shutil.copytree)(entry, target)
    programs = [Path(found) for name in PROGRAMS if (found := shutil.which(name))]
    for each in (python, *programs):
        shutil.copy2(each.resolve(), root / "usr/bin" / each.name)
    (root / "usr/bin/python3").symlink_to(python.name)
    objects = [python, *programs, *standard.rglob("*.so"), *site.rglob("*.so")]
    for library in libraries(objects):
        copy(library, root)
    for name in ("src", "tests", "pyproject.toml", "examples"):
        target = root / "project" / name
        (shutil.copytree if (ROOT / name).is_dir() else shutil.copy2)(ROOT / name, target)
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\nuser:x:1000:1000::/tmp:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\nuser:x:1000:\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    command = ["/usr/bin/python3", "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    init = root / "init"
    init.write_text(
        INIT.format(python=f"/usr/bin/{python.name}", command=command, user=user, done=DONE)
        .replace("/project/src:/project", "/project/src:/project:/project/site")
    )  # fmt: skip
    init.chmod(0o755)


def main() -> int:
    """Build the guest, run it, and end as its tests did."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("kernel")
    parser.add_argument("--user", action="store_true")
    parser.add_argument("--kvm", action="store_true")
    chosen, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        root, archive = Path(folder, "root"), Path(folder, "root.cpio")
        root.mkdir()
        build_root(root, arguments, chosen.user)
        with archive.open("wb") as file:
            pack = "find . -print0 | cpio --null --quiet -o -H newc"
            subprocess.run(["sh", "-c", pack], cwd=root, stdout=file, check=True)
        qemu = [
            "qemu-system-x86_64", "-m", "4096", "-smp", "2", "-nographic", "-no-reboot",
            "-nic", "none", "-kernel", chosen.kernel, "-initrd", str(archive),
            "-append", "console=ttyS0 quiet panic=-1 rdinit=/init",
            *(["-enable-kvm", "-cpu", "host"] if chosen.kvm else ["-cpu", "max"]),
        ]  # fmt: skip
        print(shlex.join(qemu), flush=True)
        code = 1
        with subprocess.Popen(qemu, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as guest:
            assert guest.stdout is not None
            for raw in guest.stdout:
                line = raw.decode("utf-8", "replace").rstrip()
                print(line, flush=True)
                if line.startswith(DONE):
                    code = int(line.removeprefix(DONE))
        return code


if __name__ == "__main__":
    sys.exit(main())
