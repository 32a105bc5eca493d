from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from model_server.minicpmo.config import ModelConfig
from model_server.minicpmo.errors import CheckpointError
from model_server.minicpmo.loading import config_file
from model_server.minicpmo.random_checkpoint import SIZES
from model_server.minicpmo.random_checkpoint.folder import config_json, preprocessor_json

TEXT_IDS = {"<|im_start|>": 1, "<|im_end|>": 2}
SPEECH_IDS = {"[spk_emb]": 21143, "[Ptts]": 21132, "[Etts]": 21133}

Change = Callable[[dict[str, Any], dict[str, Any]], None]


def write(folder: Path, change: Change = lambda config, preprocessor: None) -> Path:
    config = config_json(ModelConfig(), TEXT_IDS, SPEECH_IDS)
    preprocessor = preprocessor_json(ModelConfig())
    change(config, preprocessor)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        config_file.read(folder)
    return str(caught.value)


def test_the_published_sizes(tmp_path: Path) -> None:
    assert config_file.read(write(tmp_path)) == ModelConfig()


def test_defaults_of_the_published_classes(tmp_path: Path) -> None:
    def leave_out(config: dict[str, Any], preprocessor: dict[str, Any]) -> None:
        for key in ("query_num", "vision_batch_size", "audio_pool_step", "drop_vision_last_layer", "slice_config"):
            del config[key]
        config["vision_config"], config["tts_config"] = {}, {"llm_dim": 3584}
        preprocessor.clear()

    found = config_file.read(write(tmp_path, leave_out))
    assert found.vision.drop_last_layer
    assert (found.vision.hidden_size, found.resampler.num_queries, found.audio.pool_step) == (1152, 64, 2)
    assert found.speech == ModelConfig().speech
    assert found.pictures == ModelConfig().pictures


def test_a_golden_folder(tiny_folder: Path) -> None:
    raw = json.loads((tiny_folder / "config.json").read_text())
    found = config_file.read(tiny_folder)
    assert found.language.hidden_size == raw["hidden_size"] == found.resampler.hidden_size == found.audio.output_size
    assert found.dvae.encoder_layers == raw["tts_config"]["tiny_dvae"]["enc_layer"]
    assert found.speech.speaker_id == raw["tts_config"]["spk_emb_token_id"]


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("hidden_size", "3584", "whole number"),
        ("hidden_size", None, "whole number"),
        ("hidden_size", True, "whole number"),
        ("num_hidden_layers", 0, "whole number"),
        ("num_hidden_layers", 1 << 40, "whole number"),
        ("hidden_size", 3500, "a multiple of"),
        ("num_key_value_heads", 3, "num_key_value_heads"),
        ("rope_theta", -1, "above 0"),
        ("rms_norm_eps", "small", "above 0"),
        ("hidden_act", "gelu", '"silu"'),
        ("tie_word_embeddings", True, "false"),
        ("use_sliding_window", True, "false"),
        ("rope_scaling", {"type": "yarn"}, "null"),
        ("chunk_input", False, "true"),
        ("drop_vision_last_layer", 1, "true or false"),
        ("audio_chunk_length", 31, "up to 30"),
        ("slice_config.max_slice_nums", 4, "9 (max_slice_nums of preprocessor_config.json)"),
        ("vision_config", 7, "an object"),
        ("vision_config.hidden_act", "relu", "gelu_pytorch_tanh"),
        ("vision_config.num_attention_heads", 7, "a multiple of 7"),
        ("vision_config.image_size", 981, "a multiple of 14"),
        ("audio_config.num_mel_bins", 128, "80"),
        ("audio_config.activation_function", "relu", "gelu"),
        ("tts_config.llm_dim", 2560, "3584 (hidden_size)"),
        ("tts_config.num_spk_embs", 2, "one speaker slot"),
        ("tts_config.use_mlp", False, "true"),
        ("tts_config.num_vq", 8, "4"),
        ("tts_config.num_audio_tokens", 1026, "626"),
        ("tts_config.top_p", 1.5, "up to 1"),
        ("tts_config.repetition_penalty", 1.1, "1.0"),
        ("tts_config.spk_emb_token_id", 21178, "below 21178"),
        ("preprocessor.hop_length", 128, "160"),
        ("preprocessor.n_fft", 512, "400"),
        ("preprocessor.feature_size", 128, "80"),
        ("preprocessor.chunk_length", 20, "30"),
        ("preprocessor.sampling_rate", 24000, "16000"),
        ("preprocessor.norm_mean", [0.48, 0.45, 0.4], "[0.5, 0.5, 0.5]"),
        ("preprocessor.norm_std", 0.5, "[0.5, 0.5, 0.5]"),
        ("preprocessor.patch_size", 16, "14"),
        ("preprocessor.image_feature_size", 96, "64"),
        ("preprocessor.version", 4.5, "2.6"),
    ],
)
def test_a_value_that_does_not_fit_is_named(tmp_path: Path, where: str, value: object, said: str) -> None:
    *path, key = where.split(".")

    def change(config: dict[str, Any], preprocessor: dict[str, Any]) -> None:
        target = preprocessor if path == ["preprocessor"] else config
        for name in path if target is config else []:
            target = target[name]
        target[key] = value

    message = refusal(write(tmp_path, change))
    assert key in message
    assert said in message


