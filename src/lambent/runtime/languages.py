"""Which runtimes this host has, and how each is started.

AWS's name of a runtime maps to that very version of its language and to nothing else: a runtime
the host lacks is refused, never run on another version.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import lambent
from lambent.functions.types import Configuration
from lambent.runtime import hosts, java, ruby, variables
from lambent.runtime.hosts import Found, nodes, pythons, rubies, virtual_machines
from lambent.runtime.ruby import RUBIES
from lambent.sandbox.base import Language, Program

BOOTSTRAPS = Path(lambent.__file__).parent / "bootstraps"
PYTHONS = tuple(f"python3.{minor}" for minor in range(8, 16))
NODES = tuple(f"nodejs{major}.x" for major in (18, 20, 22, 24, 26))
# A runtime → the release of Java it is.
JAVAS = {
    "java8.al2": 8,
    "java11": 11,
    "java17": 17,
    "java21": 21,
    "java25": 25,
    "java8.al2023": 8,
    "java11.al2023": 11,
    "java17.al2023": 17,
}
# What AWS has and this version does not, whatever the host has.
NOT_OFFERED = ("dotnet8", "dotnet10")
PROVIDED = ("provided.al2023", "provided.al2")
_Commands = tuple[tuple[str, ...], ...]
_PROVIDED_COMMANDS: _Commands = (
    ("/var/runtime/bootstrap",),
    ("/var/task/bootstrap",),
    ("/opt/bootstrap",),
)


@dataclass(frozen=True, slots=True)
class Missing:
    """A runtime the host lacks, and how to get it."""

    name: str
    remedy: str


class Languages:
    """The runtimes of this host by AWS's name; discovered once."""

    def __init__(self, state: Path | None = None) -> None:
        """state: a folder for what is built from source for this host, None to build nothing."""
        self._found: dict[str, Language] = {}
        self._versions: dict[str, str] = {}
        self._why: dict[str, str] = {}
        for minor, found in pythons(range(8, 16)).items():
            interpreter = f"python3.{minor}"
            self._add(interpreter, found, BOOTSTRAPS / "python", interpreter)
        for major, found in nodes().items():
            if f"nodejs{major}.x" in NODES:
                self._add(f"nodejs{major}.x", found, BOOTSTRAPS / "node")
        for ruby_release, found in rubies().items():
            if f"ruby{ruby_release}" in RUBIES:
                self._add(f"ruby{ruby_release}", found, BOOTSTRAPS / "ruby")
        machines = virtual_machines()
        able = any(hosts.compiles(each.prefix) for each in machines.values())
        built = java.built(machines, state) if state is not None else None
        for name, release in JAVAS.items():
            if release in machines and built is None and not able:
                self._why[name] = (
                    "install a JDK (javac), which compiles Lambent's Java runtime once"
                )
            elif release in machines:
                self._add(name, machines[release], built or BOOTSTRAPS / "java")
        for name in PROVIDED:
            self._found[name] = Language(name, "", "")

    def _add(self, name: str, found: Found, bootstrap: Path, interpreter: str = "") -> None:
        self._found[name] = Language(name, str(found.prefix), str(bootstrap), interpreter)
        self._versions[name] = found.version

    def get(self, runtime: str) -> Language | None:
        """The language of a runtime, None if the host lacks it."""
        return self._found.get(runtime)

    def names(self) -> list[str]:
        """The runtimes the host has, by family, oldest first."""
        return list(self._found)

    def version(self, runtime: str) -> str:
        """The release the host has of a runtime's language, as far as it is known."""
        return self._versions.get(runtime, "")

    def missing(self) -> list[Missing]:
        """The runtimes it lacks."""
        found = []
        for name in (*PYTHONS, *NODES, *RUBIES, *JAVAS):
            if name not in self._found:
                found.append(Missing(name, self._why.get(name) or _remedy(name)))
        own = "not offered yet; bring a bootstrap with your code and use provided.al2023"
        return found + [Missing(name, own) for name in NOT_OFFERED]


def _remedy(name: str) -> str:
    if name.startswith("python"):
        release = name[6:]
        return f"install CPython {release} (pyenv install {release}, or your system's package)"
    if name.startswith("nodejs"):
        return f"install Node.js {name[6:-2]} (nvm install {name[6:-2]}, or your system's package)"
    if name.startswith("ruby"):
        return f"install Ruby {name[4:]} (rbenv install {name[4:]}, or your system's package)"
    return f"install a JDK {JAVAS[name]} below /usr/lib/jvm (openjdk-{JAVAS[name]}-jdk-headless)"


def program(language: Language, configuration: Configuration) -> Program | None:
    """How a version is started; None: by forking its language's interpreter."""
    given = configuration.environment or {}
    name = language.name
    wrapper = given.get("AWS_LAMBDA_EXEC_WRAPPER")
    if name in PROVIDED:
        commands = _PROVIDED_COMMANDS
    elif language.interpreter:
        if not variables.needs_fresh_start("python", given):
            return None
        commands = ((f"/var/lang/bin/{language.interpreter}", "-s", "/var/runtime/bootstrap.py"),)
    elif name in RUBIES:
        commands = (ruby.command(language.prefix),)
    elif name in JAVAS:
        commands = (java.command(JAVAS[name], configuration.memory_size),)
    else:
        commands = (
            ("/var/lang/bin/node", *node_flags(configuration), "/var/runtime/bootstrap.cjs"),
        )
    if wrapper and name not in PROVIDED:
        return Program(tuple((wrapper, *command) for command in commands))
    if name in PROVIDED or language.interpreter:
        return Program(commands)
    family = variables.family(name)
    if family == "ruby":
        return Program(commands, connected=True)
    return Program(
        commands,
        connected=family == "node",
        ahead=not variables.needs_fresh_start(family, given),
        rewritten=family == "java",
        boot_environment=tuple(variables.defaults(family, name).items()),
    )


def node_flags(configuration: Configuration) -> tuple[str, ...]:
    """Heap limits as AWS sets them: what the memory size leaves beside the runtime itself."""
    return (f"--max-old-space-size={configuration.memory_size * 9 // 10}",)
