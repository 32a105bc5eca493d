"""The sizes that have a name."""

from __future__ import annotations

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

TINY = ModelConfig(
    language=LanguageConfig(640, hidden_size=128, intermediate_size=256, num_layers=3, num_heads=4, num_kv_heads=2),
    vision=VisionConfig(hidden_size=64, intermediate_size=128, num_layers=2, num_heads=4),
    resampler=ResamplerConfig(hidden_size=128, input_size=64),
    audio=AudioConfig(hidden_size=64, intermediate_size=128, num_layers=2, num_heads=4, output_size=128),
    speech=SpeechConfig(
        llm_size=128, hidden_size=64, intermediate_size=128, num_layers=2, num_heads=4, num_text_tokens=400
    ),
    dvae=DvaeConfig(vq_dim=64, bottleneck=16, hidden_size=24, num_layers=2, encoder_layers=1, output_size=32),
    vocos=VocosConfig(hidden_size=32, intermediate_size=64, num_layers=2),
)

MID = ModelConfig(
    language=LanguageConfig(1516, hidden_size=768, intermediate_size=2304, num_layers=8, num_heads=12, num_kv_heads=4),
    vision=VisionConfig(hidden_size=384, intermediate_size=1536, num_layers=6, num_heads=6),
    resampler=ResamplerConfig(hidden_size=768, input_size=384),
    audio=AudioConfig(hidden_size=384, intermediate_size=1536, num_layers=6, num_heads=6, output_size=768),
    speech=SpeechConfig(
        llm_size=768, hidden_size=384, intermediate_size=1536, num_layers=8, num_heads=6, num_text_tokens=1074
    ),
)

SIZES = {"tiny": TINY, "mid": MID, "full": ModelConfig()}
"""`tiny` for tests, `mid` for measuring on a CPU, `full` as published."""
