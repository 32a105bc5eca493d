"""The two ways to run the model: number for number as published, or with what hurts people mended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What is mended; the names in brackets are the quirks of the specification, section 10."""

    keep_exclamation_marks: bool
    """`!` stays in the text although its id is 0 [Q1, and Q9: a round of nothing else is no error]."""

    whole_messages: bool
    """Every message has its header and end, a first user unit opens a turn, `<|tts_eos|>` stands once, and the last
    word of a cut reply is not lost [Q6, Q7]."""

    penalty_over_reply: bool
    """Repetition is penalised over the whole reply, not over three tokens [Q8]."""

    minimum_over_reply: bool
    """`min_new_tokens` counts over the whole reply, not in each round [Q17]."""

    speak_like_people: bool
    """Numbers are words, links and markup are silent, long sentences are split, no text is lost or spoken twice, and
    segments are joined [Q10, Q13, Q15, Q16, Q18, Q19, Q20]; speech ends when it falls silent or runs on."""

    emit_early: bool
    """Sound is given as soon as it cannot change any more; joined together it is the same sound."""


PARITY = Behaviour(False, False, False, False, False, False)
"""Number for number as published."""

DEFAULT = Behaviour(True, True, True, True, True, True)
"""As people want it."""
