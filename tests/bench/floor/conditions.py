"""Under which circumstances a scenario is played; its name says them all, e.g. `pauses.flat.noise10.loss1`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from realtime.floor.end_of_turn import Eagerness
from tests.bench.floor.voices import Contour
from tests.bench.floor.words import Split

SCENARIOS = ("pauses", "overlap", "alone")

_PART = re.compile(r"([a-z]+)(\d*)")
_CONTOURS = {"normal", "flat", "final"}


class UnknownCondition(ValueError):
    """A name that says nothing; the text says which part."""


@dataclass(frozen=True, slots=True)
class Condition:
    """`noise_db`: how far steady noise stays below the person; `echo_db`: how far the assistant's echo does."""

    scenario: str
    what: str = ""
    contour: Contour = "normal"
    noise_db: float | None = None
    echo_db: float | None = None
    loss: float = 0.0
    stalls: bool = False
    """Whether the line stands still now and then, and what waited comes at once."""
    rtt_ms: float = 0.0
    detector: str = "silero"
    silence_ms: float | None = None
    usual_ms: float | None = None
    eagerness: Eagerness = "auto"
    split: Split = "unseen"
    engine_ms: float = 0.0
    """How long the engine needs to begin a reply."""
    spare: bool = False
    """Whether the engine has room to guess."""
    marks: bool = True
    """Whether the engine knows its words' times; without them it speaks in the form of MiniCPM-o 2.6."""
    stranger: bool = False
    """Whether the assistant begins, so that it has not heard the person yet when they speak over it."""


def parse(name: str) -> Condition:
    """The condition of that name: `scenario.what` and any of flat, final, noise20, echo10, loss1, rtt50, webrtc,
    silence500 (milliseconds, fixed), usual400 (milliseconds, from which the floor adapts), low or high (the floor's
    eagerness), engine300 (ms), spare (it may guess),
    unmarked (no word times), stranger (the assistant begins), stalls (the line stands still now and then) and tuning.
    Raises `UnknownCondition`.
    """
    scenario, *parts = name.split(".")
    if scenario not in SCENARIOS:
        raise UnknownCondition(f"{name}: expected one of {', '.join(SCENARIOS)} before the first dot, got {scenario!r}")
    condition = Condition(scenario)
    for part in parts:
        condition = replace(condition, **_meaning(part, name))
    return condition


def _meaning(part: str, name: str) -> dict[str, Any]:
    found = _PART.fullmatch(part)
    if found is None:
        raise UnknownCondition(f"{name}: {part!r} is no letters and digits")
    word, number = found[1], float(found[2] or 0)
    if part in _CONTOURS:
        return {"contour": part}
    if part in ("low", "high"):
        return {"eagerness": part}
    if found[2] and word in ("noise", "echo"):
        return {f"{word}_db": number}
    if found[2] and word in ("rtt", "silence", "usual", "engine"):
        return {f"{word}_ms": number}
    if found[2] and word == "loss":
        return {"loss": number / 100}
    if part in ("spare", "stranger", "stalls"):
        return {part: True}
    if part == "unmarked":
        return {"marks": False}
    if part == "webrtc":
        return {"detector": part}
    if part == "tuning":
        return {"split": part}
    if not found[2]:
        return {"what": part}
    raise UnknownCondition(f"{name}: {part!r} means nothing")
