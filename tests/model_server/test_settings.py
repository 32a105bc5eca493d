from __future__ import annotations

from pathlib import Path

import pytest

from model_server.settings import InvalidSettings, load_settings

LOCAL = ["--insecure-no-token"]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOKEN", "PORT", "CONFIG", "ENGINE", "MAX_SESSIONS"):
        monkeypatch.delenv(f"MODEL_SERVER_{name}", raising=False)


def test_flags_go_before_environment_before_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "server.toml"
    file.write_text('port = 1001\nmax_sessions = 3\nengine = "native"\n')
    monkeypatch.setenv("MODEL_SERVER_PORT", "1002")
    monkeypatch.setenv("MODEL_SERVER_MAX_SESSIONS", "4")
    settings = load_settings([*LOCAL, "--config", str(file), "--port", "1003"])
    assert (settings.port, settings.max_sessions, settings.engine) == (1003, 4, "native")
    monkeypatch.setenv("MODEL_SERVER_CONFIG", str(file))
    assert load_settings(LOCAL).engine == "native"
    assert load_settings([*LOCAL, f"--config={file}"]).port == 1002


def test_the_token_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODEL_SERVER_TOKEN", "hidden-token")
    settings = load_settings([])
    assert "hidden-token" not in repr(settings)
    assert settings.app_settings().token == "hidden-token"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "MODEL_SERVER_TOKEN"),
        ([*LOCAL, "--host", "192.168.1.1"], "insecure_no_token: expected a loopback host"),
        ([*LOCAL, "--certificate", "a.pem"], "certificate and key: expected both"),
        ([*LOCAL, "--idle-s", "0"], "idle_s: input should be greater than 0, got '0'"),
        ([*LOCAL, "--marks", "many"], "marks: input should be a valid integer"),
        ([*LOCAL, "--log-level", "loud"], "log_level: input should be 'debug'"),
    ],
)
def test_an_error_names_the_setting(arguments: list[str], says: str) -> None:
    with pytest.raises(InvalidSettings) as error:
        load_settings(arguments)
    assert says in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "says"), [("port = [", "cannot read"), ("speed = 3", "speed"), ("port = 'x'", "port: ")]
)
def test_a_broken_file_is_named(tmp_path: Path, content: str, says: str) -> None:
    file = tmp_path / "server.toml"
    file.write_text(content)
    with pytest.raises(InvalidSettings, match=says):
        load_settings([*LOCAL, "--config", str(file)])


def test_what_the_network_needs_is_handed_to_the_engine() -> None:
    given = ["--engine", "minicpmo", "--model", "owner/name", "--devices", "cuda:0,cuda:1", "--quantize", "int8"]
    options = load_settings([*LOCAL, *given, "--dtype", "float16"]).engine_options
    assert options == {"model": "owner/name", "devices": "cuda:0,cuda:1", "dtype": "float16", "quantize": "int8"}
    assert load_settings(LOCAL).engine_options == {}
