"""Packed layers compute what plain ones do, and stand where they pay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from model_server.minicpmo.loading.checkpoint import load
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network import packed
from model_server.minicpmo.network.layers import Linear
from model_server.minicpmo.network.packed import PackedLinear, pack, worthwhile
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.session import Session
from tests.model_server.minicpmo.conftest import unpacked


@pytest.fixture
def two_threads() -> Iterator[None]:
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5,), (1, 5), (3, 5), (4, 5), (7, 3, 5), (0, 5)])
def test_the_product_is_that_of_a_plain_layer(bias: bool, shape: tuple[int, ...]) -> None:
    plain = Linear(5, 9, bias=bias)
    for parameter in plain.parameters():
        parameter.data.normal_()
    x = torch.randn(shape)
    large = PackedLinear(plain)
    assert large(x).shape == (*shape[:-1], 9)
    torch.testing.assert_close(large(x), plain(x))
    torch.testing.assert_close(large(x.transpose(0, -1).contiguous().transpose(0, -1)), plain(x))


def test_every_large_plain_layer_is_replaced_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "LEAST_SIZE", 6)
    part = torch.nn.ModuleDict({"a": Linear(2, 3), "b": torch.nn.Sequential(Linear(3, 3), torch.nn.LayerNorm(3))})
    part["c"] = Linear(5, 1)
    for parameter in part.parameters():
        parameter.data.normal_()
    pack(part)
    kinds = [type(module) for module in part.modules()]
    assert kinds.count(PackedLinear) == 2
    assert kinds.count(Linear) == 1
    assert torch.nn.LayerNorm in kinds


def test_it_pays_in_float32_on_a_cpu() -> None:
    cpu = torch.device("cpu")
    assert worthwhile(cpu, torch.float32)
    assert not worthwhile(cpu, torch.bfloat16)
    assert not worthwhile(torch.device("cuda"), torch.float32)


@pytest.mark.usefixtures("two_threads")
def test_a_packed_network_says_the_same(model: MiniCPMO, tiny_folder: Path) -> None:
    with unpacked():
        plain = load(str(tiny_folder), devices=("cpu",), dtype="float32")
    assert isinstance(model.language.head, PackedLinear)
    assert isinstance(plain.language.head, Linear)
    replies = []
    for network in (model, plain):
        session = Session(network)
        session.prefill("user", ["what is this?"])
        options = TextSampling(do_sample=False, max_new_tokens=12)
        replies.append([piece.text for piece in session.generate(options, speak=False)])
    assert replies[0] == replies[1]
