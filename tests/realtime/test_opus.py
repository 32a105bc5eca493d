"""Opus to 16 kHz: libopus through ctypes, and PyAV's codec where libopus is out of reach."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from structlog.testing import capture_logs

from realtime.media import opus
from realtime.media.av_opus import AvOpusDecoder, Decimator
from realtime.media.conceal import FADE_SAMPLES, WaveformConcealer
from realtime.media.decoder import AudioDecoder, DecodeError, Samples
from realtime.media.opus import OpusDecoder, OpusUnavailable, create_decoder
from tests.bench.receive import opus_packets
from tests.realtime.voices import buzz

RATE = 16_000
FRAME = 320
LOOKAHEAD = 104
"""Opus delays by 6.5 ms itself (RFC 6716 section 1)."""

DECODERS = [OpusDecoder, AvOpusDecoder]


@pytest.fixture(scope="module")
def voice() -> Samples:
    return buzz(3.0, rate=48_000)


@pytest.fixture(scope="module")
def packets(voice: Samples) -> list[bytes]:
    return opus_packets(voice)


def decode_all(decoder: AudioDecoder, packets: list[bytes]) -> Samples:
    return np.concatenate([decoder.decode(packet) for packet in packets])


def correlation(one: Samples, other: Samples) -> float:
    return float(np.corrcoef(one.astype(float), other.astype(float))[0, 1])


@pytest.mark.parametrize(("make", "delay"), [(OpusDecoder, LOOKAHEAD), (AvOpusDecoder, LOOKAHEAD + 16)])
def test_the_voice_comes_out_at_16_khz_with_no_more_than_the_codecs_delay(
    make: type[AudioDecoder], delay: int, voice: Samples, packets: list[bytes]
) -> None:
    heard = decode_all(make(), packets)
    wanted = voice.reshape(-1, 3).mean(axis=1).astype(np.int16)

    assert len(heard) == len(packets) * FRAME
    best = max(range(300), key=lambda shift: correlation(heard[shift : shift + RATE], wanted[:RATE]))
    assert best == pytest.approx(delay, abs=2)
    assert correlation(heard[best:], wanted[: len(heard) - best]) > 0.7


@pytest.mark.parametrize("make", DECODERS)
def test_the_same_packets_give_the_same_samples_after_a_reset(make: type[AudioDecoder], packets: list[bytes]) -> None:
    decoder = make()
    first = decode_all(decoder, packets)
    decoder.conceal(FRAME, None)
    decoder.reset()
    assert decode_all(decoder, packets).tobytes() == first.tobytes()


@pytest.mark.parametrize("make", DECODERS)
@pytest.mark.parametrize("payload", [b"", b"\xff", b"\x03\xff\xff", b"\x0b\x7f"])
def test_garbage_is_an_error_and_the_next_packet_plays(
    make: type[AudioDecoder], payload: bytes, packets: list[bytes]
) -> None:
    decoder = make()
    decode_all(decoder, packets[:20])
    with pytest.raises(DecodeError, match="Opus"):
        decoder.decode(payload)
    assert len(decode_all(decoder, packets[20:40])) == 20 * FRAME


@pytest.mark.parametrize("make", DECODERS)
@pytest.mark.parametrize("samples", [1, 40, 320, 333, 1_600, 5_000])
def test_concealment_gives_exactly_what_was_asked_for(
    make: type[AudioDecoder], samples: int, packets: list[bytes]
) -> None:
    decoder = make()
    decode_all(decoder, packets[:20])
    for following in (None, packets[21], b"\xff"):
        concealed = decoder.conceal(samples, following)
        assert concealed.dtype == np.int16
        assert len(concealed) == samples


@pytest.mark.parametrize("make", DECODERS)
def test_a_concealed_frame_is_closer_to_the_voice_than_silence(make: type[AudioDecoder], packets: list[bytes]) -> None:
    whole = decode_all(make(), packets)
    decoder = make()
    errors = []
    for number, packet in enumerate(packets):
        if number % 10 == 5:
            wanted = whole[number * FRAME : (number + 1) * FRAME].astype(float)
            error = decoder.conceal(FRAME, None) - wanted
            errors.append((error @ error) / (wanted @ wanted + 1))
        else:
            decoder.decode(packet)
    assert np.median(errors) < 0.6


def test_the_copy_that_the_next_packet_carries_beats_a_guess(voice: Samples) -> None:
    # Noisy loudness makes guessing hard; with `fec` the sender repeats each frame in the next packet.
    packets = opus_packets(voice, options={"application": "voip", "fec": "1", "packet_loss": "30"})
    whole = decode_all(OpusDecoder(), packets)

    def error(*, with_copy: bool) -> float:
        decoder, total = OpusDecoder(), 0.0
        for number, packet in enumerate(packets):
            if number % 7 == 5:
                guess = decoder.conceal(FRAME, packets[number + 1] if with_copy else None)
                difference = guess - whole[number * FRAME : (number + 1) * FRAME].astype(float)
                total += float(difference @ difference)
            else:
                decoder.decode(packet)
        return total

    assert error(with_copy=True) < 0.5 * error(with_copy=False)


def test_libopus_of_this_installation_is_found() -> None:
    assert isinstance(create_decoder(), OpusDecoder)


def test_without_libopus_the_fallback_is_taken_and_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "libopus.so"
    broken.write_bytes(b"no library")
    monkeypatch.setattr(opus, "_library_names", lambda: iter([str(broken)]))
    opus._load_libopus.cache_clear()
    try:
        with capture_logs() as logs:
            assert isinstance(create_decoder(), AvOpusDecoder)
        with pytest.raises(OpusUnavailable, match=r"no libopus .*libopus\.so"):
            OpusDecoder()
    finally:
        opus._load_libopus.cache_clear()
    assert [entry["event"] for entry in logs] == ["libopus_missing"]


# -------------------------------------------------------------------------------------------- the fallback's parts


@pytest.mark.parametrize("size", [1, 2, 7, 960, 19_200])
def test_the_decimator_gives_the_same_samples_for_any_chunk(size: int, voice: Samples) -> None:
    wide = voice[48_000:67_200]
    whole = Decimator()(wide)
    decimate = Decimator()
    pieces = [decimate(wide[start : start + size]) for start in range(0, len(wide), size)]
    assert np.concatenate(pieces).tobytes() == whole.tobytes()
    assert len(whole) == len(wide) // 3


@pytest.mark.parametrize(("hertz", "least", "most"), [(1_000, 0.99, 1.01), (6_000, 0.9, 1.01), (9_000, 0.0, 0.01)])
def test_the_decimator_passes_speech_and_stops_what_would_fold(hertz: int, least: float, most: float) -> None:
    wave = 10_000 * np.sin(2 * np.pi * hertz * np.arange(48_000) / 48_000)
    out = Decimator()(wave.astype(np.int16))[100:].astype(float)
    assert least <= np.sqrt(2 * np.mean(out**2)) / 10_000 <= most


def test_a_concealed_tone_goes_on_in_phase_and_fades_out() -> None:
    time = np.arange(4_000)
    tone = (8_000 * np.sin(2 * np.pi * 200 * time / RATE)).astype(np.int16)
    concealer = WaveformConcealer()
    concealer.heard(tone[:1_600])
    concealed = np.concatenate([concealer.conceal(160) for _ in range(10)])

    assert correlation(concealed[:400], tone[1_600:2_000]) > 0.99
    assert abs(int(concealed[0]) - int(tone[1_599])) < 1_000
    assert not concealed[FADE_SAMPLES:].any()


def test_the_way_back_from_concealment_has_no_step() -> None:
    concealer = WaveformConcealer()
    concealer.heard(np.full(1_600, 5_000, dtype=np.int16))
    concealed = concealer.conceal(320)
    back = concealer.heard(np.full(320, -5_000, dtype=np.int16))

    assert abs(int(back[0]) - int(concealed[-1])) < 300
    assert (np.diff(back.astype(int)) <= 0).all()
    assert (back[40:] == -5_000).all()
