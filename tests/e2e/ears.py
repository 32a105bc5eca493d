"""Understands what the assistant says by its sound alone, among the sentences that it could be."""

from __future__ import annotations

import re
from collections.abc import Iterable

from model_server.demo.colours import NAMES
from model_server.demo.grammar import build
from model_server.demo.recogniser import Recogniser
from tests.e2e.sounds import Sound, as_pcm

PRONUNCIATIONS = {"colour": ("K AH L ER",)}

COLOUR_ANSWERS = tuple(
    answer.format(colour)
    for colour in NAMES
    for answer in ("I see {}.", "That looks {} to me.", "The main colour is {}.")
)
"""Whatever the default script may answer to "what colour do you see"."""


def words(text: str) -> str:
    """Only the words, in small letters."""
    return " ".join(re.findall(r"[a-z']+", text.lower()))


def understood(sound: Sound, sentences: Iterable[str]) -> list[str]:
    """The sentences heard in `sound`, one after another, as `words` writes them."""
    recogniser = Recogniser(build([words(sentence) for sentence in sentences], PRONUNCIATIONS), decoders=1)
    return [heard.text for heard in recogniser.finish([as_pcm(sound)]) if heard.text]
