"""Every setting of the gateway: its name, type, range, default and meaning, in one place.

Flags, `REALTIME_*` variables, the TOML file and `docs/configuration.md` are all made from these types;
`realtime.service.configuration` reads them.
"""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from realtime.floor.end_of_turn import Eagerness
from realtime.service.personas import read_personas

_PAGE = Path(__file__).resolve().parents[2] / "web_client"


def _parts(value: Any) -> Any:
    """A list as flags and variables give it: JSON, or parts between commas, once or repeated."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list):
        return value
    parts: list[Any] = []
    for text in texts:
        if isinstance(text, str) and text.lstrip().startswith(("[", "{")):
            decoded = _decoded(text)
            parts += decoded if isinstance(decoded, list) else [decoded]
        elif isinstance(text, str):
            parts += [part.strip() for part in text.split(",") if part.strip()]
        else:
            parts.append(text)
    return parts


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"expected JSON or parts between commas: {error}") from None


Texts = Annotated[list[str], NoDecode, BeforeValidator(_parts)]
Port = Annotated[int, Field(ge=0, le=65535)]


class IceServer(BaseModel):
    """A STUN or TURN server, as browsers take it. The credential is told to every page."""

    model_config = ConfigDict(extra="forbid")

    urls: list[str] = Field(min_length=1)
    username: str | None = None
    credential: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_url(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"urls": [value]}
        if isinstance(value, dict) and isinstance(value.get("urls"), str):
            return {**value, "urls": [value["urls"]]}
        return value

    @model_validator(mode="after")
    def _check(self) -> IceServer:
        schemes = {url.partition(":")[0] for url in self.urls}
        if not schemes <= {"stun", "stuns", "turn", "turns"}:
            raise ValueError(f"an ICE server is stun:, stuns:, turn: or turns:, got {', '.join(self.urls)}")
        if schemes & {"turn", "turns"} and not (self.username and self.credential):
            raise ValueError('a TURN server needs {"urls": ..., "username": ..., "credential": ...}')
        return self


IceServers = Annotated[list[IceServer], NoDecode, BeforeValidator(_parts)]


class FloorSettings(BaseModel):
    """When the assistant takes the floor, and when it gives it back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    silence_ms: float = Field(
        default=500.0, ge=0, le=10_000, description="silence that ends a usual person's turn that is likely over, ms"
    )
    eagerness: Eagerness = Field(
        default="auto",
        description="how that adapts to turn and person: low waits longer, high less, fixed never adapts",
    )
    interrupt_ms: float = Field(
        default=250.0,
        ge=0,
        le=10_000,
        description="a sound over the assistant is weighed after so long, ms; until then it only holds it",
    )
    final_ack_ms: float = Field(
        default=250.0, ge=0, le=10_000, description="how long to wait for the page to say what was heard, ms"
    )
    thinking_ms: float = Field(
        default=20_000.0, ge=1_000, le=60_000, description="an engine that makes no sound for so long is given up, ms"
    )
    speculative: bool = Field(
        default=True, description="let an engine with room to spare begin to answer before the turn is surely over"
    )
    idle_prompt_ms: float = Field(
        default=0.0,
        ge=0,
        le=60_000,
        description="ask once after a question that nobody answers for so long, ms; 0: never",
    )
    idle_prompt: str = Field(
        default="Are you still there?", min_length=1, max_length=200, description="what is asked then"
    )


