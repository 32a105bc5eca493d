"""Begins the recordings of one gateway, each in a file of its own in one folder."""

from __future__ import annotations

import platform
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from realtime.call.outside import CallFacts
from realtime.media.speech import SileroDetector, SpeechDetector
from realtime.replay.recording import Recording
from realtime.replay.records import FORMAT, Header


class Recorder:
    """Makes the folder, readable by its owner alone, where there is none. Raises `OSError`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    def begin(self, facts: CallFacts, detector: SpeechDetector) -> Recording:
        """A recording of a call that begins."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        return Recording(self._folder / f"{stamp}-{facts.call_id}.log", header_of(facts, detector))


def header_of(facts: CallFacts, detector: SpeechDetector) -> Header:
    """What a replay needs to know before the first input."""
    return Header(
        FORMAT,
        _version(),
        f"{platform.system()} {platform.machine()}",
        facts.call_id,
        facts.seed,
        facts.started,
        "silero" if isinstance(detector, SileroDetector) else "webrtc",
        facts.rules,
        facts.greet,
        facts.capabilities,
        facts.limits,
    )


def _version() -> str:
    try:
        return version("minicpm-o-call")
    except PackageNotFoundError:
        return "unknown"
