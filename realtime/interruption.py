"""What a sound over the assistant means: the person wants the floor, agrees, coughs, or it is somebody else.

Length alone cannot tell: "stop", "wait" and "no" are as short as "mm-hm". So the sound's loudness is weighed against
the person's usual level, and its brightness tells a cough from a voice. Levels are dB of full scale without the room's
noise, times milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

LOUD_DB = -3.0
"""Against the person's usual level: backchannels are softer, and somebody who wants the floor is not."""

FAR_DB = -9.0
"""Against the person's usual level: softer than this is somebody or something else."""

BRIGHT_DB = -2.5
"""A voice has less energy in its differences than this against its own: a cough or a hiss has more."""

LONG_MS = 1_300.0
"""So long a sound of the person is more than a backchannel; the assistant is silent while that is open."""

LEARN = 0.3
"""By which share of the difference the idea of the person's usual level follows each stretch of speech."""


class Meaning(Enum):
    """What follows from a sound."""

    WANTS_FLOOR = "wants the floor"
    UNCLEAR = "unclear"
    NOT_THE_PERSON = "not the person"


@dataclass(frozen=True, slots=True)
class Sounding:
    """What the voice that is heard sounds like since it began, `ms` ago: its level, and how bright it is (dB)."""

    ms: float
    level_db: float
    bright_db: float


class UsualLevel:
    """How loud this person usually speaks."""

    def __init__(self) -> None:
        self.db: float | None = None

    def learn(self, sounding: Sounding) -> None:
        """The person spoke, with the floor."""
        self.db = sounding.level_db if self.db is None else self.db + LEARN * (sounding.level_db - self.db)

    def meaning(self, sounding: Sounding | None) -> Meaning:
        """What such a sound over the assistant means; nothing known is no reason to go on talking."""
        if sounding is None:
            return Meaning.WANTS_FLOOR
        above = 0.0 if self.db is None else sounding.level_db - self.db
        if above < FAR_DB:
            return Meaning.NOT_THE_PERSON
        if sounding.ms >= LONG_MS:
            return Meaning.WANTS_FLOOR if sounding.bright_db < BRIGHT_DB else Meaning.UNCLEAR
        if above >= LOUD_DB and sounding.bright_db < BRIGHT_DB:
            return Meaning.WANTS_FLOOR
        return Meaning.UNCLEAR
