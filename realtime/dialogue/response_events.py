"""What the client is told of one response, in the order OpenAI's clients rely on. Sans-I/O.

created → output_item.added → conversation.item.added → content_part.added → deltas → *.done → content_part.done →
output_item.done → conversation.item.done → response.done. Whatever happens, `response.done` comes once and last.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from model_server.protocol import Usage, WordMark
from realtime import events
from realtime.events import ContentPart, Item, Response, ServerEvent

Outcome = Literal["completed", "cancelled", "failed", "incomplete"]


class ResponseEvents:
    """Tells one response. `number` is its number on the channel `audio`; `spoken` is false when speech is off."""

    def __init__(self, response_id: str, item_id: str, number: int, *, spoken: bool = True) -> None:
        self.response_id = response_id
        self.item_id = item_id
        self.number = number
        self.text = ""
        self.over = False
        self._spoken = spoken

    def start(self) -> list[ServerEvent]:
        """The response begins."""
        item = self._item("in_progress", [])
        return [
            events.ResponseCreated(response=Response(id=self.response_id, status="in_progress"), number=self.number),
            events.OutputItemAdded(response_id=self.response_id, item=item),
            events.ItemAdded(item=item),
            events.ContentPartAdded(response_id=self.response_id, item_id=self.item_id, part=self._part("")),
        ]

    def delta(self, text: str) -> list[ServerEvent]:
        """The engine's next characters."""
        self.text += text
        kind = events.TranscriptDelta if self._spoken else events.TextDelta
        return [kind(response_id=self.response_id, item_id=self.item_id, delta=text)]

    def times(self, marks: Sequence[WordMark]) -> list[ServerEvent]:
        """When words are spoken (extension)."""
        words = [events.WordTime(mark.text_start, mark.text_end, mark.start_ms, mark.end_ms) for mark in marks]
        return [events.TranscriptTimes(response_id=self.response_id, words=words)] if words else []

    def finish(self, outcome: Outcome, *, reason: str = "", usage: Usage | None = None) -> list[ServerEvent]:
        """The response is over as generated; a second call tells nothing. `reason` explains all but `completed`."""
        if self.over:
            return []
        self.over = True
        status: Literal["completed", "incomplete"] = "completed" if outcome == "completed" else "incomplete"
        item = self._item(status, [self._part(self.text)])
        return [
            *self._content_done(),
            events.OutputItemDone(response_id=self.response_id, item=item),
            events.ItemDone(item=item),
            events.ResponseDone(response=self._response(outcome, item, reason, usage)),
        ]

    def truncated(self, audio_end_ms: int, kept_text: str) -> list[ServerEvent]:
        """The person heard only `audio_end_ms` of it, which is `kept_text`."""
        return [events.ItemTruncated(item_id=self.item_id, audio_end_ms=audio_end_ms, transcript=kept_text)]

    def _content_done(self) -> list[ServerEvent]:
        response_id, item_id, text = self.response_id, self.item_id, self.text
        part = events.ContentPartDone(response_id=response_id, item_id=item_id, part=self._part(text))
        if not self._spoken:
            return [events.TextDone(response_id=response_id, item_id=item_id, text=text), part]
        return [
            events.AudioDone(response_id=response_id, item_id=item_id),
            events.TranscriptDone(response_id=response_id, item_id=item_id, transcript=text),
            part,
        ]

    def _part(self, text: str) -> ContentPart:
        if self._spoken:
            return ContentPart(type="output_audio", transcript=text)
        return ContentPart(type="output_text", text=text)

    def _item(self, status: Literal["completed", "incomplete", "in_progress"], content: list[ContentPart]) -> Item:
        return Item(id=self.item_id, role="assistant", status=status, content=content)

    def _response(self, outcome: Outcome, item: Item, reason: str, usage: Usage | None) -> Response:
        return Response(
            id=self.response_id,
            status=outcome,
            output=[item],
            status_details={"type": outcome, "reason": reason} if reason else None,
            usage=_usage(usage) if usage else None,
        )


def _usage(usage: Usage) -> dict[str, object]:
    return {
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "audio_ms": usage.audio_ms,
    }
