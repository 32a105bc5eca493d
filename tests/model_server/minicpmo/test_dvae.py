"""Codes become features by the table of their digits, and a mel of two frames each."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from model_server.minicpmo.config import ModelConfig
from model_server.minicpmo.errors import InputError
from model_server.minicpmo.loading.assembly import fill
from model_server.minicpmo.loading.checkpoint import Tensors
from model_server.minicpmo.network.dvae import Dvae, code_features, code_vectors, recipes


@pytest.fixture(scope="module")
def dvae(tiny_config: ModelConfig, tensors: Tensors) -> Dvae:
    with torch.device("meta"):
        part = Dvae(tiny_config.dvae)
    return fill(part, recipes(tiny_config.dvae), tensors, torch.float32)


def codes(frames: int) -> torch.Tensor:
    return torch.randint(625, (frames, 4), generator=torch.Generator().manual_seed(frames))


def test_digits_of_codes_by_hand() -> None:
    table = code_vectors()
    assert table.shape == (625, 4)
    assert table[0].tolist() == [-1.0, -1.0, -1.0, -1.0]
    assert table[1].tolist() == [-0.5, -1.0, -1.0, -1.0]
    assert table[312].tolist() == [0.0, 0.0, 0.0, 0.0]  # 2 + 2·5 + 2·25 + 2·125
    assert table[3 + 4 * 5 + 0 * 25 + 1 * 125].tolist() == [0.5, 1.0, -1.0, -0.5]
    assert table[624].tolist() == [1.0, 1.0, 1.0, 1.0]


def test_fine_codes_count_a_quarter_and_the_bias_once() -> None:
    weights = [torch.eye(4), 2 * torch.eye(4)]
    biases = [torch.full((4,), 10.0), torch.full((4,), 20.0)]
    table = code_features(weights[0], biases[0], weights[1], biases[1]).view(4, 625, 4)
    assert table[0, 624].tolist() == [11.0] * 4
    assert table[1, 624].tolist() == [0.25] * 4
    assert table[2, 0].tolist() == [18.0] * 4
    assert table[3, 0].tolist() == [-0.5] * 4


def test_first_two_codebooks_make_the_first_of_two_mel_frames(dvae: Dvae) -> None:
    features = dvae.dequantised(torch.tensor([[[7, 8, 9, 10]]]))
    table = dvae.features.view(4, 625, -1)
    assert torch.equal(features[0, 0, 0], table[0, 7] + table[1, 8])
    assert torch.equal(features[0, 0, 1], table[2, 9] + table[3, 10])


def test_the_decoder_written_out(dvae: Dvae, tensors: Tensors) -> None:
    """Residual quantisation, groups and convolutions from the official tensors, without any table."""
    at, given = "tts.dvae", codes(9)
    rows = []
    for group in range(2):
        weight, bias = (tensors[f"{at}.vq_layer.quantizer.rvqs.{group}.project_out.{k}"].float() for k in BOTH)
        values = [code_vectors()[given[:, 2 * group + level]] for level in range(2)]
        rows.append(F.linear(values[0] + 0.25 * values[1], weight, bias))
    x = torch.stack(rows, 1).flatten(0, 1).T[None]
    x = F.conv1d(x, *pair(tensors, f"{at}.decoder.conv_in.0"), padding=1)
    x = F.conv1d(F.gelu(x), *pair(tensors, f"{at}.decoder.conv_in.2"), padding=1)
    for index in range(len(dvae.blocks)):
        name = f"{at}.decoder.decoder_block.{index}"
        y = F.conv1d(x, *pair(tensors, f"{name}.dwconv"), padding=6, dilation=2, groups=x.shape[1])
        y = F.layer_norm(y.transpose(1, 2), (x.shape[1],), *pair(tensors, f"{name}.norm"), eps=1e-6)
        y = F.linear(F.gelu(F.linear(y, *pair(tensors, f"{name}.pwconv1"))), *pair(tensors, f"{name}.pwconv2"))
        x = x + (y * tensors[f"{name}.coef"].float()).transpose(1, 2)
    x = F.conv1d(x, tensors[f"{at}.decoder.conv_out.weight"].float())
    x = F.conv1d(x, tensors[f"{at}.out_conv.weight"].float(), padding=1) * tensors[f"{at}.coef"].float()
    assert torch.allclose(dvae(given), x[0], atol=1e-4)


BOTH = ("weight", "bias")


def pair(tensors: Tensors, name: str) -> tuple[torch.Tensor, torch.Tensor]:
    return tensors[f"{name}.weight"].float(), tensors[f"{name}.bias"].float()


def test_batched_is_the_same(dvae: Dvae) -> None:
    rows = torch.stack([codes(6), codes(6).flip(0)])
    mel = dvae(rows)
    assert mel.shape == (2, 100, 12)
    for index in range(2):
        assert torch.allclose(mel[index], dvae(rows[index]), atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_number_formats(tiny_config: ModelConfig, tensors: Tensors, dvae: Dvae, dtype: torch.dtype) -> None:
    with torch.device("meta"):
        part = Dvae(tiny_config.dvae)
    mel = fill(part, recipes(tiny_config.dvae), tensors, dtype)(codes(5))
    assert mel.dtype == dtype
    assert (mel.float() - dvae(codes(5))).abs().max() < 0.05 * dvae(codes(5)).abs().max()


@pytest.mark.parametrize("wrong", [torch.zeros(3, 3), torch.zeros(0, 4), torch.full((2, 4), 625), -torch.ones(2, 4)])
def test_codes_that_are_none_are_refused(dvae: Dvae, wrong: torch.Tensor) -> None:
    with pytest.raises(InputError, match="codes: expected"):
        dvae(wrong.long())
