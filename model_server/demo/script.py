"""A script that a kiosk owner wrote (`docs/demo-script.md`): read, checked, and every sentence of it known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from model_server.demo.grammar import Grammar
from model_server.demo.script_checks import Checks, Meaning
from model_server.demo.script_file import ScriptFile
from model_server.demo.script_form import Script


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
    source = ScriptFile(path)
    script = source.convert()
    checked = Checks(source, script)
    meanings = checked.meanings()
    checked.answers()
    return Loaded(script, meanings, checked.grammar(meanings))
