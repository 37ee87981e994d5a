"""Java: building its bootstrap from source once per host, and how a virtual machine is started."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import lambent
from lambent.runtime.hosts import Found, compiles

SOURCES = Path(lambent.__file__).parent / "bootstraps/java"
JAR = "lambent-runtime.jar"
# What the sources are compiled for: the oldest release AWS still runs.
_TARGET = 8
_BUILD_SECONDS = 120


def built(machines: Mapping[int, Found], state: Path) -> Path | None:
    """A folder with the bootstrap's jar, compiled now if it has not been; None without a compiler.

    The folder is named after the sources, so a changed source is compiled anew.
    """
    sources = sorted(SOURCES.rglob("*.java"))
    digest = hashlib.sha256()
    for source in sources:
        digest.update(source.name.encode() + source.read_bytes())
    folder = state / f"java-{digest.hexdigest()[:16]}"
    if (folder / JAR).exists():
        return folder
    compilers = [each.prefix for each in machines.values() if compiles(each.prefix)]
    if not compilers:
        return None
    state.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=state))
    try:
        _compile(compilers[0], sources, work)
        target = Path(tempfile.mkdtemp(dir=state))
        target.chmod(0o755)
        os.replace(work / JAR, target / JAR)
        (target / JAR).chmod(0o644)
        os.replace(target, folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return folder


def _compile(kit: Path, sources: list[Path], work: Path) -> None:
    classes = work / "classes"
    flags = ["--release", str(_TARGET), "-Xlint:-options", "-proc:none"]
    steps: list[list[str]] = [
        [str(kit / "bin/javac"), *flags, "-d", str(classes), *map(str, sources)],
        [str(kit / "bin/jar"), "--create", "--file", str(work / JAR), "-C", str(classes), "."],
    ]
    for step in steps:
        subprocess.run(step, check=True, capture_output=True, timeout=_BUILD_SECONDS)


def command(release: int, memory_size: int) -> tuple[str, ...]:
    """How a virtual machine is started: memory_size in MB.

    Flags as AWS documents them: the client compiler only, serial collection, a heap of 85 %.
    """
    heap = memory_size * 85 // 100
    return (
        "/var/lang/bin/java",
        f"-Xmx{heap}m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "-Xshare:auto",
        "-Dfile.encoding=UTF-8",
        "-cp",
        f"/var/runtime/{JAR}",
        "lambent.runtime.Bootstrap",
    )
