"""Who may know whom: the import graph keeps to ARCHITECTURE.md."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2] / "src" / "lambent"

# room → rooms and modules it may import, besides itself, its children and the basics
BASICS = {"errors", "clock", "ids", "arn", "paths"}
ALLOWED: dict[str, set[str]] = {
    "app": {"*"},
    "cli": {
        "app",
        "config",
        "aws.sigv4",
        "runtime.languages",
        "sandbox.cgroups",
        "sandbox.kernel.confinement",
        "sandbox.kernel.disks",
        "sandbox.kernel.landlock",
        "sandbox.kernel.network",
    },
    "gateway": {
        "api",
        "http",
        "iam",
        "aws",
        "blobs.base",
        "functions",
        "invoke",
        "neighbours",
        "observe.usage",
        "queue.base",
    },
    "api": {
        "aws",
        "blobs.base",
        "functions",
        "iam",
        "invoke",
        "observe",
        "queue.base",
        "runtime.languages",
        "runtime.variables",
    },
    "measures": {
        "functions.types",
        "functions.event_sources",
        "observe",
        "pool",
        "queue.base",
        "runtime.lines",
    },
    "events": {"aws", "functions", "iam", "invoke", "neighbours.requests", "queue.base"},
    "sources": {"aws", "functions", "iam", "invoke", "neighbours.requests"},
    "queue": {"store.group_commit"},
    "invoke": {"functions", "router.base", "pool"},
    "pool": {"runtime", "sandbox.base", "functions.types", "http"},
    "runtime": {
        "aws.jsontext",
        "http",
        "functions.types",
        "functions.response_stream",
        "sandbox.base",
    },
    "functions": {"store.base", "store.repository", "blobs.base"},
    "iam": {"aws", "store.base", "store.repository"},
    "router": {"functions.types", "router.base"},
    "sandbox": set(),
    "store": set(),
    "blobs": set(),
    "observe": set(),
    "neighbours": {
        "aws",
        "blobs.base",
        "http",
        "iam",
        "sandbox.kernel.confinement",
        "sandbox.kernel.landlock",
        "sandbox.kernel.process_filter",
        "sandbox.kernel.syscalls",
    },
    "bootstraps": set(),
    "aws": set(),
    "http": set(),
    "config": set(),
    "errors": set(),
    "clock": set(),
    "ids": set(),
    "arn": set(),
    "paths": set(),
}
PURE = {"aws", "http"}
DRIVERS = {
    "sqlite3": {"store/sqlite.py", "store/group_commit.py", "queue/sqlite.py"},
    "httptools": {"http/connection.py", "http/client.py"},
    "msgspec": {
        "aws/jsontext.py",
        "store/repository.py",
        "functions/types.py",
        "observe/logs.py",
        "queue/sqlite.py",
    },
    "uvloop": {"cli/serve.py"},
    "cryptography": {"store/sealed.py"},
    "boto3": set(),
    "botocore": {"neighbours/ministack/signing.py"},
    "yaml": {"neighbours/ministack/template_text.py"},
}
IMPLEMENTATIONS = {
    "store.sealed",
    "queue.sqlite",
    "store.sqlite",
    "store.memory",
    "blobs.files",
    "router.direct",
    "sandbox.namespaces",
    "sandbox.process",
    "neighbours.embedded",
    "neighbours.remote",
}


def modules() -> list[Path]:
    return sorted(ROOT.rglob("*.py"))


def imports(path: Path) -> Iterator[str]:
    """Names imported anywhere in a file, relative ones made absolute."""
    package = ["lambent", *path.relative_to(ROOT).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                deeper = ROOT.joinpath(*module.split(".")[1:], alias.name)
                is_module = module.split(".")[0] == "lambent" and (
                    deeper.is_dir() or deeper.with_suffix(".py").exists()
                )
                yield f"{module}.{alias.name}" if is_module else module


def room(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").parts[0]


def _may(source: str, target: str) -> bool:
    first = target.split(".")[0]
    if first == source or (first in BASICS and source not in PURE | BASICS):
        return True
    if source == "arn" or not target:
        return not target
    allowed = ALLOWED[source]
    return "*" in allowed or any(
        target == each or target.startswith(each + ".") for each in allowed
    )


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_imports_only_what_its_room_may_know(path: Path) -> None:
    source = room(path)
    if source in ("__init__", "__main__"):
        return
    for name in imports(path):
        if name == "lambent":
            continue
        if name.startswith("lambent."):
            target = name.removeprefix("lambent.")
            assert _may(source, target), f"{source} may not import {target}"
            if target in IMPLEMENTATIONS:
                assert source == "app", f"only app/ picks {target}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_driver_is_imported_only_where_it_belongs(path: Path) -> None:
    own = str(path.relative_to(ROOT))
    for name in imports(path):
        top = name.split(".")[0]
        if top in DRIVERS:
            assert own in DRIVERS[top], f"{own} imports {top}"
        if top not in ("lambent", *DRIVERS, "bootstrap"):
            assert top in sys.stdlib_module_names, f"{own} imports {top}"


@pytest.mark.parametrize(
    "path", sorted((ROOT / "sandbox/kernel").glob("*.py")), ids=lambda path: path.name
)
def test_what_runs_outside_the_server_imports_the_standard_library_only(path: Path) -> None:
    for name in imports(path):
        assert name.startswith("lambent.sandbox.kernel") or not name.startswith("lambent")


def test_no_file_is_two_ideas() -> None:
    long = {
        str(p.relative_to(ROOT)): n
        for p in modules()
        if (n := len(p.read_text().splitlines())) > 600
    }
    assert long == {}


def test_every_folder_of_tests_is_run() -> None:
    root = ROOT.parents[1]
    settings = tomllib.loads((root / "pyproject.toml").read_text())
    named = settings["tool"]["pytest"]["ini_options"]["testpaths"]
    there = {str(path.parent.relative_to(root)) for path in (root / "tests").rglob("test_*.py")}
    assert there == set(named)
