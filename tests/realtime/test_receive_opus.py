"""The receive path with real Opus: what a listener, or a model, is given under loss."""

from __future__ import annotations

import numpy as np
import pytest

from realtime.media.av_opus import AvOpusDecoder
from realtime.media.decoder import AudioDecoder, Samples
from realtime.media.opus import OpusDecoder
from realtime.media.receive import AudioReceiver, FrameKind
from tests.bench.receive import opus_packets
from tests.realtime.network import Arriving, assert_gapless, frames_of, line_of, lose_share, play, sent
from tests.realtime.voices import buzz


@pytest.fixture(scope="module")
def speech() -> list[Arriving]:
    packets = opus_packets(buzz(10.0, rate=48_000))
    return sent(len(packets), encode=packets.__getitem__)


def heard_with(decoder: AudioDecoder, arrivals: list[Arriving]) -> Samples:
    frames = frames_of(play(AudioReceiver(decoder, now=0.0), arrivals, until=arrivals[-1].at + 0.1))
    assert_gapless(frames)
    return line_of(frames)


@pytest.mark.parametrize("make", [OpusDecoder, AvOpusDecoder])
@pytest.mark.parametrize(("share", "least"), [(0.01, 0.97), (0.05, 0.85)])
def test_loss_takes_little_of_the_voice(
    make: type[AudioDecoder], share: float, least: float, speech: list[Arriving]
) -> None:
    whole = heard_with(make(), speech)
    lossy = heard_with(make(), lose_share(speech[:-1], share, seed=11))
    length = min(len(whole), len(lossy))
    assert len(whole) - length <= 3 * 320
    assert np.corrcoef(whole[:length].astype(float), lossy[:length].astype(float))[0, 1] > least


def test_concealed_frames_are_not_silent_in_the_middle_of_a_word(speech: list[Arriving]) -> None:
    receiver = AudioReceiver(OpusDecoder(), now=0.0)
    frames = frames_of(play(receiver, lose_share(speech, 0.05, seed=2)))
    concealed = [frame.samples for frame in frames if frame.kind is FrameKind.CONCEALED]
    assert len(concealed) > 10
    assert np.median([np.abs(samples).max() for samples in concealed]) > 500


def test_the_same_packets_give_the_same_bytes(speech: list[Arriving]) -> None:
    arrivals = lose_share(speech, 0.05, seed=4)
    assert heard_with(OpusDecoder(), arrivals).tobytes() == heard_with(OpusDecoder(), arrivals).tobytes()
