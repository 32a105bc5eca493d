"""Talking to the model from a program or the command line, one turn after the other.

model = load("folder")
chat = Chat(model, ChatSettings(system=system_content("omni", "en", voice)))
for piece in chat.say([picture, "What is this?"]):
    print(piece.text, end="")        # piece.samples: 24 kHz
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace

import torch

from model_server.minicpmo import one_shot
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.one_shot import DRAWN, LIKELIEST, Message
from model_server.minicpmo.replies.segment import Piece
from model_server.minicpmo.words.prompts import UNIT, Item


@dataclass(frozen=True, slots=True)
class ChatSettings:
    """How a conversation is led."""

    system: Sequence[Item] = ()
    """Content of the system prompt, none if empty."""
    examples: Sequence[tuple[Sequence[Item], str]] = ()
    """Questions with the answers that they should have got."""
    sampling: TextSampling = DRAWN
    speak: bool = False
    seed: int | None = None
    """Makes every turn repeatable; None draws anew."""
    parity: bool = False
    """Number for number as published: all of the text before the sound, quirks included."""


def sampling(temperature: float | None, most_tokens: int | None) -> TextSampling:
    """Drawn at a temperature, the likeliest at 0. Raises `InputError` for a value outside its range."""
    base = LIKELIEST if temperature == 0 else DRAWN
    return replace(
        base,
        temperature=temperature or base.temperature,
        max_new_tokens=base.max_new_tokens if most_tokens is None else most_tokens,
    )


@dataclass(slots=True)
class Chat:
    """A conversation. A turn that fails or is closed early leaves it as it was before that turn."""

    model: MiniCPMO
    settings: ChatSettings = field(default_factory=ChatSettings)
    messages: list[Message] = field(default_factory=list)
    """Everything said so far, the system prompt and the examples included."""

    def __post_init__(self) -> None:
        if self.settings.system:
            # The published system prompt is a message of the user.
            self.messages.append(Message("user", self.settings.system))
        for question, answer in self.settings.examples:
            self.messages += [Message("user", question), Message("assistant", [answer])]

    def say(self, content: Sequence[Item]) -> Generator[Piece]:
        """The reply to a message, while it is made. Raises `InputError` for content outside its limits."""
        messages = [*self.messages, Message("user", list(content))]
        live = any(item == UNIT for message in messages for item in message.content if isinstance(item, str))
        prompt = one_shot.read(self.model, messages, max_slices=1 if live else None, number_pictures=not live)
        text = ""
        for piece in self._whole(prompt) if self.settings.parity else self._streamed(prompt):
            text += piece.text
            yield piece
        self.messages = [*messages, Message("assistant", [self._without_specials(text)])]

    def _without_specials(self, text: str) -> str:
        """A reply as it may stand in the next prompt: a stray special token would open or close what is not there."""
        for special in self.model.tokenizer.special_strings:
            text = text.replace(special, "")
        return text

    def _streamed(self, prompt: one_shot.Prompt) -> Generator[Piece]:
        settings = self.settings
        return one_shot.answer(self.model, prompt, settings.sampling, speak=settings.speak, seed=settings.seed)

    def _whole(self, prompt: one_shot.Prompt) -> Generator[Piece]:
        settings = self.settings
        found, _ = one_shot.whole(self.model, prompt, settings.sampling, speak=settings.speak, seed=settings.seed)
        yield Piece(found.text, found.samples if settings.speak else torch.zeros(0))
