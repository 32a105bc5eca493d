from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.models.whisper.feature_extraction_whisper import WhisperFeatureExtractor

from model_server.minicpmo.errors import InputError
from model_server.minicpmo.inputs.mel import embedding_count, frame_count, log_mel, mel_filters, split_clip

Clip = npt.NDArray[np.float32]


def noise(count: int, seed: int = 0, level: float = 0.1) -> Clip:
    return (np.random.default_rng(seed).standard_normal(count) * level).astype(np.float32)


def padded_to_30_s(samples: Clip) -> Tensor:
    """The published way: a whole 30 s window, all of its frames."""
    clip = F.pad(torch.from_numpy(samples), (0, 480000 - len(samples)))
    spectrum = torch.stft(clip, 400, 160, window=torch.hann_window(400), center=True, return_complex=True)
    levels = (mel_filters() @ spectrum[:, :-1].abs().square()).clamp(min=1e-10).log10()
    return ((torch.maximum(levels, levels.max() - 8) + 4) / 4)[:, : -(-len(samples) // 160)]


def test_the_filters_are_the_feature_extractors() -> None:
    np.testing.assert_allclose(mel_filters().numpy(), WhisperFeatureExtractor().mel_filters.T, atol=1e-8)


def test_one_second_is_what_the_feature_extractor_makes() -> None:
    samples = noise(16000)
    found = WhisperFeatureExtractor()(samples, sampling_rate=16000, return_tensors="pt")["input_features"]
    torch.testing.assert_close(log_mel(samples), found[0, :, :100], atol=1e-5, rtol=0)


@pytest.mark.parametrize("count", [321, 399, 16000, 16001, 40037, 479799, 479800, 479801, 479999, 480000])
def test_every_length_is_what_the_whole_window_gives(count: int) -> None:
    samples = noise(count, seed=count)
    torch.testing.assert_close(log_mel(samples), padded_to_30_s(samples), atol=1e-5, rtol=0)


def test_silence_is_minus_one_and_a_half() -> None:
    assert torch.equal(log_mel(np.zeros(16000, np.float32)), torch.full((80, 100), -1.5))


def test_a_burst_heard_only_behind_the_last_frame_raises_the_floor() -> None:
    quiet = noise(16000, level=1e-6)
    burst = quiet.copy()
    burst[-12:] = 0.9
    kept, lifted = log_mel(quiet), log_mel(burst)
    assert kept[:, :90].min() < -1.4
    assert lifted[:, :90].min() == lifted[:, :90].max()  # All of it lies under the new floor ...
    assert lifted.max() - lifted.min() < 2  # ... which is 8 decades below a maximum that is not kept.


def test_each_clip_is_scaled_by_itself() -> None:
    loud, quiet = noise(16000, level=0.5), noise(16000, seed=1, level=1e-5)
    together = log_mel(np.concatenate((loud, quiet)))
    assert (together[:, 105:] - log_mel(quiet)[:, 5:]).abs().max() > 0.1


@pytest.mark.parametrize(
    ("frames", "embeddings"),
    [(1, 0), (2, 0), (3, 1), (50, 12), (63, 16), (99, 25), (100, 25), (101, 25), (250, 62), (735, 184), (3000, 750)],
)
def test_lengths_of_the_specification(frames: int, embeddings: int) -> None:
    assert frame_count(frames * 160) == frames
    assert embedding_count(frames * 160) == embeddings
    assert embedding_count(frames * 160 - 159) == embeddings


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.zeros((1, 16000), np.float32), r"one row of float samples.*\(1, 16000\)"),
        (np.zeros(16000, np.int16), "got int16.*divide int16 by 32768"),
        (np.zeros(0, np.float32), "clip of 0 samples: expected more than 320"),
        (np.zeros(320, np.float32), "clip of 320 samples: expected more than 320"),
        (np.zeros(480001, np.float32), "clip of 480001 samples: at most 480000"),
        (np.full(16000, np.nan, np.float32), "finite samples.*got nan"),
        (np.full(16000, np.inf, np.float32), "finite samples.*got inf"),
        (np.full(16000, 32767.0, np.float32), "at most ±100.*got 32767"),
    ],
)
def test_what_is_no_clip_is_refused(samples: npt.NDArray[np.float32], words: str) -> None:
    with pytest.raises(InputError, match=words):
        log_mel(samples)


def test_one_bad_sample_is_enough() -> None:
    samples = noise(16000)
    samples[777] = np.nan
    with pytest.raises(InputError, match="nan"):
        log_mel(samples)


def test_the_shortest_clip_and_hot_sound_are_taken() -> None:
    assert log_mel(noise(321)).shape == (80, 3)
    assert log_mel(noise(16000, level=3.0)).isfinite().all()


def test_wider_floats_and_reversed_memory_are_taken() -> None:
    samples = noise(16000)
    assert torch.equal(log_mel(samples.astype(np.float64)), log_mel(samples))
    assert torch.equal(log_mel(samples[::-1]), log_mel(samples[::-1].copy()))


def test_long_sound_is_split_into_30_s() -> None:
    assert [len(piece) for piece in split_clip(noise(480000 * 2 + 321))] == [480000, 480000, 321]
    assert [len(piece) for piece in split_clip(noise(480320))] == [480000]  # The rest has no embedding.
    assert [len(piece) for piece in split_clip(noise(16000))] == [16000]


def test_what_is_no_clip_is_not_split() -> None:
    with pytest.raises(InputError, match="clip of 320 samples"):
        split_clip(noise(320))
