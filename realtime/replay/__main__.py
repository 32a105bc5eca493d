"""`python -m realtime.replay FILE`: does the call go as it went? Exit status 1: it does not; 2: it cannot be played."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import msgspec

from realtime.media.speech import DetectorName, DetectorUnavailable, create_detector
from realtime.replay.log_file import LogError, read_log
from realtime.replay.records import Header, Output
from realtime.replay.replayer import Decision, Difference, Replayed, replay
from realtime.service import logs

SAME, DIFFERENT, UNPLAYABLE = 0, 1, 2
LONGEST_SHOWN = 400
"""Characters of a thing that differs."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay one log and say what came of it; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m realtime.replay", description=__doc__)
    parser.add_argument("file", type=Path, help="the log of a call, recorded with --record-events")
    parser.add_argument("--decisions", action="store_true", help="print what the floor decided, when and why")
    asked = parser.parse_args(arguments)
    try:
        records = read_log(asked.file)
        header = cast(Header, next(records))
        result = replay(records, header, create_detector(cast(DetectorName, header.detector)))
    except (LogError, DetectorUnavailable, OSError) as error:
        print(f"{asked.file}: {error}", file=sys.stderr)
        return UNPLAYABLE
    if asked.decisions:
        print(decisions_table(result.decisions))
    print(summary(header, result))
    return _status(result)


def _status(result: Replayed) -> int:
    if result.difference is not None:
        return DIFFERENT
    return UNPLAYABLE if result.incomplete else SAME


def decisions_table(decisions: Sequence[Decision]) -> str:
    """One line each: seconds into the call, who had the floor, who has it, why."""
    rows = [f"{one.at_s:9.3f}  {one.old:>8} -> {one.new:<8}  {one.reason}" for one in decisions]
    return "\n".join(["  seconds      from    to        reason", *rows])


def summary(header: Header, result: Replayed) -> str:
    """What was replayed, how fast, and the first difference."""
    lines = [
        f"call {header.call_id}, recorded by {header.version} on {header.machine}, detector {header.detector}",
        f"{result.inputs} inputs, {result.outputs} outputs, {len(result.decisions)} decisions",
        f"{result.call_s:.1f} s of call in {result.took_s:.2f} s of a processor: {result.speed:.0f} times real time",
    ]
    if result.incomplete:
        lines.append(f"incomplete: {result.incomplete}")
    lines.append("the same" if result.difference is None else difference(result.difference))
    return "\n".join(lines)


def difference(one: Difference) -> str:
    """Where a call went another way."""
    return "\n".join(
        [
            f"different after {one.at_s:.3f} s, at {_shown(one.cause.what)}",
            f"  then {_shown(one.recorded)}",
            f"  now  {_shown(one.replayed)}",
        ]
    )


def _shown(what: Output | msgspec.Struct | None) -> str:
    text = "nothing" if what is None else str(what)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}… ({len(text)} characters)"


if __name__ == "__main__":
    logs.configure("error", "console")
    sys.exit(main())
