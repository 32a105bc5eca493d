"""The ports: bound first and all together, so that a port in use is said in one line before anything starts."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass

from realtime.service.settings import Settings

_BACKLOG = 512


class ListenError(Exception):
    """A port that cannot be had; the message says which, why, and which setting changes it."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Sockets of one port; requests wait in them from the start, until a server takes them over."""

    sockets: tuple[socket.socket, ...]

    @property
    def port(self) -> int:
        return int(self.sockets[0].getsockname()[1])

    def close(self) -> None:
        for each in self.sockets:
            each.close()


@dataclass(frozen=True, slots=True)
class Listeners:
    """What the gateway listens on; None where it is switched off."""

    https: Listener | None
    http: Listener | None
    install: Listener | None

    def named(self) -> dict[str, Listener]:
        """Those that are open."""
        every = {"https": self.https, "http": self.http, "install": self.install}
        return {name: listener for name, listener in every.items() if listener is not None}

    def close(self) -> None:
        for listener in self.named().values():
            listener.close()


def open_listeners(settings: Settings) -> Listeners:
    """Bind every port these settings ask for, or none. Raises `ListenError`."""
    opened: dict[str, Listener] = {}
    try:
        if settings.https:
            opened["https"] = Listener((_bind(settings.host, settings.port, "--port"),))
        if settings.http:
            opened["http"] = _on_localhost(settings.http_port)
        if settings.https and settings.install_page:
            opened["install"] = Listener((_bind(settings.host, settings.install_port, "--install-port"),))
    except ListenError:
        for listener in opened.values():
            listener.close()
        raise
    return Listeners(opened.get("https"), opened.get("http"), opened.get("install"))


def _on_localhost(port: int) -> Listener:
    """127.0.0.1 and, where there is IPv6, ::1: browsers take `localhost` for either."""
    first = _bind("127.0.0.1", port, "--http-port")
    try:
        return Listener((first, _bind("::1", first.getsockname()[1], "--http-port")))
    except ListenError as error:
        taken = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
        if taken and port != 0:
            first.close()
            raise
    return Listener((first,))


def _bind(host: str, port: int, flag: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    except OSError as error:
        raise ListenError(f"cannot listen on {host}: {error.strerror}") from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # `::` means every address, IPv4 too.
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != "::"))
        bound.bind((host, port))
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise ListenError(_why(error, host, port, flag)) from error
    return bound


def _why(error: OSError, host: str, port: int, flag: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use: stop what listens there, or choose another with {flag}"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} is not ours to take (ports below 1024 need rights): choose another with {flag}"
    if error.errno == errno.EADDRNOTAVAIL or isinstance(error, socket.gaierror):
        return f"this machine has no address {host}: choose one with --host"
    return f"cannot listen on {host} port {port} ({flag}): {error.strerror}"
