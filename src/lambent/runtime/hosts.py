"""Finding the languages of this host, without running more than must be run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_PYENV = re.compile(r"3\.(\d+)\.(\d+)")
_NODE_HEADER = "include/node/node_version.h"
_NODE_NUMBER = re.compile(r"#define NODE_(MAJOR|MINOR|PATCH)_VERSION (\d+)")
_NODE_SAYS = re.compile(r"v(\d+)\.(\d+)\.(\d+)")
_RUBY_SAYS = re.compile(r"ruby (\d+\.\d+)(\.\d+)")
_JAVA_RELEASE = re.compile(r'^JAVA_VERSION="(?:1\.)?(\d+)([^"]*)"', re.MULTILINE)
_ASK_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Found:
    """Where a language lies, and which release it is as far as that is known."""

    prefix: Path
    version: str = ""


def _children(root: Path) -> list[Path]:
    """What lies in a folder, the highest version first."""
    try:
        found = list(root.iterdir())
    except OSError:
        return []
    return sorted(found, key=lambda path: _numbers(path.name), reverse=True)


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", name))


def _home(*parts: str) -> list[Path]:
    home = os.environ.get("HOME")
    return [Path(home, *parts)] if home else []


def _on_path() -> Iterable[Path]:
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        if entry:
            yield Path(entry)


# -- Python: recognised by its standard library, never run ------------------------------------


def _python_folders() -> Iterable[Path]:
    """Folders that may hold interpreters, in order of preference."""
    yield from (Path("/usr/bin"), Path("/usr/local/bin"))
    yield Path(sys.base_prefix) / "bin"
    roots = [Path("/opt"), *_home(".pyenv/versions"), *_home(".local/share/uv/python")]
    for root in roots:
        yield from (child / "bin" for child in _children(root))
    yield from _on_path()


def pythons(minors: Iterable[int]) -> dict[int, Found]:
    """CPython 3.x by x."""
    folders = list(dict.fromkeys(_python_folders()))
    found: dict[int, Found] = {}
    for minor in minors:
        name = f"python3.{minor}"
        for folder in folders:
            prefix = _python(folder, name)
            if prefix is not None:
                patch = _PYENV.search(prefix.name)
                found[minor] = Found(prefix, patch[0] if patch else f"3.{minor}")
                break
    return found


def _python(folder: Path, name: str) -> Path | None:
    candidate = folder / name
    try:
        if not os.access(candidate, os.X_OK):
            return None
        prefix = candidate.resolve().parent.parent
        return prefix if (prefix / "lib" / name / "os.py").exists() else None
    except OSError:
        return None


# -- Node.js: its headers tell its version; where it has none it is asked ---------------------


def nodes() -> dict[int, Found]:
    """Node.js by major version."""
    folders = [Path("/usr/bin"), Path("/usr/local/bin")]
    roots = [Path("/opt"), *_home(".nvm/versions/node"), *_home(".local/share/fnm/node-versions")]
    for root in roots:
        for child in _children(root):
            folders += [child / "bin", child / "installation/bin"]
    found: dict[int, Found] = {}
    seen: set[Path] = set()
    for folder in [*folders, *_on_path()]:
        try:
            program = (folder / "node").resolve(strict=True)
        except OSError:
            continue
        if program in seen or not os.access(program, os.X_OK) or program.name != "node":
            continue
        seen.add(program)
        prefix = program.parent.parent
        version = _node_version(prefix, program)
        if version:
            found.setdefault(_numbers(version)[0], Found(prefix, version))
    return dict(sorted(found.items()))


def _node_version(prefix: Path, program: Path) -> str:
    try:
        header = (prefix / _NODE_HEADER).read_text()
    except OSError:
        header = ""
    numbers = dict(_NODE_NUMBER.findall(header))
    if len(numbers) == 3:
        return f"{numbers['MAJOR']}.{numbers['MINOR']}.{numbers['PATCH']}"
    answer = _NODE_SAYS.match(_ask(program))
    return answer[0][1:] if answer else ""


def _ask(program: Path) -> str:
    """What a program says of its version; "" if it does not."""
    try:
        return subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=_ASK_SECONDS
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


# -- Ruby: asked which it is ------------------------------------------------------------------


def rubies() -> dict[str, Found]:
    """Ruby by "major.minor", the system's own first."""
    folders = [Path("/usr/bin"), Path("/usr/local/bin")]
    for root in (Path("/opt"), Path("/opt/rubies"), *_home(".rbenv/versions"), *_home(".rubies")):
        folders += [child / "bin" for child in _children(root)]
    found: dict[str, Found] = {}
    for folder in dict.fromkeys([*folders, *_on_path()]):
        program = folder / "ruby"
        if not os.access(program, os.X_OK) or folder.name != "bin":
            continue
        answer = _RUBY_SAYS.match(_ask(program))
        if answer:
            found.setdefault(answer[1], Found(folder.parent, answer[1] + answer[2]))
    return found


# -- Java: each has a file that says what it is -----------------------------------------------


def virtual_machines() -> dict[int, Found]:
    """Java virtual machines by release, those with a compiler first."""
    roots = [Path("/usr/lib/jvm"), Path("/opt"), *_home(".sdkman/candidates/java")]
    homes = [child for root in roots for child in _children(root)]
    if "JAVA_HOME" in os.environ:
        homes.append(Path(os.environ["JAVA_HOME"]))
    found: dict[int, Found] = {}
    for home in homes:
        try:
            prefix = home.resolve(strict=True)
            release = _JAVA_RELEASE.search((prefix / "release").read_text())
        except OSError:
            continue
        if release is None or not os.access(prefix / "bin/java", os.X_OK):
            continue
        number = int(release[1])
        known = found.get(number)
        better = known is None or (compiles(prefix) and not compiles(known.prefix))
        if better:
            found[number] = Found(prefix, release[1] + release[2])
    return dict(sorted(found.items()))


def compiles(prefix: Path) -> bool:
    """Whether this is a development kit."""
    return os.access(prefix / "bin/javac", os.X_OK)
