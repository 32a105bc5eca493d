"""Names and shapes of the published checkpoint's tensors (specification section 1.3).

The vocoder's file is a part of it: its keys have the prefix `vocos.` here.
"""

from __future__ import annotations

from collections.abc import Iterator

from model_server.minicpmo.config import (
    AudioConfig,
    DvaeConfig,
    LanguageConfig,
    ModelConfig,
    ResamplerConfig,
    SpeechConfig,
    VisionConfig,
    VocosConfig,
)

Shape = tuple[int, ...]
Named = Iterator[tuple[str, Shape]]

UNUSED_SPEECH_ROWS = 32000
FSQ_DIGITS = 4
"""Every code is four digits of five levels."""

PART_PREFIXES = {
    "language": ("llm.",),
    "vision": ("vpm.",),
    "resampler": ("resampler.",),
    "audio": ("apm.", "audio_projection_layer."),
    "dvae": ("tts.dvae.",),
    "speech": ("tts.",),
    "vocos": ("vocos.",),
}

IGNORED = (
    "tts.model.embed_tokens.",
    "tts.dvae.encoder.",
    "tts.dvae.downsample_conv.",
    "resampler.pos_embed",
    "vocos.feature_extractor.",
)


def part_of(name: str) -> str | None:
    """The part of the network that a tensor belongs to."""
    return next((part for part, prefixes in PART_PREFIXES.items() if name.startswith(prefixes)), None)


def is_ignored(name: str) -> bool:
    """Whether a tensor may be there, in any shape, and is never read."""
    return name.startswith(IGNORED) or (name.startswith("tts.dvae.") and ".project_in." in name)


def needed_tensors(config: ModelConfig) -> dict[str, Shape]:
    """Every tensor that has to be there."""
    return {name: shape for name, shape in official_tensors(config).items() if not is_ignored(name)}


def official_tensors(config: ModelConfig) -> dict[str, Shape]:
    """Every tensor of the published files, those that inference ignores (`is_ignored`) included."""
    names: dict[str, Shape] = {}
    names.update(_language(config.language))
    names.update(_vision(config.vision))
    names.update(_resampler(config.resampler))
    names.update(_audio(config.audio))
    names.update(_speech(config.speech))
    names.update(_dvae(config.dvae))
    names.update((f"vocos.{name}", shape) for name, shape in _vocos(config.vocos))
    return names


def _both(name: str, *weight: int) -> Named:
    """A weight and a bias as long as its first axis."""
    yield f"{name}.weight", weight
    yield f"{name}.bias", weight[:1]


def _language(c: LanguageConfig) -> Named:
    yield "llm.model.embed_tokens.weight", (c.vocab_size, c.hidden_size)
    for i in range(c.num_layers):
        yield from _language_layer(f"llm.model.layers.{i}", c)
    yield "llm.model.norm.weight", (c.hidden_size,)
    yield "llm.lm_head.weight", (c.vocab_size, c.hidden_size)


def _language_layer(at: str, c: LanguageConfig) -> Named:
    queries, keys = c.num_heads * c.head_dim, c.num_kv_heads * c.head_dim
    yield f"{at}.input_layernorm.weight", (c.hidden_size,)
    yield f"{at}.post_attention_layernorm.weight", (c.hidden_size,)
    for name, rows in (("q", queries), ("k", keys), ("v", keys)):
        yield from _both(f"{at}.self_attn.{name}_proj", rows, c.hidden_size)
    yield f"{at}.self_attn.o_proj.weight", (c.hidden_size, queries)
    yield from _gated_mlp(at, c.hidden_size, c.intermediate_size)


def _gated_mlp(at: str, hidden: int, inner: int) -> Named:
    yield f"{at}.mlp.gate_proj.weight", (inner, hidden)
    yield f"{at}.mlp.up_proj.weight", (inner, hidden)
    yield f"{at}.mlp.down_proj.weight", (hidden, inner)


def _vision(c: VisionConfig) -> Named:
    yield from _both("vpm.embeddings.patch_embedding", c.hidden_size, 3, c.patch_size, c.patch_size)
    yield "vpm.embeddings.position_embedding.weight", (c.grid_side**2, c.hidden_size)
    for i in range(c.layers_used):
        at = f"vpm.encoder.layers.{i}"
        for number in "12":
            yield from _both(f"{at}.layer_norm{number}", c.hidden_size)
        for name in ("q", "k", "v", "out"):
            yield from _both(f"{at}.self_attn.{name}_proj", c.hidden_size, c.hidden_size)
        yield from _both(f"{at}.mlp.fc1", c.intermediate_size, c.hidden_size)
        yield from _both(f"{at}.mlp.fc2", c.hidden_size, c.intermediate_size)
    yield from _both("vpm.post_layernorm", c.hidden_size)


def _resampler(c: ResamplerConfig) -> Named:
    size = c.hidden_size
    yield "resampler.query", (c.num_queries, size)
    yield "resampler.kv_proj.weight", (size, c.input_size)
    yield "resampler.attn.in_proj_weight", (3 * size, size)
    yield "resampler.attn.in_proj_bias", (3 * size,)
    yield from _both("resampler.attn.out_proj", size, size)
    for name in ("ln_q", "ln_kv", "ln_post"):
        yield from _both(f"resampler.{name}", size)
    yield "resampler.proj", (size, size)


