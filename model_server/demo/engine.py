"""`demo`: the default engine, a scripted stand-in that hears, sees and speaks without a network."""

from __future__ import annotations

import itertools
import secrets
from datetime import datetime
from pathlib import Path

from model_server.demo.ear import HUNG_S, Ear
from model_server.demo.house import Clock, House
from model_server.demo.matching import Matcher
from model_server.demo.script import Loaded, load
from model_server.demo.session import DemoSession
from model_server.demo.talk import CONTEXT
from model_server.demo.voice import Voice
from model_server.demo.voice_messages import Manner
from model_server.engine import Engine, EngineSession
from model_server.items import check_config
from model_server.protocol import Capabilities, SessionConfig

DEFAULT_SCRIPT = Path(__file__).parent / "scripts" / "assistant.yaml"
MAX_SESSIONS = 16
HEARING_DEADLINE_S = 0.15
NOTICE = (
    "This is a scripted stand-in, not a neural network: it understands the sentences of its script, sees colours and "
    "movement, and speaks with a synthetic voice."
)


def _local_now() -> datetime:
    return datetime.now().astimezone()


class DemoEngine(Engine):
    """Answers from a script. Its ear and its voice are processes of 170 MB and 20 MB, a session takes 0.5 MB."""

    def __init__(
        self,
        script: Path | None = None,
        *,
        clock: Clock = _local_now,
        max_sessions: int = MAX_SESSIONS,
        hearing_deadline_s: float = HEARING_DEADLINE_S,
    ) -> None:
        """Read `script` (YAML). `clock` gives the time of day with its zone. Raises `ScriptError`, `OSError`."""
        loaded = load(script or DEFAULT_SCRIPT)
        self._max_sessions = max_sessions
        self._house = House(
            loaded=loaded,
            matcher=Matcher(loaded),
            capabilities=_capabilities(loaded),
            clock=clock,
            ear=Ear(loaded.grammar, hung_s=HUNG_S + hearing_deadline_s),
            voice=Voice(Manner(voice=loaded.script.voice)),
            hearing_deadline_s=hearing_deadline_s,
        )
        self._numbers = itertools.count(1)

    @property
    def capabilities(self) -> Capabilities:
        return self._house.capabilities

    @property
    def context(self) -> int:
        return CONTEXT

    @property
    def max_sessions(self) -> int:
        return self._max_sessions

    @property
    def spare(self) -> bool:
        return self._house.ear.worker.idle and self._house.voice.worker.idle

    async def start(self) -> None:
        await self._house.start()

    async def open_session(self, session_id: str, config: SessionConfig) -> EngineSession:
        check_config(config, self._house.capabilities)
        seed = secrets.randbits(64) if config.seed is None else config.seed
        return DemoSession(self._house, f"{session_id}/{next(self._numbers)}", config, seed)

    async def aclose(self) -> None:
        await self._house.aclose()


def _capabilities(loaded: Loaded) -> Capabilities:
    script = loaded.script
    return Capabilities(
        engine="demo",
        model=f"script {script.name}",
        greeting=script.greeting,
        turn_taking="turn_based",
        scripted=True,
        notice=script.notice or NOTICE,
        languages=(script.language,),
        tasks=("chat",),
        transcription=True,
        word_marks=True,
        suggestions=script.suggestions,
    )
