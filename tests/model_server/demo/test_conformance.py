from __future__ import annotations

from model_server.protocol import PictureItem, TextItem, Unit
from tests.model_server.conformance import EngineCase, EngineConformance
from tests.model_server.demo.samples import BLUE, RED, patient_engine, picture, turn
from tests.model_server.samples import JPEG
from tests.model_server.socket_conformance import SocketConformance

SILENCE = bytes(32_000)
TURNS = (
    turn("are you a robot"),
    (TextItem(text="How fast are you?"),),
    (PictureItem(jpeg=picture(RED)), TextItem(text="what colour do you see")),
    (Unit(audio=SILENCE, pictures=[picture(BLUE)], voiced=False), TextItem(text="Who are you?")),
)
REJECTED = (
    PictureItem(jpeg=JPEG),
    PictureItem(jpeg=picture(RED)[:-200]),
    Unit(audio=TURNS[0][0].audio, pictures=[picture(RED), JPEG]),
    Unit(audio=b"\0" * 7),
    TextItem(text="  "),
)


class TestDemo(EngineConformance):
    case = EngineCase(patient_engine, TURNS, rejected=REJECTED)


class TestDemoThroughTheSocket(SocketConformance):
    case = TestDemo.case