def test_everything_wrong_comes_in_one_table(tmp_path: Path) -> None:
    def change(config: dict[str, Any], preprocessor: dict[str, Any]) -> None:
        config["chunk_input"], config["tts_config"]["use_mlp"] = False, False
        preprocessor["n_fft"] = 512

    rows = refusal(write(tmp_path, change)).splitlines()
    assert rows[1].split() == ["where", "found", "expected"]
    assert [row.split()[:3] for row in rows[2:]] == [
        ["config.json", "tts_config:", "use_mlp"],
        ["config.json", "chunk_input", "False"],
        ["preprocessor_config.json", "n_fft", "512"],
    ]


def test_generation_settings_that_would_act_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "generation_config.json").write_text('{"temperature": 0.7, "top_k": 5, "eos_token_id": 3}')
    config_file.read(folder)
    (folder / "generation_config.json").write_text('{"no_repeat_ngram_size": 3, "suppress_tokens": [5]}')
    message = refusal(folder)
    assert "no_repeat_ngram_size" in message
    assert "suppress_tokens" in message


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    assert "config.json" in refusal(tmp_path)
    (tmp_path / "config.json").write_text("{")
    assert "a JSON file" in refusal(tmp_path)
    (tmp_path / "config.json").write_text("[]")
    (tmp_path / "preprocessor_config.json").write_text("{}")
    assert "not a MiniCPM-o 2.6 folder" in refusal(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "qwen2"}')
    assert "expected model_type minicpmo, found 'qwen2'" in refusal(tmp_path)


def test_another_version_and_quantised_weights(tmp_path: Path) -> None:
    assert "expected MiniCPM-o version 2.6, found 4.5" in refusal(write(tmp_path, lambda c, p: c.update(version=4.5)))
    assert "found None" in refusal(write(tmp_path, lambda c, p: c.pop("version")))
    message = refusal(write(tmp_path, lambda c, p: c.update(quantization_config={"quant_method": "gptq"})))
    assert "already quantised (gptq)" in message
    assert "int8" in message


def test_the_version_may_be_a_string(tmp_path: Path) -> None:
    def change(config: dict[str, Any], preprocessor: dict[str, Any]) -> None:
        config["version"] = preprocessor["version"] = "2.6"

    assert config_file.read(write(tmp_path, change)) == ModelConfig()


@pytest.mark.parametrize("size", ["tiny", "mid"])
def test_what_the_maker_writes_is_what_is_read(tmp_path: Path, size: str) -> None:
    config = SIZES[size]
    ids = {"[spk_emb]": 1, "[Ptts]": 2, "[Etts]": 3}
    (tmp_path / "config.json").write_text(json.dumps(config_json(config, TEXT_IDS, ids)))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(preprocessor_json(config)))
    found = config_file.read(tmp_path)
    assert (found.language, found.vision, found.resampler, found.audio) == (
        config.language,
        config.vision,
        config.resampler,
        config.audio,
    )
    assert (found.dvae, found.vocos) == (config.dvae, config.vocos)
    assert found.speech.speaker_id == 1


def test_no_generation_config_is_needed(tmp_path: Path, tiny_folder: Path) -> None:
    for name in ("config.json", "preprocessor_config.json"):
        shutil.copy(tiny_folder / name, tmp_path)
    assert config_file.read(tmp_path) == config_file.read(tiny_folder)