def _audio(c: AudioConfig) -> Named:
    size = c.hidden_size
    yield from _both("apm.conv1", size, c.num_mel_bins, 3)
    yield from _both("apm.conv2", size, size, 3)
    yield "apm.embed_positions.weight", (c.max_positions, size)
    for i in range(c.num_layers):
        yield from _audio_layer(f"apm.layers.{i}", c)
    yield from _both("apm.layer_norm", size)
    yield from _both("audio_projection_layer.linear1", c.output_size, size)
    yield from _both("audio_projection_layer.linear2", c.output_size, c.output_size)


def _audio_layer(at: str, c: AudioConfig) -> Named:
    size = c.hidden_size
    yield from _both(f"{at}.self_attn_layer_norm", size)
    yield from _both(f"{at}.final_layer_norm", size)
    for name in ("q", "v", "out"):
        yield from _both(f"{at}.self_attn.{name}_proj", size, size)
    yield f"{at}.self_attn.k_proj.weight", (size, size)
    yield from _both(f"{at}.fc1", c.intermediate_size, size)
    yield from _both(f"{at}.fc2", size, c.intermediate_size)


def _speech(c: SpeechConfig) -> Named:
    size = c.hidden_size
    yield from _both("tts.projector.linear1", size, c.llm_size)
    yield from _both("tts.projector.linear2", size, size)
    yield "tts.emb_text.weight", (c.num_text_tokens, size)
    for i in range(c.num_codebooks):
        yield f"tts.emb_code.{i}.weight", (c.num_codes, size)
        yield f"tts.head_code.{i}.parametrizations.weight.original0", (c.num_codes, 1)
        yield f"tts.head_code.{i}.parametrizations.weight.original1", (c.num_codes, size)
    yield "tts.model.embed_tokens.weight", (UNUSED_SPEECH_ROWS, size)
    for i in range(c.num_layers):
        yield from _speech_layer(f"tts.model.layers.{i}", c)
    yield "tts.model.norm.weight", (size,)


def _speech_layer(at: str, c: SpeechConfig) -> Named:
    for name in "qkvo":
        yield f"{at}.self_attn.{name}_proj.weight", (c.hidden_size, c.hidden_size)
    yield from _gated_mlp(at, c.hidden_size, c.intermediate_size)
    yield f"{at}.input_layernorm.weight", (c.hidden_size,)
    yield f"{at}.post_attention_layernorm.weight", (c.hidden_size,)


def _dvae(c: DvaeConfig) -> Named:
    half = c.vq_dim // 2
    yield "tts.dvae.coef", (1, c.num_mel_bins, 1)
    yield from _both("tts.dvae.downsample_conv.0", half, c.num_mel_bins, 3)
    yield from _both("tts.dvae.downsample_conv.2", half, half, 4)
    yield from _conv_stack("tts.dvae.encoder", c, c.encoder_layers, c.vq_dim)
    for group in range(2):
        at = f"tts.dvae.vq_layer.quantizer.rvqs.{group}"
        yield from _both(f"{at}.project_in", FSQ_DIGITS, half)
        yield from _both(f"{at}.project_out", half, FSQ_DIGITS)
    yield from _conv_stack("tts.dvae.decoder", c, c.num_layers, c.output_size)
    yield "tts.dvae.out_conv.weight", (c.num_mel_bins, c.output_size, 3)


def _conv_stack(at: str, c: DvaeConfig, layers: int, output: int) -> Named:
    size = c.hidden_size
    yield from _both(f"{at}.conv_in.0", c.bottleneck, c.vq_dim // 2, 3)
    yield from _both(f"{at}.conv_in.2", size, c.bottleneck, 3)
    for i in range(layers):
        yield from _conv_block(f"{at}.decoder_block.{i}", size, 4 * size, "coef")
    yield f"{at}.conv_out.weight", (output, size, 1)


def _conv_block(at: str, size: int, inner: int, scale: str) -> Named:
    """A ConvNeXt block."""
    yield from _both(f"{at}.dwconv", size, 1, 7)
    yield from _both(f"{at}.norm", size)
    yield from _both(f"{at}.pwconv1", inner, size)
    yield from _both(f"{at}.pwconv2", size, inner)
    yield f"{at}.{scale}", (size,)


def _vocos(c: VocosConfig) -> Named:
    yield from _both("backbone.embed", c.hidden_size, c.num_mel_bins, 7)
    yield from _both("backbone.norm", c.hidden_size)
    for i in range(c.num_layers):
        yield from _conv_block(f"backbone.convnext.{i}", c.hidden_size, c.intermediate_size, "gamma")
    yield from _both("backbone.final_layer_norm", c.hidden_size)
    yield from _both("head.out", c.n_fft + 2, c.hidden_size)
    yield "head.istft.window", (c.n_fft,)
