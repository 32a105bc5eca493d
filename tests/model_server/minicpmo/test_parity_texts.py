"""The rules on text against the golden vectors, and that a broken rule is seen."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from model_server.minicpmo.config import ModelConfig
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.parity import texts
from model_server.minicpmo.parity.report import Report
from model_server.minicpmo.parity.vectors import VectorSet
from model_server.minicpmo.words.tokens import SpeechTokenizer, TextTokenizer


@pytest.fixture(scope="module")
def vocabularies(tiny_folder: Path, tiny_config: ModelConfig) -> MiniCPMO:
    speech = SpeechTokenizer(tiny_folder / "assets" / "chattts_tokenizer", tiny_config.speech)
    return cast(MiniCPMO, SimpleNamespace(tokenizer=TextTokenizer(tiny_folder), speech_tokenizer=speech))


def test_every_rule_on_text_equals_the_published_one(tiny_folder: Path, vocabularies: MiniCPMO) -> None:
    vectors = VectorSet(tiny_folder.parent)
    report = Report(vectors)
    texts.check(vectors, report, vocabularies)
    assert report.rows
    assert report.misses == []
    sections = ("utils.", "utils_more.", "specials.", "tts_specials.", "bos_eos_pad")
    left = [key for _, key in vectors.unseen() if key.startswith(sections) and "prepare_tts_text" not in key]
    assert left == []


def test_a_broken_rule_is_a_miss(tiny_folder: Path, vocabularies: MiniCPMO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "sentence_end", lambda text: "")
    vectors = VectorSet(tiny_folder.parent)
    report = Report(vectors)
    texts.check(vectors, report, vocabularies)
    assert {row.key.split(".")[1] for row in report.misses} == {"sentence_end"}
