"""Everything that can be set about the model server, as one typed object: flags, then environment, then a TOML file."""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    CliSuppress,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from model_server.app import AppSettings

ENV_PREFIX = "MODEL_SERVER_"
CONFIG_FLAG = "--config"


class InvalidSettings(Exception):
    """One line that names the setting, what came, and what was expected."""


class Settings(BaseSettings):
    """The model server of real-time calls. Each flag can also be set as MODEL_SERVER_NAME or in the TOML file."""

    model_config = SettingsConfigDict(
        env_prefix=ENV_PREFIX,
        cli_prog_name="python -m model_server",
        cli_kebab_case=True,
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
        extra="forbid",
    )

    engine: str = Field(default="demo", description="what answers: demo, minicpmo, echo, native")
    script: Path | None = Field(default=None, description="script file of the engine demo")
    model: str | None = Field(default=None, description="model folder or hub id of the engine minicpmo")
    devices: str | None = Field(default=None, description="where its network runs: auto, cpu, mps, cuda:0,cuda:1")
    dtype: str | None = Field(default=None, description="its numbers: auto, bfloat16, float16, float32")
    quantize: str | None = Field(default=None, description="its weights: none, int8, int4")
    host: str = Field(default="127.0.0.1", description="address to listen on")
    port: int = Field(default=8090, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    certificate: Path | None = Field(default=None, description="TLS certificate chain (PEM), for wss://")
    key: Path | None = Field(default=None, description="private key of the certificate (PEM)")
    token: CliSuppress[SecretStr] = Field(
        default=SecretStr(""), description="bearer token; set it by MODEL_SERVER_TOKEN"
    )
    insecure_no_token: bool = Field(default=False, description="let everyone in; only on a loopback address")
    max_sessions: int = Field(default=16, ge=1, le=1024, description="sessions at once, if the engine can hold so many")
    max_waiting: int = Field(default=32, ge=0, le=10_000, description="places in the waiting line")
    idle_s: float = Field(default=300.0, gt=0, description="a session without any message ends after so many seconds")
    resume_s: float = Field(default=30.0, ge=0, description="seconds that a session waits for a lost socket")
    speech_ahead_ms: int = Field(
        default=5_000, ge=200, le=60_000, description="speech an engine may make ahead of the ear"
    )
    marks: int = Field(default=16, ge=1, le=256, description="items that can be undone")
    drain_s: float = Field(
        default=5.0, ge=0, description="seconds between an end signal and the end of living sessions"
    )
    die_with_stdin: bool = Field(default=False, description="end when standard input ends")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="least level to log")
    log_format: Literal["console", "json"] = Field(default="console", description="form of the log lines on stderr")
    config: Path | None = Field(default=None, description="TOML file with any of these settings")

    @model_validator(mode="after")
    def _together(self) -> Settings:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key: expected both or none, got one: give the other, too")
        if not self.token.get_secret_value() and not self.insecure_no_token:
            raise ValueError("token: expected MODEL_SERVER_TOKEN to hold one, got none: set it")
        if self.insecure_no_token and not _is_loopback(self.host):
            raise ValueError(f"insecure_no_token: expected a loopback host with it, got {self.host}: set a token")
        return self

    @property
    def engine_options(self) -> dict[str, str]:
        """The options of the engine, as `registry.create_engine` takes them."""
        given = {name: getattr(self, name) for name in ("script", "model", "devices", "dtype", "quantize")}
        return {name: str(value) for name, value in given.items() if value is not None}

    def app_settings(self) -> AppSettings:
        """The part that the application needs."""
        return AppSettings(
            token=self.token.get_secret_value(),
            max_sessions=self.max_sessions,
            max_waiting=self.max_waiting,
            idle_s=self.idle_s,
            resume_s=self.resume_s,
            speech_ahead_ms=self.speech_ahead_ms,
            marks=self.marks,
        )


def load_settings(arguments: Sequence[str]) -> Settings:
    """The settings that `arguments`, the environment and the TOML file make. Raises `InvalidSettings`."""
    file = _config_file(arguments)

    class Loaded(Settings):
        __doc__ = Settings.__doc__

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            flags: CliSettingsSource[object] = CliSettingsSource(settings_cls, cli_parse_args=list(arguments))
            files = () if file is None else (TomlConfigSettingsSource(settings_cls, file),)
            return (init_settings, flags, env_settings, *files)

    try:
        return Loaded()
    except ValidationError as error:
        raise InvalidSettings("; ".join(_line(each) for each in error.errors())) from error
    except SettingsError as error:
        raise InvalidSettings(" ".join(str(error).split())) from error


def _config_file(arguments: Sequence[str]) -> Path | None:
    path = os.environ.get(f"{ENV_PREFIX}CONFIG", "")
    for index, argument in enumerate(arguments):
        if argument == CONFIG_FLAG and index + 1 < len(arguments):
            path = arguments[index + 1]
        elif argument.startswith(f"{CONFIG_FLAG}="):
            path = argument.partition("=")[2]
    if not path:
        return None
    try:
        tomllib.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise InvalidSettings(f"config: cannot read {path} as TOML: {error}") from error
    return Path(path)


def _line(error: object) -> str:
    assert isinstance(error, dict)
    name = ".".join(str(part) for part in error["loc"])
    message = str(error["msg"]).removeprefix("Value error, ")
    if not name:
        return message
    got = "" if name == "token" else f", got {str(error['input'])[:80]!r}"
    return f"{name}: {message[:1].lower()}{message[1:]}{got}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
