from __future__ import annotations

import math

import pytest

from model_server.minicpmo.config import ModelConfig, VisionConfig
from model_server.minicpmo.loading import layout
from model_server.minicpmo.loading.checkpoint import Tensors
from model_server.minicpmo.network import dvae, language, resampler, speech, vision, vocos, whisper

OFFICIAL = ModelConfig()


def count(names: dict[str, layout.Shape]) -> int:
    return sum(math.prod(shape) for shape in names.values())


def test_the_official_network_has_the_published_number_of_parameters() -> None:
    shards = {name: shape for name, shape in layout.official_tensors(OFFICIAL).items() if not name.startswith("vocos.")}
    assert count(shards) == 8_674_997_028


@pytest.mark.parametrize(
    ("part", "parameters"),
    [
        ("language", 7_613_007_360),
        ("vision", 417_792_240),
        ("resampler", 68_619_264),
        ("audio", 307_216_384 + 16_522_240),
        ("speech", 236_808_392),
        ("dvae", 15_031_148),
    ],
)
def test_every_part_has_its_published_number(part: str, parameters: int) -> None:
    names = {n: shape for n, shape in layout.official_tensors(OFFICIAL).items() if layout.part_of(n) == part}
    assert count(names) == parameters


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("llm.model.layers.27.self_attn.k_proj.bias", (512,)),
        ("vpm.embeddings.position_embedding.weight", (4900, 1152)),
        ("resampler.attn.in_proj_weight", (10752, 3584)),
        ("apm.conv1.weight", (1024, 80, 3)),
        ("tts.head_code.3.parametrizations.weight.original0", (626, 1)),
        ("tts.dvae.decoder.decoder_block.11.dwconv.weight", (256, 1, 7)),
        ("vocos.backbone.convnext.7.gamma", (512,)),
    ],
)
def test_shapes_of_the_specification(name: str, shape: tuple[int, ...]) -> None:
    assert layout.official_tensors(OFFICIAL)[name] == shape


def test_the_key_projection_of_the_audio_encoder_has_no_bias() -> None:
    assert "apm.layers.0.self_attn.k_proj.bias" not in layout.official_tensors(OFFICIAL)


def test_a_dropped_last_vision_layer_is_not_expected() -> None:
    names = layout.official_tensors(ModelConfig(vision=VisionConfig(drop_last_layer=True)))
    assert "vpm.encoder.layers.25.mlp.fc1.weight" in names
    assert "vpm.encoder.layers.26.mlp.fc1.weight" not in names


def test_the_parts_take_exactly_the_needed_tensors(tiny_config: ModelConfig) -> None:
    for config in (OFFICIAL, tiny_config):
        recipes = (
            *language.recipes(config.language),
            *vision.recipes(config.vision),
            *resampler.recipes(config.resampler),
            *whisper.recipes(config.audio),
            *speech.recipes(config.speech),
            *dvae.recipes(config.dvae),
            *vocos.recipes(config.vocos),
        )
        taken = {source for recipe in recipes for source in recipe.sources}
        assert taken == set(layout.needed_tensors(config))


@pytest.mark.parametrize(
    ("name", "ignored"),
    [
        ("tts.model.embed_tokens.weight", True),
        ("tts.dvae.encoder.conv_out.weight", True),
        ("tts.dvae.downsample_conv.0.weight", True),
        ("tts.dvae.vq_layer.quantizer.rvqs.0.project_in.weight", True),
        ("tts.dvae.vq_layer.quantizer.rvqs.0.project_out.weight", False),
        ("resampler.pos_embed", True),
        ("vocos.feature_extractor.mel_spec.spectrogram.window", True),
        ("llm.model.embed_tokens.weight", False),
        ("resampler.proj", False),
    ],
)
def test_what_is_ignored(name: str, ignored: bool) -> None:
    assert layout.is_ignored(name) == ignored


def test_shapes_of_a_published_style_folder(tiny_config: ModelConfig, tensors: Tensors) -> None:
    for name, shape in layout.official_tensors(tiny_config).items():
        if name != "tts.model.embed_tokens.weight":
            assert tuple(tensors[name].shape) == shape, name
