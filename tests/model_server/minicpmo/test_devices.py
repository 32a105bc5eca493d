from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import model_server.minicpmo
from model_server.minicpmo.errors import DeviceError, DoesNotFit
from model_server.minicpmo.inputs.pictures import PictureSlice
from model_server.minicpmo.loading import assembly, checkpoint, devices
from model_server.minicpmo.loading.devices import Memory, Placement, number_format, parse, place
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.language import Language, Layer
from model_server.minicpmo.random_checkpoint import SIZES
from tests.model_server.minicpmo.conftest import unpacked

CPU = torch.device("cpu")
CARDS = (torch.device("cuda", 0), torch.device("cuda", 1))
OPERATORS = Path(str(torch.__file__)).parents[1] / "torchgen" / "packaged" / "ATen" / "native" / "native_functions.yaml"


@pytest.fixture
def no_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> dict[torch.device, tuple[int, int]]:
    """Two invented cards; their compute capability may be changed."""
    capability: dict[torch.device, tuple[int, int]] = dict.fromkeys(CARDS, (8, 0))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_capability", capability.__getitem__)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (6_000_000_000 * (1 + device.index), 24_000_000_000))
    return capability


@pytest.mark.usefixtures("no_cards")
def test_without_cards_auto_is_the_processor() -> None:
    assert parse(["auto"]) == (CPU,)
    assert parse(["cpu", "cpu"]) == parse(["cpu,cpu"]) == parse([" cpu , cpu"]) == (CPU, CPU)


@pytest.mark.usefixtures("two_cards")
def test_cards_by_name() -> None:
    assert parse(["auto"]) == parse(["cuda"]) == CARDS[:1]
    assert parse(["cuda:1,cuda:0"]) == (CARDS[1], CARDS[0])


def test_an_apple_card(monkeypatch: pytest.MonkeyPatch, no_cards: None) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert parse(["auto"]) == parse(["mps"]) == (torch.device("mps"),)
    assert number_format("auto", parse(["mps"])) == torch.float16


@pytest.mark.usefixtures("no_cards")
@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "expected at least one"),
        (["", " ,"], "expected at least one"),
        (["gpu"], "found 'gpu'"),
        (["meta"], "found 'meta'"),
        (["cuda:0"], "cuda:0 is not there: this machine shows 0 cuda cards"),
        (["mps"], "no Apple card"),
    ],
)
def test_names_that_are_none(names: list[str], said: str) -> None:
    with pytest.raises(DeviceError, match=said):
        parse(names)


@pytest.mark.usefixtures("two_cards")
@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["cuda:2"], "cuda:2 is not there: this machine shows 2 cuda cards"),
        (["cuda:0,cpu"], "expected all of one kind"),
        (["cuda:0,cuda:0"], "expected each card once"),
    ],
)
def test_cards_that_cannot_be_combined(names: list[str], said: str) -> None:
    with pytest.raises(DeviceError, match=said):
        parse(names)


def test_number_formats(two_cards: dict[torch.device, tuple[int, int]]) -> None:
    assert number_format("auto", (CPU,)) == torch.float32
    assert number_format("auto", CARDS) == number_format("bf16", CARDS) == torch.bfloat16
    two_cards[CARDS[1]] = (7, 5)
    assert number_format("auto", CARDS) == number_format("float16", CARDS) == torch.float16
    with pytest.raises(DeviceError, match="no bfloat16: use float16"):
        number_format("bfloat16", CARDS)
    with pytest.raises(DeviceError, match="expected auto, bfloat16, float16, float32, found 'half'"):
        number_format("half", (CPU,))


def test_memory_of_this_machine() -> None:
    found = devices.memory(CPU)
    assert 0 < found.free <= found.total


@pytest.mark.usefixtures("two_cards")
def test_memory_of_a_card() -> None:
    assert devices.memory(CARDS[1]) == Memory(12_000_000_000, 24_000_000_000)


@pytest.mark.parametrize(
    ("room", "layers", "rest", "counts"),
    [
        ([10], 28, 5, [28]),
        ([10, 10], 28, 0, [14, 14]),
        ([10, 10], 20, 8, [14, 6]),  # 28 layers' worth in all: the last card has the rest, so fewer layers.
        ([30, 10], 20, 0, [15, 5]),
        ([10, 10, 10], 27, 3, [10, 10, 7]),
        ([10, 10], 3, 100, [2, 1]),  # The last card keeps a layer, so that the output need not travel.
        ([1, 1000], 4, 0, [1, 3]),
    ],
)
def test_layers_are_split_by_room(room: list[int], layers: int, rest: int, counts: list[int]) -> None:
    where = [torch.device("cuda", index) for index in range(len(room))]
    placement = place(where, room, layers, 1, rest)
    assert placement.shares == tuple(zip(where, counts, strict=True))
    assert placement.rest == where[-1]
    assert len(placement.layers) == layers


def test_a_placement_knows_its_cuts() -> None:
    placement = Placement(((CARDS[0], 2), (CARDS[1], 3)))
    assert placement.cuts == (2,)
    assert placement.layers == (CARDS[0],) * 2 + (CARDS[1],) * 3
    assert Placement(((CPU, 2), (CPU, 3))).devices == (CPU,)