class Settings(BaseSettings):
    """Real-time voice and video calls: serves the page, takes calls, runs the model server."""

    model_config = SettingsConfigDict(env_prefix="REALTIME_", env_nested_delimiter="__", extra="forbid", frozen=True)

    # Listening
    host: str = Field("0.0.0.0", description="address HTTPS and the install page listen on")
    port: Port = Field(8443, description="port of HTTPS, for every device; 0 takes a free one")
    https: bool = Field(True, description="listen with HTTPS")
    http_port: Port = Field(8080, description="port of plain HTTP, on localhost only; 0 takes a free one")
    http: bool = Field(True, description="listen with plain HTTP on localhost")
    install_port: Port = Field(8081, description="port of the page that installs the certificate; 0 takes a free one")
    install_page: bool = Field(True, description="serve the page that installs the certificate")
    allowed_hosts: Texts = Field([], description="further names this service is reached by, e.g. behind a proxy")
    allowed_origins: Texts = Field([], description="further pages that may call, as https://name[:port]")
    page_folder: Path = Field(_PAGE, description="folder of the page")

    # Certificates
    certificate_folder: Path | None = Field(None, description="folder of the keys and certificates")
    names: Texts = Field([], description="further names and addresses the certificate is for, e.g. kiosk.local")

    # Engine
    engine: str = Field("demo", min_length=1, description="engine the model server runs")
    model: str | None = Field(
        None, description="model the engine loads: a folder or a hub id, for engines that load one"
    )
    devices: str | None = Field(None, description="where its network runs: auto, cpu, mps, cuda:0,cuda:1")
    dtype: str | None = Field(None, description="its numbers: auto, bfloat16, float16, float32")
    quantize: str | None = Field(None, description="its weights: none, int8, int4")
    script: Path | None = Field(None, description="script of the demo engine (YAML)")
    personas: Path | None = Field(None, description="personas that callers choose from (TOML), not for the demo engine")
    model_server: str | None = Field(
        None, description="use the model server at this wss:// URL instead of starting one"
    )
    model_server_token: SecretStr | None = Field(None, description="its token")
    model_server_ca: Path | None = Field(None, description="certificate authority to trust for it (PEM)")

    # Calls
    max_calls: int = Field(16, ge=1, le=1000, description="calls at once")
    max_call_minutes: float = Field(120.0, gt=0, le=1440, description="length of one call, minutes")
    waiting_places: int = Field(32, ge=0, le=1000, description="places in the waiting line")
    ice_servers: IceServers = Field([], description="STUN and TURN servers: URLs, or a JSON list")
    loopback_candidates: bool = Field(False, description="offer 127.0.0.1 to browsers on this machine (tests)")
    greeting: bool = Field(True, description="let the assistant greet, which also trains echo cancellers")
    detector: Literal["auto", "silero", "webrtc"] = Field("auto", description="speech detector")
    floor: FloorSettings = FloorSettings()

    # Recording
    record_events: Path | None = Field(
        None, description="write every call down in this folder, for replay; each caller is shown that"
    )

    # Logs
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    log_format: Literal["console", "json"] = Field("console", description="for people or for machines")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what the constructor is given: `configuration` reads the sources and knows which said what."""
        return (init_settings,)

    @field_validator("allowed_origins")
    @classmethod
    def _check_origins(cls, origins: list[str]) -> list[str]:
        return [_origin(origin) for origin in origins]

    @field_validator("model_server")
    @classmethod
    def _check_model_server(cls, url: str | None) -> str | None:
        return url if url is None else _model_server_url(url)

    @field_validator("model_server_ca")
    @classmethod
    def _check_ca(cls, file: Path | None) -> Path | None:
        if file is not None and not file.is_file():
            raise ValueError(f"there is no file {file}")
        return file

    @field_validator("personas")
    @classmethod
    def _check_personas(cls, file: Path | None) -> Path | None:
        read_personas(file)
        return file

    @field_validator("record_events")
    @classmethod
    def _check_record_folder(cls, folder: Path | None) -> Path | None:
        if folder is not None and folder.exists() and not folder.is_dir():
            raise ValueError(f"expected a folder, {folder} is none")
        return folder

    @field_validator("page_folder")
    @classmethod
    def _check_page(cls, folder: Path) -> Path:
        if not (folder / "index.html").is_file():
            raise ValueError(f"there is no index.html in {folder}")
        return folder

    @model_validator(mode="after")
    def _check_listeners(self) -> Settings:
        if not (self.http or self.https):
            raise ValueError("--no-http and --no-https together leave nothing to listen on: drop one of them")
        ports = [port for port in (self.port, self.http_port, self.install_port) if port]
        if len(set(ports)) < len(ports):
            raise ValueError("--port, --http-port and --install-port need three different ports")
        return self


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or text != f"{parts.scheme}://{parts.netloc}":
        raise ValueError(f"an origin is http(s)://name[:port] without a path, got {text!r}")
    return text.lower()


def _model_server_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("a model server is wss://name[:port][/path] or, on this machine, ws://localhost:port")
    if parts.scheme == "ws" and not _is_loopback(parts.hostname):
        raise ValueError("ws:// would send the token and the call in the clear: use wss:// beyond this machine")
    return text.rstrip("/")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
