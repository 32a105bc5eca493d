from __future__ import annotations

from collections.abc import Generator, Iterator

import pytest
import torch
from torch import Tensor
from transformers.models.whisper.configuration_whisper import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoderLayer

from model_server.minicpmo.config import AudioConfig, ModelConfig
from model_server.minicpmo.errors import InputError
from model_server.minicpmo.loading.checkpoint import Tensors, fill
from model_server.minicpmo.network.layers import KVCache
from model_server.minicpmo.network.whisper import AudioEncoder, Layer, block_mask, recipes

SMALL = AudioConfig(
    hidden_size=16, intermediate_size=32, num_layers=2, num_heads=2, num_mel_bins=5, max_positions=120, output_size=12
)


class Given:
    """Official tensors of a single layer."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors

    def read(self, name: str, device: torch.device, dtype: torch.dtype) -> Tensor:
        return self.tensors[name].to(device, dtype)


@pytest.fixture
def encoder() -> AudioEncoder:
    torch.manual_seed(11)
    part = AudioEncoder(SMALL)
    for parameter in part.parameters():
        parameter.normal_(std=0.3)
    return part


def mel(frames: int, seed: int = 0) -> Tensor:
    return torch.randn(5, frames, generator=torch.Generator().manual_seed(seed))


def kept(cache: KVCache) -> list[Tensor]:
    return [each[:, : cache.length].clone() for each in (*cache.keys, *cache.values)]


@torch.inference_mode()
def test_a_layer_of_official_size_is_transformers() -> None:
    torch.manual_seed(3)
    sizes = WhisperConfig(
        d_model=1024, encoder_attention_heads=16, encoder_ffn_dim=4096, attn_implementation="eager", dropout=0.0
    )
    theirs = WhisperEncoderLayer(sizes).eval()
    for parameter in theirs.parameters():
        parameter.normal_(std=0.05)
    config = AudioConfig(num_layers=1)
    given = Given({f"apm.layers.0.{name}": tensor for name, tensor in theirs.state_dict().items()})
    of_layer = [recipe for recipe in recipes(config) if recipe.target.startswith("layers.0.")]
    with torch.device("meta"):
        holder = torch.nn.Module()
        holder.layers = torch.nn.ModuleList([Layer(config)])
    ours = fill(holder, of_layer, given, torch.float32).layers[0]
    x = torch.randn(1, 29, 1024)
    expected = theirs(x, None)
    expected = expected[0] if isinstance(expected, tuple) else expected
    torch.testing.assert_close(ours(x, None, None, 0), expected, atol=1e-4, rtol=0)


@torch.inference_mode()
def test_a_first_clip_is_heard_as_a_whole(encoder: AudioEncoder) -> None:
    cache = encoder.new_cache()
    clip = mel(100)
    torch.testing.assert_close(encoder.listen(clip, cache), encoder.hidden([clip], None)[0], atol=1e-5, rtol=0)
    assert cache.length == 0
    assert encoder.stream(clip, cache).shape == (25, 12)
    assert cache.length == 50


@torch.inference_mode()
def test_a_second_clip_hears_the_first_and_stands_behind_it(encoder: AudioEncoder) -> None:
    first, second, cache = mel(40, 1), mel(60, 2), encoder.new_cache()
    encoder.stream(first, cache)
    hidden = encoder.listen(second, cache)
    # The same without a cache: both clips convolved apart, the first blind for the second.
    x = torch.cat((encoder.convolve(first[None]), encoder.convolve(second[None])), dim=1)
    x = x + encoder.positions[:50]
    visible = torch.ones(50, 50, dtype=torch.bool)
    visible[:20, 20:] = False
    for index, layer in enumerate(encoder.layers):
        x = layer(x, visible, None, index)
    torch.testing.assert_close(hidden, encoder.norm(x)[0, 20:], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_a_full_cache_starts_again_one_clip_early(encoder: AudioEncoder) -> None:
    cache, lengths, heard = encoder.new_cache(), [], []
    for _ in range(8):
        heard.append(encoder.stream(mel(60), cache))
        lengths.append(cache.length)
    assert lengths == [30, 60, 90, 30, 60, 90, 30, 60]  # 90 + 30 >= 120.
    torch.testing.assert_close(heard[3], heard[0])
    torch.testing.assert_close(heard[4], heard[1])


@torch.inference_mode()
def test_a_clip_of_the_greatest_length_is_heard_alone(encoder: AudioEncoder) -> None:
    cache = encoder.new_cache()
    encoder.stream(mel(60), cache)
    assert encoder.stream(mel(240), cache).shape[0] == 60
    assert cache.length == 120


@pytest.mark.parametrize("before", [1, 3])
@torch.inference_mode()
def test_a_failure_leaves_the_cache_as_it_was(encoder: AudioEncoder, before: int) -> None:
    cache = encoder.new_cache()
    for number in range(before):
        encoder.stream(mel(60, number), cache)
    length, content = cache.length, kept(cache)
    project, encoder.project_out = encoder.project_out, torch.nn.Identity()
    encoder.project_out.forward = lambda _: 1 // 0  # type: ignore[assignment]
    with pytest.raises(ZeroDivisionError):
        encoder.stream(mel(60, 9), cache)
    encoder.project_out = project
    assert cache.length == length
    assert all(torch.equal(now, then) for now, then in zip(kept(cache), content, strict=True))


@torch.inference_mode()
def test_in_groups_of_layers_the_same_is_heard(encoder: AudioEncoder) -> None:
    cache, groups = encoder.new_cache(), encoder.new_cache()
    for number in range(4):  # The last one begins a new cache.
        whole, halting = encoder.stream(mel(60, number), cache), encoder.stream_by_groups(mel(60, number), groups, 1)
        before, found = groups.length, list[torch.Tensor]()

        def taking(work: Generator[None, None, torch.Tensor], into: list[torch.Tensor]) -> Iterator[None]:
            into.append((yield from work))

        lengths = [groups.length for _ in taking(halting, found)]
        assert lengths == [before] * (len(encoder.layers) - 1)
        assert torch.equal(found[0], whole)
        assert groups.length == cache.length


@torch.inference_mode()
def test_a_failed_clip_does_not_change_the_next(encoder: AudioEncoder) -> None:
    cache, other = encoder.new_cache(), encoder.new_cache()
    encoder.stream(mel(60), cache)
    encoder.stream(mel(60), other)
    encoder.listen(mel(80, 5), cache)
    assert torch.equal(encoder.stream(mel(60, 2), cache), encoder.stream(mel(60, 2), other))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((5, 2), "3 to 240 frames of 10 ms, got 2"),
        ((5, 241), "3 to 240 frames of 10 ms, got 241"),
        ((4, 100), r"expected \[5, frames\], got \[4, 100\]"),
        ((1, 5, 100), r"got \[1, 5, 100\]"),
    ],
)
def test_what_cannot_be_heard_is_refused(encoder: AudioEncoder, shape: tuple[int, ...], words: str) -> None:
    cache = encoder.new_cache()
    with pytest.raises(InputError, match=words):
        encoder.stream(torch.zeros(shape), cache)
    with pytest.raises(InputError, match=words):
        encoder.encode([mel(100), torch.zeros(shape)])
    assert cache.length == 0


def test_a_block_sees_all_before_it_and_half_of_the_padding() -> None:
    mask = block_mask([12, 4], frames=6, block=2, device=torch.device("cpu"))
    assert mask.shape == (2, 1, 6, 6)
    assert mask[0, 0].int().tolist() == [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 1, 1, 1],
        [1, 1, 1, 1, 1, 1],
    ]
    # Four mel frames are two of the encoder's, but four keys stay visible.
    assert mask[1, 0, 5].int().tolist() == [1, 1, 1, 1, 0, 0]


@torch.inference_mode()
def test_clips_of_one_call_are_cut_to_their_own_length(encoder: AudioEncoder) -> None:
    long, short = encoder.encode([mel(200), mel(63, 1)])
    assert (long.shape, short.shape) == ((50, 12), (16, 12))
    torch.testing.assert_close(long, encoder.encode([mel(200)])[0], atol=1e-5, rtol=0)
    assert (short - encoder.encode([mel(63, 1)])[0]).abs().max() > 1e-3  # It hears some of its padding.
    assert encoder.encode([]) == []


@torch.inference_mode()
def test_blocks_do_not_hear_later_ones(encoder: AudioEncoder) -> None:
    clip = mel(220)
    other = clip.clone()
    other[:, 110:] = 0  # One frame behind the end of the first block, out of reach of its convolutions.
    first, second = encoder.hidden([clip], 50)[0], encoder.hidden([other], 50)[0]
    torch.testing.assert_close(first[:50], second[:50], atol=1e-6, rtol=0)
    assert (encoder.hidden([clip], None)[0, :50] - first[:50]).abs().max() > 1e-3


@torch.inference_mode()
def test_the_projector_comes_before_the_mean_of_pairs(encoder: AudioEncoder) -> None:
    hidden = torch.randn(7, 16)
    wide = encoder.project_out(torch.relu(encoder.widen(hidden)))
    expected = torch.stack([(wide[0] + wide[1]) / 2, (wide[2] + wide[3]) / 2, (wide[4] + wide[5]) / 2])
    torch.testing.assert_close(encoder.project(hidden), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.inference_mode()
def test_narrow_numbers_stay_close(dtype: torch.dtype, tiny_config: ModelConfig, tensors: Tensors) -> None:
    def heard(kind: torch.dtype) -> list[Tensor]:
        with torch.device("meta"):
            part = AudioEncoder(tiny_config.audio)
        fill(part, recipes(tiny_config.audio), tensors, kind)
        cache = part.new_cache()
        sound = torch.randn(80, 100, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
        return [part.stream(sound, cache), part.stream(sound, cache), *part.encode([sound, sound[:, :40]])]

    for ours, expected in zip(heard(dtype), heard(torch.float32), strict=True):
        assert ours.dtype == dtype
        assert torch.nn.functional.cosine_similarity(ours.float(), expected, dim=-1).min() > 0.999
