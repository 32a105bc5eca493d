"""How a client wants turns to be found: OpenAI's `turn_detection`, checked and turned into the floor's rules. Sans-I/O.

`server_vad` ends a turn after a plain silence; `semantic_vad` adapts to what was said and to the person, more or less
eagerly (see `end_of_turn`); null is push to talk.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import msgspec

from realtime import events
from realtime.dialogue.held import PRE_ROLL_SAMPLES
from realtime.events import EventError
from realtime.floor.end_of_turn import Eagerness
from realtime.floor.rules import FloorRules

EAGERNESS = ("low", "medium", "high", "auto")
DEFAULT_THRESHOLD = 0.5
DEFAULT_SILENCE_MS = 500.0
DEFAULT_PADDING_MS = PRE_ROLL_SAMPLES / 16

RANGES = {"threshold": (0.1, 0.95), "prefix_padding_ms": (0.0, 1_000.0), "silence_duration_ms": (0.0, 10_000.0)}
"""What each field of `server_vad` may be."""


@dataclass(frozen=True, slots=True)
class TurnFinding:
    """How a call finds turns now: the floor's rules, the detector's threshold, how much before an onset is speech."""

    rules: FloorRules
    threshold: float = DEFAULT_THRESHOLD
    padding_ms: float = DEFAULT_PADDING_MS

    def facts(self) -> dict[str, object] | None:
        """As `session.turn_detection` tells it."""
        if self.rules.manual:
            return None
        if self.rules.eagerness != "fixed":
            return {"type": "semantic_vad", "eagerness": self.rules.eagerness}
        return {
            "type": "server_vad",
            "threshold": self.threshold,
            "prefix_padding_ms": self.padding_ms,
            "silence_duration_ms": self.rules.silence_ms,
        }


def turn_finding(
    asked: events.TurnDetection | msgspec.UnsetType | None, usual: FloorRules, now: TurnFinding
) -> TurnFinding:
    """What `asked` makes of the `usual` rules; as it is `now` where nothing is asked.

    Raises `EventError` that names the field; then nothing has changed.
    """
    if isinstance(asked, msgspec.UnsetType):
        return now
    if asked is None:
        return TurnFinding(replace(usual, manual=True))
    match asked.type:
        case "server_vad":
            _refuse(asked, ("eagerness",), "semantic_vad")
            return TurnFinding(
                replace(usual, silence_ms=_number(asked, "silence_duration_ms", DEFAULT_SILENCE_MS), eagerness="fixed"),
                _number(asked, "threshold", DEFAULT_THRESHOLD),
                _number(asked, "prefix_padding_ms", DEFAULT_PADDING_MS),
            )
        case "semantic_vad":
            _refuse(asked, tuple(RANGES), "server_vad")
            eagerness = asked.eagerness or "auto"
            if eagerness not in EAGERNESS:
                raise _error("eagerness", f"expected one of {', '.join(EAGERNESS)}, got {eagerness[:40]!r}")
            return TurnFinding(replace(usual, eagerness=cast(Eagerness, eagerness)))
        case _:
            raise _error("type", f"expected server_vad or semantic_vad, got {asked.type[:40]!r}")


def _number(asked: events.TurnDetection, name: str, usual: float) -> float:
    value: float | None = getattr(asked, name)
    if value is None:
        return usual
    least, most = RANGES[name]
    if not least <= value <= most:
        raise _error(name, f"expected {least:g} to {most:g}, got {value:g}")
    return value


def _refuse(asked: events.TurnDetection, names: tuple[str, ...], other: str) -> None:
    for name in names:
        if getattr(asked, name) is not None:
            raise _error(name, f"{name} goes with {other}, not with {asked.type}")


def _error(name: str, message: str) -> EventError:
    return EventError("invalid_value", message, param=f"session.turn_detection.{name}")
