"""Settings: one table, four sources, and a page that documents every one."""

from __future__ import annotations

from pathlib import Path

import pytest

from lambent import config
from lambent.errors import StartError

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "settings.md"


@pytest.mark.parametrize("entry", config.entries(), ids=lambda entry: entry.name)
def test_every_setting_is_documented(entry: config.Entry) -> None:
    row = f"| `{entry.name}` | `{entry.default}` | `{entry.variable}` | {entry.text} |"
    assert row in PAGE.read_text()


def test_later_sources_win(tmp_path: Path) -> None:
    (tmp_path / "lambent.toml").write_text("port = 1\nregion = 'file'\nhost = 'file'\n")
    settings = config.load(
        {"data_dir": str(tmp_path), "port": 3},
        {"LAMBENT_PORT": "2", "LAMBENT_REGION": "environment", "OTHER": "x"},
    )
    assert (settings.port, settings.region, settings.host) == (3, "environment", "file")
    assert settings.idle_seconds == 600.0


@pytest.mark.parametrize(
    ("flags", "environment", "message"),
    [
        ({}, {"LAMBENT_PORT": "x"}, "port must be a number"),
        ({}, {"LAMBENT_PORT": "-1"}, "cannot be negative"),
        ({"authentication": "none"}, {}, "must be one of strict, any"),
        ({"nonsense": 1}, {}, "there is no setting 'nonsense'"),
    ],
)
def test_impossible_settings_stop_the_start(
    tmp_path: Path, flags: dict[str, object], environment: dict[str, str], message: str
) -> None:
    with pytest.raises(StartError, match=message):
        config.load({"data_dir": str(tmp_path), **flags}, environment)


def test_an_unreadable_file_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "lambent.toml").write_text("= nonsense")
    with pytest.raises(StartError, match=r"lambent\.toml"):
        config.load({"data_dir": str(tmp_path)}, {})


def test_strict_is_the_default() -> None:
    settings = config.Settings()
    assert (settings.authentication, settings.isolation) == ("strict", "namespaces")
    assert settings.host == "127.0.0.1"


def test_neighbours_may_be_elsewhere(tmp_path: Path) -> None:
    file = tmp_path / "lambent.toml"
    file.write_text(
        '[neighbours.s3]\nendpoint = "https://s3.example.com:9000"\naccess_key_id = "A"\n'
        'secret_access_key = "file"\nregion = "eu-west-1"\n'
    )
    environment = {
        "LAMBENT_NEIGHBOURS_S3_SECRET_ACCESS_KEY": "hidden",
        "LAMBENT_NEIGHBOURS_SQS_ENDPOINT": "http://127.0.0.1:4100",
    }
    found = config.load({}, environment, file).neighbours
    s3 = config.Endpoint("https://s3.example.com:9000", "A", "hidden", "", "eu-west-1")
    assert found == {"s3": s3, "sqs": config.Endpoint("http://127.0.0.1:4100")}
    assert "hidden" not in repr(found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("neighbours = 1", "must be tables"),
        ("[neighbours]\ns3 = 1", "must be tables"),
        ('[neighbours.s4]\nendpoint = "http://a"', "no service 's4'"),
        ('[neighbours.s3]\nendpont = "http://a"', "no setting 'endpont'"),
        ("[neighbours.s3]\nendpoint = 1", "must be a string"),
        ('[neighbours.s3]\nendpoint = "a.example"', "must be a URL"),
        ('[neighbours.s3]\nendpoint = "ftp://a"', "must be a URL"),
        ('[neighbours.s3]\nendpoint = "http://a/path"', "must be a URL"),
        ('[neighbours.s3]\nregion = "r"', "must be a URL"),
    ],
)
def test_neighbours_that_cannot_be_stop_the_start(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "lambent.toml"
    file.write_text(text)
    with pytest.raises(StartError, match=message):
        config.load({}, {}, file)
