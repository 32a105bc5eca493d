"""Who can have the floor, and the settings by which the floor decides."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import get_args

from realtime.floor.end_of_turn import Eagerness


class FloorState(Enum):
    """Who has the floor."""

    IDLE = "idle"
    PERSON = "person"
    THINKING = "thinking"
    SPEAKING = "speaking"
    HOLDING = "holding"
    YIELDING = "yielding"


@dataclass(frozen=True, slots=True)
class FloorRules:
    """How the floor decides. Times are in milliseconds.

    `silence_ms`: silence that ends a usual person's turn that is likely over; `eagerness` says how that adapts to
    this one (see `end_of_turn`), `stirring_ms`: for how long a sound that may be the person going on puts it off.
    `interrupt_ms`: a sound over the assistant that has lasted so long is weighed (see `interruption`); until then
    it only holds it. `final_ack_ms`: how long a yield waits for the page to say what was heard. `thinking_ms`: an
    engine that makes no sound for so long is given up. `native`: the engine answers of its own accord, so turns are
    not cut and replies not asked for. `idle_prompt_ms`: a person who says nothing for so long after a question is
    asked once more, in the words of `idle_prompt`; 0: never. `speculative`: the engine begins to answer, unheard,
    when the turn is likely over. `manual`: push to talk: the client says when a turn is over and when to answer,
    and voices decide nothing.
    """

    silence_ms: float = 500.0
    interrupt_ms: float = 250.0
    final_ack_ms: float = 250.0
    thinking_ms: float = 20_000.0
    stirring_ms: float = 80.0
    eagerness: Eagerness = "auto"
    native: bool = False
    idle_prompt_ms: float = 0.0
    idle_prompt: str = "Are you still there?"
    speculative: bool = True
    manual: bool = False

    def __post_init__(self) -> None:
        for name in ("silence_ms", "interrupt_ms", "final_ack_ms", "thinking_ms", "stirring_ms", "idle_prompt_ms"):
            value = getattr(self, name)
            if not 0 <= value <= 60_000:
                raise ValueError(f"{name} is between 0 and 60000 ms, got {value}")
        if self.eagerness not in get_args(Eagerness):
            raise ValueError(f"eagerness is one of {', '.join(get_args(Eagerness))}, got {self.eagerness!r}")
