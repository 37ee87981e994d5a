"""The README's tour and the command line, run as written."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import ROLE, RUNTIME, Server, fetch, make_zip

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def blocks() -> list[str]:
    return re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(), re.S)


def lambent(
    server: Server, *arguments: str, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("AWS_")
    } | {"LAMBENT_DATA_DIR": str(server.data)}
    return subprocess.run(
        [sys.executable, "-m", "lambent", *arguments],
        capture_output=True,
        text=True,
        env=environment,
        input=stdin,
        check=False,
    )


@pytest.fixture
def curl() -> None:
    """What the tour asks URLs with."""
    subprocess.run([str(ROOT / "scripts/setup-tour")], check=True)


@pytest.mark.usefixtures("curl")
def test_the_tour_works_as_written(server: Server, tmp_path: Path) -> None:
    script = "\n".join(["set -eu", *blocks()])
    script = script.replace("/tmp/", f"{tmp_path}/").replace("python3.11", RUNTIME)
    script = script.replace('"$PWD/.venv/bin:$PATH"', f'"{BIN}:$PATH"')
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "LAMBENT_DATA_DIR": str(server.data), "AWS_PAGER": ""},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '{"sum": 42, "connections": 1}' in done.stdout
    assert '{"sum": 3, "connections": 1}' in done.stdout
    assert '{"sum": 2, "connections": 1}' in done.stdout
    assert '{"sum": 8, "connections": 1}' in done.stdout
    assert '{"price": 120.0}' in done.stdout
    assert '{"sum": 11, "connections": 1}' in done.stdout
    assert "line 0\nline 1\nline 2\n" in done.stdout
    assert "1 events removed" in done.stdout
    assert "adding for adder" in done.stdout
    assert "Init Duration" in done.stderr
    assert (tmp_path / "output.txt").read_text() == '{"sum": 42, "connections": 1}'
    assert "Deleted adder2" in done.stdout
    assert "AWSLambdaBasicExecutionRole" in done.stdout
    assert "export AWS_SECRET_ACCESS_KEY=" in done.stdout
    assert "allowed\timplicitDeny" in done.stdout


def test_the_greeting_names_a_command_that_works(server: Server) -> None:
    assert "Created hello" in lambent(server, "deploy", "examples/hello").stdout
    assert "Updated hello" in lambent(server, "deploy", "examples/hello").stdout
    answer = lambent(server, "invoke", "hello", '{"name": "world"}')
    assert json.loads(answer.stdout)["message"] == "Hello, world!"
    lambent(server, "rm", "hello")


def test_exit_codes_tell_what_happened(server: Server, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def handler(e, c): raise ValueError('no')")
    assert lambent(server, "deploy", str(tmp_path), "--name", "failing").returncode == 0
    failed = lambent(server, "invoke", "failing")
    assert (failed.returncode, "ValueError" in failed.stdout) == (1, True)
    assert lambent(server, "invoke", "nobody").returncode == 1
    assert lambent(server, "deploy", "/nowhere").returncode == 2
    assert lambent(server, "nonsense").returncode == 2
    unreachable = lambent(server, "ls", "--endpoint", "http://127.0.0.1:1")
    assert unreachable.returncode == 3 and "no server answers" in unreachable.stderr
    lambent(server, "rm", "failing")


def test_everything_speaks_json(server: Server, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def handler(e, c): return e")
    made = json.loads(lambent(server, "deploy", str(tmp_path), "--name", "j", "--json").stdout)
    assert made[0]["handler"] == "app.handler"
    answer = json.loads(lambent(server, "invoke", "j", "-", "--json", stdin="[1]").stdout)
    assert answer["Payload"] == [1] and answer["FunctionError"] is None
    assert any(line.startswith("REPORT") for line in answer["Log"])
    assert "j" in [row["name"] for row in json.loads(lambent(server, "ls", "--json").stdout)]
    lines = lambent(server, "logs", "j", "--json").stdout.splitlines()
    assert all("message" in json.loads(line) for line in lines)
    assert (
        json.loads(lambent(server, "env", "--json").stdout)["AWS_ENDPOINT_URL"] == server.endpoint
    )
    checks = json.loads(lambent(server, "doctor", "--json").stdout)
    assert {"namespaces", "seccomp", RUNTIME} <= {row["check"] for row in checks}
    assert json.loads(lambent(server, "version", "--json").stdout)["version"]
    assert json.loads(lambent(server, "rm", "j", "--json").stdout) == [{"name": "j"}]


def test_the_aws_cli_runs_against_the_server(server: Server) -> None:
    done = lambent(server, "aws", "lambda", "list-functions", "--query", "length(Functions)")
    assert done.returncode == 0 and int(done.stdout) >= 0, done.stderr


def test_a_log_line_cannot_steer_the_terminal(server: Server, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("def handler(e, c): print('\\x1b]0;owned\\x07')")
    lambent(server, "deploy", str(tmp_path), "--name", "steering")
    lambent(server, "invoke", "steering")
    assert "\\x1b]0;owned\\x07" in lambent(server, "logs", "steering").stdout
    lambent(server, "rm", "steering")


def test_the_owners_key_is_private_and_kept_out_of_the_greeting(
    servers: Callable[..., Server],
) -> None:
    server = servers()
    path = server.data / "credentials.json"
    assert path.stat().st_mode & 0o777 == 0o600
    assert server.data.stat().st_mode & 0o777 == 0o700
    assert server.process.stdout is not None
    server.process.terminate()
    assert server.key["secret_access_key"] not in server.process.stdout.read()
    server.process.wait()


@pytest.mark.parametrize("isolation", ["process"])
def test_running_without_isolation_is_asked_for_and_announced(
    servers: Callable[..., Server],
    isolation: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    server = servers("--isolation", isolation)
    assert "NOT isolated" in capfd.readouterr().err
    (tmp_path / "app.py").write_text("def handler(e, c): return e")
    assert lambent(server, "deploy", str(tmp_path), "--name", "p").returncode == 0
    assert json.loads(lambent(server, "invoke", "p", "[1]").stdout) == [1]


def test_the_aws_cli_waits_as_it_waits_for_aws(server: Server) -> None:
    client = server.client()
    client.create_function(
        FunctionName="waited", Runtime=RUNTIME, Handler="app.handler", Role=ROLE,
        Code={"ZipFile": make_zip({"app.py": "def handler(e, c): return e"})}, Publish=True,
    )  # fmt: skip
    waits = [
        "function-exists", "function-active", "function-active-v2", "function-updated",
        "function-updated-v2", "published-version-active --qualifier 1",
    ]  # fmt: skip
    for wait in waits:
        command = ["aws", "lambda", "wait", *wait.split(), "--function-name", "waited"]
        done = lambent(server, *command)
        assert done.returncode == 0, (wait, done.stderr)
    client.delete_function(FunctionName="waited")


def test_an_event_is_accepted_and_a_url_comes_and_goes(server: Server, tmp_path: Path) -> None:
    folder = tmp_path / "cli-ways"
    folder.mkdir()
    source = (
        "def handler(event, context):\n    print('got', event)\n    yield 'one '\n    yield 'two'\n"
    )
    (folder / "app.py").write_text(source)
    assert lambent(server, "deploy", str(folder)).returncode == 0
    accepted = lambent(server, "invoke", "cli-ways", "[1]", "--event")
    assert re.fullmatch(r"Accepted: [0-9a-f-]{36}\n", accepted.stdout)
    told = json.loads(lambent(server, "invoke", "cli-ways", "[2]", "--event", "--json").stdout)
    assert told["StatusCode"] == 202

    def ask(url: str) -> tuple[int, bytes]:
        where = urlsplit(url)
        headers = {"Host": where.netloc}
        request = urllib.request.Request(server.endpoint + where.path, headers=headers)
        return fetch(request)[:2]

    url = lambent(server, "url", "cli-ways", "--stream").stdout.strip()
    assert ask(url) == (200, b"one two")
    # Asked again it is the same, as it is wanted now.
    assert lambent(server, "url", "cli-ways", "--private").stdout.strip() == url
    assert ask(url)[0] == 403
    assert lambent(server, "url", "cli-ways").stdout.strip() == url
    assert ask(url) == (200, b"one two")
    assert lambent(server, "url", "cli-ways", "--rm").returncode == 0
    assert ask(url)[0] == 403
    assert lambent(server, "url", "nobody").returncode == 1
    assert lambent(server, "rm", "cli-ways").returncode == 0
