"""Voices over HTTP: who may bring a clip, what is one, and that it goes with the call."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile

from model_server.protocol import Capabilities
from realtime.media.voice_clips import VoiceClipError, voice_clip
from tests.realtime.test_app import PATH, Site

CLIPS = Capabilities(engine="e", model="m", voices=("warm", "calm"), voice_clips=True)


def tone(seconds: float, rate: int = 24_000, level: float = 0.3) -> np.ndarray:
    return level * np.sin(np.arange(int(seconds * rate)) * (2 * np.pi * 220 / rate))


def file_of(sound: np.ndarray, rate: int = 24_000, kind: str = "WAV", subtype: str | None = None) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, sound, rate, format=kind, subtype=subtype)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_each_format_is_read_and_resampled(kind: str) -> None:
    stereo = np.stack([tone(1.5), tone(1.5)], axis=1)
    samples = np.frombuffer(voice_clip(file_of(stereo, kind=kind)), np.int16)
    assert abs(len(samples) - 24_000) < 2_000
    assert 4_000 < np.abs(samples).max() < 16_000


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (file_of(tone(0.2)), "1 to 30 s, got 0.2 s"),
        (file_of(tone(600, rate=8_000), rate=8_000, subtype="PCM_U8"), "1 to 30 s, got a longer one"),
        (file_of(np.zeros(48_000)), "next to silence"),
        (b"GIF89a" * 1_000, "got a file that begins with 47 49 46 38"),
        (b"RIFF\0\0\0\0WAVE" + bytes(2_000), "cannot be decoded|1 to 30 s"),
        (file_of(tone(2))[:60], "cannot be decoded|1 to 30 s"),
        (b"fLaC" + bytes(5 * 1024 * 1024), "at most 5242880 bytes"),
        (b"", "got a file that begins with nothing"),
    ],
    ids=["0.2 s", "10 min", "zeros", "a picture", "an empty frame", "cut", "too large", "nothing"],
)
def test_what_is_no_voice_is_refused_in_words(data: bytes, says: str) -> None:
    with pytest.raises(VoiceClipError, match=says):
        voice_clip(data)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.readiness.set_ready(CLIPS)
    return site


async def bring(site: Site, secret: str, data: bytes) -> httpx.Response:
    return await site.http.post("/v1/voices", content=data, headers={"authorization": f"Call {secret}"})


async def test_a_clip_belongs_to_one_call_and_goes_with_it(site: Site) -> None:
    one, two = (await site.offer()).headers, (await site.offer()).headers
    added = await bring(site, one["call-secret"], file_of(tone(2)))
    assert added.status_code == 201
    name = added.json()["id"]
    assert added.json() == {"id": name, "owner": "call", "seconds": 2.0}
    engine = [{"id": "warm", "owner": "engine"}, {"id": "calm", "owner": "engine"}]
    for secret, listed in ((one, [*engine, {"id": name, "owner": "call"}]), (two, engine)):
        asked = await site.http.get("/v1/voices", headers={"authorization": f"Call {secret['call-secret']}"})
        assert asked.json() == {"voices": listed, "takes_clips": True}
    assert (await site.http.get("/v1/voices")).json()["voices"] == engine
    call = one["location"].removeprefix(f"{PATH}/")
    headers = {"authorization": f"Call {one['call-secret']}"}
    await site.http.delete(f"{PATH}/{call}", headers=headers)
    await site.calls.aclose()
    assert (await site.http.get("/v1/voices", headers=headers)).status_code == 403


async def test_bad_clips_and_strangers_are_refused(site: Site) -> None:
    secret = (await site.offer()).headers["call-secret"]
    for whose, data, status, code in (
        ("nobody", file_of(tone(2)), 403, "wrong_call_secret"),
        (secret, b"", 400, "empty_body"),
        (secret, b"not sound", 422, "invalid_voice"),
        (secret, bytes(5 * 1024 * 1024 + 1), 413, "clip_too_large"),
    ):
        answer = await bring(site, whose, data)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    for _ in range(4):
        assert (await bring(site, secret, file_of(tone(1.1)))).status_code == 201
    assert (await bring(site, secret, file_of(tone(1.1)))).json()["error"]["code"] == "too_many_voices"
    await site.calls.aclose()


async def test_an_engine_with_voices_of_its_own_takes_no_clips(site: Site) -> None:
    site.readiness.set_ready(Capabilities(engine="demo", model="m"))
    secret = (await site.offer()).headers["call-secret"]
    assert (await bring(site, secret, file_of(tone(2)))).status_code == 409
    assert (await site.http.get("/v1/voices")).json() == {"voices": [], "takes_clips": False}
    await site.calls.aclose()
