"""What a script must hold beyond its form: one meaning for each sentence, slots that exist, words that have a sound."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from model_server.demo import numbers
from model_server.demo.facts import FACTS
from model_server.demo.grammar import PHONES, Grammar, UnknownWords, build
from model_server.demo.phrasings import PhrasingError, Sentence, expand
from model_server.demo.script_file import ScriptFile
from model_server.demo.script_form import Intent, Script

MOST_SENTENCES = 4_000
NUMBERS = tuple(numbers.spoken(number) for number in range(1, 21))
BUILT_IN_SLOTS = {"number": NUMBERS}
_ANSWER_SLOT = re.compile(r"\{([^{}]*)\}")
_BARE_NAME = re.compile(r"[a-z_]+")


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a sentence means: the intent it belongs to and the values of its slots."""

    intent: Intent
    sentence: Sentence


class Checks:
    """What the types alone cannot say."""

    def __init__(self, source: ScriptFile, script: Script) -> None:
        self._source = source
        self._script = script
        self._slots = {**BUILT_IN_SLOTS, **{name: slot.values for name, slot in script.slots.items()}}

    def meanings(self) -> dict[str, Meaning]:
        """Every sentence of the script; each belongs to one intent."""
        self._names()
        meanings: dict[str, Meaning] = {}
        for place, intent, phrasing in self._phrasings():
            try:
                sentences = expand(phrasing, self._slots)
            except PhrasingError as error:
                raise self._source.error(place, str(error)) from error
            for sentence in sentences:
                known = meanings.setdefault(sentence.text, Meaning(intent, sentence))
                if known.intent is not intent:
                    raise self._source.error(
                        place, f"{sentence.text!r} already belongs to the intent {known.intent.name}: keep one of them"
                    )
        if len(meanings) > MOST_SENTENCES:
            raise self._source.error(
                ".intents", f"expected at most {MOST_SENTENCES} sentences, got {len(meanings)}: say less"
            )
        return meanings

    def answers(self) -> None:
        """Every slot in an answer exists, and no list is empty."""
        for number, intent in enumerate(self._script.intents):
            known = {name for phrasing in intent.say for name in _ANSWER_SLOT.findall(phrasing)}
            for field in ("answers", "otherwise"):
                self._texts(f".intents[{number}].{field}", getattr(intent, field), known, field == "answers")
        self._texts(".not_understood", self._script.not_understood, {"nearest", "second"}, True)
        self._texts(".picture_shown", self._script.picture_shown, set(), False)
        self._texts(".nothing_said", self._script.nothing_said, set(), True)
        self._texts(".greeting", (self._script.greeting,), set(), True)
        if not 3 <= len(self._script.suggestions) <= 5:
            raise self._source.error(".suggestions", f"expected three to five, got {len(self._script.suggestions)}")

    def grammar(self, meanings: dict[str, Meaning]) -> Grammar:
        """What to listen for; every word of it has a pronunciation."""
        for word, sounds in self._script.pronunciations.items():
            unknown = sorted({phone for each in sounds for phone in each.split()} - PHONES)
            if unknown or not sounds:
                raise self._source.error(
                    f".pronunciations.{word}",
                    f"expected strings of ARPAbet phones such as 'K AH L ER', got {', '.join(unknown) or 'none'}",
                )
        try:
            return build(meanings, self._script.pronunciations)
        except UnknownWords as error:
            raise self._source.error(self._place_of(error.words[0]), str(error)) from error

    def _names(self) -> None:
        for name, slot in self._script.slots.items():
            if not slot.values or name in BUILT_IN_SLOTS or name in FACTS or not _BARE_NAME.fullmatch(name):
                raise self._source.error(
                    f".slots.{name}", "expected a new name of lower-case letters, with one value or more"
                )
            for value in slot.values:
                if not re.fullmatch(r"[a-z']+( [a-z']+)*", value):
                    raise self._source.error(f".slots.{name}", f"expected lower-case words, got {value!r}")
        names = [intent.name for intent in self._script.intents]
        for number, name in enumerate(names):
            if name in names[:number]:
                raise self._source.error(f".intents[{number}].name", f"expected a new name, got {name} again")
        if not names:
            raise self._source.error(".intents", "expected one intent or more, got none")

    def _phrasings(self) -> Iterator[tuple[str, Intent, str]]:
        for number, intent in enumerate(self._script.intents):
            if not intent.say:
                raise self._source.error(f".intents[{number}].say", "expected one phrasing or more, got none")
            for index, phrasing in enumerate(intent.say):
                yield f".intents[{number}].say[{index}]", intent, phrasing

    def _texts(self, place: str, texts: tuple[str, ...], known: set[str], needed: bool) -> None:
        if needed and not texts:
            raise self._source.error(place, "expected one text or more, got none")
        for index, text in enumerate(texts):
            where = place if place == ".greeting" else f"{place}[{index}]"
            if not text.strip():
                raise self._source.error(where, "expected words, got an empty text")
            for name in _ANSWER_SLOT.findall(text):
                if name not in known and name not in FACTS:
                    raise self._source.error(
                        where, f"unknown slot {{{name}}}; known here are {', '.join(sorted(known | set(FACTS)))}"
                    )

    def _place_of(self, word: str) -> str:
        for name, slot in self._script.slots.items():
            if any(word in value.split() for value in slot.values):
                return f".slots.{name}"
        for place, _, phrasing in self._phrasings():
            if re.search(rf"(?<![a-z']){re.escape(word)}(?![a-z'])", phrasing):
                return place
        return ""
