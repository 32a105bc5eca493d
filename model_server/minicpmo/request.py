"""What the command line of `python -m model_server.chat` asks for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for on the command line."""

    model: str
    content: Sequence[tuple[str, str]]
    """Kind (image, audio, video or text) and file or text, in order."""
    examples: Sequence[tuple[str, str, str]]
    """File (or `-`), question and answer."""
    interactive: bool
    speak: Path | None
    voice: Path | None
    task: str | None
    mode: str | None
    language: str
    seed: int | None
    temperature: float | None
    max_tokens: int | None
    parity: bool
    devices: Sequence[str]
    dtype: str
    quantize: str
