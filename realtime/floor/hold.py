"""A voice over the assistant: hold, weigh it, then yield or resume. Sans-I/O.

Every voice that may be the person's holds at once; what it means is weighed when it has lasted, or is over.
"""

from __future__ import annotations

from collections.abc import Callable

from realtime.floor.events import (
    Cancel,
    Clear,
    Effect,
    Pause,
    Release,
    Resume,
    SpeechStarted,
    SpeechStopped,
)
from realtime.floor.interruption import LASTING_MS, STRANGER_DB, EarlyHolds, Meaning, Sign
from realtime.floor.replies import LogTransition, Replies
from realtime.floor.rules import FloorRules, FloorState
from realtime.floor.turn import REPAIR_MS

WEIGH_AGAIN_MS = 100.0
"""A sound that stays unclear is weighed again so often."""


ECHO_MS = (200.0, 450.0)
"""Bounds of what is taken for an echo's delay, after which it begins, and dies out, when the assistant does."""

TAIL_MS = 200.0
"""For so long the room and the page's way of falling silent keep an echo alive besides."""

LEARNING_S, LONGEST_LEARNING_S = 1.5, 3.0
"""After each hold for an echo nothing that may be one holds for so long more: only sound that goes on teaches it."""

GOES_ON_MS = 500.0
"""A voice that comes back so soon goes on: who pauses for a breath says more than "mm-hm"."""

REOPENS_MS, NEXT_TO_NOTHING_MS = 1_600.0, 380.0
"""A turn opens again so late still, if its answer had sounded for no longer than that."""

REPAIR_HEARD_MS = 400.0
"""A reply of which the person heard no more than this before they went on can be taken back."""


