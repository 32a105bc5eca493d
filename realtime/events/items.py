"""The messages of a conversation."""

from __future__ import annotations

from typing import Literal

import msgspec


class ContentPart(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Part of an item: `input_text` with `text`, or `input_image` with a `data:image/jpeg;base64,` `image_url`."""

    type: str
    text: str | None = None
    image_url: str | None = None
    transcript: str | None = None


class Item(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A message of the conversation."""

    type: Literal["message"] = "message"
    id: str = ""
    role: Literal["user", "assistant", "system"] = "user"
    status: Literal["completed", "incomplete", "in_progress"] | None = None
    content: list[ContentPart] = []
