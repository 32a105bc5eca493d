from __future__ import annotations

import pytest
import torch

from model_server.minicpmo.config import ModelConfig
from model_server.minicpmo.errors import DoesNotFit
from model_server.minicpmo.loading import budget, checkpoint
from model_server.minicpmo.loading.devices import Placement
from model_server.minicpmo.random_checkpoint import SIZES

OFFICIAL = ModelConfig()
CPU = torch.device("cpu")
CARDS = (torch.device("cuda", 0), torch.device("cuda", 1))
ONE = Placement(((CPU, 28),))
GB = budget.GIGABYTE


def test_the_cache_of_the_official_network() -> None:
    """448 MiB at 8192 positions in bfloat16."""
    assert budget.cache_bytes(OFFICIAL.language, torch.bfloat16, 8192) == 448 * 2**20


def test_the_language_model_in_bfloat16() -> None:
    assert budget.budget(OFFICIAL, torch.bfloat16, "none").parts["language"] == 2 * 7_613_007_360


def test_the_vocoder_stays_in_float32() -> None:
    assert budget.budget(OFFICIAL, torch.bfloat16, "int8").parts["vocos"] == 4 * 13_532_674


@pytest.mark.parametrize(
    ("dtype", "mode", "gigabytes"),
    [
        # 8.64e9 parameters in use, the cache of 8192 positions, and room for one embedding table (0.544e9) more.
        (torch.float32, "none", 8.642 * 4 + 0.054 + 0.940 + 2.175),
        (torch.bfloat16, "none", 8.642 * 2 + 0.054 + 0.470 + 1.087),
        # 7.78e9 of the weights have one byte.
        (torch.bfloat16, "int8", 8.642 * 2 - 7.78 + 0.054 + 0.470 + 1.087),
        # 7.10e9 of them have half a byte, and four bytes for each 128; the head and one of vision keep a byte.
        (torch.bfloat16, "int4", 8.642 * 2 - 7.78 - 7.10 * (0.5 - 4 / 128) + 0.054 + 0.470 + 1.087),
    ],
)
def test_the_official_network_together(dtype: torch.dtype, mode: str, gigabytes: float) -> None:
    assert budget.budget(OFFICIAL, dtype, mode).total / GB == pytest.approx(gigabytes, abs=0.02)


@pytest.mark.parametrize("mode", ["none", "int8", "int4"])
def test_the_budget_is_what_loading_takes(mode: str) -> None:
    model = checkpoint.load_random("tiny", devices=["cpu"], quantize=mode)
    needed = budget.budget(SIZES["tiny"], torch.float32, mode)
    for part in ("language", "vision", "resampler", "audio", "speech", "vocos"):
        module = getattr(model, part)
        taken = sum(tensor.nbytes for tensor in (*module.parameters(), *module.buffers()))
        assert taken == pytest.approx(needed.parts[part], rel=0.02), part


def test_what_fits_is_taken() -> None:
    assert budget.check(OFFICIAL, torch.bfloat16, "none", ONE, {CPU: 24 * GB}).total < 24 * GB


@pytest.mark.parametrize(
    ("dtype", "mode", "free", "advice"),
    [
        (torch.bfloat16, "none", 12, "use --quantize int8"),
        (torch.bfloat16, "none", 10, "use --quantize int4"),
        (torch.bfloat16, "int8", 10, "use --quantize int4"),
        (torch.float32, "none", 20, "use --dtype bfloat16"),
        (torch.bfloat16, "int4", 7, "no number format fits"),
        (torch.float32, "none", 4, "no number format fits"),
    ],
)
def test_what_does_not_fit_comes_with_advice(dtype: torch.dtype, mode: str, free: int, advice: str) -> None:
    with pytest.raises(DoesNotFit, match=f"{free}.0 GB free: {advice}"):
        budget.check(OFFICIAL, dtype, mode, ONE, {CPU: free * GB})


def test_the_sentence_and_the_table() -> None:
    with pytest.raises(DoesNotFit) as caught:
        budget.check(OFFICIAL, torch.bfloat16, "none", ONE, {CPU: 11_000_000_000})
    sentence, *table = str(caught.value).splitlines()
    assert sentence == "cpu: needs 18.9 GB, 11.0 GB free: use --quantize int4"
    assert [row.split()[0] for row in table][:2] == ["language", "vision"]
    assert "together" in table[-1]


def test_two_cards_share() -> None:
    placement = Placement(((CARDS[0], 20), (CARDS[1], 8)))
    needed = budget.budget(OFFICIAL, torch.bfloat16, "none")
    shares = [budget.needed_on(needed, placement, card) for card in CARDS]
    assert shares[0] == 20 * (needed.layer + needed.cache // 28)
    assert sum(shares) == needed.total
    budget.check(OFFICIAL, torch.bfloat16, "none", placement, dict.fromkeys(CARDS, 12 * GB))
    with pytest.raises(DoesNotFit, match="cuda:1: needs"):
        budget.check(OFFICIAL, torch.bfloat16, "none", placement, {CARDS[0]: 12 * GB, CARDS[1]: 6 * GB})
