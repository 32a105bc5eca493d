"""Reading `config.json`, `preprocessor_config.json` and `generation_config.json` of a model folder.

Everything that does not fit the network (specification sections 1.2, 2.1, 3.1) comes in one table, before any weight is
read. A key that is left out has the default of the published configuration classes.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from model_server.minicpmo import config as sizes
from model_server.minicpmo.errors import CheckpointError
from model_server.minicpmo.loading.findings import Findings
from model_server.minicpmo.loading.section import Section

SUPPORTED_VERSION = "2.6"

# Settings of generation that act beside the ones a caller gives; only at these values do they change nothing.
NEUTRAL_GENERATION: dict[str, tuple[Any, ...]] = {
    "no_repeat_ngram_size": (None, 0),
    "encoder_no_repeat_ngram_size": (None, 0),
    "encoder_repetition_penalty": (None, 1, 1.0),
    "min_length": (None, 0),
    "min_p": (None, 0, 0.0),
    "typical_p": (None, 1, 1.0),
    "epsilon_cutoff": (None, 0, 0.0),
    "eta_cutoff": (None, 0, 0.0),
    "guidance_scale": (None, 1, 1.0),
    "penalty_alpha": (None, 0, 0.0),
    "suppress_tokens": (None, []),
    "begin_suppress_tokens": (None, []),
    "bad_words_ids": (None, []),
    "force_words_ids": (None, []),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "sequence_bias": (None, {}, []),
    "exponential_decay_length_penalty": (None,),
}


def read(folder: Path) -> sizes.ModelConfig:
    """The sizes of the network in a model folder. Raises `CheckpointError` with a table of all that does not fit."""
    findings = Findings()
    config = Section(_json(folder / "config.json", findings), "config.json", findings)
    preprocessor = Section(_json(folder / "preprocessor_config.json", findings), "preprocessor_config.json", findings)
    findings.check(f"{folder}: not a MiniCPM-o 2.6 folder:")
    _check_kind(folder, config)
    result = sizes.ModelConfig(
        language=_language(config),
        vision=_vision(config, config.section("vision_config")),
        resampler=_resampler(config),
        audio=_audio(config, config.section("audio_config")),
        speech=_speech(config.section("tts_config")),
        dvae=_dvae(config.section("tts_config")),
        vocos=_vocos(config.section("tiny_vocos")),
        pictures=_pictures(config, preprocessor),
    )
    _check_streaming(config)
    _check_hearing(preprocessor)
    _check_generation(folder, findings)
    _check_against_each_other(result, findings)
    findings.check(f"{folder}: the configuration does not fit MiniCPM-o 2.6:")
    return result


def _json(file: Path, findings: Findings) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        findings.add(file.name, "no such file", "a JSON file")
    except (OSError, ValueError) as error:
        findings.add(file.name, str(error), "a JSON file")
    return {}


def _check_kind(folder: Path, config: Section) -> None:
    """Say in one sentence what is wrong with a folder of another model, of another version, or already quantised."""
    kind, version, quantised = config.get("model_type"), config.get("version"), config.get("quantization_config")
    if kind != "minicpmo":
        raise CheckpointError(f"{folder}: not a MiniCPM-o 2.6 folder: expected model_type minicpmo, found {kind!r}")
    if str(version) != SUPPORTED_VERSION:
        raise CheckpointError(f"{folder}: expected MiniCPM-o version {SUPPORTED_VERSION}, found {version!r}")
    if quantised is not None:
        method = quantised.get("quant_method") if isinstance(quantised, dict) else None
        raise CheckpointError(
            f"{folder}: the weights in it are already quantised ({method or 'unknown method'}); expected the bfloat16 "
            "checkpoint, which quantize='int8' or 'int4' quantises while it loads"
        )


def _language(c: Section) -> sizes.LanguageConfig:
    c.must_be("hidden_act", "silu")
    c.must_be("tie_word_embeddings", False, "lm_head is a matrix of its own")
    c.must_be("use_sliding_window", False)
    c.must_be("rope_scaling", None)
    return sizes.LanguageConfig(
        vocab_size=c.whole("vocab_size", None),
        hidden_size=c.whole("hidden_size", None),
        intermediate_size=c.whole("intermediate_size", None),
        num_layers=c.whole("num_hidden_layers", None),
        num_heads=c.whole("num_attention_heads", None),
        num_kv_heads=c.whole("num_key_value_heads", None),
        max_positions=c.whole("max_position_embeddings", 32768),
        rope_theta=c.positive("rope_theta", 1e4),
        rms_norm_eps=c.positive("rms_norm_eps", 1e-6),
    )


def _vision(c: Section, v: Section) -> sizes.VisionConfig:
    v.must_be("hidden_act", "gelu_pytorch_tanh")
    v.must_be("num_channels", 3)
    return sizes.VisionConfig(
        hidden_size=v.whole("hidden_size", 1152),
        intermediate_size=v.whole("intermediate_size", 4304),
        num_layers=v.whole("num_hidden_layers", 27),
        num_heads=v.whole("num_attention_heads", 16),
        image_size=v.whole("image_size", 980),
        patch_size=v.whole("patch_size", 14),
        layer_norm_eps=v.positive("layer_norm_eps", 1e-6),
        drop_last_layer=c.flag("drop_vision_last_layer", True),
        batch_size=c.whole("vision_batch_size", 16),
    )


def _resampler(c: Section) -> sizes.ResamplerConfig:
    return sizes.ResamplerConfig(
        num_queries=c.whole("query_num", 64),
        hidden_size=c.whole("hidden_size", None),
        input_size=c.section("vision_config").whole("hidden_size", 1152),
    )


def _audio(c: Section, a: Section) -> sizes.AudioConfig:
    a.must_be("activation_function", "gelu")
    a.must_be("num_mel_bins", 80)
    a.must_be("scale_embedding", False)
    return sizes.AudioConfig(
        hidden_size=a.whole("d_model", 384),
        intermediate_size=a.whole("encoder_ffn_dim", 1536),
        num_layers=a.whole("encoder_layers", 4),
        num_heads=a.whole("encoder_attention_heads", 6),
        max_positions=a.whole("max_source_positions", 1500),
        output_size=c.whole("hidden_size", None),
        pool_step=c.whole("audio_pool_step", 2),
        chunk_seconds=c.positive("audio_chunk_length", 1.0, most=30),
    )


def _speech(t: Section) -> sizes.SpeechConfig:
    _check_speech(t)
    return sizes.SpeechConfig(
        llm_size=t.whole("llm_dim", 2560),
        hidden_size=t.whole("hidden_size", 768),
        intermediate_size=t.whole("intermediate_size", 3072),
        num_layers=t.whole("num_hidden_layers", 20),
        num_heads=t.whole("num_attention_heads", 12),
        max_positions=t.whole("max_position_embeddings", 4096),
        num_text_tokens=t.whole("num_text_tokens", 21178),
        speaker_id=t.whole("spk_emb_token_id", 21143, least=0),
        audio_bos_id=t.whole("audio_bos_token_id", 21132, least=0),
        text_eos_id=t.whole("text_eos_token_id", 21133, least=0),
        text_chunk=t.whole("streaming_text_chunk_size", 10),
        reserved_text=t.whole("streaming_text_reserved_len", 300),
        audio_chunk=t.whole("streaming_audio_chunk_size", 50),
        top_p=t.positive("top_p", 0.7, most=1),
        top_k=t.whole("top_k", 20),
    )


def _check_speech(t: Section) -> None:
    t.must_be("num_vq", 4)
    t.must_be("num_audio_tokens", 626, "625 codes of four digits in five levels, and the end")
    t.must_be("num_mel_bins", 100)
    t.must_be("num_spk_embs", 1, "one speaker slot")
    t.must_be("use_speaker_embedding", True)
    t.must_be("use_mlp", True, "the projector has two layers")
    t.must_be("repetition_penalty", 1.0)


def _dvae(t: Section) -> sizes.DvaeConfig:
    d = t.section("tiny_dvae")
    return sizes.DvaeConfig(
        vq_dim=d.whole("vq_dim", 1024),
        bottleneck=d.whole("bn_dim", 128),
        hidden_size=d.whole("hidden", 256),
        num_layers=d.whole("n_layer", 12),
        encoder_layers=d.whole("enc_layer", 12),
        output_size=d.whole("odim", 512),
    )


def _vocos(v: Section) -> sizes.VocosConfig:
    return sizes.VocosConfig(
        hidden_size=v.whole("dim", 512),
        intermediate_size=v.whole("intermediate_dim", 1536),
        num_layers=v.whole("num_layers", 8),
    )


def _pictures(c: Section, p: Section) -> sizes.PictureConfig:
    for key in ("norm_mean", "norm_std", "image_mean", "image_std"):
        p.must_be(key, [0.5, 0.5, 0.5])
    p.must_be("version", c.get("version"))
    p.must_be("image_feature_size", c.whole("query_num", 64), "query_num of config.json")
    p.must_be("patch_size", c.section("vision_config").whole("patch_size", 14), "patch_size of the vision tower")
    result = sizes.PictureConfig(
        max_slices=p.whole("max_slice_nums", 9, most=100),
        scale_resolution=p.whole("scale_resolution", 448),
        patch_size=p.whole("patch_size", 14),
    )
    slices = c.section("slice_config")
    slices.must_be("max_slice_nums", result.max_slices, "max_slice_nums of preprocessor_config.json")
    slices.must_be("scale_resolution", result.scale_resolution, "scale_resolution of preprocessor_config.json")
    return result


def _check_streaming(c: Section) -> None:
    c.must_be("chunk_input", True, "sound is spread over places of one second")
    c.must_be("slice_mode", True)


def _check_hearing(p: Section) -> None:
    """The constants of the log-mel are built in."""
    for key, expected in {
        "feature_size": 80,
        "n_fft": 400,
        "hop_length": 160,
        "chunk_length": 30,
        "sampling_rate": 16000,
        "n_samples": 480000,
        "nb_max_frames": 3000,
    }.items():
        p.must_be(key, expected)


def _check_generation(folder: Path, findings: Findings) -> None:
    file = folder / "generation_config.json"
    if not file.exists():
        return
    section = Section(_json(file, findings), file.name, findings)
    for key, neutral in NEUTRAL_GENERATION.items():
        if section.get(key) not in neutral:
            section.miss(key, f"{json.dumps(neutral[-1])}, the value without effect")


def _check_against_each_other(c: sizes.ModelConfig, findings: Findings) -> None:
    """Sizes that have to divide or to equal each other."""

    def divides(part: str, size: int, by: int, what: str) -> None:
        if size % by:
            findings.add(part, size, f"a multiple of {by} ({what})")

    speech = c.speech
    divides("config.json hidden_size", c.language.hidden_size, 2 * c.language.num_heads, "heads of an even width")
    divides("config.json num_attention_heads", c.language.num_heads, c.language.num_kv_heads, "num_key_value_heads")
    divides("config.json hidden_size", c.resampler.hidden_size, 128, "width of the resampler's heads")
    divides("vision_config hidden_size", c.vision.hidden_size, c.vision.num_heads, "num_attention_heads")
    divides("vision_config image_size", c.vision.image_size, c.vision.patch_size, "patch_size")
    divides("audio_config d_model", c.audio.hidden_size, c.audio.num_heads, "encoder_attention_heads")
    divides("tts_config hidden_size", speech.hidden_size, 2 * speech.num_heads, "heads of an even width")
    divides("tts_config tiny_dvae vq_dim", c.dvae.vq_dim, 2, "two frames of mel for one of codes")
    divides("scale_resolution", c.pictures.scale_resolution, c.pictures.patch_size, "patch_size")
    if speech.llm_size != c.language.hidden_size:
        findings.add("tts_config llm_dim", speech.llm_size, f"{c.language.hidden_size} (hidden_size)")
    for key, token in (
        ("spk_emb_token_id", speech.speaker_id),
        ("audio_bos_token_id", speech.audio_bos_id),
        ("text_eos_token_id", speech.text_eos_id),
    ):
        if token >= speech.num_text_tokens:
            findings.add(f"tts_config {key}", token, f"below {speech.num_text_tokens} (num_text_tokens)")
