"""The settings of a session as the network takes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

from model_server.engine import ConfigRejected
from model_server.items import check_config
from model_server.minicpmo.errors import InputError
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.serving.system_prompt import SystemPrompt
from model_server.minicpmo.serving.voices import Voices
from model_server.minicpmo.words.prompts import Language, Mode
from model_server.minicpmo.words.tasks import TASKS
from model_server.protocol import Capabilities, SessionConfig

MOST_TOKENS = 512
"""Of a reply, where the session does not say."""

LAST_UNIT_SLICES, SHOWN_SLICES = 6, 9
"""Into how many slices the last picture of a turn, and one that is shown on purpose, may be cut."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """What a session was asked to be."""

    prompt: SystemPrompt
    sampling: TextSampling
    speak: bool
    detailed: bool
    task: str
    transcribe: bool

    @property
    def task_prompt(self) -> str:
        """What stands in front of each turn; empty without a task."""
        return TASKS[self.task].prompt[self.prompt.language] + "\n" if self.task else ""

    @classmethod
    def of(
        cls, config: SessionConfig, capabilities: Capabilities, voices: Voices, special_strings: frozenset[str]
    ) -> SessionSettings:
        """Raises `ConfigRejected` that names field and range."""
        check_config(config, capabilities)
        voice = voices.of(config)
        mode, language = cast(Mode, config.mode), cast(Language, config.language)
        if mode == "voice_cloning" and voice.clip is None:
            raise ConfigRejected("config.mode voice_cloning needs a voice to clone, got none: send config.voice_clip")
        for special in special_strings:
            if special in config.instructions:
                raise ConfigRejected(f"config.instructions have no special tokens, got {special}: take it out")
        prompt = SystemPrompt(mode, language, config.instructions.strip(), voice)
        return cls(
            prompt, sampling(config), config.speech, config.picture_detail == "high", config.task, config.transcribe
        )


def sampling(config: SessionConfig) -> TextSampling:
    """How the text of replies is drawn: what the session says, else the published values."""
    said = {
        name: value
        for name in ("temperature", "top_p", "top_k", "repetition_penalty")
        if (value := getattr(config, name)) is not None
    }
    most = MOST_TOKENS if config.max_response_tokens is None else config.max_response_tokens
    base = TextSampling(max_new_tokens=most)
    if said.get("temperature") == 0:
        del said["temperature"]
        base = replace(base, do_sample=False)
    try:
        return replace(base, **said)
    except InputError as error:
        raise ConfigRejected(f"config.{error}") from error
