from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers.models.siglip.configuration_siglip import SiglipVisionConfig
from transformers.models.siglip.modeling_siglip import SiglipEncoderLayer

from model_server.minicpmo.config import ModelConfig, VisionConfig
from model_server.minicpmo.inputs.pictures import PictureSlice
from model_server.minicpmo.loading.checkpoint import Tensors, fill
from model_server.minicpmo.network.vision import Layer, Vision, recipes, same_shapes


class Given:
    """Official tensors of a single layer."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors

    def read(self, name: str, device: torch.device, dtype: torch.dtype) -> Tensor:
        return self.tensors[name].to(device, dtype)


@pytest.fixture(scope="module")
def vision(tiny_config: ModelConfig, tensors: Tensors) -> Vision:
    with torch.device("meta"):
        part = Vision(tiny_config.vision)
    return fill(part, recipes(tiny_config.vision), tensors, torch.float32)


def piece(rows: int, columns: int, seed: int = 0) -> PictureSlice:
    patches = torch.rand(rows * columns, 588, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return PictureSlice(patches, rows, columns)


@torch.inference_mode()
def test_a_layer_of_official_size_is_transformers() -> None:
    torch.manual_seed(3)
    sizes = SiglipVisionConfig(
        hidden_size=1152, intermediate_size=4304, num_attention_heads=16, attn_implementation="eager"
    )
    theirs = SiglipEncoderLayer(sizes).eval()
    for parameter in theirs.parameters():
        parameter.normal_(std=0.05)
    config = VisionConfig(num_layers=1)
    given = Given({f"vpm.encoder.layers.0.{name}": tensor for name, tensor in theirs.state_dict().items()})
    of_layer = [recipe for recipe in recipes(config) if recipe.target.startswith("layers.0.")]
    with torch.device("meta"):
        holder = torch.nn.Module()
        holder.layers = torch.nn.ModuleList([Layer(config)])
    ours = fill(holder, of_layer, given, torch.float32).layers[0]
    x = torch.randn(2, 37, 1152)
    expected = theirs(x, None)
    expected = expected[0] if isinstance(expected, tuple) else expected
    torch.testing.assert_close(ours(x), expected, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_mixed_shapes_come_back_in_order_and_as_if_alone(vision: Vision) -> None:
    pieces = [piece(4, 6, 1), piece(6, 4, 2), piece(4, 6, 3), piece(3, 3, 4)]
    together = vision(pieces)
    assert [state.shape[0] for state in together] == [24, 24, 24, 9]
    for state, own in zip(together, pieces, strict=True):
        torch.testing.assert_close(state, vision([own])[0], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_the_shape_decides_the_positions(vision: Vision) -> None:
    wide = piece(4, 6)
    tall = PictureSlice(wide.patches, 6, 4)
    assert (vision([wide])[0] - vision([tall])[0]).abs().max() > 0.01


@torch.inference_mode()
def test_an_embedding_is_the_convolution_and_a_row_of_the_table(vision: Vision, tensors: Tensors) -> None:
    own = piece(2, 3)
    kernel = tensors["vpm.embeddings.patch_embedding.weight"].float()
    bias = tensors["vpm.embeddings.patch_embedding.bias"].float()
    table = tensors["vpm.embeddings.position_embedding.weight"].float()
    convolved = torch.nn.functional.conv2d(own.patches.view(6, 3, 14, 14), kernel, bias).flatten(1)
    expected = convolved + table[[0, 23, 46, 2450, 2473, 2496]]
    torch.testing.assert_close(vision.embed([own])[0], expected, atol=1e-5, rtol=0)


def test_groups_have_one_shape_and_a_limit() -> None:
    shapes = [(1, 2), (2, 1), (1, 2), (1, 2), (2, 1)]
    assert list(same_shapes(shapes, 2)) == [[0, 2], [3], [1, 4]]
    assert list(same_shapes([], 2)) == []


def test_a_dropped_last_layer_is_neither_made_nor_asked_for() -> None:
    config = VisionConfig(hidden_size=8, intermediate_size=16, num_layers=3, num_heads=2, drop_last_layer=True)
    with torch.device("meta"):
        part = Vision(config)
    targets = {recipe.target for recipe in recipes(config)}
    assert targets == {name for name, _ in part.named_parameters()}
    assert not any(".layers.2." in name for recipe in recipes(config) for name in recipe.sources)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.inference_mode()
def test_narrow_numbers_stay_close(
    dtype: torch.dtype, vision: Vision, tiny_config: ModelConfig, tensors: Tensors
) -> None:
    with torch.device("meta"):
        narrow = Vision(tiny_config.vision)
    fill(narrow, recipes(tiny_config.vision), tensors, dtype)
    own = piece(5, 7)
    (ours,), (expected,) = narrow([own]), vision([own])
    assert ours.dtype == dtype
    assert torch.nn.functional.cosine_similarity(ours.float(), expected, dim=-1).min() > 0.999
