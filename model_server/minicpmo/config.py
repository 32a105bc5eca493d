"""The sizes of the network, as `config.json` of the checkpoint gives them.

Defaults are the published model's; a key the file leaves out has the default of the published configuration classes.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LanguageConfig:
    """The language model, a Qwen2."""

    vocab_size: int = 151700
    hidden_size: int = 3584
    intermediate_size: int = 18944
    num_layers: int = 28
    num_heads: int = 28
    num_kv_heads: int = 4
    max_positions: int = 32768
    rope_theta: float = 1e6
    rms_norm_eps: float = 1e-6

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """The picture tower, a SigLIP over patch grids of any shape."""

    hidden_size: int = 1152
    intermediate_size: int = 4304
    num_layers: int = 27
    num_heads: int = 16
    image_size: int = 980
    patch_size: int = 14
    layer_norm_eps: float = 1e-6
    drop_last_layer: bool = False
    batch_size: int = 16

    @property
    def grid_side(self) -> int:
        """Rows (and columns) of the table of learned positions."""
        return self.image_size // self.patch_size

    @property
    def layers_used(self) -> int:
        return self.num_layers - self.drop_last_layer


@dataclass(frozen=True, slots=True)
class ResamplerConfig:
    """One cross-attention from a picture's patches to a fixed number of queries."""

    num_queries: int = 64
    hidden_size: int = 3584
    input_size: int = 1152

    @property
    def num_heads(self) -> int:
        return self.hidden_size // 128


@dataclass(frozen=True, slots=True)
class AudioConfig:
    """The audio encoder, a Whisper encoder, and its projector to the language model's width."""

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_layers: int = 24
    num_heads: int = 16
    num_mel_bins: int = 80
    max_positions: int = 1500
    layer_norm_eps: float = 1e-5
    output_size: int = 3584
    pool_step: int = 2
    chunk_seconds: float = 1.0


@dataclass(frozen=True, slots=True)
class SpeechConfig:
    """The speech model ("ConditionalChatTTS"), a Llama that writes frames of audio codes."""

    llm_size: int = 3584
    hidden_size: int = 768
    intermediate_size: int = 3072
    num_layers: int = 20
    num_heads: int = 12
    max_positions: int = 4096
    rope_theta: float = 1e4
    rms_norm_eps: float = 1e-6
    num_codebooks: int = 4
    num_codes: int = 626
    num_text_tokens: int = 21178
    num_mel_bins: int = 100
    speaker_id: int = 21143
    audio_bos_id: int = 21132
    text_eos_id: int = 21133
    text_chunk: int = 10
    reserved_text: int = 300
    audio_chunk: int = 50
    top_p: float = 0.7
    top_k: int = 20
    repetition_penalty: float = 1.0

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_heads

    @property
    def eos_code(self) -> int:
        """The last code of every codebook ends the speech."""
        return self.num_codes - 1

    @property
    def audio_start(self) -> int:
        """Position of the audio BOS: start token, speaker slot, reserved text."""
        return 2 + self.reserved_text


@dataclass(frozen=True, slots=True)
class DvaeConfig:
    """The mel decoder: codes to a log-mel of two frames per code frame."""

    vq_dim: int = 1024
    bottleneck: int = 128
    hidden_size: int = 256
    num_layers: int = 12
    encoder_layers: int = 12  # Of the side that inference does not use.
    output_size: int = 512
    num_mel_bins: int = 100


@dataclass(frozen=True, slots=True)
class VocosConfig:
    """The vocoder: log-mel to 24 kHz sound."""

    hidden_size: int = 512
    intermediate_size: int = 1536
    num_layers: int = 8
    num_mel_bins: int = 100
    n_fft: int = 1024
    hop: int = 256


@dataclass(frozen=True, slots=True)
class PictureConfig:
    """How a picture is resized and sliced (`preprocessor_config.json`)."""

    max_slices: int = 9
    scale_resolution: int = 448
    patch_size: int = 14


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The whole network."""

    language: LanguageConfig = field(default_factory=LanguageConfig)
    vision: VisionConfig = field(default_factory=VisionConfig)
    resampler: ResamplerConfig = field(default_factory=ResamplerConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    speech: SpeechConfig = field(default_factory=SpeechConfig)
    dvae: DvaeConfig = field(default_factory=DvaeConfig)
    vocos: VocosConfig = field(default_factory=VocosConfig)
    pictures: PictureConfig = field(default_factory=PictureConfig)
