"""Making the network of official tensors, wherever they come from.

They go one by one to their device and number format and are prepared (fused, folded, quantised) on the way: at the peak
there is the finished network and one group of tensors.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from model_server.minicpmo.config import ModelConfig
from model_server.minicpmo.inputs.mel import mel_filters
from model_server.minicpmo.loading import budget, devices, quantize
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network import dvae, language, packed, resampler, speech, vision, vocos, whisper
from model_server.minicpmo.network.layers import Linear, laid_out
from model_server.minicpmo.network.weights import Recipe, as_is, stacked
from model_server.minicpmo.words.tokens import SpeechTokenizer, TextTokenizer

logger = logging.getLogger(__name__)

Part = TypeVar("Part", bound=nn.Module)


class Source(Protocol):
    """Where the official tensors come from."""

    def read(self, name: str, device: torch.device, dtype: torch.dtype) -> Tensor:
        """A tensor by its official name, in memory of its own."""
        ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the loading is: the part of the network that is being filled, and how many of all tensors are done."""

    part: str
    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything goes, in what number format and how quantised."""

    placement: devices.Placement
    dtype: torch.dtype
    mode: str
    budget: budget.Budget

    def device(self, part: str, target: str) -> torch.device:
        """Where a parameter stands."""
        if part == "language" and target.startswith("layers."):
            return self.placement.layers[int(target.split(".")[1])]
        return self.placement.rest


def plan(config: ModelConfig, names: Sequence[str], dtype: str, mode: str) -> Plan:
    """Choose places and number format, and check that there is room. Raises `DeviceError` or `DoesNotFit`."""
    where = devices.parse(names)
    chosen = devices.number_format(dtype, where)
    quantize.check_mode(mode)
    needed = budget.budget(config, chosen, mode)
    free = {device: devices.memory(device).free for device in where}
    rest = needed.total - needed.layer * config.language.num_layers
    room = [free[device] for device in where]
    placement = devices.place(where, room, config.language.num_layers, needed.layer, rest)
    checked = budget.check(config, chosen, mode, placement, free)
    for device in placement.devices:
        here = budget.needed_on(checked, placement, device)
        logger.info("%s: needs %s, %s free", device, budget.gigabytes(here), budget.gigabytes(free[device]))
    return Plan(placement, chosen, mode, checked)


def assemble(
    config: ModelConfig,
    vocabularies: tuple[TextTokenizer, SpeechTokenizer],
    source: Source,
    chosen: Plan,
    progress: Callable[[Progress], None] | None = None,
) -> MiniCPMO:
    """The network, filled from `source` as planned."""
    recipes = all_recipes(config)
    total, done = sum(len(each) for each in recipes.values()), 0
    parts = _empty_parts(config)
    for name, part in parts.items():
        filling = _Filling(name, part, source, chosen)
        for recipe in filling.prepared(recipes[name]):
            filling.follow(recipe)
            done += 1
            if progress is not None:
                progress(Progress(name, done, total))
        filling.finish()
    mel_filters()
    network = MiniCPMO(config, *vocabularies, **parts)  # type: ignore[arg-type]
    network.language.cuts = chosen.placement.cuts
    return network


def all_recipes(config: ModelConfig) -> dict[str, list[Recipe]]:
    """Every part's recipes, by the part's name."""
    return {
        "language": list(language.recipes(config.language)),
        "vision": list(vision.recipes(config.vision)),
        "resampler": list(resampler.recipes(config.resampler)),
        "audio": list(whisper.recipes(config.audio)),
        "speech": list(speech.recipes(config.speech)),
        "dvae": list(dvae.recipes(config.dvae)),
        "vocos": list(vocos.recipes(config.vocos)),
    }


def _empty_parts(config: ModelConfig) -> dict[str, nn.Module]:
    with torch.device("meta"):
        return {
            "language": language.Language(config.language),
            "vision": vision.Vision(config.vision),
            "resampler": resampler.Resampler(config.resampler),
            "audio": whisper.AudioEncoder(config.audio),
            "speech": speech.Speech(config.speech),
            "dvae": dvae.Dvae(config.dvae),
            "vocos": vocos.Vocos(config.vocos),
        }


def fill(part: Part, recipes: Iterable[Recipe], source: Source, dtype: torch.dtype) -> Part:
    """Give a single part, made on the meta device, its parameters on the CPU."""
    here = devices.Placement(((torch.device("cpu"), 1),))
    filling = _Filling("", part, source, Plan(here, dtype, "none", budget.Budget({}, 0, 0, 0)))
    for recipe in recipes:
        filling.follow(recipe)
    filling.finish()
    return part


class _Filling:
    """One part of the network while its parameters come in."""

    def __init__(self, name: str, part: nn.Module, source: Source, chosen: Plan) -> None:
        self._name, self._part, self._source, self._plan = name, part, source, chosen
        self._dtype = torch.float32 if name == "vocos" else chosen.dtype

    def prepared(self, recipes: list[Recipe]) -> list[Recipe]:
        """The recipes, once the layers that will be quantised stand in the places of the others."""
        if self._name in quantize.QUANTISED_PARTS:
            for recipe in recipes:
                self._swap(*recipe.target.rpartition(".")[::2])
        return recipes

    def _swap(self, path: str, parameter: str) -> None:
        layer = self._part.get_submodule(path)
        is_head = self._name == "language" and path == "head"
        if parameter != "weight" or not isinstance(layer, Linear) or not (is_head or path.startswith("layers.")):
            return
        width = quantize.bits(self._plan.mode, layer.weight.shape[1], is_head)
        if width:
            above, _, last = path.rpartition(".")
            setattr(self._part.get_submodule(above), last, quantize.quantised(layer, width, self._dtype))

    def follow(self, recipe: Recipe) -> None:
        """Make one parameter."""
        path, _, name = recipe.target.rpartition(".")
        module, value = self._part.get_submodule(path), self._made(recipe)
        if name == "weight" and isinstance(module, quantize.Int8Linear | quantize.Int4Linear):
            module.fill(value)
        elif isinstance(getattr(module, name), nn.Parameter):
            _check_shape(recipe, value, getattr(module, name))
            value = laid_out(value) if isinstance(module, Linear) and name == "weight" else value
            setattr(module, name, nn.Parameter(value, requires_grad=False))
        else:
            _check_shape(recipe, value, getattr(module, name))
            setattr(module, name, value)

    def _made(self, recipe: Recipe) -> Tensor:
        """Sums and products are taken in float32 whatever the network's format is."""
        device = self._plan.device(self._name, recipe.target)
        plain = recipe.prepare in (as_is, stacked)
        sources = (self._source.read(name, device, self._dtype if plain else torch.float32) for name in recipe.sources)
        return recipe.prepare(*sources).to(self._dtype)

    def finish(self) -> None:
        """Check that nothing is left unmade."""
        for name, tensor in (*self._part.named_parameters(), *self._part.named_buffers()):
            if tensor.is_meta:
                raise AssertionError(f"{self._name} {name}: no recipe makes it")
        if packed.worthwhile(self._plan.placement.rest, self._dtype):
            packed.pack(self._part)
        self._part.requires_grad_(False).eval()


def _check_shape(recipe: Recipe, made: Tensor, expected: Tensor) -> None:
    if made.shape != expected.shape:
        raise AssertionError(f"{recipe.target}: made {tuple(made.shape)}, the layer has {tuple(expected.shape)}")
