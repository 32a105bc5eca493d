"""What a session is told before everything else, and the cache of it: computed once, copied into each session."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from model_server.minicpmo.memory.eviction import ContextLimits
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.replies.steps import Step
from model_server.minicpmo.serving.voices import SpokenVoice
from model_server.minicpmo.session import Session
from model_server.minicpmo.words.prompts import Item, Language, Mode, system_content
from model_server.minicpmo.words.tasks import TASKS

KEPT = 8
"""Prompts whose caches are kept; the one not used for the longest time goes."""


@dataclass(frozen=True, slots=True)
class SystemPrompt:
    """Equal prompts have equal caches."""

    mode: Mode
    language: Language
    persona: str
    voice: SpokenVoice

    def content(self) -> list[Item]:
        """The message: the model's own words for mode, language and voice, the persona behind them."""
        content = system_content(self.mode, self.language, self.voice.clip)
        return [*content, f"\n{self.persona}"] if self.persona else content


class Openings:
    """Sessions with nothing but a system prompt, to be copied. Used on the device thread only."""

    def __init__(self, model: MiniCPMO, limits: ContextLimits | None = None) -> None:
        """`limits` of the sessions' contexts."""
        self._model = model
        self._limits = limits or ContextLimits()
        self._sessions: OrderedDict[SystemPrompt, Session] = OrderedDict()
        self._transcriptions: dict[Language, Session] = {}
        self.computed = 0
        """How many prompts were computed so far."""

    def session(self, prompt: SystemPrompt) -> Generator[Step[Any], Any, Session]:
        """A fresh session that was told `prompt`, step by step; two that ask for a new one at once compute it each."""
        if prompt not in self._sessions:
            told = Session(self._model)
            yield from told.write_steps(told.prepare("system", prompt.content()))
            self._sessions[prompt] = told
            self.computed += 1
        self._sessions.move_to_end(prompt)
        while len(self._sessions) > KEPT:
            self._sessions.popitem(last=False)
        return self._like(self._sessions[prompt], slotted=True)

    def transcription(self, language: Language) -> Session:
        """A fresh session that was asked to transcribe the sound that comes next."""
        if language not in self._transcriptions:
            asked = Session(self._model)
            asked.prefill("user", [TASKS[f"transcribe-{language}"].prompt[language] + "\n"])
            self._transcriptions[language] = asked
        # Short and soon over: a slot as long as a call's would be wasted on it.
        return self._like(self._transcriptions[language], slotted=False)

    def _like(self, told: Session, *, slotted: bool) -> Session:
        session = Session(self._model, limits=self._limits)
        session.adopt(told, slotted=slotted)
        return session
