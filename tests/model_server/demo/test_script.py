from __future__ import annotations

from pathlib import Path

import pytest

from model_server.demo.engine import DEFAULT_SCRIPT, DemoEngine
from model_server.demo.script import load
from model_server.demo.script_file import ScriptError
from tests.model_server.demo.samples import assistant

GOOD = """\
name: Test
greeting: Hello.
suggestions: ['What time is it?', 'Tell me a joke.', 'Open the door.']
not_understood: ['Did you mean "{nearest}" or "{second}"?']
nothing_said: ['Yes?']
slots:
  room: {values: [hall, garden]}
pronunciations:
  blorft: [B L AO R F T]
intents:
  - name: time
    say: [what time is it]
    answers: ["It is {time}."]
  - name: colour
    say: ["what blorft is in the {room}"]
    answers: ["The {room} is {colour}."]
    otherwise: [I cannot see it.]
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "script.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_good_script_knows_its_sentences(tmp_path: Path) -> None:
    loaded = load(write(tmp_path, GOOD))
    assert set(loaded.meanings) == {"what time is it", "what blorft is in the hall", "what blorft is in the garden"}
    assert loaded.meanings["what blorft is in the hall"].sentence.values == (("room", "hall"),)
    assert loaded.grammar.lexicon["blorft"] == ("B L AO R F T",)
    assert loaded.first_sentences == ("what time is it", "what blorft is in the hall")


@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ("name: Test", "name: [Test", 2, "expected ',' or"),
        ("name: Test\n", "", 1, "missing required field `name`"),
        ("name: Test", "nome: Test", 1, "unknown field `nome`"),
        ("name: Test", "name: Test\nname: Best", 2, "name: expected each key once, got name again"),
        ("    otherwise:", "    elsewhere:", 14, r"intents\[1\]: object contains unknown field `elsewhere`"),
        ("say: [what time is it]", "say: what time is it", 12, r"intents\[0\].say: expected `array`, got `str`"),
        ("say: [what time is it]", "say: []", 12, r"intents\[0\].say: expected one phrasing or more, got none"),
        ("say: [what time is it]", "say: ['What time?']", 12, r"intents\[0\].say\[0\]: .*lower-case word"),
        ('answers: ["It is {time}."]', "answers: []", 13, r"intents\[0\].answers: expected one text or more, got none"),
        ('answers: ["It is {time}."]', "answers: [' ']", 13, "expected words, got an empty text"),
        ("{time}", "{tide}", 13, r"unknown slot \{tide\}; known here are .*time"),
        ('{room}"]', '{moon}"]', 15, r"unknown slot \{moon\}"),
        ("what blorft is in the {room}", "what time is it", 15, "'what time is it' already belongs to the intent time"),
        ("name: colour", "name: time", 14, "expected a new name, got time again"),
        ("  blorft: [B L AO R F T]", "  blorft: [B Q L]", 9, "expected strings of ARPAbet phones.*got Q"),
        ("  blorft: [B L AO R F T]", "  other: [W AY F AY]", 15, "no pronunciation for blorft: .*pronunciations"),
        ("[hall, garden]", "[]", 7, "slots.room: expected a new name"),
        ("[hall, garden]", "[Hall]", 7, "slots.room: expected lower-case words, got 'Hall'"),
        ("[hall, garden]", "[xyzzyx]", 7, "no pronunciation for xyzzyx"),
        (", 'Open the door.']", "]", 3, "suggestions: expected three to five, got 2"),
        ("greeting: Hello.", "greeting: ''", 2, "greeting: expected words, got an empty text"),
        (GOOD, "", 1, "expected a script, got an empty file"),
        (GOOD, "- a\n- b\n", 1, "expected `object`, got `array`"),
    ],
)
def test_a_broken_script_is_named_by_file_and_line(tmp_path: Path, old: str, new: str, line: int, problem: str) -> None:
    path = write(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(ScriptError, match=problem) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "script.yaml"
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ScriptError, match="expected a YAML file in UTF-8"):
        load(path)


def test_an_engine_with_a_broken_script_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ScriptError):
        DemoEngine(write(tmp_path, "name: only"))
    with pytest.raises(FileNotFoundError):
        DemoEngine(tmp_path / "none.yaml")


@pytest.mark.parametrize("path", sorted(DEFAULT_SCRIPT.parent.glob("*.yaml")), ids=lambda path: path.stem)
def test_the_scripts_that_come_with_the_engine_are_good(path: Path) -> None:
    loaded = load(path)
    for intent in loaded.script.intents:
        for sentence in intent.suggest:
            assert sentence in loaded.meanings, f"{intent.name} suggests {sentence!r}, which nobody understands"


def test_the_default_script_is_rich_enough() -> None:
    script = assistant().script
    assert len(script.intents) >= 30
    assert sum(len(intent.say) for intent in script.intents) >= 100
    assert max(len(answer) for intent in script.intents for answer in intent.answers) > 800
