"""Whose turn it is in the context, and what closes it: headers and ends of messages (specification sections 5, 6).

`OfficialTurns` is the published bookkeeping with its quirks, `WholeTurns` the mended one. Both are values: a session
takes the next one only when the forward pass that goes with it has succeeded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

from model_server.minicpmo.words.prompts import REPLY_START

Role = Literal["system", "user", "assistant"]

MESSAGE_END = "<|im_end|>\n"
SPEECH_END = "<|tts_eos|>"


class Turns(Protocol):
    """The state of the conversation's turns."""

    def prefill(self, role: Role, text: str) -> tuple[str, Turns]:
        """What to write for a message piece, and the state after it."""
        ...

    def reply(self) -> tuple[str, Turns]:
        """What opens a reply, and the state while it runs."""
        ...

    def finished(self, spoken_to_end: bool) -> Turns:
        """The reply ended by itself; `spoken_to_end`: with `<|tts_eos|>` in the context."""
        ...

    @property
    def starts_turn(self) -> bool:
        """Whether the next user piece begins a turn."""
        ...


@dataclass(frozen=True, slots=True)
class OfficialTurns:
    """Three flags, as published; the first message of a session is wrapped whatever it is."""

    first: bool = True
    starts_turn: bool = True
    generated: bool = False
    completed: bool = False

    def prefill(self, role: Role, text: str) -> tuple[str, OfficialTurns]:
        if self.first:
            return f"<|im_start|>{role}\n{text}{MESSAGE_END}", replace(self, first=False)
        if role != "user":
            return text, replace(self, starts_turn=True)
        header = f"{self._closing}<|im_start|>user\n" if self.starts_turn else ""
        return header + text, replace(self, starts_turn=False)

    @property
    def _closing(self) -> str:
        if not self.generated:
            return ""
        return MESSAGE_END if self.completed else SPEECH_END + MESSAGE_END

    def reply(self) -> tuple[str, OfficialTurns]:
        return MESSAGE_END + REPLY_START, replace(self, starts_turn=True, generated=True, completed=False)

    def finished(self, spoken_to_end: bool) -> OfficialTurns:
        return replace(self, completed=True)


@dataclass(frozen=True, slots=True)
class WholeTurns:
    """Every message is opened and closed once; `open` is what has still to be written before the next one."""

    first: bool = True
    starts_turn: bool = True
    open: str = ""

    def prefill(self, role: Role, text: str) -> tuple[str, WholeTurns]:
        if role == "user":
            header = f"{self.open}<|im_start|>user\n" if self.starts_turn else ""
            return header + text, WholeTurns(first=False, starts_turn=False, open=MESSAGE_END)
        if role == "assistant":
            written = f"{self.open}{REPLY_START}{text}{SPEECH_END}{MESSAGE_END}"
        else:
            name = "user" if self.first else "system"  # This model's system prompt is a user message.
            written = f"{self.open}<|im_start|>{name}\n{text}{MESSAGE_END}"
        return written, WholeTurns(first=False)

    def reply(self) -> tuple[str, WholeTurns]:
        return self.open + REPLY_START, WholeTurns(first=False, open=SPEECH_END + MESSAGE_END)

    def finished(self, spoken_to_end: bool) -> WholeTurns:
        return replace(self, open=MESSAGE_END if spoken_to_end else SPEECH_END + MESSAGE_END)
