"""Ruby under AWS's name for it, found where rbenv puts it.

What lies there is this host's own Ruby behind a name, because AWS knows none that Debian has.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lambent.runtime.hosts import rubies
from lambent.runtime.languages import Languages
from lambent.runtime.ruby import command
from tests.conftest import Functions, Server

_APP = """
require 'stringio'
module Shop
  class Handler
    def self.process(event:, context:)
      case event['do']
      when 'text' then StringIO.new('{"raw":  1}')
      when 'environment'
        [ENV['GEM_PATH'], ENV['AWS_EXECUTION_ENV'], ENV['_X_AMZN_TRACE_ID'][0, 7]]
      when 'client' then context.client_context
      when 'missing' then raise NotImplementedError, 'not yet'
      when 'deep' then process(event: event, context: context)
      else $LOAD_PATH.first
      end
    end
  end
end
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home directory with an rbenv."""
    tmp_path.chmod(0o755)
    program = tmp_path / ".rbenv/versions/3.3.7/bin/ruby"
    program.parent.mkdir(parents=True)
    program.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "ruby 3.3.7 (2025-01-15)" && exit\n'
        f'exec {shutil.which("ruby")} "$@"\n'
    )
    program.chmod(0o755)
    return tmp_path


def test_it_is_found_and_told_where_its_library_is(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = home / ".rbenv/versions/3.3.7/lib/ruby/3.3.0/x86_64-linux"
    library.mkdir(parents=True)
    (library / "rbconfig.rb").touch()
    monkeypatch.setenv("HOME", str(home))
    found = rubies()["3.3"]
    assert found.version == "3.3.7"
    assert command(str(found.prefix)) == (
        "/var/lang/bin/ruby",
        "-I/var/lang/lib/ruby/3.3.0",
        "-I/var/lang/lib/ruby/3.3.0/x86_64-linux",
        "/var/runtime/bootstrap.rb",
    )
    assert command("/usr") == ("/var/lang/bin/ruby", "/var/runtime/bootstrap.rb")
    languages = Languages()
    assert languages.version("ruby3.3") == "3.3.7"
    assert "ruby3.3" not in [each.name for each in languages.missing()]
    assert "ruby3.4" in [each.name for each in languages.missing()]


def test_a_handler_of_a_class_runs_as_on_aws(home: Path, servers: Callable[..., Server]) -> None:
    functions = Functions(servers(environment={"HOME": str(home)}), "ruby")
    name = functions.create(
        {"app.rb": _APP}, Runtime="ruby3.3", Handler="app.Shop::Handler.process", MemorySize=512
    )
    assert functions.invoke(name).payload == "/var/task"
    assert functions.invoke(name, {"do": "text"}).raw["StatusCode"] == 200
    assert functions.invoke(name, {"do": "text"}).payload == {"raw": 1}
    assert functions.invoke(name, {"do": "environment"}).payload == [
        "/var/task/vendor/bundle/ruby/3.3.0:/opt/ruby/gems/3.3.0",
        "AWS_Lambda_ruby3.3",
        "Root=1-",
    ]
    told = functions.invoke(name, {"do": "client"}, ClientContext="eyJjdXN0b20iOnsiYSI6MX19")
    assert told.payload == {"custom": {"a": 1}}
    failed = functions.invoke(name, {"do": "missing"})
    assert failed.payload["errorType"] == "Function<NotImplementedError>"
    assert failed.payload["errorMessage"] == "not yet"
    assert failed.payload["stackTrace"] == ["/var/task/app.rb:11:in `process'"]
    deep = functions.invoke(name, {"do": "deep"})
    assert deep.payload["errorType"] == "Function<SystemStackError>"


@pytest.mark.parametrize(
    ("handler", "kind", "message"),
    [
        ("absent.handler", "Init<LoadError>", "cannot load such file -- absent"),
        ("app.nothing", "Init<NameError>", "undefined method `nothing'"),
        ("app", "Init<ArgumentError>", "Invalid handler app"),
        ("broken.handler", "Init<SyntaxError>", "broken.rb"),
    ],
)
def test_a_handler_that_cannot_be_loaded_says_why(
    home: Path, servers: Callable[..., Server], handler: str, kind: str, message: str
) -> None:
    functions = Functions(servers(environment={"HOME": str(home)}), "ruby")
    files: dict[str, str | bytes] = {"app.rb": _APP, "broken.rb": "def handler("}
    name = functions.create(files, Runtime="ruby3.3", Handler=handler)
    answer = functions.invoke(name)
    assert answer.payload["errorType"] == kind
    assert message in answer.payload["errorMessage"]
