"""``lambent serve`` and ``lambent dev``: run the server in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import logging
import os
import signal
import stat
import sys
from pathlib import Path
from typing import Any

import uvloop

from lambent import config
from lambent.app import App, Host
from lambent.cli import table
from lambent.errors import StartError

# Beside the times to drain: of which the embedded services may take 30.
_STOP_SECONDS = 45.0
_DEVELOPMENT = {"authentication": "any", "authorization": "off"}


class CleanFormatter(logging.Formatter):
    """The server's log: a message is one line, whatever clients and functions say in it."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = table.clean(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:
        return "\n".join(table.clean(line) for line in super().formatException(ei).split("\n"))


def run(arguments: argparse.Namespace, development: bool) -> int:
    """Serve until SIGINT or SIGTERM."""
    flags = {name[4:]: value for name, value in vars(arguments).items() if name.startswith("set_")}
    flags["data_dir"] = str(arguments.data_dir) if arguments.data_dir else None
    if development:
        flags = {**flags, **{k: flags.get(k) or v for k, v in _DEVELOPMENT.items()}}
    handler = logging.StreamHandler()
    handler.setFormatter(CleanFormatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    try:
        settings = config.from_process(flags, arguments.config)
        if arguments.config is None:
            _check_configuration(settings.data_path / "lambent.toml")
        host = Host.prepare(settings)
        host.confine()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, host))
    except StartError as error:
        table.say(f"lambent: {error}", sys.stderr)
        return 1
    return 0


def _check_configuration(file: Path) -> None:
    """As root, believe only what root wrote: the data directory is the server's, who is not root.

    Raises StartError.
    """
    if os.getuid() == 0 and file.exists():
        status = file.lstat()
        if status.st_uid != 0 or status.st_mode & 0o022 or not stat.S_ISREG(status.st_mode):
            raise StartError(f"{file} must be a file that only root owns and can write")


async def _serve(settings: config.Settings, host: Host) -> None:
    app = App(settings, host=host)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    await app.start()
    endpoint_file = host.data / "endpoint"
    endpoint_file.write_text(app.endpoint + "\n")
    _greet(app)
    await stopping.wait()
    print("\nLambent is stopping.", flush=True)
    # A stop that takes longer ends all the same, and says where it was.
    faulthandler.dump_traceback_later(_STOP_SECONDS + 3 * settings.drain_seconds, exit=True)
    await app.stop()
    endpoint_file.unlink(missing_ok=True)


def _greet(app: App) -> None:
    for warning in app.warnings:
        print(f"WARNING: {warning}", file=sys.stderr, flush=True)
    key = app.owner
    print(
        f"""Lambent is ready at {app.endpoint}

For the AWS CLI and SDKs:
  export AWS_ENDPOINT_URL={app.endpoint}
  export AWS_ACCESS_KEY_ID={key.access_key_id}
  export AWS_SECRET_ACCESS_KEY=$(lambent env --secret)
  export AWS_DEFAULT_REGION={app.settings.region}
  (all of them: eval "$(lambent env)")

A first function:
  lambent deploy examples/hello && lambent invoke hello '{{"name": "world"}}'
""",
        flush=True,
    )
