"""A caller without a browser: plain aiortc, microphone and camera from arrays, like any other client of the service.

It offers what it is told to, keeps every event and every speech message, and lets a test wait for what it expects.
"""

from __future__ import annotations

import asyncio
import fractions
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
from aiortc import RTCConfiguration, RTCDataChannel, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import AudioFrame, VideoFrame

from realtime.connection.frames import AudioMessage, decode_audio

MIC_RATE = 48_000
FRAME = 960
Pcm = npt.NDArray[np.int16]


class Microphone(MediaStreamTrack):
    """Plays PCM16 mono 48 kHz once, then silence, 20 ms at a time in real time."""

    kind = "audio"

    def __init__(self, pcm: Pcm) -> None:
        super().__init__()
        self._pcm = pcm
        self._position = 0
        self._began: float | None = None

    async def recv(self) -> AudioFrame:
        if self.readyState != "live":
            raise MediaStreamError
        self._began = self._began or time.monotonic()
        await asyncio.sleep(max(0.0, self._began + self._position / MIC_RATE - time.monotonic()))
        piece = self._pcm[self._position : self._position + FRAME]
        frame = AudioFrame.from_ndarray(np.pad(piece, (0, FRAME - len(piece)))[None, :], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = MIC_RATE, self._position, fractions.Fraction(1, MIC_RATE)
        self._position += FRAME
        return frame

    def say(self, pcm: Pcm) -> None:
        """Say this from now on."""
        before = np.zeros(self._position, np.int16)
        self._pcm = np.concatenate([before, pcm])


class Camera(MediaStreamTrack):
    """One colour (red, green, blue), ten frames a second."""

    kind = "video"

    def __init__(self, colour: tuple[int, int, int]) -> None:
        super().__init__()
        self._picture = np.full((240, 320, 3), colour, np.uint8)
        self._count = 0
        self._began: float | None = None

    async def recv(self) -> VideoFrame:
        if self.readyState != "live":
            raise MediaStreamError
        self._began = self._began or time.monotonic()
        await asyncio.sleep(max(0.0, self._began + self._count / 10 - time.monotonic()))
        frame = VideoFrame.from_ndarray(self._picture, "rgb24")
        frame.pts, frame.time_base = self._count * 9_000, fractions.Fraction(1, 90_000)
        self._count += 1
        return frame


class Loudspeaker:
    """Plays the channel `audio` at real time as a page does, and says so: an ack every 100 ms and a last one."""

    def __init__(self, send: Callable[[dict[str, Any]], None]) -> None:
        self._send = send
        self._names: dict[int, str] = {}
        self._number = 0
        self._end = 0
        self._complete = False
        self._began = 0.0
        self.late: list[int] = []
        """Response numbers of speech that came after its response was cleared."""
        self._cleared: set[int] = set()

    def event(self, event: dict[str, Any]) -> None:
        """What the gateway says of its responses."""
        if event["type"] == "response.created":
            self._names[event.get("number", 0)] = event["response"]["id"]
        elif event["type"] == "output_audio_buffer.cleared":
            self._cleared.add(self._number)
            self._ack(final=True)
            self._number = 0

    def speech(self, message: AudioMessage) -> None:
        """20 ms arrived."""
        if message.number in self._cleared:
            self.late.append(message.number)
            return
        if message.number > self._number:
            self._number, self._end, self._complete, self._began = message.number, 0, False, time.monotonic()
        self._end = max(self._end, message.position + len(message.pcm) // 2)
        self._complete = self._complete or message.last

    async def run(self) -> None:
        """Report until cancelled."""
        while True:
            await asyncio.sleep(0.08)
            if self._number in self._names:
                self._ack(final=self._complete and self._played() >= self._end)

    def _played(self) -> float:
        return min(self._end, (time.monotonic() - self._began) * 24_000)

    def _ack(self, *, final: bool) -> None:
        name = self._names.get(self._number)
        if name is None:
            return
        self._send({"type": "playback.ack", "response_id": name, "played_ms": self._played() / 24, "final": final})
        if final:
            self._names.pop(self._number)


class Caller:
    """One call. `events`, `speech` (channel `audio`) and `track_pcm` (the return track) grow as they arrive."""

    def __init__(self, base_url: str, channels: tuple[str, ...], mic: Microphone) -> None:
        self.base_url = base_url
        self.mic = mic
        self.events: list[dict[str, Any]] = []
        self.speech: list[AudioMessage] = []
        self.track_pcm: list[Pcm] = []
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.channels: dict[str, RTCDataChannel] = {}
        self.location = ""
        self.secret = ""
        self._news = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.loudspeaker = Loudspeaker(self.send)
        for label in channels:
            self._open_channel(label)
        self.connection.addTrack(mic)
        self.connection.on("track", self._on_track)

    def _open_channel(self, label: str) -> None:
        options: dict[str, Any] = {"ordered": False, "maxPacketLifeTime": 250} if label == "audio" else {}
        channel = self.channels[label] = self.connection.createDataChannel(label, **options)
        if label == "oai-events":
            channel.on("message", self._on_event)
        elif label == "audio":
            channel.on("message", self._on_speech)
        channel.on("close", self._news.set)

    def _on_event(self, data: str) -> None:
        event = json.loads(data)
        self.loudspeaker.event(event)
        self._keep(self.events, event)

    def _on_speech(self, data: bytes) -> None:
        message = decode_audio(data)
        self.loudspeaker.speech(message)
        self._keep(self.speech, message)

    async def dial(self, client: httpx.AsyncClient) -> None:
        """Offer, answer, connect; returns when `session.created` is here."""
        await self.connection.setLocalDescription(await self.connection.createOffer())
        response = await client.post(
            f"{self.base_url}/v1/realtime/calls",
            content=self.connection.localDescription.sdp,
            headers={"Content-Type": "application/sdp"},
        )
        assert response.status_code == 201, response.text
        self.location, self.secret = response.headers["Location"], response.headers["Call-Secret"]
        await self.connection.setRemoteDescription(RTCSessionDescription(response.text, "answer"))
        await self.wait_event("session.created")
        if "audio" in self.channels:
            self._tasks.append(asyncio.create_task(self.loudspeaker.run()))

    async def hang_up(self, client: httpx.AsyncClient) -> int:
        """The polite way; returns the HTTP status."""
        response = await client.delete(
            f"{self.base_url}{self.location}", headers={"Authorization": f"Call {self.secret}"}
        )
        return response.status_code

    async def close(self) -> None:
        """Free this side."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.connection.close()

    def send(self, event: dict[str, Any] | str) -> None:
        """One event (or raw text) to the gateway."""
        self.channels["oai-events"].send(event if isinstance(event, str) else json.dumps(event))

    def type_in(self, text: str) -> None:
        """A typed sentence that wants an answer."""
        content = [{"type": "input_text", "text": text}]
        self.send({"type": "conversation.item.create", "item": {"type": "message", "role": "user", "content": content}})
        self.send({"type": "response.create"})

    def of(self, kind: str) -> list[dict[str, Any]]:
        """All events of one type so far."""
        return [event for event in self.events if event["type"] == kind]

    async def wait_event(
        self, kind: str, match: Callable[[dict[str, Any]], bool] = lambda event: True, *, timeout: float = 20
    ) -> dict[str, Any]:
        """The first event of this type that matches, now or later."""
        await self.wait(lambda: any(match(event) for event in self.of(kind)), f"{kind} event", timeout=timeout)
        return next(event for event in self.of(kind) if match(event))

    async def wait(self, condition: Callable[[], bool], what: str, *, timeout: float = 20) -> None:
        """Until the condition holds; it is looked at whenever something arrives."""
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            seen = [event["type"] for event in self.events]
            raise AssertionError(f"no {what} within {timeout} s; events: {seen}") from None

    def _on_track(self, track: MediaStreamTrack) -> None:
        if track.kind == "audio":
            self._tasks.append(asyncio.create_task(self._listen(track)))

    async def _listen(self, track: MediaStreamTrack) -> None:
        while True:
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            assert isinstance(frame, AudioFrame)
            pcm = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0]
            self._keep(self.track_pcm, pcm)

    def _keep(self, kept: list[Any], thing: Any) -> None:
        kept.append(thing)
        self._news.set()


@asynccontextmanager
async def calling(
    base_url: str,
    *,
    mic: Pcm | None = None,
    camera: tuple[int, int, int] | None = None,
    channels: tuple[str, ...] = ("audio", "camera", "oai-events"),
    extensions: tuple[str, ...] = (),
    hang_up: bool = True,
) -> AsyncIterator[Caller]:
    """A connected call; hung up politely at the end, unless told otherwise."""
    caller = Caller(base_url, channels, Microphone(mic if mic is not None else np.zeros(0, np.int16)))
    if camera is not None:
        caller.connection.addTrack(Camera(camera))
    async with httpx.AsyncClient(timeout=20, trust_env=False) as client:
        try:
            await caller.dial(client)
            if extensions:
                caller.send({"type": "session.update", "session": {"extensions": list(extensions)}})
                await caller.wait_event("session.updated")
            yield caller
            if hang_up:
                assert await caller.hang_up(client) == 204
        finally:
            await caller.close()
