"""Who may talk to us: known `Host` names only, and no page of somebody else's.

`Host` must be a name of ours, or a page that rebinds its own DNS name to our address could speak to us as if it were
our own. `Origin`, where there is one, must be the address the request was sent to, or listed: browsers send it with
every POST and WebSocket, so a foreign page cannot make a visitor's browser place calls. Both hold without any
authentication.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from realtime.web.answers import error_answer

_SAFE_METHODS = ("GET", "HEAD")
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_WEB_SCHEMES = {"ws": "http", "wss": "https"}

_CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "connect-src 'self'",
        "img-src 'self' blob: data:",
        "media-src 'self' blob: mediastream:",
        "worker-src 'self' blob:",
        "style-src 'self'",
        "script-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
    )
)
_SECURITY_HEADERS = {
    "Content-Security-Policy": _CONTENT_SECURITY_POLICY,
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=(), payment=(), usb=()",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
}


def host_name(authority: str) -> str | None:
    """The name in `name[:port]`, lower case, without brackets and final dot; None if it is not of that form."""
    address = _address("http", authority)
    return None if address is None else address[1]


class Doors:
    """Lets in requests for `names` from our own pages and those of `origins`; the others get 421 and 403."""

    def __init__(self, app: ASGIApp, names: Iterable[str], origins: Iterable[str]) -> None:
        self._app = app
        self._names = {name.lower() for name in names}
        self._origins = {_origin(origin) for origin in origins}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if not self._is_ours(headers.getlist("host")):
            message = "this service is not reached by this name; its operator can allow it with --allowed-hosts"
            await error_answer(421, "unknown_host", message, param="Host")(scope, receive, send)
        elif not self._is_welcome(scope, headers):
            message = "pages of this origin may not call; the operator can allow it with --allowed-origins"
            await error_answer(403, "foreign_origin", message, param="Origin")(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _is_ours(self, hosts: list[str]) -> bool:
        return len(hosts) == 1 and host_name(hosts[0]) in self._names

    def _is_welcome(self, scope: Scope, headers: Headers) -> bool:
        origins = headers.getlist("origin")
        if not origins or scope.get("method") in _SAFE_METHODS:
            return True
        origin = _origin(origins[0])
        scheme: str = scope["scheme"]
        asked = _address(_WEB_SCHEMES.get(scheme, scheme), headers["host"])
        return len(origins) == 1 and origin is not None and (origin == asked or origin in self._origins)


class SecurityHeaders:
    """Adds to every answer what tells browsers to be strict with our page."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_SECURITY_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _origin(text: str) -> tuple[str, str, int] | None:
    scheme, separator, authority = text.partition("://")
    return _address(scheme.lower(), authority) if separator else None


def _address(scheme: str, authority: str) -> tuple[str, str, int] | None:
    """(scheme, name, port) with the scheme's own port where none is said."""
    try:
        parts = urlsplit(f"//{authority}")
        port = parts.port
    except ValueError:
        return None
    if scheme not in _DEFAULT_PORTS or not parts.hostname or parts.netloc != authority or "@" in authority:
        return None
    return scheme, parts.hostname.lower().removesuffix("."), _DEFAULT_PORTS[scheme] if port is None else port
