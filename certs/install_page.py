"""The install page: a plain-HTTP application that hands out the CA's certificate and nothing else.

It has to be plain HTTP, because a device that does not trust the CA yet cannot open HTTPS. Whoever sits between could
hand out another CA, so the page shows the fingerprint to compare with what the server's own screen says.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from urllib.parse import SplitResult, urlsplit

from cryptography.hazmat.primitives.serialization import Encoding
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from certs.authority import common_name, fingerprint
from certs.bundle import Bundle
from certs.errors import FileMissingError
from certs.mobileconfig import profile
from certs.page import STYLE_HASH, Page
from certs.store import read_certificate

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src '{STYLE_HASH}'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}

_Endpoint = Callable[[Request], Awaitable[Response]]


def create_app(bundle: Bundle, https_url: str) -> Starlette:
    """The application for one CA.

    `https_url` is where the call page is, as other devices reach it (`https://192.168.1.5:8443`); the QR code leads to
    this page on the same host, at the port that the request came in on. Reads the CA's certificate once and no other
    file. Raises ValueError where `https_url` is not an HTTPS address, and a CertificateError where the CA cannot be
    read.
    """
    target = urlsplit(https_url)
    if target.scheme != "https" or not target.hostname:
        raise ValueError(f"https_url must be an address like https://192.168.1.5:8443, not {https_url!r}")
    certificate = read_certificate(bundle.ca_certificate)
    if certificate is None:
        raise FileMissingError(bundle.ca_certificate, "missing", "run: python -m certs")
    page = Page(common_name(certificate), fingerprint(certificate), https_url)
    app = Starlette(
        routes=[
            Route("/", _page(page, target)),
            Route("/ca.crt", _file(certificate.public_bytes(Encoding.DER), "application/x-x509-ca-cert")),
            Route("/ca.mobileconfig", _file(profile(certificate), "application/x-apple-aspen-config")),
        ],
        middleware=[Middleware(_SecurityHeaders)],
    )
    # A redirect to the path without slash would repeat the Host header that the client sent.
    app.router.redirect_slashes = False
    return app


def _page(page: Page, target: SplitResult) -> _Endpoint:
    reachable = target.hostname not in _LOOPBACK

    async def respond(request: Request) -> Response:
        # The Host header is the client's word; host and port as the server knows them are ours.
        page_url = _own_url(target, request.scope.get("server"))
        return HTMLResponse(page.render(page_url, reachable, request.headers.get("user-agent", "")))

    return respond


def _own_url(target: SplitResult, server: tuple[str, int | None] | None) -> str:
    host = f"[{target.hostname}]" if ":" in (target.hostname or "") else target.hostname
    port = server[1] if server else None
    return f"http://{host}/" if port in (None, 80) else f"http://{host}:{port}/"


def _file(content: bytes, media_type: str) -> _Endpoint:
    async def respond(_request: Request) -> Response:
        return Response(content, media_type=media_type)

    return respond


class _SecurityHeaders:
    """Adds the same headers to every response, errors too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self._app(scope, receive, send_with_headers)
