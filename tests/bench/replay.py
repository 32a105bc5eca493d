"""Row `replay`: `python -m tests.bench.replay` records a call and replays it; exit status 1 below 50 times real time.

The call is scripted: a greeting, a turn with lost packets, an interruption, a typed sentence. Counted is processor
time, loading Python and the detector's model not included. A replay that differs is a failure.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import cast

import numpy as np

from realtime.media.speech import DetectorName, create_detector
from realtime.replay.log_file import read_log
from realtime.replay.recorder import header_of
from realtime.replay.recording import Recording
from realtime.replay.records import AnyRecord, Header
from realtime.replay.replayer import replay
from realtime.service import logs
from tests.bench.measurement import Measurement, Options, Repetitions
from tests.realtime.scripted_call import FACTS, ScriptedCall
from tests.realtime.voices import sentence

CALL_S = 24.0
AT_LEAST = 50.0
"""Times real time."""


async def recorded(file: Path) -> None:
    """The log of a call in which everybody speaks for about half of the time."""
    detector = create_detector()
    recording = Recording(file, header_of(FACTS, detector))
    call = ScriptedCall(detector, recording, lost=23)
    call.say(1.5, sentence("tell me something about the sea"))
    call.say(6.2, sentence("wait, please stop, I have another question"))
    call.type_in(14.5, "and now in writing")
    await recording.close(call.run(CALL_S))


def ms_per_second(records: list[AnyRecord]) -> float:
    """Processor time for each second of the call, ms. Raises `AssertionError` for a replay that is not the same."""
    header, *rest = records
    result = replay(rest, cast(Header, header), create_detector(cast(DetectorName, cast(Header, header).detector)))
    assert result.difference is None, result.difference
    return 1000 / result.speed


async def measure(options: Options) -> Repetitions:
    logs.configure("error", "console")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "call.log"
        await recorded(file)
        records = list(read_log(file))
    return {"replay": [ms_per_second(records) for _ in range(options.times(9, 3))]}


MEASUREMENT = Measurement(("replay",), measure)


def main() -> int:
    """Print the speed; returns the exit status."""
    times = 1000 / np.array(asyncio.run(measure(Options()))["replay"])
    print(f"{np.median(times):.0f} times real time ({times.min():.0f} .. {times.max():.0f}), at least {AT_LEAST:.0f}")
    return int(np.median(times) < AT_LEAST)


if __name__ == "__main__":
    sys.exit(main())
