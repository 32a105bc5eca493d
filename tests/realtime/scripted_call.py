"""A whole call in virtual time: a person, a page, a network and an engine by script around the gateway's `CallCore`.

Nothing waits; a heap of events is the clock. It can be recorded like a real call.
"""

from __future__ import annotations

import heapq
import itertools
import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import soxr

from model_server.protocol import (
    SPEECH_RATE,
    Cancelled,
    Capabilities,
    Done,
    GenerateOptions,
    Item,
    Limits,
    Prefilled,
    Reply,
    SessionConfig,
    Speech,
    Text,
)
from realtime.call import inputs
from realtime.call.core import CallCore
from realtime.call.inputs import Input
from realtime.call.outside import CallFacts
from realtime.connection.frames import AudioMessage, PictureKind, PictureSlice, decode_audio, encode_picture_slice
from realtime.floor.rules import FloorRules, FloorState
from realtime.media.decoder import Samples
from realtime.media.speech import SpeechDetector
from realtime.replay.recording import Recording
from realtime.service.metrics import Metrics
from tests.bench.receive import opus_packets
from tests.realtime.voices import RATE, quiet

STARTED = 1000.0
FACTS = CallFacts(
    "call_scripted",
    STARTED,
    seed=7,
    capabilities=Capabilities(engine="script", model="script", greeting="Hello."),
    limits=Limits(max_sessions=1, context=8192),
    rules=FloorRules(),
    recording=True,
)
ANSWER = "This is a long answer that goes on for a while."
REPLY_S = 4.0
PIECE = SPEECH_RATE // 2
RTP_STEP = 960
EXTENSIONS = ["output_audio_buffer.paused", "output_audio_buffer.resumed", "ping", "session.degraded"]


