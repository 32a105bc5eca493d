"""The gateway's HTTP side: calls are made and ended here, the page is served, operators look in.

`POST /v1/realtime/calls` follows WHIP (RFC 9725) and OpenAI's Realtime calls: an SDP offer in, `201` with the SDP
answer, `Location` and `Call-Secret` out. What costs least is checked first: the form of the request, then the offer,
then admission; only then a peer connection is made.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route

from realtime.service.metrics import CONTENT_TYPE, Metrics
from realtime.service.personas import read_personas
from realtime.service.settings import Settings
from realtime.service.upstream import Readiness
from realtime.web.admission import Place
from realtime.web.answers import answer_defect, answer_http_error, answer_refusal
from realtime.web.bodies import read_body
from realtime.web.calls import Calls
from realtime.web.doors import Doors, SecurityHeaders
from realtime.web.offers import MAX_OFFER_BYTES, check_offer
from realtime.web.page import PageFiles
from realtime.web.personas import PersonaRoutes
from realtime.web.refusals import BodyRejected, Refusal
from realtime.web.voices import VoiceRoutes, call_secret

ASK_AGAIN_S = 2
"""How often a client in the waiting line should ask; it loses its place after `admission.TICKET_S`."""

_NO_STORE = {"Cache-Control": "no-store"}
_EXPOSED = ("Location", "Call-Secret", "Retry-After", "Preference-Applied")


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the HTTP side serves."""

    calls: Calls
    readiness: Readiness
    settings: Settings
    metrics: Metrics


def create_app(gateway: Gateway, names: tuple[str, ...]) -> Starlette:
    """The application; `names` are the host names and addresses it may be reached by."""
    personas = PersonaRoutes(read_personas(gateway.settings.personas), gateway.readiness)
    routes = _Routes(gateway, personas)
    origins = gateway.settings.allowed_origins
    return Starlette(
        routes=[
            Mount(
                "/v1",
                routes=[
                    Route("/realtime/calls", routes.create, methods=["POST"]),
                    Route("/realtime/calls/{call_id}", routes.hang_up, methods=["DELETE"]),
                    Route("/config", routes.config),
                    *VoiceRoutes(gateway.calls, gateway.readiness).routes(),
                    *personas.routes(),
                ],
            ),
            Route("/healthz", routes.health),
            Route("/readyz", routes.ready),
            Route("/metrics", routes.metrics),
            Mount("/", PageFiles(gateway.settings.page_folder)),
        ],
        middleware=[
            Middleware(SecurityHeaders),
            Middleware(Doors, names, origins),
            Middleware(
                CORSMiddleware,
                allow_origins=origins,
                allow_methods=("GET", "POST", "DELETE"),
                allow_headers=("Content-Type", "Authorization", "Prefer", "Call-Ticket"),
                expose_headers=_EXPOSED,
            ),
        ],
        exception_handlers={Refusal: answer_refusal, HTTPException: answer_http_error, Exception: answer_defect},
    )


class _Routes:
    def __init__(self, gateway: Gateway, personas: PersonaRoutes) -> None:
        self._personas = personas
        self._calls = gateway.calls
        self._readiness = gateway.readiness
        self._settings = gateway.settings
        self._metrics = gateway.metrics

    async def create(self, request: Request) -> Response:
        """Make a call. An `Authorization` header is not looked at: clients that need a key can send any."""
        wait, ticket = "wait" in _preferences(request), request.headers.get("call-ticket")
        try:
            made = await self._calls.create(await _read_offer(request), wait=wait, ticket=ticket)
        except Refusal as refusal:
            self._metrics.refusals.labels(code=refusal.code).inc()
            raise
        if isinstance(made, Place):
            return _place_answer(made)
        location = f"/v1/realtime/calls/{made.call_id}"
        headers = {"Location": location, "Call-Secret": made.secret, **_NO_STORE}
        return Response(made.answer, 201, headers=headers, media_type="application/sdp")

    async def hang_up(self, request: Request) -> Response:
        """End a call; `204` again when it is repeated a little later."""
        await self._calls.hang_up(request.path_params["call_id"], call_secret(request))
        return Response(status_code=204)

    async def config(self, _request: Request) -> Response:
        """What a page needs before it calls."""
        settings, capabilities = self._settings, self._readiness.capabilities
        body: dict[str, Any] = {
            "ice_servers": [server.model_dump(exclude_none=True) for server in settings.ice_servers],
            "engine": None if capabilities is None else msgspec.to_builtins(capabilities),
            "personas": self._personas.told(),
            "limits": {"max_calls": settings.max_calls, "max_call_s": settings.max_call_minutes * 60},
            "version": _version(),
        }
        return JSONResponse(body, headers=_NO_STORE)

    async def health(self, _request: Request) -> Response:
        """The process is alive."""
        return JSONResponse({"status": "ok"}, headers=_NO_STORE)

    async def ready(self, _request: Request) -> Response:
        """Calls can be made; if not, what that waits for."""
        if self._readiness.is_ready:
            return JSONResponse({"status": "ready"}, headers=_NO_STORE)
        return JSONResponse({"status": "waiting", "waiting_for": self._readiness.waiting_for}, 503, headers=_NO_STORE)

    async def metrics(self, _request: Request) -> Response:
        self._metrics.tasks.set(len(asyncio.all_tasks()))
        return PlainTextResponse(self._metrics.exposition(), media_type=CONTENT_TYPE, headers=_NO_STORE)


def _place_answer(place: Place) -> Response:
    body = {"ticket": place.ticket, "place": place.place, "wait_s": place.wait_s}
    headers = {"Retry-After": str(ASK_AGAIN_S), "Preference-Applied": "wait", **_NO_STORE}
    return JSONResponse(body, 202, headers=headers)


def _preferences(request: Request) -> set[str]:
    """Names in `Prefer` (RFC 7240): `wait`, `wait=30` and `respond-async, wait` all hold `wait`."""
    said = ",".join(request.headers.getlist("prefer"))
    return {preference.partition(";")[0].partition("=")[0].strip().lower() for preference in said.split(",")}


# --------------------------------------------------------------------------------------------------------------------
# The offer


async def _read_offer(request: Request) -> str:
    """The checked offer. Raises `BodyRejected`, `OfferRejected`."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/sdp":
        said = content_type[:80] or "none"
        raise BodyRejected(415, "unsupported_media_type", f"expected Content-Type application/sdp, got {said}")
    body = await read_body(request, MAX_OFFER_BYTES, "offer_too_large", "an SDP offer")
    try:
        return check_offer(body.decode())
    except UnicodeDecodeError:
        raise BodyRejected(400, "invalid_sdp", "an SDP offer is UTF-8 text, this is not") from None


def _version() -> str:
    try:
        return version("minicpm-o-call")
    except PackageNotFoundError:
        return "unknown"
