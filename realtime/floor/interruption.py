"""What a sound over the assistant means: the person wants the floor, agrees, coughs, or it is somebody else.

Length alone cannot tell: "stop", "wait" and "no" are as short as "mm-hm". So the sound's loudness is weighed against
the person's usual level, its brightness tells a cough from a voice, and two beats tell agreement from a word. Levels
are dB of full scale without the room's noise and the echo, times milliseconds.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

LOUD_DB = 0.0
"""Against the person's usual level: who is as loud as usual wants the floor, at once."""

SOFT_DB = -8.0
"""Against the person's usual level: a short sound that is softer is no word for the assistant. A browser's gain control
and noise suppression take 6 to 8 dB off a word that stands alone."""

SOFT_ECHO_DB = -6.0
"""The same where the assistant's echo is heard, or may be: what is left of it comes as near as that."""

UNLIKELY_DB = -6.0
"""Against the person's usual level: a first sign that hardly sounds like a voice is at least so loud."""

FAR_DB = -9.0
"""Against the person's usual level: softer than this is somebody or something else."""

BRIGHT_DB = -2.5
"""A voice has less energy in its differences than this against its own: a cough or a hiss has more."""

HISS_FAR_DB = -18.0
"""Against the person's usual level: softer than this a hiss is no beginning of a word of theirs."""

LIKELY = 0.4
"""With this probability of a voice a first sign may be as soft as the person ever is."""

LEFT_DB = -6.0
"""Where the person's level is unknown: a sound that taking the echo off makes so much softer was nothing else."""

MOST_LEFT_DB = -3.2
"""No experience makes more of a sound than that (half of it) echo."""

STRANGER_DB = -42.0
"""Somebody whose level is unknown speaks louder than this, dB of full scale; softer sounds may be echo."""

LASTING_MS = 1_300.0
"""A voice that lasts so long is more than a backchannel; the assistant is silent while that is open."""

LEARN = 0.3
"""By which share of the difference the idea of the person's usual level follows each stretch of speech."""


EARLY_MS = 150.0
"""A hold for the first sign of a voice lasts so long after its last sign, unless the detector hears a voice."""

LONGEST_EARLY_MS = 450.0
"""A hold for first signs alone lasts no longer than this."""

MOST_EARLY, EARLY_WINDOW_S = 3, 60.0
"""After so many holds for nothing within so long, only the detector's word counts."""


class Meaning(Enum):
    """What follows from a sound."""

    WANTS_FLOOR = "wants the floor"
    UNCLEAR = "unclear"
    NOT_THE_PERSON = "not the person"


@dataclass(frozen=True, slots=True)
class Sounding:
    """What the voice that is heard sounded like in the last 1.5 s: its level, and how bright it is (dB).

    `sure_db`: its level when all that may be echo is taken off, not only what is likely to be; None: the same.
    `two_beats`: it falls and rises again, like "mm-hm". `maybe_echo`: the assistant sounded just now, and has an echo,
    or not sounded for long enough yet to know of one; `like_echo`: then, whether this is no more than that. `own_db`:
    what taking the echo off left of the level. `gap_ms`: for how long it has been as good as silent.
    """

    level_db: float
    bright_db: float
    two_beats: bool = False
    maybe_echo: bool = False
    own_db: float = 0.0
    gap_ms: float = 0.0
    sure_db: float | None = None
    like_echo: bool = True


@dataclass(frozen=True, slots=True)
class Sign:
    """What may be the beginning of a word, before the detector is sure of it.

    `probability`: of a voice, as the detector's newest window says. `hiss`: it is bright like the "s" of "stop".
    """

    level_db: float
    probability: float
    hiss: bool


class EarlyHolds:
    """Holds for the first sign of a voice: how long they last, and that they stay rare where they are for nothing.

    Times are seconds of one monotonic clock.
    """

    def __init__(self) -> None:
        self._since = 0.0
        self._for_nothing: deque[float] = deque(maxlen=MOST_EARLY)

    def may_hold(self, now: float) -> bool:
        """Whether first signs have been worth a hold of late."""
        return len(self._for_nothing) < MOST_EARLY or now - self._for_nothing[0] > EARLY_WINDOW_S

    def held(self, now: float) -> float:
        """A hold begins; returns when it is over unless another sign or a voice comes."""
        self._since = now
        return now + EARLY_MS / 1000

    def goes_on(self, now: float) -> float:
        """Another sign came; returns when the hold is over now."""
        return min(now + EARLY_MS / 1000, self._since + LONGEST_EARLY_MS / 1000)

    def was_nothing(self, now: float) -> None:
        """No voice came."""
        self._for_nothing.append(now)


class UsualLevel:
    """How loud this person usually speaks."""

    def __init__(self) -> None:
        self.db: float | None = None
        self._left_db = LEFT_DB

    def was_echo(self, sounding: Sounding) -> None:
        """Such a sound died out when the assistant fell silent: what leaves no more of itself is echo from now on."""
        if sounding.own_db < MOST_LEFT_DB:
            self._left_db = max(self._left_db, min(sounding.own_db + 2.0, MOST_LEFT_DB))

    def doubts(self, sounding: Sounding) -> bool:
        """Whether a sound that may be echo, while the person's level is unknown, is no more than that."""
        return sounding.like_echo or sounding.level_db < STRANGER_DB

    def learn(self, sounding: Sounding) -> None:
        """The person spoke, with the floor."""
        self.db = sounding.level_db if self.db is None else self.db + LEARN * (sounding.level_db - self.db)

    def may_begin(self, sign: Sign) -> bool:
        """Whether the person, whose level is known, may be beginning to speak so."""
        if self.db is None:
            return False
        above = sign.level_db - self.db
        likely = sign.probability >= LIKELY and above >= FAR_DB
        return likely or above >= (HISS_FAR_DB if sign.hiss else UNLIKELY_DB)

    def meaning(self, sounding: Sounding | None, *, lasted_ms: float = 0.0, over: bool = False) -> Meaning:
        """What such a sound over the assistant means that has `lasted_ms` and goes on, or is `over`.

        Nothing known is no reason to go on talking.
        """
        if sounding is None:
            return Meaning.WANTS_FLOOR
        above, sure = self._above(sounding)
        if sure < FAR_DB or (self.db is None and sounding.own_db < self._left_db):
            return Meaning.NOT_THE_PERSON
        voice = sounding.bright_db < BRIGHT_DB
        if lasted_ms >= LASTING_MS:
            return Meaning.WANTS_FLOOR if voice else Meaning.NOT_THE_PERSON
        softest = SOFT_ECHO_DB if sounding.maybe_echo else SOFT_DB
        word = over and above >= softest and not sounding.two_beats
        return Meaning.WANTS_FLOOR if voice and (sure >= LOUD_DB or word) else Meaning.UNCLEAR

    def _above(self, sounding: Sounding) -> tuple[float, float]:
        """By how much the sound is likely, and surely, above the person's level; 0 where nothing is known of that."""
        if self.db is None:
            return 0.0, 0.0
        sure_db = sounding.level_db if sounding.sure_db is None else sounding.sure_db
        return sounding.level_db - self.db, sure_db - self.db
