"""The command line: which command, with which arguments."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
from pathlib import Path

from lambent import __version__, config
from lambent.cli import cost, deploy, doctor, events, functions, keys, runtimes, table, url
from lambent.cli.client import Client, Refused, Unreachable, profile

ERROR, USAGE, UNREACHABLE = 1, 2, 3


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="Print JSON.")
    common.add_argument("--data-dir", type=Path, help="The server's data directory (~/.lambent).")
    common.add_argument("--endpoint", help="The server's URL.")
    parser = argparse.ArgumentParser(prog="lambent", description="AWS Lambda on your own machines.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common])

    for name, text in (
        ("serve", "Run the server."),
        ("dev", "Run the server for development: any credentials are believed."),
    ):
        _add_settings(add(name, text))
    env = add("env", "Print export lines for the AWS CLI and SDKs.")
    env.add_argument("--secret", action="store_true", help="Print the secret key alone.")
    invoke = add("invoke", "Invoke a function and print its answer.")
    invoke.add_argument("name")
    invoke.add_argument("payload", nargs="?", default="{}", help="JSON, @FILE, or - for stdin.")
    invoke.add_argument("--qualifier", help="A version.")
    invoke.add_argument("--event", action="store_true", help="Have it run later; do not wait.")
    invoke.add_argument("--tenant", help="Whom it is for, where the function has tenants.")
    invoke.add_argument("--logs", action="store_true", help="Show the end of its log.")
    logs = add("logs", "Print a function's log.")
    logs.add_argument("name")
    logs.add_argument("-f", "--follow", action="store_true", help="Go on as lines come.")
    logs.add_argument("--since", help="Only the last 30s, 10m, 2h, 1d.")
    address = add("url", "Give a function a URL, which everybody may ask, and print it.")
    address.add_argument("name")
    address.add_argument("--private", action="store_true", help="Only with a signature.")
    address.add_argument("--stream", action="store_true", help="Answer piece by piece.")
    address.add_argument("--rm", action="store_true", help="Take it away.")
    _add_deploy(add("deploy", "Create or update a function from a folder."))
    add("ls", "List functions.")
    add("rm", "Delete functions.").add_argument("names", nargs="+")
    price = add("cost", "Show what functions have used, and what that would cost on AWS.")
    price.add_argument("--days", type=int, default=31, help="How many days back (31).")
    _add_keys(add("keys", "Make, list and revoke access keys of users."), common)
    _add_events(add("events", "See and handle asynchronous events."), common)
    add("runtimes", "Show which languages this host has, and how to get the others.")
    add("doctor", "Show what this host can do.")
    aws = commands.add_parser("aws", help="Run the AWS CLI against this server.", add_help=False)
    aws.add_argument("rest", nargs=argparse.REMAINDER)
    add("version", "Print the version.")
    return parser


def _add_settings(parser: argparse.ArgumentParser) -> None:
    """A flag for every setting, from the settings table."""
    parser.add_argument("--config", type=Path, help="Read settings from this TOML file.")
    for entry in config.entries():
        if entry.name == "data_dir":
            continue
        parser.add_argument(
            entry.flag,
            dest=f"set_{entry.name}",
            type=entry.kind,
            choices=entry.choices or None,
            help=f"{entry.text.replace('%', '%%')} (default: {entry.default})",
        )


def _add_deploy(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", help="The function's name (default: the folder's).")
    parser.add_argument("--runtime", help="For example python3.12.")
    parser.add_argument("--handler", help="MODULE.FUNCTION")
    parser.add_argument("--memory", type=int, help="MB")
    parser.add_argument("--timeout", type=int, help="Seconds")
    parser.add_argument("--role", help="The execution role's ARN.")
    parser.add_argument("--env", action="append", metavar="NAME=VALUE")


def _add_keys(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    text = "Make a key for a user, and the user if need be; its secret is printed once."
    create = actions.add_parser("create", help=text, description=text, parents=[common])
    create.add_argument("user")
    create.add_argument("--policy", help="A managed policy to attach: its ARN, or AWS's name.")
    actions.add_parser("ls", help="List all keys.", parents=[common])
    text = "Delete keys."
    revoke = actions.add_parser("revoke", help=text, description=text, parents=[common])
    revoke.add_argument("keys", nargs="+", metavar="KEY")


def _add_events(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=text, parents=[common])

    add("ls", "List functions that have events: how many wait, how many failed.")
    peek = add("peek", "Show some of a function's events.")
    peek.add_argument("name")
    peek.add_argument("--limit", type=int, default=20, help="How many (20).")
    add("purge", "Remove a function's events.").add_argument("name")
    add("replay", "Run those that failed again.").add_argument("name")


def _data_dir(arguments: argparse.Namespace) -> Path:
    given = getattr(arguments, "data_dir", None) or os.environ.get("LAMBENT_DATA_DIR")
    return Path(given or config.Settings().data_dir).expanduser()


def _env(arguments: argparse.Namespace) -> int:
    found = profile(_data_dir(arguments), arguments.endpoint)
    variables = {
        "AWS_ENDPOINT_URL": found.endpoint,
        "AWS_ACCESS_KEY_ID": found.access_key_id,
        "AWS_SECRET_ACCESS_KEY": found.secret,
        "AWS_DEFAULT_REGION": found.region,
    }
    if arguments.secret:
        print(found.secret)
    elif arguments.json:
        print(json.dumps(variables, indent=2))
    else:
        for name, value in variables.items():
            table.say(f"export {name}={shlex.quote(value)}")
    return 0


def _aws(arguments: argparse.Namespace) -> int:
    found = profile(_data_dir(arguments))
    beside = Path(sys.executable).parent / "aws"
    program = str(beside) if beside.exists() else shutil.which("aws")
    if program is None:
        print("lambent: the AWS CLI is not installed (pip install awscli)", file=sys.stderr)
        return USAGE
    environment = {
        **os.environ,
        "AWS_ENDPOINT_URL": found.endpoint,
        "AWS_ACCESS_KEY_ID": found.access_key_id,
        "AWS_SECRET_ACCESS_KEY": found.secret,
        "AWS_DEFAULT_REGION": found.region,
    }
    environment.pop("AWS_SESSION_TOKEN", None)
    environment.pop("AWS_PROFILE", None)
    os.execve(program, ["aws", *arguments.rest], environment)


def _run(arguments: argparse.Namespace) -> int:
    command = arguments.command
    if command in ("serve", "dev"):
        # Imported here: the server's modules would slow every other command down.
        from lambent.cli import serve

        return serve.run(arguments, command == "dev")
    if command == "version":
        print(json.dumps({"version": __version__}) if arguments.json else f"lambent {__version__}")
        return 0
    if command == "doctor":
        return doctor.run(arguments)
    if command == "runtimes":
        return runtimes.run(arguments)
    if command == "env":
        return _env(arguments)
    if command == "aws":
        return _aws(arguments)
    client = Client(profile(_data_dir(arguments), arguments.endpoint))
    if command == "deploy":
        return deploy.run(arguments, client)
    if command == "keys":
        return keys.ACTIONS[arguments.action](arguments, client)
    if command == "events":
        return events.ACTIONS[arguments.action](arguments, client)
    handler = {
        "invoke": functions.invoke,
        "ls": functions.ls,
        "rm": functions.rm,
        "logs": functions.logs,
        "cost": cost.run,
        "url": url.run,
    }
    return handler[command](arguments, client)


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns the exit code."""
    arguments = _parser().parse_args(argv)
    try:
        return _run(arguments)
    except Unreachable as error:
        table.say(f"lambent: {error}", sys.stderr)
        return UNREACHABLE
    except Refused as error:
        table.say(f"lambent: {error}", sys.stderr)
        return ERROR
    except (deploy.Usage, OSError) as error:
        table.say(f"lambent: {error}", sys.stderr)
        return USAGE