class ScriptedCall:
    """One call. `say`, `type_in` and `show` plan what the person does (seconds into the call); `run` plays it.

    `lost`: every so many packets one does not arrive.
    """

    def __init__(self, detector: SpeechDetector, recording: Recording | None = None, *, lost: int = 0) -> None:
        self.events: list[dict[str, Any]] = []
        self.heard: list[AudioMessage] = []
        self._now = STARTED
        self._recording = recording
        self._lost = lost
        self._mic = quiet(60.0, seed=1)
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._page = _Page(self._client)
        self._seq = 0
        self.session = self
        outside = recording.around(self) if recording is not None else self
        self._core = CallCore(FACTS, outside, detector, Metrics())
        self._in(0.01, inputs.Connected(False))
        for label in ("oai-events", "audio", "camera"):
            self._in(0.02, inputs.ChannelOpened(label))
        self._at(0.03, lambda: self._client({"type": "session.update", "session": {"extensions": EXTENSIONS}}))

    # ---------------------------------------------------------------------------------------------- what one does

    def say(self, at: float, sound: Samples) -> None:
        """Speak from `at` on."""
        start = round(at * RATE)
        self._mic[start : start + len(sound)] += sound

    def type_in(self, at: float, text: str) -> None:
        """Write a sentence."""
        item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
        self._at(at, lambda: self._client({"type": "conversation.item.create", "item": item}))
        self._at(at, lambda: self._client({"type": "response.create"}))

    def show(self, at: float, jpeg: bytes) -> None:
        """Let the camera send a still."""
        data = encode_picture_slice(PictureSlice(PictureKind.STILL, 1, 0, len(jpeg), jpeg))
        self._in(at, inputs.picture_message(data))

    def happens(self, at: float, what: Input) -> None:
        """Let anything enter the call."""
        self._in(at, what)

    def run(self, seconds: float) -> float:
        """Play the call; returns when it ended."""
        self._speak_into_the_line(seconds)
        end = STARTED + seconds
        while self._heap and self._heap[0][0] <= end:
            at, _, happen = self._heap[0]
            self._tick_until(at)
            self._now = max(self._now, at)
            heapq.heappop(self._heap)
            happen()
        self._tick_until(end)
        return end

    # ---------------------------------------------------------------------------------------------- the clock

    def _tick_until(self, at: float) -> None:
        while (due := self._core.deadline) < at:
            self._now = max(self._now, due)
            self._feed(inputs.Tick())

    def _at(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (STARTED + seconds, next(self._order), what))

    def _in(self, seconds: float, what: Input) -> None:
        self._at(seconds, lambda: self._feed(what))

    def _later(self, wait: float, what: Callable[[], None]) -> None:
        self._at(self._now - STARTED + wait, what)

    def _feed(self, what: Input) -> None:
        if self._recording is None:
            self._core.handle(what, self._now)
        else:
            self._recording.feed(self._core, what, self._now)

    def _client(self, event: dict[str, Any]) -> None:
        self._feed(inputs.client_event(json.dumps(event)))

    def _speak_into_the_line(self, seconds: float) -> None:
        wide = soxr.resample(self._mic[: round(seconds * RATE)], RATE, 48_000).astype(np.int16)
        for number, payload in enumerate(opus_packets(wide, bit_rate=16_000)):
            if self._lost and number % self._lost == self._lost - 1:
                continue
            packet = inputs.Packet(9, number & 0xFFFF, number * RTP_STEP & 0xFFFF_FFFF, payload)
            self._in((number + 1) * 0.02 + 0.003 * (number % 3), packet)

    # ---------------------------------------------------------------------------------------------- the page

    def send_event(self, text: str) -> None:
        event = json.loads(text)
        self.events.append(event)
        if event["type"] == "ping":
            self._later(0.02, lambda: self._client({"type": "pong", "nonce": event["nonce"]}))
        else:
            self._later(0.01, lambda: self._page.told(event, self._now))

    def send_audio(self, message: bytes) -> None:
        piece = decode_audio(message)
        self.heard.append(piece)
        self._later(0.01, lambda: self._page.take(piece, self._now))
        self._later(0.2, lambda: self._page.report(self._now))

    def push(self, message: AudioMessage) -> None:
        raise AssertionError("this page has the channel audio")

    def flush(self, number: int) -> None: ...
    def fetch_still(self) -> None: ...
    def end(self, reason: str) -> None: ...
    def decided(self, old: FloorState, new: FloorState, reason: str) -> None: ...
    def judge_end(self, position: int, heard: Sequence[Samples], silence_ms: float) -> None: ...
    def audio_open(self) -> bool:
        return True

    # ---------------------------------------------------------------------------------------------- the engine

    @property
    def last_seq(self) -> int:
        return self._seq

    def prefill(self, item: Item) -> int:
        self._seq += 1
        seq = self._seq
        self._reply(0.02, Prefilled(seq=seq, kv_length=10 * seq, ms=5.0, spare=True))
        return seq

    def generate(self, response_id: str, options: GenerateOptions) -> None:
        text, seconds = (options.say, 0.5) if options.say else (ANSWER, REPLY_S)
        self._reply(0.1, Text(response_id=response_id, start=0, text=text))
        samples = round(seconds * SPEECH_RATE)
        for number, start in enumerate(range(0, samples, PIECE)):
            pcm = _hum(min(PIECE, samples - start))
            piece = Speech(response_id=response_id, position=start, pcm=pcm, text_span=(0, len(text)))
            self._reply(0.12 + 0.05 * number, piece)
        self._reply(0.12 + 0.05 * samples / PIECE, Done(response_id=response_id))

    def cancel(
        self, response_id: str, keep_ms: int = 0, *, discard: bool = False, rollback_to_seq: int | None = None
    ) -> None:
        kept = "" if discard else ANSWER[: keep_ms // 80]
        self._reply(0.03, Cancelled(response_id=response_id, kept_text=kept, kv_length=1, last_seq=self._seq))

    def played(self, response_id: str, ms: int) -> None: ...
    def update(self, config: SessionConfig) -> None: ...

    def _reply(self, wait: float, reply: Reply) -> None:
        self._later(wait, lambda: self._feed(inputs.Replied(reply)))


class _Page:
    """Plays what it gets from its first sample on, and reports it."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self._ids: dict[int, str] = {}
        self._number = 0
        self._end = 0
        self._played = 0.0
        self._since: float | None = None
        self._complete = False

    def told(self, event: dict[str, Any], now: float) -> None:
        match event["type"]:
            case "response.created":
                self._ids[event["number"]] = event["response"]["id"]
            case "output_audio_buffer.paused":
                self._played, self._since = self._position(now), None
            case "output_audio_buffer.resumed":
                self._since = now
            case "output_audio_buffer.cleared":
                self._tell(event["response_id"], now, final=True)
                self._since, self._end = None, 0

    def take(self, piece: AudioMessage, now: float) -> None:
        if piece.number > self._number:
            self._number, self._end, self._played, self._since = piece.number, 0, 0.0, now
            self._complete = False
        if piece.number == self._number:
            self._end = max(self._end, piece.position + len(piece.pcm) // 2)
            self._complete = self._complete or piece.last

    def report(self, now: float) -> None:
        if self._since is not None:
            over = self._complete and self._position(now) >= self._end
            self._tell(self._ids[self._number], now, final=over)
            self._since = None if over else self._since

    def _position(self, now: float) -> float:
        ran = 0.0 if self._since is None else (now - self._since) * SPEECH_RATE
        return min(self._played + ran, self._end)

    def _tell(self, response_id: str, now: float, *, final: bool) -> None:
        ms = self._position(now) * 1000 / SPEECH_RATE
        self._send({"type": "playback.ack", "response_id": response_id, "played_ms": ms, "final": final})


def _hum(samples: int) -> bytes:
    """A sound that a log of it holds in few bytes: one period, again and again."""
    period = (3_000 * np.sin(2 * np.pi * np.arange(160) / 160)).astype("<i2")
    return np.resize(period, samples).tobytes()
