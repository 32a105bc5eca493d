"""How much of a reply's text was heard at a moment of its speech: an estimate between bounds that are certain.

Certain: nothing is heard at 0 ms, all of a finished reply at its end, never less later than earlier, and no word of
which the speech model had not seen every token by then (specification 8.4: the step of frame n sees 10 tokens more
with every 50 frames). Inside these bounds the place in the text is where the speech model looks while it speaks
(`attended`), as far as that can be told; between such places, and without any, time is shared out by how long words
take to say. Unproven without trained weights: how near the estimate comes to the voice; that the model says its text in
order and leaves nothing out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from model_server.minicpmo.words.text_units import is_wide

SAMPLES_PER_MS = 24
FRAME_SAMPLES = 512
"""Samples of a code frame, 21.3 ms."""

LETTERS_PER_FRAME = 0.32
"""Of a voice that reads at 15 letters a second; for text whose end is not spoken yet."""

_IDEOGRAPH, _CLAUSE, _SENTENCE = 3.5, 3.0, 6.0
"""How long an ideograph and the pauses behind a clause and a sentence take, in letters."""


def duration(text: str) -> float:
    """How long a text takes to say, in letters."""
    return sum(map(_letters, text))


def _letters(char: str) -> float:
    if char in ".!?。！？":
        return _SENTENCE
    if char in ",;:，；：、—":
        return _CLAUSE
    if is_wide(char):
        return _IDEOGRAPH
    return 1.0 if char.isalnum() else 0.5


def reach(text: str, letters: float) -> int:
    """How many characters of a text are wholly said after that long."""
    for count, char in enumerate(text):
        letters -= _letters(char)
        if letters < -1e-6:
            return count
    return len(text)


@dataclass(frozen=True, slots=True)
class Spoken:
    """One segment of speech as far as it is."""

    begins: int
    """Where its text begins in the text to be spoken."""
    text: str
    token_ends: Callable[[str], list[int]]
    """Where each speech token of a text ends in it."""
    visible: Callable[[int], int]
    """How many of its own tokens the step of its frame number n may see."""
    frames: int
    """Frames of its own."""
    attended: Sequence[float | None] = ()
    """The token of its own that each of its frames speaks, between two where they are shared; None: not known."""

    def heard(self, frame: float, spoken_to: int | None) -> int:
        """Characters of the text to be spoken, counted from its beginning, that are said when so many frames are.

        `spoken_to` is where the text of a segment that says no more ends, None for one that goes on.
        """
        own = self.text if spoken_to is None else self.text[: max(spoken_to - self.begins, 0)]
        if spoken_to is not None and frame >= self.frames:
            return self.begins + len(own)
        said = reach(own, self._letters_said(frame, duration(own) if spoken_to is not None else None))
        return self.begins + min(said, self._seen(int(frame)))

    def _letters_said(self, frame: float, whole: float | None) -> float:
        """Letters said when so many frames are, of a segment that says `whole` of them, None for one that goes on."""
        times, said = self._known()
        if whole is not None:
            times, said = [*times, self.frames], [*(min(letters, whole) for letters in said), whole]
        beyond = max(frame - times[-1], 0.0) * LETTERS_PER_FRAME if whole is None else 0.0
        return float(np.interp(frame, times, said)) + beyond

    def _known(self) -> tuple[list[float], list[float]]:
        """Times, in frames, at which it is known how many letters are said, the first frame's begin included."""
        known = [(frame, place) for frame, place in enumerate(self.attended[: self.frames]) if place is not None]
        if not known:
            return [0.0], [0.0]
        letters_to = [0.0, *accumulate(map(_letters, self.text))]
        said = [0.0, *(letters_to[end] for end in self.token_ends(self.text))]
        # A token is half said in the middle of the frames that speak it.
        letters = np.interp([place + 0.5 for _, place in known], range(len(said)), said)
        return [0.0, *(frame + 0.5 for frame, _ in known)], [0.0, *accumulate(letters.tolist(), max)]

    def _seen(self, frame: int) -> int:
        """Where the text ends that was visible before frame number `frame`, which is not over."""
        ends = self.token_ends(self.text)
        tokens = min(self.visible(max(min(frame, self.frames) - 1, 0)), len(ends)) if frame else 0
        return ends[tokens - 1] if tokens > 0 else 0


@dataclass(slots=True)
class Timeline:
    """What was spoken of a reply's text and when. Written while the reply is made, read at any time."""

    places: list[tuple[int, int]] = field(default_factory=list)
    """How far the reply's text and the text to be spoken had come with each unit, in characters."""
    segments: list[Spoken] = field(default_factory=list)
    finished: bool = False
    """All speech is given."""
    _now: object = None
    """Whose segment is the last one."""

    def begin(self, places: list[tuple[int, int]]) -> None:
        """A reply begins, whose units are put down in `places`."""
        self.places, self.segments, self.finished, self._now = places, [], False, None

    def spoke(self, speaker: object, spoken: Spoken) -> None:
        """The segment of `speaker` is so far now."""
        if speaker is self._now:
            self.segments.pop()
        self._now = speaker
        self.segments.append(spoken)

    @property
    def silent(self) -> bool:
        """Nothing was spoken at all."""
        return not self.segments

    @property
    def ms(self) -> float:
        """Length of the speech so far, what waits to be cross-faded included."""
        return sum(segment.frames for segment in self.segments) * FRAME_SAMPLES / SAMPLES_PER_MS

    def heard(self, ms: float, characters: int) -> int:
        """How many of the reply's `characters` are heard after `ms` of its speech; never less for more."""
        if ms <= 0:
            return 0
        if self.silent or (self.finished and ms >= self.ms):
            return characters
        frame, said = ms * SAMPLES_PER_MS / FRAME_SAMPLES, 0
        last = self.segments[-1]
        end = last.begins + len(last.text) if self.finished else None
        for segment, spoken_to in zip(self.segments, (*[one.begins for one in self.segments[1:]], end), strict=True):
            said = max(said, segment.heard(frame, spoken_to))
            if frame <= segment.frames:
                break
            frame -= segment.frames
        return min(self._shown(said), characters)

    def _shown(self, said: int) -> int:
        """The reply's text up to the last unit that is wholly within `said` characters of the text to be spoken."""
        return max((text for text, spoken in self.places if spoken <= said), default=0) if said else 0
