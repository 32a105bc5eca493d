"""The whole network: its parts, side by side."""

from __future__ import annotations

from dataclasses import dataclass

from model_server.minicpmo.config import ModelConfig
from model_server.minicpmo.dvae import Dvae
from model_server.minicpmo.language import Language
from model_server.minicpmo.resampler import Resampler
from model_server.minicpmo.speech import Speech
from model_server.minicpmo.tokens import SpeechTokenizer, TextTokenizer
from model_server.minicpmo.vision import Vision
from model_server.minicpmo.vocos import Vocos
from model_server.minicpmo.whisper import AudioEncoder


@dataclass(frozen=True, slots=True)
class MiniCPMO:
    """Weights and vocabularies, shared by all sessions; what a call changes lives in the session alone."""

    config: ModelConfig
    tokenizer: TextTokenizer
    speech_tokenizer: SpeechTokenizer
    language: Language
    vision: Vision
    resampler: Resampler
    audio: AudioEncoder
    speech: Speech
    dvae: Dvae
    vocos: Vocos
