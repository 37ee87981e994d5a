"""``lambent deploy DIR``: create or update a function from a folder."""

from __future__ import annotations

import argparse
import base64
import io
import json
import os
import re
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

from lambent.cli import table
from lambent.cli.client import Client, Refused

_SKIPPED = {"__pycache__", ".git", ".venv", "node_modules/.cache", ".mypy_cache", ".pytest_cache"}
_HANDLERS = (
    "lambda_function.lambda_handler",
    "app.handler",
    "handler.handler",
    "main.handler",
    "index.handler",
)
_DEFAULT_ROLE = "arn:aws:iam::000000000000:role/lambda"
_STAMP = (1980, 1, 1, 0, 0, 0)


class Usage(Exception):
    """The command cannot be carried out as given."""


def archive(folder: Path) -> bytes:
    """The folder as a zip: the same bytes for the same files, whatever their dates."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as target:
        for root, folders, files in os.walk(folder):
            folders[:] = sorted(name for name in folders if name not in _SKIPPED)
            for name in sorted(files):
                path = Path(root) / name
                info = zipfile.ZipInfo(str(path.relative_to(folder)), _STAMP)
                info.compress_type = zipfile.ZIP_DEFLATED
                info.external_attr = (0o755 if os.access(path, os.X_OK) else 0o644) << 16
                target.writestr(info, path.read_bytes())
    return buffer.getvalue()


def find_handler(folder: Path) -> tuple[str, str]:
    """The handler, from the names people use, and its family: python, nodejs or provided."""
    if (folder / "bootstrap").exists():
        return "bootstrap", "provided"
    for handler in _HANDLERS:
        module, function = handler.split(".")
        path = folder / f"{module}.py"
        if path.exists() and re.search(rf"^(async )?def {function}\b", path.read_text(), re.M):
            return handler, "python"
        for extension in ("mjs", "cjs", "js"):
            path = folder / f"{module}.{extension}"
            if path.exists() and re.search(rf"\b{function}\b", path.read_text()):
                return handler, "nodejs"
    raise Usage(f"no handler found in {folder} (looked for {', '.join(_HANDLERS)}); give --handler")


def run(arguments: argparse.Namespace, client: Client) -> int:
    """Deploy; waits until the function is ready."""
    folder: Path = arguments.folder
    if not folder.is_dir():
        raise Usage(f"{folder} is not a folder")
    name = arguments.name or re.sub(r"[^a-zA-Z0-9-_]", "-", folder.resolve().name)
    code = base64.b64encode(archive(folder)).decode()
    handler, family = arguments.handler, ""
    if handler is None:
        handler, family = find_handler(folder)
    runtime = arguments.runtime or _newest(
        client, family or ("java" if "::" in handler else "python")
    )
    settings: dict[str, Any] = {
        "Runtime": runtime,
        "Handler": handler,
        "Timeout": arguments.timeout,
        "MemorySize": arguments.memory,
    }
    if arguments.env:
        settings["Environment"] = {"Variables": dict(_pair(each) for each in arguments.env)}
    path = f"/2015-03-31/functions/{name}"
    try:
        client.request("GET", f"{path}/configuration")
        exists = True
    except Refused as error:
        if error.code != "ResourceNotFoundException":
            raise
        exists = False
    if exists:
        _send(client, "PUT", f"{path}/code", {"ZipFile": code})
        _wait(client, path)
        settings = {key: value for key, value in settings.items() if value is not None}
        _send(client, "PUT", f"{path}/configuration", settings)
    else:
        document = {
            "FunctionName": name,
            "Role": arguments.role or _DEFAULT_ROLE,
            "Code": {"ZipFile": code},
            **{key: value for key, value in settings.items() if value is not None},
        }
        _send(client, "POST", "/2015-03-31/functions", document)
    shown = _wait(client, path)
    row = {
        "name": name,
        "runtime": shown["Runtime"],
        "handler": shown["Handler"],
        "arn": shown["FunctionArn"],
    }
    if arguments.json:
        table.show([row], tuple(row), True)
    else:
        table.say(
            f"{'Updated' if exists else 'Created'} {name} ({shown['Runtime']}, {shown['Handler']})"
        )
    return 0


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise Usage(f"--env takes NAME=VALUE, not {text!r}")
    return name, value


def _newest(client: Client, family: str) -> str:
    """The newest runtime of a family that the server's host has."""
    names = client.request("GET", "/_lambent/runtimes").json()["runtimes"]
    runtimes = [name for name in names if name.startswith(family)]
    if not runtimes:
        raise Usage(f"the server's host has no {family} runtime; see `lambent runtimes`")
    own = f"python3.{sys.version_info.minor}"
    return own if own in runtimes else str(max(runtimes, key=_release))


def _release(runtime: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", runtime)]


def _send(client: Client, method: str, path: str, document: dict[str, Any]) -> None:
    client.request(
        method, path, json.dumps(document).encode(), {"content-type": "application/json"}
    )


def _wait(client: Client, path: str) -> dict[str, Any]:
    for _ in range(300):
        shown: dict[str, Any] = client.request("GET", f"{path}/configuration").json()
        if shown["State"] != "Pending" and shown.get("LastUpdateStatus") != "InProgress":
            return shown
        time.sleep(0.05)
    raise Usage("the function did not become ready")