class Holding(Replies):
    """The reply as the person hears it, and what they do about it."""

    def __init__(self, rules: FloorRules, new_id: Callable[[str], str], log: LogTransition) -> None:
        super().__init__(rules, new_id, log)
        self._went_on: SpeechStarted | None = None
        """The voice to which the assistant yields, where it may be the rest of the turn that is being answered."""
        self._sounds_since = 0.0
        """When the reply's first sound went out."""
        self._sounding_since = 0.0
        """When it went out, or the reply went on after a hold."""
        self._silent_since = 0.0
        """When the assistant fell silent for the voice that is weighed."""
        self._learning_s, self._learns_until = 0.0, 0.0
        """For how long, and until when, the echo is being learned."""
        self._early = EarlyHolds()
        self._before = (0.0, float("-inf"))
        """For how many milliseconds the voice lasted that was over last, which may have been the person's; its end."""
        self._no_stop_word = False
        """The keyword spotter knows that the sound which is held for wants nothing."""

    def _first_sound(self, response_id: str, now: float) -> list[Effect]:
        if self.state != FloorState.THINKING or not self._is_current(response_id):
            return []
        self._sounds_since = self._sounding_since = now
        if self._turn.voice is not None and self._turn.is_the_person:
            # A native engine may begin while the person speaks: the same rule as for a person who speaks over it.
            return self._hold(self._turn.voice, now)
        self._go(FloorState.SPEAKING, "first sound")
        return []

    def _voice_over_reply(self, now: float) -> list[Effect]:
        """Hold for every voice that may be the person's."""
        if self._turn.voice is None or not self._turn.is_the_person:
            return []
        if self._is_doubtful and now < self._learns_until:
            return []
        return self._hold(self._turn.freshen(now), now)

    def _hold(self, event: SpeechStarted, now: float) -> list[Effect]:
        assert self._reply is not None
        self._go(FloorState.HOLDING, "sound over the assistant")
        self._silent_since = now
        self._due = self._weighed_at(event, now)
        return [Pause(self._reply)]

    def _first_sign(self, sign: Sign, now: float) -> list[Effect]:
        """Something sounds like the beginning of the person's word: hold before the detector is sure."""
        if self._turn.voice is not None or not self._turn.usual.may_begin(sign):
            return []
        if self.state == FloorState.HOLDING:
            self._due = self._early.goes_on(now)
        if self.state != FloorState.SPEAKING or not self._early.may_hold(now):
            return []
        assert self._reply is not None
        self._go(FloorState.HOLDING, "first sign of a voice")
        self._due = self._early.held(now)
        return [Pause(self._reply)]

    def _spotted(self, stop_word: bool, now: float) -> list[Effect]:
        """The keyword spotter's word overrules what a short sound's loudness says."""
        if self.state != FloorState.HOLDING:
            return []
        self._no_stop_word = not stop_word
        return self._yield("stop word", now, self._turn.voice) if stop_word else []

    def _held_long_enough(self, now: float) -> list[Effect]:
        """Weigh the voice that the hold is for; a hold for a first sign may turn out to be for none."""
        if self._turn.voice is not None:
            return self._weigh(self._turn.voice, now)
        self._early.was_nothing(now)
        return self._resume("nothing came of it", now)

    def _weighed_at(self, event: SpeechStarted, now: float) -> float:
        return max(now, event.at + self.rules.interrupt_ms / 1000)

    def _weigh(self, voice: SpeechStarted, now: float) -> list[Effect]:
        """The sound over the assistant has lasted: yield, wait for more of it, or go on."""
        if self._may_die_out(voice, now):
            self._due = now + WEIGH_AGAIN_MS / 1000
            return []
        match self._turn.usual.meaning(self._turn.sounding, lasted_ms=self._lasted_ms(voice, now)):
            case Meaning.WANTS_FLOOR:
                return self._yield("person speaks over the assistant", now, voice)
            case Meaning.UNCLEAR if self._may_go_on(voice) and _ms(voice.at - self._sounds_since) <= REPAIR_HEARD_MS:
                # Nobody agrees with, or coughs at, what has hardly begun: they go on.
                return self._yield("person goes on", now, voice)
            case Meaning.UNCLEAR:
                self._due = now + WEIGH_AGAIN_MS / 1000
                return []
            case Meaning.NOT_THE_PERSON:
                return self._resume("not the person", now)

    def _short_sound(self, began: SpeechStarted, ended: SpeechStopped, now: float) -> list[Effect]:
        """The sound is over already: a word that wants the floor is as short as one that does not."""
        if self._turn.sounding and self._is_doubtful and ended.at <= self._echo_over_at(began):
            self._turn.usual.was_echo(self._turn.sounding)
            self._learning_s = min(self._learning_s + LEARNING_S, LONGEST_LEARNING_S)
            self._learns_until = now + self._learning_s
            return self._resume("echo", now)
        lasted_ms = self._lasted_ms(began, ended.at)
        meaning = self._turn.usual.meaning(self._turn.sounding, lasted_ms=lasted_ms, over=True)
        if meaning is Meaning.UNCLEAR:
            self._before = lasted_ms, ended.at
        if self._no_stop_word or self._turn.sounding is None or meaning is not Meaning.WANTS_FLOOR:
            return self._resume("short sound", now)
        self._turn.quiet = ended
        return self._yield("short word", now, began)

    def _lasted_ms(self, voice: SpeechStarted, until: float) -> float:
        """How long the voice has lasted, without the pause where it went on."""
        before_ms, ended = self._before
        return _ms(until - voice.at) + (before_ms if _ms(voice.at - ended) <= GOES_ON_MS else 0.0)

    @property
    def _is_doubtful(self) -> bool:
        """Whether the voice may be no more than the assistant's own."""
        sounding = self._turn.sounding
        return self._turn.may_be_echo and sounding is not None and self._turn.usual.doubts(sounding)

    def _echo_over_at(self, voice: SpeechStarted) -> float:
        """When the voice is over, if it is the echo of what the assistant said before it fell silent."""
        delay_ms = min(max(_ms(voice.at - self._sounding_since), ECHO_MS[0]), ECHO_MS[1])
        return self._silent_since + (delay_ms + TAIL_MS) / 1000

    def _may_die_out(self, voice: SpeechStarted, now: float) -> bool:
        """Whether the voice may still turn out to be an echo, which dies out as the assistant is silent now."""
        if not self._turn.may_be_echo or self._turn.sounding is None or _ms(now - voice.at) >= LASTING_MS:
            return False
        soft = self._turn.sounding.level_db < STRANGER_DB
        return soft or now < self._echo_over_at(voice) or self._turn.sounding.gap_ms > 0

    def _resume(self, reason: str, now: float) -> list[Effect]:
        assert self._reply is not None
        self._no_stop_word = False
        self._sounding_since = now
        closed = self._turn.close()
        self._turn.quiet = None
        self._go(FloorState.SPEAKING, reason)
        return [*closed, Resume(self._reply)]

    def _stop(self, reason: str, now: float) -> list[Effect]:
        match self.state:
            case FloorState.THINKING:
                cancel = Cancel(self._drop_reply(), 0)
                return [cancel, Release(), *self._after_reply(reason, now)]
            case FloorState.SPEAKING | FloorState.HOLDING:
                return self._yield(reason, now, self._turn.voice)
            case _:
                return []

    def _yield(self, reason: str, now: float, voice: SpeechStarted | None) -> list[Effect]:
        """Fall silent for `voice`; whether it begins a turn or goes on with the last one is known when it was heard."""
        assert self._reply is not None
        effects: list[Effect] = [Clear(self._reply)]
        self._went_on, self._no_stop_word = None, False
        if voice is not None and self._turn.current is None and self._turn.is_the_person:
            said_little = _ms(voice.at - self._sounds_since) <= NEXT_TO_NOTHING_MS
            self._went_on = voice if self._may_go_on(voice, REOPENS_MS if said_little else REPAIR_MS) else None
            if self._turn.silent_ms(voice) <= REPAIR_MS:
                self._turn.note_pause(voice)
            if self._went_on is None:
                effects += self._open_turn(voice, reason)
        self._go(FloorState.YIELDING, reason)
        self._due = now + self.rules.final_ack_ms / 1000
        return effects

    def _may_go_on(self, voice: SpeechStarted, longest_ms: float = REPAIR_MS) -> bool:
        """Whether the voice may be the rest of the turn that is being answered."""
        return self._answers is not None and self._turn.silent_ms(voice) <= longest_ms

    def _heard(self, response_id: str, heard_ms: float | None, now: float) -> list[Effect]:
        if self.state != FloorState.YIELDING or not self._is_current(response_id):
            return []
        went_on, self._went_on = self._went_on, None
        if went_on is not None and heard_ms is not None and heard_ms <= REPAIR_HEARD_MS:
            return [*self._reopen("person goes on"), *self._after_reply("person goes on", now)]
        effects: list[Effect] = [Cancel(self._drop_reply(), heard_ms), Release()]
        if went_on is not None:
            effects += self._open_turn(went_on, "cut")
        return effects + self._after_reply("cut", now)


def _ms(seconds: float) -> float:
    """Whole microseconds: what is due after a time is due at that time, despite floating point."""
    return round(1000 * seconds, 3)
