from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model_server.minicpmo.errors import DeviceError
from model_server.minicpmo.loading import checkpoint, quantize
from model_server.minicpmo.loading.quantize import Int4Linear, Int8Linear
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.layers import Linear, laid_out


@pytest.fixture(scope="module")
def plain() -> MiniCPMO:
    return checkpoint.load_random("tiny", devices=["cpu"])


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def layer(
    kind: type[Int8Linear] | type[Int4Linear], weight: Tensor, dtype: torch.dtype = torch.float32
) -> torch.nn.Module:
    made = kind(weight.shape[1], weight.shape[0], True, dtype)
    made.fill(weight)
    made.bias.data.copy_(random(weight.shape[0], seed=9))  # type: ignore[union-attr]
    return made


def test_int8_by_hand() -> None:
    weight, scale = quantize.to_int8(torch.tensor([[1.27, -0.635, 0.004], [0.0, 0.0, 0.0], [-254.0, 2.0, 3.1]]))
    assert weight.tolist() == [[127, -64, 0], [0, 0, 0], [-127, 1, 2]]
    torch.testing.assert_close(scale[[0, 2]], torch.tensor([0.01, 2.0]))
    assert scale[1] > 0


def test_int8_is_never_off_by_more_than_half_a_step() -> None:
    weight = random(9000, 40)
    levels, scale = quantize.to_int8(weight)
    assert float(((levels * scale[:, None] - weight).abs() / scale[:, None]).max()) <= 0.5001


def test_packing_by_hand() -> None:
    levels = torch.tensor([[1, 2, 15, 0]], dtype=torch.uint8)
    packed = quantize.pack(levels)
    assert packed.tolist() == [[0x21, 0x0F]]
    assert torch.equal(quantize.unpack(packed), levels)


def test_packing_keeps_every_level() -> None:
    levels = torch.randint(0, 16, (33, 256), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    assert torch.equal(quantize.unpack(quantize.pack(levels)), levels)


def test_int4_by_hand() -> None:
    """Levels 0 to 15 from -1 to 14 in the first group, and a constant second one."""
    weight = torch.cat((torch.arange(128.0) % 16 - 1, torch.full((128,), 5.0)))[None]
    packed, scale, least = quantize.to_int4(weight)
    assert quantize.unpack(packed)[0, :17].tolist() == [*range(16), 0]
    assert (float(scale[0, 0]), least.tolist()) == (1.0, [[-1.0, 5.0]])
    assert torch.equal(quantize.from_int4(packed, scale, least), weight)


def test_int4_is_never_off_by_more_than_half_a_step() -> None:
    weight = random(4100, 256)
    packed, scale, least = quantize.to_int4(weight)
    off = (quantize.from_int4(packed, scale, least) - weight).abs().view(4100, 2, 128) / scale[..., None]
    assert float(off.max()) <= 0.501


@pytest.mark.parametrize("rows", [1, quantize.FEW_ROWS, quantize.FEW_ROWS + 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_an_int8_layer_multiplies(rows: int, dtype: torch.dtype) -> None:
    weight, x = random(96, 64), random(2, rows, 64, seed=4)[: 1 if rows == 1 else 2].to(dtype)
    made = layer(Int8Linear, weight, dtype)
    expected = F.linear(x.float(), weight, random(96, seed=9))
    found = made(x)
    assert (found.dtype, found.shape) == (dtype, expected.shape)
    assert float(F.cosine_similarity(found.float().flatten(), expected.flatten(), dim=0)) > 0.9998


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_int4_layer_multiplies(dtype: torch.dtype) -> None:
    weight, x = random(96, 256), random(3, 256, seed=4).to(dtype)
    made = layer(Int4Linear, weight, dtype)
    expected = F.linear(x.float(), weight, random(96, seed=9))
    assert made(x).dtype == dtype
    assert float(F.cosine_similarity(made(x).float().flatten(), expected.flatten(), dim=0)) > 0.99


@pytest.mark.parametrize(
    ("mode", "inputs", "is_head", "bits"),
    [
        ("none", 256, False, 0),
        ("int8", 100, False, 8),
        ("int4", 256, False, 4),
        ("int4", 100, False, 8),
        ("int4", 256, True, 8),
    ],
)
def test_bits(mode: str, inputs: int, is_head: bool, bits: int) -> None:
    assert quantize.bits(mode, inputs, is_head) == bits


def test_unknown_mode() -> None:
    with pytest.raises(DeviceError, match="expected one of none, int8, int4, found 'int2'"):
        quantize.check_mode("int2")


@pytest.mark.parametrize("mode", ["int8", "int4"])
def test_which_layers_are_quantised(mode: str) -> None:
    model = checkpoint.load_random("tiny", devices=["cpu"], quantize=mode)
    for part in ("language", "vision", "audio"):
        layers = [m for n, m in getattr(model, part).named_modules() if n.startswith("layers.") or n == "head"]
        assert any(isinstance(each, Int8Linear | Int4Linear) for each in layers)
        assert not any(isinstance(each, Linear) for each in layers)
    for part in ("resampler", "speech", "dvae", "vocos"):
        assert not any(isinstance(each, Int8Linear | Int4Linear) for each in getattr(model, part).modules())
    assert isinstance(model.language.head, Int8Linear)
    assert model.language.embedding.dtype == torch.float32


def logits(model: MiniCPMO, ids: list[int]) -> Tensor:
    """Of a prefill and of three single steps: both ways the product is taken."""
    part, cache = model.language, model.language.new_cache()
    with torch.inference_mode():
        hidden = [part(part.embed(ids), cache), *(part(part.embed([token]), cache) for token in ids[:3])]
        return part.logits(torch.cat(hidden))


def test_int8_logits_keep_their_direction_and_take_a_third_of_the_memory(plain: MiniCPMO) -> None:
    small = checkpoint.load_random("tiny", devices=["cpu"], quantize="int8")
    ids = list(range(300, 340))
    assert float(F.cosine_similarity(logits(small, ids), logits(plain, ids), dim=1).min()) >= 0.999

    def size(model: MiniCPMO) -> int:
        return sum(tensor.nbytes for tensor in (*model.language.layers.parameters(), *model.language.layers.buffers()))

    assert size(small) < size(plain) / 3


def test_int8_logits_of_a_golden_network_keep_their_direction(tiny_folder: Path) -> None:
    """Its attention is sharp, which makes more of every error: single positions fall to 0.9986."""
    plain, small = (checkpoint.load(tiny_folder, devices=["cpu"], quantize=mode) for mode in ("none", "int8"))
    ids = list(range(300, 360))
    cosines = F.cosine_similarity(logits(small, ids), logits(plain, ids), dim=1)
    assert float(cosines.mean()) >= 0.9992
    assert float(cosines.min()) >= 0.998


def test_int4_logits_still_point_the_same_way(plain: MiniCPMO) -> None:
    small = checkpoint.load_random("tiny", devices=["cpu"], quantize="int4")
    ids = list(range(300, 340))
    assert float(F.cosine_similarity(logits(small, ids), logits(plain, ids), dim=1).min()) >= 0.9


def test_a_wide_matrix_lies_input_by_input_on_a_cpu() -> None:
    wide, narrow = random(6, 4), random(4, 6)
    assert laid_out(wide).stride() == (1, 6)
    assert torch.equal(laid_out(wide), wide)
    assert laid_out(narrow).stride() == (6, 1)
    assert laid_out(random(4, 4)).stride() == (1, 4)
    assert laid_out(wide.bfloat16()).stride() == (4, 1)
