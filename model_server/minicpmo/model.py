"""The whole network: its parts, side by side."""

from __future__ import annotations

from dataclasses import dataclass

from model_server.minicpmo.config import ModelConfig
from model_server.minicpmo.network.dvae import Dvae
from model_server.minicpmo.network.language import Language
from model_server.minicpmo.network.resampler import Resampler
from model_server.minicpmo.network.speech import Speech
from model_server.minicpmo.network.vision import Vision
from model_server.minicpmo.network.vocos import Vocos
from model_server.minicpmo.network.whisper import AudioEncoder
from model_server.minicpmo.words.tokens import SpeechTokenizer, TextTokenizer


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
