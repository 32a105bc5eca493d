from __future__ import annotations

from tests.model_server.conformance import EngineCase, EngineConformance
from tests.model_server.minicpmo.serving.samples import CONFIG, REJECTED, TURNS, tiny_engine
from tests.model_server.socket_conformance import SocketConformance

OUTPUTS = 4
"""A whole reply then is compared, of 8 or more; each costs 30 ms. The session's own tests compare 50."""

ROUNDING = 2
"""A cache that is written at once differs in the last bits from one that was written token by token."""


class TestMiniCPMO(EngineConformance):
    case = EngineCase(tiny_engine, TURNS, rejected=REJECTED, config=CONFIG, outputs=OUTPUTS, rounding=ROUNDING)


class TestMiniCPMOThroughTheSocket(SocketConformance):
    case = TestMiniCPMO.case
