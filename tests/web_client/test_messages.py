"""The page's binary messages against the gateway's own code, byte for byte."""

from __future__ import annotations

import base64
import random

import pytest
from playwright.async_api import Error, Page

from realtime.connection.frames import MAX_SLICE_BYTES, AudioMessage, PictureKind, decode_picture_slice, encode_audio

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

DECODE = """async (text) => {
  const { decodeSpeech } = await import("/messages.js");
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const { number, position, last, samples } = decodeSpeech(bytes.buffer);
  return { number, position, last, samples: [...samples] };
}"""

ENCODE = """async ([kind, number, text]) => {
  const { encodePicture } = await import("/messages.js");
  const file = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  return [...encodePicture(kind, number, file)].map((b) => btoa(String.fromCharCode(...new Uint8Array(b))));
}"""


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


@pytest.mark.parametrize(
    "message",
    [
        AudioMessage(1, 0, b"\x01\x00\xff\x7f\x00\x80"),
        AudioMessage(4_000_000_000, 3_999_999_520, bytes(960), last=True),
        AudioMessage(7, 480, b"", last=True),
    ],
)
async def test_speech_is_read_as_the_gateway_wrote_it(blank: Page, message: AudioMessage) -> None:
    read = await blank.evaluate(DECODE, text(encode_audio(message)))
    samples = [int.from_bytes(message.pcm[i : i + 2], "little", signed=True) for i in range(0, len(message.pcm), 2)]
    assert read == {"number": message.number, "position": message.position, "last": message.last, "samples": samples}


@pytest.mark.parametrize("data", [b"", bytes(11), encode_audio(AudioMessage(1, 0, bytes(4)))[:-1]])
async def test_what_is_no_speech_message_is_refused(blank: Page, data: bytes) -> None:
    with pytest.raises(Error, match=r"a speech message has at least 12 bytes|the header promises"):
        await blank.evaluate(DECODE, text(data))


@pytest.mark.parametrize("size", [1, MAX_SLICE_BYTES, MAX_SLICE_BYTES + 1, 79_999])
async def test_a_picture_arrives_whole(blank: Page, size: int) -> None:
    file = random.Random(size).randbytes(size)
    messages = await blank.evaluate(ENCODE, [int(PictureKind.STILL), 65_537, text(file)])
    slices = [decode_picture_slice(base64.b64decode(message)) for message in messages]
    assert b"".join(piece.data for piece in slices) == file
    assert {(piece.kind, piece.number, piece.total) for piece in slices} == {(PictureKind.STILL, 1, size)}
    assert [piece.offset for piece in slices] == list(range(0, size, MAX_SLICE_BYTES))


async def test_a_still_over_the_limit_is_refused(blank: Page) -> None:
    with pytest.raises(Error, match="a picture of kind 1 has 1 to 80000 bytes, this one has 80001"):
        await blank.evaluate(ENCODE, [int(PictureKind.STILL), 1, text(bytes(80_001))])
