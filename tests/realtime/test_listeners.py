"""Ports: bound all together or not at all, and a clear word about the one that cannot be had."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from realtime.service.listeners import ListenError, open_listeners
from realtime.service.settings import Settings


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def _settings(page: Path, **values: Any) -> Settings:
    (page / "index.html").touch()
    free: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "http_port": 0, "install_port": 0}
    return Settings(page_folder=page, **{**free, **values})


def test_all_ports_are_there_and_differ(tmp_path: Path) -> None:
    listeners = open_listeners(_settings(tmp_path))
    ports = {name: listener.port for name, listener in listeners.named().items()}
    try:
        assert set(ports) == {"https", "http", "install"}
        assert len(set(ports.values())) == 3
        for port in ports.values():
            socket.create_connection(("127.0.0.1", port)).close()
    finally:
        listeners.close()
    for port in ports.values():
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({"https": False}, {"http"}),
        ({"http": False}, {"https", "install"}),
        ({"install_page": False}, {"https", "http"}),
    ],
)
def test_what_is_switched_off_is_not_there(tmp_path: Path, values: dict[str, bool], names: set[str]) -> None:
    listeners = open_listeners(_settings(tmp_path, **values))
    assert set(listeners.named()) == names
    listeners.close()


@pytest.mark.parametrize(
    ("setting", "flag"), [("port", "--port"), ("http_port", "--http-port"), ("install_port", "--install-port")]
)
def test_a_port_in_use_is_named_with_its_flag(
    tmp_path: Path, taken: int, setting: str, flag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[socket.socket] = []

    class Remembered(socket.socket):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(socket, "socket", Remembered)
    with pytest.raises(ListenError) as error:
        open_listeners(_settings(tmp_path, **{setting: taken}))
    assert str(error.value) == f"port {taken} is in use: stop what listens there, or choose another with {flag}"
    assert made
    assert all(each.fileno() == -1 for each in made), "nothing stays open"


def test_an_address_of_another_machine_is_named(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match=r"this machine has no address 192\.0\.2\.1: choose one with --host"):
        open_listeners(_settings(tmp_path, host="192.0.2.1"))


def test_a_host_that_is_no_address_is_named(tmp_path: Path) -> None:
    with pytest.raises(ListenError, match="--host"):
        open_listeners(_settings(tmp_path, host="no such host"))
