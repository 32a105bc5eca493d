"""The script that a kiosk owner writes (`docs/demo-script.md`): read, checked, and every sentence of it known.

Every error is a `ScriptError` whose text begins with `file:line:` and says what was expected.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import yaml

from model_server.demo import numbers
from model_server.demo.facts import FACTS
from model_server.demo.grammar import PHONES, Grammar, UnknownWords, build
from model_server.demo.phrasings import PhrasingError, Sentence, expand

MOST_SENTENCES = 4_000
NUMBERS = tuple(numbers.spoken(number) for number in range(1, 21))
BUILT_IN_SLOTS = {"number": NUMBERS}
_ANSWER_SLOT = re.compile(r"\{([^{}]*)\}")
_BARE_NAME = re.compile(r"[a-z_]+")


class ScriptError(ValueError):
    """A script that cannot be used; the text is one line with file, line and what was expected."""


class Slot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Things that may stand in a phrasing. `open`: typed text may put anything there (only at a phrasing's end)."""

    values: tuple[str, ...]
    open: bool = False


class Intent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing the person may want.

    `say`: phrasings. `answers`: one is chosen; where a slot in it has no value, one of `otherwise`. `suggest`:
    sentences worth trying next.
    """

    name: str
    say: tuple[str, ...]
    answers: tuple[str, ...]
    otherwise: tuple[str, ...] = ()
    suggest: tuple[str, ...] = ()


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a script says."""

    name: str
    greeting: str
    suggestions: tuple[str, ...]
    not_understood: tuple[str, ...]
    nothing_said: tuple[str, ...]
    intents: tuple[Intent, ...]
    language: str = "en"
    picture_shown: tuple[str, ...] = ()
    notice: str = ""
    voice: str = "en-us"
    slots: dict[str, Slot] = {}
    pronunciations: dict[str, tuple[str, ...]] = {}


@dataclass(frozen=True, slots=True)
class Meaning:
    """What a sentence means: the intent it belongs to and the values of its slots."""

    intent: Intent
    sentence: Sentence


@dataclass(frozen=True, slots=True)
class Loaded:
    """A script that has been checked. `meanings`: every sentence in it, by its words."""

    script: Script
    meanings: dict[str, Meaning]
    grammar: Grammar

    @property
    def first_sentences(self) -> tuple[str, ...]:
        """One sentence of each intent: the first of its first phrasing."""
        first: dict[str, str] = {}
        for meaning in self.meanings.values():
            first.setdefault(meaning.intent.name, meaning.sentence.text)
        return tuple(first.values())


def load(path: Path) -> Loaded:
    """Read and check the script at `path`. Raises `ScriptError`, `OSError`."""
    source = _Source(path)
    script = source.convert()
    checked = _Checked(source, script)
    meanings = checked.meanings()
    checked.answers()
    return Loaded(script, meanings, checked.grammar(meanings))


class _Source:
    """A YAML file that remembers where each value stands."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise ScriptError(f"{path}:{mark.line + 1 if mark else 1}: {error.problem or 'not YAML'}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ScriptError(f"{path}:1: expected a YAML file in UTF-8, got {_one_line(error)}") from error

    def convert(self) -> Script:
        """The typed script."""
        if self._root is None:
            raise self.error("", "expected a script, got an empty file")
        self._no_key_twice(self._root)
        try:
            return msgspec.convert(_plain(self._root), Script)
        except msgspec.ValidationError as error:
            problem, _, place = str(error).partition(" - at `$")
            raise self.error(place.rstrip("`"), problem[:1].lower() + problem[1:]) from error

    def _no_key_twice(self, node: yaml.Node) -> None:
        seen: set[str] = set()
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            if key.value in seen:
                raise ScriptError(
                    f"{self._path}:{key.start_mark.line + 1}: {key.value}: expected each key once, got {key.value} again"
                )
            seen.add(key.value)
            self._no_key_twice(value)
        for each in node.value if isinstance(node, yaml.SequenceNode) else ():
            self._no_key_twice(each)

    def error(self, place: str, problem: str) -> ScriptError:
        """`problem` at `place`, e.g. `.intents[3].say[0]`."""
        where = f"{place.lstrip('.')}: " if place else ""
        return ScriptError(f"{self._path}:{self._line(place)}: {where}{problem}")

    def _line(self, place: str) -> int:
        node = self._root
        if node is None:
            return 1
        for key in re.findall(r"[\w']+", place.replace("...", "")):
            deeper = _child(node, key)
            if deeper is None:
                break
            node = deeper
        return int(node.start_mark.line) + 1


class _Checked:
    """What the types alone cannot say."""

    def __init__(self, source: _Source, script: Script) -> None:
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


def _plain(node: yaml.Node) -> object:
    """Plain values; YAML's own words for true and numbers stay what they are."""
    match node:
        case yaml.MappingNode():
            return {str(_plain(key)): _plain(value) for key, value in node.value}
        case yaml.SequenceNode():
            return [_plain(each) for each in node.value]
        case yaml.ScalarNode(tag="tag:yaml.org,2002:bool"):
            return node.value.lower() in ("true", "yes", "on")
        case _:
            return node.value


def _child(node: yaml.Node, key: str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for name, value in node.value if name.value == key), None)
    if isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
        found: yaml.Node = node.value[int(key)]
        return found
    return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
