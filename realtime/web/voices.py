"""`/v1/voices`: the voices a call may choose from, and clips of further ones, bound to one call and gone with it."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from model_server.protocol import HEARING_RATE
from realtime.media.voice_clips import MAX_FILE_BYTES, VoiceClipError, voice_clip
from realtime.service.upstream import Readiness
from realtime.web.bodies import read_body
from realtime.web.calls import Calls
from realtime.web.refusals import Refusal

_NO_STORE = {"Cache-Control": "no-store"}


class VoiceRefused(Refusal):
    """A clip that cannot be taken."""

    status = 422


class VoicesElsewhere(Refusal):
    """The engine speaks with its own voices only."""

    status = 409

    def __init__(self) -> None:
        super().__init__("no_voice_clips", "this engine does not imitate voices: choose one of GET /v1/voices")


class VoiceRoutes:
    """Listing is for everybody, a clip for the owner of a call: `Authorization: Call <secret>`."""

    def __init__(self, calls: Calls, readiness: Readiness) -> None:
        self._calls = calls
        self._readiness = readiness
        self._decoding = asyncio.Semaphore(1)

    def routes(self) -> list[Route]:
        return [
            Route("/voices", self.listing, methods=["GET"]),
            Route("/voices", self.add, methods=["POST"]),
        ]

    async def listing(self, request: Request) -> Response:
        """The engine's voices; with a call's secret, those of the call as well."""
        capabilities = self._readiness.capabilities
        voices: list[dict[str, Any]] = []
        if capabilities is not None:
            voices += [{"id": name, "owner": "engine"} for name in capabilities.voices]
        secret = call_secret(request)
        if secret:
            voices += [{"id": name, "owner": "call"} for name in self._calls.voices(secret)]
        clips = capabilities is not None and capabilities.voice_clips
        return JSONResponse({"voices": voices, "takes_clips": clips}, headers=_NO_STORE)

    async def add(self, request: Request) -> Response:
        """Take a clip (WAV, FLAC, MP3 or OGG, 1 to 30 s); `session.update` with its id as `voice` uses it."""
        secret = call_secret(request)
        self._calls.voices(secret)
        capabilities = self._readiness.capabilities
        if capabilities is not None and not capabilities.voice_clips:
            raise VoicesElsewhere
        body = await read_body(request, MAX_FILE_BYTES, "clip_too_large", "a clip")
        try:
            async with self._decoding:
                pcm = await asyncio.to_thread(voice_clip, body)
        except VoiceClipError as error:
            raise VoiceRefused("invalid_voice", str(error)) from error
        name = self._calls.add_voice(secret, pcm)
        seconds = round(len(pcm) / 2 / HEARING_RATE, 2)
        return JSONResponse({"id": name, "owner": "call", "seconds": seconds}, 201, headers=_NO_STORE)


def call_secret(request: Request) -> str:
    """The secret in `Authorization: Call <secret>`; empty where there is none."""
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    return secret.strip() if scheme.lower() == "call" else ""
