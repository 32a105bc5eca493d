"""The vocoder, against a transform written out densely and against a wave that is known."""

from __future__ import annotations

import math

import pytest
import torch

from model_server.minicpmo.config import ModelConfig, VocosConfig
from model_server.minicpmo.errors import InputError
from model_server.minicpmo.loading.assembly import fill
from model_server.minicpmo.loading.checkpoint import Tensors
from model_server.minicpmo.network.vocos import Vocos, recipes
from tests.model_server.minicpmo.conftest import unpacked


@pytest.fixture(scope="module")
def vocos(tiny_config: ModelConfig, tensors: Tensors) -> Vocos:
    with torch.device("meta"):
        part = Vocos(tiny_config.vocos)
    with unpacked():
        return fill(part, recipes(tiny_config.vocos), tensors, torch.float32)


def mel(frames: int) -> torch.Tensor:
    return torch.randn(100, frames, generator=torch.Generator().manual_seed(frames))


def small() -> Vocos:
    part = Vocos(VocosConfig(hidden_size=4, intermediate_size=8, num_layers=0, n_fft=16, hop=4))
    part.window.copy_(torch.hann_window(16))
    return part


def test_the_inverse_transform_summed_term_by_term() -> None:
    part, frames, size, hop = small(), 5, 16, 4
    spectrum = torch.randn(frames, 9, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    total = hop * (frames - 1) + size
    wave, envelope = [0.0] * total, [0.0] * total
    for frame in range(frames):
        for n in range(size):
            value = 0.0
            for k in range(9):
                angle, weight = 2 * math.pi * k * n / size, 1 if k in (0, 8) else 2
                bin_value = complex(spectrum[frame, k])
                value += weight * (bin_value.real * math.cos(angle) - bin_value.imag * math.sin(angle))
            window = 0.5 - 0.5 * math.cos(2 * math.pi * n / size)
            wave[frame * hop + n] += window * value / size
            envelope[frame * hop + n] += window**2
    expected = [w / e for w, e in zip(wave[6:-6], envelope[6:-6], strict=True)]
    found = part.inverse(spectrum[None])[0]
    assert found.shape == (hop * frames,)
    assert found.tolist() == pytest.approx(expected, abs=1e-5)


def test_a_wave_comes_back_from_its_own_spectrum() -> None:
    part = small()
    wave = torch.sin(torch.arange(48) * 0.4)
    padded = torch.nn.functional.pad(wave, (6, 6))
    frames = padded.unfold(0, 16, 4) * part.window
    assert torch.allclose(part.inverse(torch.fft.rfft(frames)[None])[0], wave, atol=1e-5)


def test_magnitudes_are_limited(vocos: Vocos) -> None:
    loud = fill_head(vocos, bias=50.0)
    assert loud.spectrum(mel(3)[None]).abs().max() == pytest.approx(100.0)


def fill_head(vocos: Vocos, bias: float) -> Vocos:
    part = Vocos(vocos.config)
    part.load_state_dict(vocos.state_dict())
    part.head.weight.zero_()
    assert part.head.bias is not None
    part.head.bias.fill_(bias)
    return part


def test_log_magnitude_comes_first_and_phase_behind(vocos: Vocos) -> None:
    part = fill_head(vocos, bias=0.0)
    assert part.head.bias is not None
    bins = len(part.head.bias) // 2
    part.head.bias[:bins] = math.log(3.0)
    part.head.bias[bins:] = math.pi / 2
    assert torch.allclose(part.spectrum(mel(2)[None]), torch.tensor(3j), atol=1e-5)


def test_length_and_batch(vocos: Vocos) -> None:
    for frames in (1, 2, 7):
        assert vocos(mel(frames)).shape == (256 * frames,)
    pair = torch.stack([mel(4), mel(4).flip(1)])
    both = vocos(pair)
    assert both.shape == (2, 1024)
    for index in range(2):
        assert torch.allclose(both[index], vocos(pair[index]), atol=1e-6)


def test_float32_whatever_comes(vocos: Vocos) -> None:
    assert vocos(mel(3).bfloat16()).dtype == torch.float32
    assert torch.equal(vocos(mel(3).half()), vocos(mel(3).half().float()))


@pytest.mark.parametrize("shape", [(99, 4), (100, 0), (100,)])
def test_another_shape_is_refused(vocos: Vocos, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"mel: expected \[100, T\]"):
        vocos(torch.zeros(shape))
