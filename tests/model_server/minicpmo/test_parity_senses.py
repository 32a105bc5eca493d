from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from model_server.minicpmo.config import ModelConfig
from model_server.minicpmo.loading.checkpoint import Tensors, fill
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network import positions, resampler, vision, whisper
from model_server.minicpmo.network.resampler import Resampler
from model_server.minicpmo.network.vision import Vision
from model_server.minicpmo.network.whisper import AudioEncoder
from model_server.minicpmo.parity import hearing, pictures, seeing
from model_server.minicpmo.parity.report import Report
from model_server.minicpmo.parity.vectors import VectorSet

Check = Callable[[VectorSet, Report, MiniCPMO], None]
FILES = ("image.npz", "mel.npz", "vision.npz", "audio_encoder.npz")
SECTIONS = ("image_cases", "image_rule", "mel_cases", "mel_rule", "vision_cases", "vision_rule", "vrule", "melrule")


@pytest.fixture
def senses(tiny_config: ModelConfig, tensors: Tensors) -> MiniCPMO:
    """The model's eyes and ears."""
    with torch.device("meta"):
        eyes, narrow = Vision(tiny_config.vision), Resampler(tiny_config.resampler)
        ears = AudioEncoder(tiny_config.audio)
    parts = SimpleNamespace(
        config=tiny_config,
        vision=fill(eyes, vision.recipes(tiny_config.vision), tensors, torch.float32),
        resampler=fill(narrow, resampler.recipes(tiny_config.resampler), tensors, torch.float32),
        audio=fill(ears, whisper.recipes(tiny_config.audio), tensors, torch.float32),
    )
    return cast(MiniCPMO, parts)


@pytest.fixture
def report(tiny_folder: Path) -> Report:
    return Report(VectorSet(tiny_folder.parent))


def only(report: Report, section: str) -> VectorSet:
    """The vectors with a single section of data."""
    return cast(VectorSet, _Section(report.vectors, section))


class _Section:
    def __init__(self, vectors: VectorSet, section: str) -> None:
        self._vectors, self._section = vectors, section

    def __getattr__(self, name: str) -> Any:
        return getattr(self._vectors, name)

    def data(self, section: str) -> Any:
        return self._vectors.data(section if section == self._section else "nothing")

    def keys(self, file: str) -> list[str]:
        return [] if self._section != "sound" and file == "audio_encoder.npz" else self._vectors.keys(file)


def missed(report: Report) -> set[str]:
    return {row.key for row in report.misses}


def test_plain_floors_miss(senses: MiniCPMO, report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    """The vectors tell the published rounding of positions from the obvious one."""
    monkeypatch.setattr(positions, "ONE_LOWER", {})
    positions.buckets.cache_clear()
    positions.position_ids.cache_clear()
    try:
        seeing.check(only(report, "vision_rule_cases"), report, senses)
    finally:
        positions.buckets.cache_clear()
        positions.position_ids.cache_clear()
    assert {"vrule0_vpm_samples", "vrule1_vpm_samples"} <= missed(report)


def test_a_changed_tower_misses(senses: MiniCPMO, report: Report) -> None:
    senses.vision.norm.bias += 0.001
    seeing.check(only(report, "vision_cases"), report, senses)
    assert {"a_vpm", "b_vpm", "c_vpm"} <= missed(report)
    assert "a_embeddings" not in missed(report)


def test_a_changed_ear_misses(senses: MiniCPMO, report: Report) -> None:
    senses.audio.norm.bias += 0.001
    hearing.check(only(report, "sound"), report, senses)
    assert {"stream_hidden0", "stream_embed4", "full_hidden", "batch2_embed1", "repeat_embed30"} <= missed(report)
    assert not {"mel0", "stream_k_layer0", "repeat_cache_len"} & missed(report)


def test_another_order_of_patches_misses(senses: MiniCPMO, report: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "strip", lambda part, side: part.patches.T.reshape(3, side, -1))
    pictures.check(only(report, "image_cases"), report, senses)
    assert "c0_m1_s0_samples" in missed(report)
    assert "image_cases[0].grid" not in missed(report)
