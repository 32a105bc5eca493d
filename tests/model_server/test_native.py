from __future__ import annotations

from model_server.doubles.native import NativeEngine
from tests.model_server.conformance import EngineCase, EngineConformance
from tests.model_server.samples import TURNS, unit
from tests.model_server.test_echo import REJECTED


class TestNative(EngineConformance):
    case = EngineCase(NativeEngine, TURNS, opening=(unit(0, voiced=False),), rejected=REJECTED)
