"""Settings: where they come from, which of two wins, and what is said about a bad one."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from realtime.floor.rules import FloorRules
from realtime.service.configuration import ConfigurationError, load, unknown_variables
from realtime.service.options import options
from realtime.service.settings import Settings

Said = Callable[..., Settings]
"""`load`, given flags, and variables by keyword."""


@pytest.fixture
def page(tmp_path: Path) -> str:
    (tmp_path / "index.html").touch()
    return str(tmp_path)


@pytest.fixture
def said(page: str) -> Said:
    def load_with(*flags: str, **variables: str) -> Settings:
        return load(["--page-folder", page, *flags], {f"REALTIME_{name}": value for name, value in variables.items()})

    return load_with


def _file(tmp_path: Path, text: str) -> str:
    (tmp_path / "settings.toml").write_text(text)
    return str(tmp_path / "settings.toml")


def test_without_a_word_there_are_defaults(said: Said) -> None:
    settings = said()
    assert (settings.host, settings.port, settings.http_port) == ("0.0.0.0", 8443, 8080)
    assert (settings.engine, settings.model_server, settings.floor.silence_ms) == ("demo", None, 500.0)


def test_flags_win_over_variables_over_the_file(said: Said, tmp_path: Path) -> None:
    file = _file(tmp_path, 'port = 1001\nhttp_port = 1002\nengine = "native"\n[floor]\nsilence_ms = 700\n')
    settings = said("--config", file, "--port", "3001", PORT="2001", HTTP_PORT="2002")
    assert (settings.port, settings.http_port, settings.engine) == (3001, 2002, "native")
    assert settings.floor.silence_ms == 700


def test_one_value_of_a_group_leaves_the_others(said: Said, tmp_path: Path) -> None:
    file = _file(tmp_path, "[floor]\nsilence_ms = 700\ninterrupt_ms = 300\n")
    floor = said("--config", file, FLOOR__INTERRUPT_MS="400").floor
    assert (floor.silence_ms, floor.interrupt_ms, floor.final_ack_ms) == (700, 400, 250)


def test_the_file_may_be_named_by_a_variable(said: Said, tmp_path: Path) -> None:
    assert said(CONFIG=_file(tmp_path, "port = 1001\n")).port == 1001


@pytest.mark.parametrize(
    "texts",
    [
        ("stun:a.example,stun:b.example",),
        ("stun:a.example", "stun:b.example"),
        ('["stun:a.example", {"urls": "stun:b.example"}]',),
    ],
)
def test_lists_may_be_repeated_joined_or_json(said: Said, texts: tuple[str, ...]) -> None:
    flags = [part for text in texts for part in ("--ice-servers", text)]
    assert [server.urls for server in said(*flags).ice_servers] == [["stun:a.example"], ["stun:b.example"]]
    if len(texts) == 1:
        assert said(ICE_SERVERS=texts[0]) == said(*flags)


def test_switches_go_both_ways(said: Said) -> None:
    assert not said("--no-http").http
    assert said("--http", HTTP="false").http
    assert not said(HTTP="false").http


def test_a_turn_server_carries_its_credential(said: Said) -> None:
    text = '{"urls": ["turn:turn.example"], "username": "u", "credential": "c"}'
    (server,) = said("--ice-servers", text).ice_servers
    assert (server.username, server.credential) == ("u", "c")


def test_the_token_of_a_model_server_is_no_flag_and_not_shown(said: Said) -> None:
    settings = said(MODEL_SERVER="wss://models.example", MODEL_SERVER_TOKEN="hush-hush")
    assert settings.model_server_token is not None
    assert settings.model_server_token.get_secret_value() == "hush-hush"
    assert "hush-hush" not in repr(settings)
    with pytest.raises(ConfigurationError, match="unrecognized arguments: --model-server-token"):
        said("--model-server-token", "hush-hush")


def test_origins_are_compared_in_one_spelling(said: Said) -> None:
    assert said("--allowed-origins", "https://Kiosk.Example:9443").allowed_origins == ["https://kiosk.example:9443"]


BAD_FLAGS = {
    ("--port", "x"): "flag --port: expected a whole number from 0 to 65535, got 'x'",
    ("--port", "70000"): "flag --port: expected a whole number from 0 to 65535, got '70000'",
    ("--max-calls", "0"): "flag --max-calls: expected a whole number from 1 to 1000, got '0'",
    ("--max-call-minutes", "0"): "flag --max-call-minutes: expected a number above 0 to 1440, got '0'",
    ("--floor-silence-ms", "-1"): "flag --floor-silence-ms: expected a number from 0 to 10000, got '-1'",
    ("--detector", "ears"): "flag --detector: expected one of auto, silero, webrtc, got 'ears'",
    ("--ice-servers", "http://x"): "flag --ice-servers: an ICE server is stun:, stuns:, turn: or turns:, got http://x",
    ("--ice-servers", "turn:x"): "flag --ice-servers: a TURN server needs",
    ("--ice-servers", "[{]"): "flag --ice-servers: expected JSON or parts between commas",
    ("--allowed-origins", "https://x/y"): "flag --allowed-origins: an origin is http(s)://name[:port] without a path",
    ("--allowed-origins", "*"): "flag --allowed-origins: an origin is",
    ("--model-server", "http://x"): "flag --model-server: a model server is wss://",
    ("--model-server", "ws://10.0.0.1"): "flag --model-server: ws:// would send the token and the call in the clear",
    ("--model-server-ca", "/nowhere"): "flag --model-server-ca: there is no file /nowhere",
    ("--page-folder", "/nowhere"): "flag --page-folder: there is no index.html in /nowhere",
    ("--no-http", "--no-https"): "--no-http and --no-https together leave nothing to listen on",
    ("--port", "8080"): "--port, --http-port and --install-port need three different ports",
    ("--port",): "argument --port: expected one argument (see --help)",
    ("--por", "1"): "unrecognized arguments: --por 1 (see --help)",
}


@pytest.mark.parametrize("flags", BAD_FLAGS, ids=" ".join)
def test_a_bad_flag_is_named_with_what_it_takes(said: Said, flags: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError) as error:
        said(*flags)
    assert str(error.value).startswith(BAD_FLAGS[flags])
    assert "\n" not in str(error.value)


def test_a_bad_variable_is_named(said: Said) -> None:
    with pytest.raises(ConfigurationError) as error:
        said(FLOOR__SILENCE_MS="long")
    assert str(error.value) == "variable REALTIME_FLOOR__SILENCE_MS: expected a number from 0 to 10000, got 'long'"


def test_a_value_that_is_overruled_is_not_blamed(said: Said) -> None:
    assert said("--port", "1", PORT="x").port == 1


def test_every_bad_line_of_a_file_is_named(said: Said, tmp_path: Path) -> None:
    file = _file(tmp_path, 'port = "x"\nprot = 3\n[floor]\nsilence_ms = -1\nsilence = 3\n')
    with pytest.raises(ConfigurationError) as error:
        said("--config", file)
    assert sorted(str(error.value).splitlines()) == [
        f"floor.silence in file {file} is no setting, did you mean floor.silence_ms?",
        f"floor.silence_ms in file {file}: expected a number from 0 to 10000, got -1",
        f"port in file {file}: expected a whole number from 0 to 65535, got 'x'",
        f"prot in file {file} is no setting, did you mean port?",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [("port = ", "is not TOML: Invalid value"), ("floor = 3", "expected a table [floor], got 3")],
)
def test_a_file_that_is_not_of_the_form_is_said_so(said: Said, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        said("--config", _file(tmp_path, text), FLOOR__SILENCE_MS="1")
    assert message in str(error.value)


def test_a_file_that_is_not_there_is_said_so(said: Said) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot read the settings file /nowhere\.toml: No such file"):
        said("--config", "/nowhere.toml")


def test_variables_that_are_no_setting_are_pointed_out() -> None:
    environment = {"REALTIME_MAX_CALL": "3", "REALTIME_PORT": "1", "REALTIME_CONFIG": "x", "OTHER": "y"}
    assert unknown_variables(environment) == ["REALTIME_MAX_CALL is no setting, did you mean REALTIME_MAX_CALLS?"]


def test_help_names_every_setting_and_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        load(["--help"], {})
    assert end.value.code == 0
    text = capsys.readouterr().out
    assert [option.flag for option in options() if option.flag not in text] == ["--model-server-token"]


def test_the_floor_takes_what_the_settings_give(said: Said) -> None:
    assert FloorRules(**said("--floor-silence-ms", "300").floor.model_dump()).silence_ms == 300


def test_the_page_about_configuration_is_current_and_its_example_works(said: Said, tmp_path: Path) -> None:
    page = Path("docs/configuration.md").read_text(encoding="utf-8")
    assert page == runpy.run_path("docs/generate_configuration.py")["page"](), "python -m docs.generate_configuration"
    example = page.partition("```toml\n")[2].partition("```")[0]
    settings = said("--config", _file(tmp_path, example))
    assert (settings.port, settings.names, settings.floor.silence_ms) == (9000, ["kiosk.local"], 700)
