from __future__ import annotations

from model_server.doubles.echo import EchoEngine
from model_server.protocol import PictureItem, Unit
from tests.model_server.conformance import EngineCase, EngineConformance
from tests.model_server.samples import CUT_JPEG, JPEG, TURNS, sound
from tests.model_server.socket_conformance import SocketConformance

REJECTED = (Unit(audio=sound(9), pictures=[JPEG, CUT_JPEG]), PictureItem(jpeg=CUT_JPEG), Unit(audio=b"\0" * 7))


class TestEcho(EngineConformance):
    case = EngineCase(EchoEngine, TURNS, rejected=REJECTED)


class TestEchoThroughTheSocket(SocketConformance):
    case = TestEcho.case
