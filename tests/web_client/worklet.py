"""Renders the player worklet offline, in Chromium's own audio thread, and gives the sound to numpy."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from playwright.async_api import Page

SPEECH_RATE = 24_000
MESSAGE = 480
FILTER_DELAY = 8
"""Input samples that the resampler delays by."""

Samples = npt.NDArray[np.float64]

_RENDER = """async ({ rate, seconds, steps }) => {
  const context = new OfflineAudioContext(1, Math.round(rate * seconds), rate);
  await context.audioWorklet.addModule("/player-worklet.js");
  const node = new AudioWorkletNode(context, "player", { numberOfInputs: 0, outputChannelCount: [1] });
  node.connect(context.destination);
  const reports = [];
  const answers = new Map();
  node.port.onmessage = (event) => { reports.push(event.data); answers.get(event.data.asked)?.(event.data); };
  const unpack = (text) => new Int16Array(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);
  const obey = (messages) => new Promise((resolve) => {
    for (const message of messages) {
      node.port.postMessage(message.samples === undefined ? message : { ...message, samples: unpack(message.samples) });
    }
    const asked = answers.size + 1;
    answers.set(asked, resolve);
    node.port.postMessage({ type: "report", asked });
  });
  let end = null;
  for (const [time, messages] of [...steps, [seconds - 0.02, []]]) {
    const told = time === 0 ? obey(messages) : context.suspend(time).then(() => obey(messages));
    if (time === 0) await told;
    else told.then((answer) => { end = answer; return context.resume(); });
  }
  const sound = (await context.startRendering()).getChannelData(0);
  const bytes = new Uint8Array(sound.buffer);
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return { sound: btoa(text), reports, end };
}"""


@dataclass(frozen=True)
class Rendered:
    """What came out: `sound` at `rate`; `reports` of the worklet; `end`: where it stood at the end."""

    sound: Samples
    rate: int
    reports: list[dict[str, Any]]
    end: dict[str, Any]

    def between(self, start: float, stop: float) -> Samples:
        """The sound from `start` to `stop` seconds."""
        return self.sound[round(start * self.rate) : round(stop * self.rate)]

    @property
    def endings(self) -> list[dict[str, int]]:
        """Responses that were played to their end."""
        return [ending for report in self.reports for ending in report["endings"]]


@dataclass
class Script:
    """What the player is told, and when (seconds)."""

    steps: dict[float, list[dict[str, Any]]] = field(default_factory=dict)

    def at(self, time: float, *messages: dict[str, Any]) -> Script:
        """Tell it these at `time`."""
        self.steps.setdefault(time, []).extend(messages)
        return self

    async def render(self, page: Page, seconds: float, rate: int = 48_000) -> Rendered:
        """Play it."""
        steps = sorted(self.steps.items())
        result = await page.evaluate(_RENDER, {"rate": rate, "seconds": seconds, "steps": steps})
        sound = np.frombuffer(base64.b64decode(result["sound"]), np.float32).astype(np.float64)
        return Rendered(sound, rate, result["reports"], result["end"])


def tone(samples: int, frequency: float = 330.0, level: float = 0.5) -> npt.NDArray[np.int16]:
    """A sine of 24 kHz samples."""
    return np.round(32767 * level * np.sin(2 * np.pi * frequency * np.arange(samples) / SPEECH_RATE)).astype(np.int16)


def speech(number: int, pcm: npt.NDArray[np.int16], *, last: bool = True) -> list[dict[str, Any]]:
    """The messages of a response, 20 ms each."""
    starts: Sequence[int] = range(0, len(pcm), MESSAGE)
    return [
        {
            "type": "speech",
            "number": number,
            "position": start,
            "last": last and start + MESSAGE >= len(pcm),
            "samples": base64.b64encode(pcm[start : start + MESSAGE].tobytes()).decode(),
        }
        for start in starts
    ]


def expected(pcm: npt.NDArray[np.int16], times: Iterable[float] | Samples) -> Samples:
    """The ideal sound of `pcm` played from time 0, at these times (seconds), for slow signals."""
    positions = np.asarray(times) * SPEECH_RATE - FILTER_DELAY
    played: Samples = np.interp(positions, np.arange(len(pcm)), pcm / 32768.0, left=0.0, right=0.0)
    return played
