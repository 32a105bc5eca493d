"""What a client's event means: each is checked, carried out on the dialogue, or answered with a typed error."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Protocol

from model_server.protocol import MAX_TEXT_CHARS, PictureItem, TextItem
from realtime import events
from realtime.connection.frames import MAX_SHOWN_BYTES
from realtime.dialogue.dialogue import Dialogue
from realtime.events import EventError
from realtime.media.pictures import PictureError, read_jpeg_header

IMAGE_PREFIX = "data:image/jpeg;base64,"


class CallPort(Protocol):
    """What a client may ask of its call beyond the dialogue."""

    def apply_settings(self, settings: events.SessionSettings) -> None: ...
    def pong(self, nonce: int) -> None: ...
    def media_state(self, state: events.MediaState) -> None: ...


class ClientEvents:
    """Carries out a client's events. Raises `EventError` for what cannot be, and then nothing has changed."""

    def __init__(self, dialogue: Dialogue, call: CallPort, new_id: Callable[[str], str]) -> None:
        self._dialogue = dialogue
        self._call = call
        self._new_id = new_id

    def handle(self, data: str | bytes, now: float) -> None:
        """Take one message of the channel `oai-events`."""
        event = events.decode_client_event(data)
        try:
            self._carry_out(event, now)
        except EventError as error:
            error.event_id = error.event_id or event.event_id or None
            raise

    def _carry_out(self, event: events.ClientEvent, now: float) -> None:
        match event:
            case events.PlaybackAck():
                self._dialogue.played(event, now)
            case events.Pong(nonce=nonce):
                self._call.pong(nonce)
            case events.SessionUpdate(session=settings):
                self._call.apply_settings(settings)
            case events.InputCommit():
                _check_manual(self._dialogue.commit(now))
            case events.InputClear():
                _check_manual(self._dialogue.clear_input())
            case events.Typing():
                self._dialogue.active(now)
            case events.MediaState():
                self._call.media_state(event)
            case events.ConversationItemCreate(item=item):
                self._create_item(item, now)
            case events.ResponseCreate(response=options):
                self._create_response(options, now)
            case events.ResponseCancel(response_id=response_id):
                self._dialogue.stop(now, response_id)
            case events.OutputAudioBufferClear():
                self._dialogue.stop(now)
            case events.ConversationItemTruncate():
                self._truncate(event, now)

    def _create_response(self, options: events.ResponseOptions | None, now: float) -> None:
        instructions = (options.instructions if options else None) or ""
        if not self._dialogue.ask(now, instructions=instructions):
            raise EventError(
                "conversation_already_has_active_response",
                "a response is active: wait for its response.done, or send response.cancel first",
            )

    def _truncate(self, event: events.ConversationItemTruncate, now: float) -> None:
        if event.audio_end_ms < 0:
            raise EventError("invalid_value", f"expected >= 0, got {event.audio_end_ms}", param="audio_end_ms")
        if not self._dialogue.truncate(event.item_id, event.audio_end_ms, now):
            raise EventError("item_truncate_invalid_item_id", "no response with speech has this item", param="item_id")

    def _create_item(self, item: events.Item, now: float) -> None:
        """All parts are checked before the first is written."""
        if item.role != "user":
            raise EventError("invalid_value", f"expected role user, got {item.role}", param="item.role")
        if not item.content:
            raise EventError("invalid_value", "expected at least one part of content", param="item.content")
        parts = [_part(part, f"item.content[{index}]") for index, part in enumerate(item.content)]
        shown = [events.ContentPart(type=part.type, text=part.text) for part in item.content]
        told = events.Item(id=item.id or self._new_id("item"), role="user", content=shown)
        if not self._dialogue.write(parts, told, now):
            raise EventError("too_many_items", "too many items wait for the reply to end: wait for response.done")


def _check_manual(done: bool) -> None:
    if not done:
        message = "voices decide when a turn is over: set turn_detection to null first"
        raise EventError("turn_detection_active", message, param="session.turn_detection")


def _part(part: events.ContentPart, where: str) -> TextItem | PictureItem:
    if part.type == "input_text":
        if not part.text or not part.text.strip() or len(part.text) > MAX_TEXT_CHARS:
            got = len(part.text or "")
            raise EventError("invalid_value", f"expected 1 to {MAX_TEXT_CHARS} characters, got {got}", param=where)
        return TextItem(text=part.text)
    if part.type == "input_image":
        return PictureItem(jpeg=_jpeg(part.image_url or "", where))
    raise EventError("invalid_value", f"expected input_text or input_image, got {part.type[:40]!r}", param=where)


def _jpeg(url: str, where: str) -> bytes:
    if not url.startswith(IMAGE_PREFIX):
        raise EventError("invalid_value", f"expected a URL that starts with {IMAGE_PREFIX}", param=f"{where}.image_url")
    try:
        jpeg = base64.b64decode(url[len(IMAGE_PREFIX) :], validate=True)
        read_jpeg_header(jpeg, MAX_SHOWN_BYTES)
    except (binascii.Error, PictureError) as error:
        raise EventError("invalid_image", str(error), param=f"{where}.image_url") from error
    return jpeg
