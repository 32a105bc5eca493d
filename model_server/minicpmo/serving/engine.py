"""`minicpmo`: the real network, for as many calls at once as fit."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier

import structlog
import torch
from msgspec import structs

from model_server.engine import Engine, EngineFailed, EngineSession, EngineUnusable
from model_server.minicpmo.errors import ModelError
from model_server.minicpmo.loading.budget import CACHED_POSITIONS
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.scheduling.measuring import measured, most_calls
from model_server.minicpmo.serving.device_thread import DeviceThread
from model_server.minicpmo.serving.engine_session import MiniCPMOSession, Surroundings
from model_server.minicpmo.serving.session_settings import SessionSettings
from model_server.minicpmo.serving.slots import MOST_SLOTS, furnish, reserved, slots
from model_server.minicpmo.serving.starting import Load, ModelChoice, start
from model_server.minicpmo.serving.system_prompt import Openings
from model_server.minicpmo.serving.talk import OWN_GREETING, Talk
from model_server.minicpmo.serving.transcribing import END_WAIT_S
from model_server.minicpmo.serving.voices import Voices
from model_server.minicpmo.words.tasks import TASKS
from model_server.protocol import Capabilities, SessionConfig

__all__ = ["MiniCPMOEngine", "ModelChoice"]

_log = structlog.get_logger(__name__)

MODES = ("omni", "audio_assistant", "audio_roleplay", "voice_cloning")
LANGUAGES = ("en", "zh")
PREPARING_THREADS = 2
"""Pictures, mel and tokens are made ready beside the network."""


def in_time(model: MiniCPMO) -> int:
    """Calls that the device keeps up with, from what their work takes on it."""
    return most_calls(measured(model), MOST_SLOTS)


class _GivenUp(Exception):
    """The engine was closed while it started."""


@dataclass(slots=True)
class _Loaded:
    model: MiniCPMO
    voices: Voices
    openings: Openings
    slots: int
    special_strings: frozenset[str] = field(default_factory=frozenset)


AHEAD_MS = 1_460
"""With the longest piece of a reply (25 code frames) that is at most 2 s of speech ahead of the ear."""

OPEN_DUE_S = 0.5
"""A call that begins lets those that speak go first."""


class MiniCPMOEngine(Engine):
    """Serves `choice`. Nothing is loaded before `start`; `load` does it.

    The end of a reply waits at most `transcript_wait_s` for the transcript of the turn before it. `keeps_up`: how many
    calls the device has the time for.
    """

    def __init__(
        self,
        choice: ModelChoice,
        *,
        max_sessions: int = MOST_SLOTS,
        load: Load = start,
        transcript_wait_s: float = END_WAIT_S,
        keeps_up: Callable[[MiniCPMO], int] = in_time,
    ) -> None:
        self._choice = choice
        self._load_model = load
        self._transcript_wait_s = transcript_wait_s
        self._keeps_up = keeps_up
        self._most = max_sessions
        self._device = DeviceThread(is_fatal)
        self._preparing = _ready_pool(PREPARING_THREADS)
        self._loaded: _Loaded | None = None
        self._busy = ""
        self._closed = False
        self._capabilities = Capabilities(
            engine="minicpmo",
            model=choice.name,
            greeting=OWN_GREETING["en"],
            turn_taking="turn_based",
            modes=MODES,
            languages=LANGUAGES,
            tasks=tuple(TASKS),
            transcription=True,
            voice_clips=True,
        )

    @property
    def capabilities(self) -> Capabilities:
        return self._capabilities

    @property
    def context(self) -> int:
        return CACHED_POSITIONS

    @property
    def max_sessions(self) -> int:
        return self._most if self._loaded is None else min(self._most, self._loaded.slots)

    @property
    def spare(self) -> bool:
        return not self._device.waiting

    @property
    def speech_ahead_ms(self) -> int:
        return AHEAD_MS

    def statistics(self) -> Mapping[str, float]:
        return {**self._device.batcher.counts, "busy_seconds": self._device.busy_s}

    @property
    def waits_for(self) -> str:
        return self._busy

    async def start(self) -> None:
        self._device.start()
        try:
            self._loaded = await self._device.run(self._load, time.monotonic())
        except ModelError as error:
            raise EngineUnusable(str(error)) from error
        self._busy = ""
        self._capabilities = structs.replace(self._capabilities, voices=self._loaded.voices.names)

    async def broken(self) -> str:
        return await self._device.death()

    async def open_session(self, session_id: str, config: SessionConfig) -> EngineSession:
        loaded = self._loaded
        if loaded is None:
            raise EngineFailed("the engine is not started")

        def read(asked: SessionConfig) -> SessionSettings:
            return SessionSettings.of(asked, self._capabilities, loaded.voices, loaded.special_strings)

        settings = read(config)
        seed = secrets.randbits(63) if config.seed is None else config.seed
        talk = await self._device.complete(Talk.opened(loaded.openings, settings, seed), time.monotonic() + OPEN_DUE_S)
        around = Surroundings(self._device, loaded.openings, self._preparing, read, self._transcript_wait_s)
        return MiniCPMOSession(around, talk)

    async def aclose(self) -> None:
        self._closed = True
        await self._device.aclose()
        self._preparing.shutdown(wait=False, cancel_futures=True)

    # On the device thread -------------------------------------------------------------------------------------------

    def _load(self) -> _Loaded:
        started = self._load_model(self._choice, self._note)
        model = started.model
        return _Loaded(model, started.voices, Openings(model), self._places(model), model.tokenizer.special_strings)

    def _places(self, model: MiniCPMO) -> int:
        """Calls that fit into the memory and into the time, at least one."""
        self._note("measuring")
        in_memory = slots(model)
        furnish(model)
        in_time = self._keeps_up(model)
        most, limit = min((in_memory, "memory"), (in_time, "time"), (self._most, "setting"))
        places = reserved(model, max(1, most))
        _log.info("engine_places", places=places, in_memory=in_memory, in_time=in_time, limit=limit)
        return places

    def _note(self, busy: str) -> None:
        if self._closed:
            raise _GivenUp
        if busy.partition(",")[0] != self._busy.partition(",")[0]:
            _log.info("engine_busy", busy=busy.partition(",")[0])
        self._busy = busy


def _ready_pool(threads: int) -> ThreadPoolExecutor:
    """A pool whose threads are there already: the first unit of a call does not wait for one."""
    pool, all_there = ThreadPoolExecutor(threads, thread_name_prefix="preparing"), Barrier(threads + 1)
    for _ in range(threads):
        pool.submit(all_there.wait)
    all_there.wait()
    return pool


def is_fatal(error: Exception) -> bool:
    """Whether a card can do nothing more for anybody: any error of its own, but for want of memory."""
    kind = getattr(torch, "AcceleratorError", None)
    return kind is not None and isinstance(error, kind) and not isinstance(error, torch.OutOfMemoryError)
