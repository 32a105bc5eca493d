"""`/v1/personas`: who the assistant can be; `session.update` with a persona's instructions makes it that."""

from __future__ import annotations

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from realtime.service.personas import Persona
from realtime.service.upstream import Readiness

_NO_STORE = {"Cache-Control": "no-store"}


class PersonaRoutes:
    """The personas of this service, none where the engine says what its script says and nothing else."""

    def __init__(self, personas: tuple[Persona, ...], readiness: Readiness) -> None:
        self._personas = personas
        self._readiness = readiness

    def routes(self) -> list[Route]:
        return [Route("/personas", self.listing, methods=["GET"])]

    async def listing(self, _request: Request) -> Response:
        """`{"personas": [{"id", "name", "instructions"}]}`."""
        return JSONResponse({"personas": self.told()}, headers=_NO_STORE)

    def told(self) -> list[dict[str, str]]:
        """Each as `id`, `name` and `instructions`."""
        capabilities = self._readiness.capabilities
        if capabilities is None or capabilities.scripted:
            return []
        return [msgspec.to_builtins(persona) for persona in self._personas]
