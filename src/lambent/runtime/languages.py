"""Which runtimes this host has.

``python3.X`` maps to a CPython 3.X found on the host and to nothing else: a runtime the host lacks
is refused, never run on another version.  An interpreter is recognised by its standard library
beside it, so nothing is executed to find out.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import lambent
from lambent.sandbox.base import Language

OLDEST, NEWEST = 8, 15
_BOOTSTRAPS = Path(lambent.__file__).parent / "bootstraps"
_PYENV = re.compile(r"3\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class Missing:
    """A runtime the host lacks, and how to get it."""

    name: str
    remedy: str


def _directories() -> Iterable[Path]:
    """Folders that may hold interpreters, in order of preference."""
    yield from (Path("/usr/bin"), Path("/usr/local/bin"))
    yield Path(sys.base_prefix) / "bin"
    roots = [Path("/opt")]
    home = os.environ.get("HOME")
    if home:
        roots += [Path(home) / ".pyenv/versions", Path(home) / ".local/share/uv/python"]
    for root in roots:
        try:
            children = list(root.iterdir())
        except OSError:
            continue
        # Newest patch level first.
        yield from (child / "bin" for child in sorted(children, key=_version, reverse=True))
    for entry in os.environ.get("PATH", "").split(os.pathsep):
        if entry:
            yield Path(entry)


def _version(path: Path) -> tuple[int, int]:
    found = _PYENV.search(path.name)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def _interpreter(directory: Path, name: str) -> Path | None:
    """The prefix of an interpreter, if one of this name is really there."""
    candidate = directory / name
    try:
        if not os.access(candidate, os.X_OK):
            return None
        prefix = candidate.resolve().parent.parent
        return prefix if (prefix / "lib" / name / "os.py").exists() else None
    except OSError:
        return None


class Languages:
    """The runtimes of this host by AWS's name; discovered once."""

    def __init__(self) -> None:
        self._found: dict[str, Language] = {}
        directories = list(dict.fromkeys(_directories()))
        for minor in range(OLDEST, NEWEST + 1):
            name = f"python3.{minor}"
            for directory in directories:
                prefix = _interpreter(directory, name)
                if prefix is not None:
                    self._found[name] = Language(
                        name, str(prefix), name, str(_BOOTSTRAPS / "python")
                    )
                    break

    def get(self, runtime: str) -> Language | None:
        """The language tree of a runtime, None if the host lacks it."""
        return self._found.get(runtime)

    def names(self) -> list[str]:
        """The runtimes the host has, oldest first."""
        return list(self._found)

    def missing(self) -> list[Missing]:
        """The Python runtimes it lacks."""
        return [
            Missing(
                name,
                f"install CPython {name[6:]} (pyenv install {name[6:]}, or your system's package)",
            )
            for name in (f"python3.{minor}" for minor in range(OLDEST, NEWEST + 1))
            if name not in self._found
        ]
