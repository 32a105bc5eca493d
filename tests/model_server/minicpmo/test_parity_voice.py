"""The voice against the golden vectors, and that the comparison can fail."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch import nn

from model_server.minicpmo.config import ModelConfig
from model_server.minicpmo.loading.assembly import fill
from model_server.minicpmo.loading.checkpoint import Tensors
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network import dvae, speech, vocos
from model_server.minicpmo.parity import voice
from model_server.minicpmo.parity.report import Report
from model_server.minicpmo.parity.vectors import VectorSet
from model_server.minicpmo.words.speech_ids import speech_ids
from model_server.minicpmo.words.tokens import SpeechTokenizer
from tests.model_server.minicpmo.conftest import unpacked


@pytest.fixture(scope="module")
def tokenizer(tiny_folder: Path, tiny_config: ModelConfig) -> SpeechTokenizer:
    return SpeechTokenizer(tiny_folder / "assets" / "chattts_tokenizer", tiny_config.speech)


@pytest.fixture
def model(tiny_config: ModelConfig, tensors: Tensors, tokenizer: SpeechTokenizer) -> MiniCPMO:
    with torch.device("meta"):
        parts: list[nn.Module] = [
            speech.Speech(tiny_config.speech),
            dvae.Dvae(tiny_config.dvae),
            vocos.Vocos(tiny_config.vocos),
        ]
    with unpacked():
        fill(parts[0], speech.recipes(tiny_config.speech), tensors, torch.float32)
        fill(parts[1], dvae.recipes(tiny_config.dvae), tensors, torch.float32)
        fill(parts[2], vocos.recipes(tiny_config.vocos), tensors, torch.float32)
    names = dict(zip(("speech", "dvae", "vocos"), parts, strict=True))
    return cast(MiniCPMO, SimpleNamespace(config=tiny_config, speech_tokenizer=tokenizer, **names))


def checked(folder: Path, model: MiniCPMO) -> tuple[VectorSet, Report]:
    vectors = VectorSet(folder.parent)
    report = Report(vectors)
    voice.check(vectors, report, model)
    return vectors, report


def test_all_of_the_voice_is_compared_and_holds(tiny_folder: Path, model: MiniCPMO) -> None:
    vectors, report = checked(tiny_folder, model)
    assert report.misses == []
    ours = ("tts_unit", "tts_sampler", "tsamp", "prepare_tts_text")
    assert [pair for pair in vectors.unseen() if any(name in "".join(pair) for name in ours)] == []


@pytest.mark.parametrize(
    ("part", "parameter", "missed"),
    [
        ("speech", "projector.linear2.bias", "projected"),
        ("speech", "text_embedding", "kv_k_l0_after12"),
        ("speech", "code_embedding", "codes_chunk1"),
        ("speech", "head.weight", "raw_logits"),
        ("dvae", "features", "vq_feat_chunk1"),
        ("dvae", "scale", "fixed_mel"),
        ("vocos", "head.bias", "fixed_wav"),
    ],
)
def test_a_wrong_weight_is_a_miss(tiny_folder: Path, model: MiniCPMO, part: str, parameter: str, missed: str) -> None:
    weight = getattr(model, part).get_parameter(parameter)
    weight += torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) * weight.std(correction=0).clamp(
        0.1
    )
    assert missed in {row.key for row in checked(tiny_folder, model)[1].misses}


def test_a_short_text_has_its_end_and_filling(tokenizer: SpeechTokenizer) -> None:
    words = tokenizer.encode("the one")
    t = tokenizer
    expected = [t.start_id, t.speaker_id, *words, t.text_end_id, *[t.pad_id] * (7 - len(words)), t.audio_start_id]
    assert speech_ids(tokenizer, "the one", 8) == (expected, len(words))


@pytest.mark.parametrize("extra", [0, 3])
def test_a_text_that_fills_all_room_has_no_end(tokenizer: SpeechTokenizer, extra: int) -> None:
    words = tokenizer.encode("a " * (8 + extra))
    ids, count = speech_ids(tokenizer, "a " * (8 + extra), 8)
    assert (ids, count) == ([tokenizer.start_id, tokenizer.speaker_id, *words[:8], tokenizer.audio_start_id], 8)


def test_the_string_of_a_full_text_has_neither_end_nor_filling() -> None:
    assert voice.written_out("abc", 3, 3) == "[Stts][spk_emb]abc[Ptts]"
    assert voice.written_out("abc", 3, 5) == "[Stts][spk_emb]abc[Etts][PAD][Ptts]"