def test_more_devices_than_layers() -> None:
    with pytest.raises(DeviceError, match="expected at most 1, one for each language layer, found 2"):
        place(CARDS, [1, 1], 1, 1, 0)


@pytest.mark.usefixtures("two_cards")
def test_a_network_too_large_for_two_cards_is_refused_before_anything_is_made() -> None:
    with pytest.raises(DoesNotFit, match="use --quantize int8"):
        assembly.plan(SIZES["full"], ["cuda:0,cuda:1"], "auto", "none")
    planned = assembly.plan(SIZES["full"], ["cuda:0,cuda:1"], "auto", "int8")
    assert planned.dtype == torch.bfloat16
    assert planned.placement.devices == CARDS


@torch.inference_mode()
def test_every_tensor_moves_to_the_device_of_its_layer() -> None:
    """The meta device stands for a second card: its tensors refuse to meet others."""
    config, meta = SIZES["tiny"].language, torch.device("meta")
    with meta:
        part = Language(config)
    for index in range(2):
        part.layers[index] = Layer(config)
    part.cuts = (2,)
    cache = part.new_cache()
    for steps in (4, 1):
        hidden = part(torch.zeros(steps, config.hidden_size), cache)
    assert [keys.device for keys in cache.keys] == [CPU, CPU, meta]
    assert part.logits(hidden).device == meta
    part.cuts = ()
    with pytest.raises(RuntimeError, match="device"):
        part(torch.zeros(1, config.hidden_size), cache)


def test_only_one_file_speaks_to_the_cards() -> None:
    folder = Path(str(model_server.minicpmo.__file__)).parent
    pattern = re.compile(r"torch\.(cuda|mps|backends\.mps|accelerator)|from torch import .*(cuda|mps)")
    speaking = {file.name for file in folder.rglob("*.py") if pattern.search(file.read_text())}
    assert speaking == {"devices.py"}


class Used(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operators that run, and whether any of them makes numbers that Apple's cards lack."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operators: set[str] = set()
        self.doubles: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with self:  # What is made of other operators counts as those.
            result = func.decompose(*args, **(kwargs or {}))
        if result is not NotImplemented:
            return result
        result = func(*args, **(kwargs or {}))
        name = str(func.name())
        self.operators.add(name)
        if isinstance(result, torch.Tensor) and result.dtype in (torch.float64, torch.complex128):
            self.doubles.add(name)
        return result


def run(model: MiniCPMO) -> None:
    """Once through every part."""
    config = model.config
    part, cache = model.language, model.language.new_cache()
    hidden = part(part.embed(list(range(5))), cache)
    part.logits(part(part.embed([1]), cache))
    patches = 3 * config.vision.patch_size**2
    features = model.vision([PictureSlice(torch.rand(6, patches), 2, 3)])
    model.resampler(features, [(2, 3)])
    listening = model.audio.new_cache()
    for _ in range(2):
        model.audio.stream(torch.rand(config.audio.num_mel_bins, 100), listening)
    state = model.speech.new_state(hidden[-1])
    model.speech.prefill_text(state, list(range(8)), 0)
    codes, _ = model.speech.speak(state, 3, lambda probabilities: probabilities.argmax(-1), no_stop=True)
    model.vocos(model.dvae(codes))


@pytest.fixture(scope="module")
def used() -> Used:
    found = Used()
    with unpacked():  # As on a card.
        model = checkpoint.load_random("tiny", devices=["cpu"])
    with torch.inference_mode(), found:
        run(model)
    return found


def test_no_operator_is_one_that_apple_cards_lack(used: Used) -> None:
    plain = {name.split(".")[0] for name in used.operators}
    assert {"aten::addmm", "aten::convolution"} <= plain
    assert plain & devices.MPS_LACKING <= set(devices.MPS_INSTEAD)


def test_the_table_of_operators_agrees(used: Used) -> None:
    """With the one torch itself is built from, where that says more than the list."""
    lacking = lacking_by_table(OPERATORS.read_text())
    assert {name.split(".")[0] for name in lacking} >= devices.MPS_LACKING
    assert {name for name in used.operators if name in lacking} <= {
        name for name in used.operators if name.split(".")[0] in devices.MPS_INSTEAD
    }


def lacking_by_table(text: str) -> set[str]:
    """Names of the operators with kernels for the processor but neither for mps nor for all devices."""
    entries = {match[1]: entry for entry in text.split("- func: ")[1:] if (match := re.match(r"([\w.]+)\(", entry))}

    def runs(name: str) -> bool:
        entry = entries[name]
        if delegate := re.search(r"structured_delegate: ([\w.]+)", entry):
            return runs(delegate[1])
        return "dispatch:" not in entry or "MPS" in entry or "Composite" in entry

    of_processor: Callable[[str], bool] = lambda name: "CPU" in entries[name]  # noqa: E731
    return {f"aten::{name}" for name in entries if of_processor(name) and not runs(name)}


def test_no_operator_makes_doubles(used: Used) -> None:
    assert not used.doubles
