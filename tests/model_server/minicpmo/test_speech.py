"""The speech model: what each step sees, against a plain recomputation and transformers' own layers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import LlamaConfig, LlamaModel

from model_server.minicpmo.config import ModelConfig, SpeechConfig
from model_server.minicpmo.errors import InputError, OrderError
from model_server.minicpmo.loading.assembly import fill
from model_server.minicpmo.loading.checkpoint import Tensors
from model_server.minicpmo.network import speech_state
from model_server.minicpmo.network.speech import Layer, Speech, folded, recipes
from model_server.minicpmo.network.speech_sampling import Chooser, argmax
from model_server.minicpmo.network.speech_state import SpeechState, visible_text

SMALL = SpeechConfig(
    llm_size=24,
    hidden_size=16,
    intermediate_size=40,
    num_layers=2,
    num_heads=2,
    max_positions=140,
    num_codes=626,
    num_text_tokens=50,
    speaker_id=41,
    audio_bos_id=42,
    text_eos_id=43,
    reserved_text=30,
)
"""Its audio BOS stands at position 32."""


def random(config: SpeechConfig, seed: int = 0) -> Speech:
    part, generator = Speech(config), torch.Generator().manual_seed(seed)
    for name, parameter in part.named_parameters():
        parameter.normal_(1.0 if "norm" in name else 0.0, 0.2, generator=generator)
    return part


@pytest.fixture(scope="module")
def speech() -> Speech:
    return random(SMALL)


@pytest.fixture(scope="module")
def llama(speech: Speech) -> Any:
    return llama_of(speech)


def llama_of(speech: Speech) -> Any:
    """transformers' layers with the same weights."""
    config = speech.config
    model: Any = LlamaModel(
        LlamaConfig(
            vocab_size=3,
            hidden_size=config.hidden_size,
            intermediate_size=config.intermediate_size,
            num_hidden_layers=config.num_layers,
            num_attention_heads=config.num_heads,
            max_position_embeddings=config.max_positions,
            rms_norm_eps=config.rms_norm_eps,
            attn_implementation="eager",  # type: ignore[call-arg]
        )
    ).eval()
    size, inner = config.hidden_size, config.intermediate_size
    names: dict[str, Tensor] = {}
    for name, value in speech.state_dict().items():
        if name.endswith("qkv.weight"):
            parts = zip("qkv", value.split(size), strict=True)
            names |= {name.replace("attention.qkv", f"self_attn.{part}_proj"): rows for part, rows in parts}
        elif name.endswith("gate_up.weight"):
            parts = zip(("gate", "up"), value.split(inner), strict=True)
            names |= {name.replace("gate_up", f"mlp.{part}_proj"): rows for part, rows in parts}
        elif name.startswith("layers.") or name == "norm.weight":
            name = name.replace("attention_norm", "input_layernorm").replace("mlp_norm", "post_attention_layernorm")
            name = name.replace("attention.out", "self_attn.o_proj").replace(".down.", ".mlp.down_proj.")
            names[name] = value
    missing, unexpected = model.load_state_dict(names, strict=False)
    assert (missing, unexpected) == (["embed_tokens.weight"], [])
    return model


def speaker(config: SpeechConfig = SMALL) -> Tensor:
    return torch.randn(config.llm_size, generator=torch.Generator().manual_seed(3))


def ids(count: int) -> list[int]:
    """A sequence [Stts][spk_emb] and `count` - 2 text tokens."""
    return [40, 41, *(index % 40 for index in range(count - 2))]


def begun(speech: Speech, text: int = 12, length: int = 9) -> SpeechState:
    state = speech.new_state(speaker())
    state.text_length = length
    speech.prefill_text(state, ids(text), 0)
    return state


def dense(speech: Speech, llama: Any, state: SpeechState, text: list[int]) -> Tensor:
    """Logits of the step behind `state`, of a whole sequence with an explicit mask [queries, keys]."""
    start, frames = SMALL.audio_start, state.codes
    table = speech.code_embedding.view(4, 626, -1)
    x = torch.cat(
        (
            speech.text_embedding[torch.tensor(text)],
            speech.text_embedding[SMALL.audio_bos_id][None],
            sum((table[book][frames[:, book]] for book in range(4)), torch.zeros(len(frames), SMALL.hidden_size)),
        )
    )
    x[1] = state.speaker
    positions = torch.tensor([*range(len(text)), *range(start, start + 1 + len(frames))])
    mask = torch.zeros(len(positions), len(positions), dtype=torch.bool)
    mask[: len(text), : len(text)] = torch.ones(len(text), len(text)).tril().bool()
    for n in range(len(frames) + 1):
        row = mask[len(text) + n]
        row[: min(10 * -(-(n + 2) // 50), 30) + 2] = True
        row[state.text_length + 3 :] = False
        row[len(text) + 1 : len(text) + 1 + n] = True
    added = torch.zeros(mask.shape).masked_fill(~mask, torch.finfo(torch.float32).min)
    hidden = llama(inputs_embeds=x[None], position_ids=positions[None], attention_mask=added[None, None])[0]
    return cast(Tensor, speech.head(hidden[0, -1]).view(4, 626))


@torch.inference_mode()
def test_every_step_as_one_dense_pass(speech: Speech, llama: Any) -> None:
    state, text = begun(speech), ids(12)
    for _ in range(3):
        seen: list[Tensor] = []
        expected = dense(speech, llama, state, text)
        speech.speak(state, 17, argmax, no_stop=True, observe=seen.append)
        assert (seen[0] - expected).abs().max() < 1e-4
    assert state.kv_length == 32 + 51


@torch.inference_mode()
def test_text_in_ranges_is_text_at_once(speech: Speech) -> None:
    whole, parts = begun(speech, 25, 22), begun(speech, 12, 22)
    speech.prefill_text(parts, ids(25)[12:22], 12)
    speech.prefill_text(parts, ids(25)[22:], 22)
    for mine, theirs in zip(whole.text_keys(1, 25), parts.text_keys(1, 25), strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


@torch.inference_mode()
def test_a_layer_of_official_size_is_that_of_transformers() -> None:
    config = SpeechConfig(num_layers=1, max_positions=400, num_text_tokens=60, num_codes=8, audio_bos_id=59, llm_size=8)
    speech = random(config, seed=4)
    for parameter in speech.parameters():
        parameter.mul_(0.2 if parameter.dim() > 1 else 1.0)
    llama, state = llama_of(speech), speech.new_state(speaker(config))
    speech.prefill_text(state, ids(40), 0)
    cache = llama(inputs_embeds=text_rows(speech, state)[None], use_cache=True).past_key_values
    for mine, theirs in zip(state.text_keys(0, 40), (cache.layers[0].keys, cache.layers[0].values), strict=True):
        assert (mine - theirs[0]).abs().max() < 1e-4
    state.text_length = 5
    found = speech.logits(state)
    x = torch.cat((text_rows(speech, state)[:8], speech.text_embedding[59][None]))
    positions = torch.tensor([*range(8), config.audio_start])
    mask = torch.ones(9, 9).tril()
    mask[8, 8] = 0
    added = torch.zeros(9, 9).masked_fill(mask == 0, torch.finfo(torch.float32).min)
    hidden = llama(inputs_embeds=x[None], position_ids=positions[None], attention_mask=added[None, None])[0]
    assert (found - speech.head(hidden[0, -1]).view(4, 8)).abs().max() < 1e-4


def text_rows(speech: Speech, state: SpeechState) -> Tensor:
    rows = speech.text_embedding[torch.tensor(ids(40))].clone()
    rows[1] = state.speaker
    return rows


@pytest.mark.parametrize(
    ("steps", "text_length", "slots"),
    [
        (0, 300, 12),
        (48, 300, 12),
        (49, 300, 22),
        (98, 300, 22),
        (99, 300, 32),
        (1448, 300, 292),
        (1449, 300, 302),
        (3000, 300, 302),
        (0, 5, 8),
        (49, 5, 8),
        (0, 0, 3),
    ],
)
def test_the_text_opens_with_the_audio(steps: int, text_length: int, slots: int) -> None:
    assert visible_text(SpeechConfig(), steps, text_length) == slots


@torch.inference_mode()
def test_the_bos_is_never_seen(speech: Speech) -> None:
    other = random(SMALL)
    other.text_embedding[SMALL.audio_bos_id] += 1.0
    logits = []
    for part in (speech, other):
        state = begun(part)
        first = part.logits(state)
        state.append(torch.tensor([[1, 2, 3, 4]]))
        state.steps = 1
        logits.append((first, part.logits(state)))
    assert not torch.allclose(logits[0][0], logits[1][0], atol=1e-2)
    assert torch.equal(logits[0][1], logits[1][1])


@torch.inference_mode()
def test_context_frames_see_each_other_but_not_the_bos(speech: Speech) -> None:
    text, frames = ids(7), torch.randint(625, (6, 4), generator=torch.Generator().manual_seed(8))
    state = speech.new_state(speaker())
    state.text_length = 5
    speech.prefill_text(state, text, 0)
    speech.prefill_audio(state, frames)
    assert (state.kv_length, state.codes.tolist()) == (32 + 6, frames.tolist())
    table = speech.code_embedding.view(4, 626, -1)
    audio = sum((table[book][frames[:, book]] for book in range(4)), torch.zeros(6, 16))
    # Slot 7 is the text's end, which was not filled: zeros, with a weight all the same.
    x = torch.cat((speech.text_embedding[torch.tensor(text)], audio))
    x[1] = state.speaker
    hidden = by_hand(speech, x, [*range(7), *range(33, 39)], text=7, empty=1, context=5)
    assert (speech.logits(state) - speech.head(hidden[-1]).view(4, 626)).abs().max() < 1e-4


def by_hand(speech: Speech, x: Tensor, positions: list[int], text: int, empty: int, context: int) -> Tensor:
    """The layers over causal text, bidirectional context and one step, audio seeing `empty` slots of zeros too."""
    rows, heads, size = len(x), SMALL.num_heads, SMALL.head_dim
    mask = torch.zeros(rows, rows + empty, dtype=torch.bool)
    mask[:text, :text] = torch.ones(text, text).tril().bool()
    mask[text:, : text + context] = mask[text:, rows:] = mask[-1, rows - 1] = True
    exponents = torch.arange(0, size, 2) / size
    angles = torch.tensor(positions)[:, None] / SMALL.rope_theta**exponents
    turn = torch.polar(torch.ones_like(angles), angles)
    for layer in cast(list[Layer], list(speech.layers)):
        qkv = F.linear(norm(x, layer.attention_norm.weight), layer.attention.qkv.weight)
        q, k, v = qkv.view(rows, 3, heads, size).unbind(1)
        q, k = (torch.complex(t[..., : size // 2], t[..., size // 2 :]) * turn[:, None] for t in (q, k))
        scores = torch.einsum("qhd,khd->hqk", q, k.conj()).real / size**0.5
        scores = torch.cat((scores, torch.zeros(heads, rows, empty)), -1).masked_fill(~mask, -torch.inf)
        y = torch.einsum("hqk,khd->qhd", scores.softmax(-1)[..., :rows], v).reshape(rows, -1)
        x = x + F.linear(y, layer.attention.out.weight)
        gate, up = F.linear(norm(x, layer.mlp_norm.weight), layer.gate_up.weight).chunk(2, -1)
        x = x + F.linear(gate * gate.sigmoid() * up, layer.down.weight)
    return norm(x, speech.norm.weight)


def norm(x: Tensor, weight: Tensor) -> Tensor:
    return x / (x.pow(2).mean(-1, keepdim=True) + SMALL.rms_norm_eps).sqrt() * weight


def scripted(frames: Iterator[list[int]], seen: list[Tensor]) -> Chooser:
    def choose(probabilities: Tensor) -> Tensor:
        seen.append(probabilities)
        return torch.tensor(next(frames))

    return choose


def test_an_end_in_any_codebook_ends_and_its_frame_is_left_out(speech: Speech) -> None:
    state, seen = begun(speech), list[Tensor]()
    script = iter([[index] * 4 for index in range(11)] + [[3, 625, 3, 3]])
    frames, finished = speech.speak(state, 25, scripted(script, seen))
    assert (frames.tolist(), finished) == ([[index] * 4 for index in range(11)], True)
    # The step that drew the end was computed: 12 positions for 11 frames.
    assert (state.kv_length, state.finished) == (32 + 12, True)
    with pytest.raises(OrderError, match="the segment has ended"):
        speech.speak(state, 25, argmax)


def test_the_first_ten_steps_of_every_call_cannot_end() -> None:
    speech = random(SMALL)
    speech.head.weight.zero_()  # All codes are alike, so that the filters leave the end.
    state, seen = begun(speech), list[Tensor]()
    script = ([step] * 4 for step in range(24))
    for _ in range(2):
        speech.speak(state, 12, scripted(script, seen))
    may_end = [bool((p[:, 625] > 0).all()) for p in seen]
    assert may_end == ([False] * 10 + [True] * 2) * 2
    assert torch.allclose(seen[0][:, :625], torch.tensor(1 / 625))


def test_no_stop_forbids_the_end_at_every_step() -> None:
    speech = random(SMALL)
    speech.head.weight.zero_()
    for no_stop, end in ((False, True), (True, False)):
        state, seen = begun(speech), list[Tensor]()
        speech.speak(state, 11, scripted(iter([[1] * 4] * 11), seen), no_stop=no_stop)
        assert bool((seen[10][:, 625] > 0).all()) is end


def test_the_speaker_has_unit_length_behind_the_projector(speech: Speech) -> None:
    projector = speech.projector
    inner = F.relu(F.linear(speaker(), projector.linear1.weight, projector.linear1.bias))
    expected = F.linear(inner, projector.linear2.weight, projector.linear2.bias)
    projected, unit = speech.project(speaker())
    assert torch.allclose(projected, expected, atol=1e-6)
    assert torch.allclose(unit, expected / expected.pow(2).sum().sqrt(), atol=1e-6)


@torch.inference_mode()
def test_a_truncated_state_goes_on_as_before(speech: Speech) -> None:
    state = begun(speech)
    speech.speak(state, 20, argmax, no_stop=True)
    rest, _ = speech.speak(state, 15, argmax, no_stop=True)
    state.truncate(20)
    assert state.kv_length == 52
    assert torch.equal(speech.speak(state, 15, argmax, no_stop=True)[0], rest)
    with pytest.raises(InputError, match="expected 0 to 35, got 36"):
        state.truncate(36)


@torch.inference_mode()
def test_growing_buffers_keep_what_they_hold(speech: Speech, monkeypatch: pytest.MonkeyPatch) -> None:
    large = begun(speech)
    pool = speech.new_pool(60)
    with monkeypatch.context() as patched:
        patched.setattr(speech_state, "FIRST_CAPACITY", 20)
        patched.setattr(speech, "pool", pool)
        small = begun(speech)
        assert (small.cache.capacity, pool.taken) == (60, 1)
        for _ in range(3):
            for state in (small, large):
                speech.speak(state, 20, argmax, no_stop=True)
    assert small.cache.capacity > 60
    assert pool.taken == 0, "it has outgrown its slot"
    assert torch.equal(small.codes, large.codes)


@torch.inference_mode()
def test_the_slot_of_the_bos_may_be_named(speech: Speech) -> None:
    state, named = begun(speech, 32, 30), begun(speech, 32, 30)
    before, _ = named.text_keys(1, 32)
    speech.prefill_text(named, [42], 32)
    assert torch.equal(named.text_keys(1, 32)[0], before)
    assert torch.equal(speech.logits(named), speech.logits(state))


@pytest.mark.parametrize(("text", "start"), [([], 0), ([1], -1), ([1, 2], 32), ([50], 3), ([-1], 3)])
def test_text_outside_the_slots_or_the_vocabulary_is_refused(speech: Speech, text: list[int], start: int) -> None:
    state = begun(speech)
    before, _ = state.text_keys(1, 32)
    with pytest.raises(InputError, match="text: expected"):
        speech.prefill_text(state, text, start)
    assert torch.equal(state.text_keys(1, 32)[0], before)


def test_other_wrong_input_is_refused(speech: Speech) -> None:
    with pytest.raises(InputError, match=r"speaker: expected \[24\], got \(1, 24\)"):
        speech.new_state(speaker()[None])
    state = begun(speech)
    for wrong in (torch.zeros(0, 4), torch.zeros(3, 3), torch.zeros(108, 4), torch.full((2, 4), 625)):
        with pytest.raises(InputError, match="context: expected"):
            speech.prefill_audio(state, wrong.long())
    with pytest.raises(InputError, match="expected 1 to 108 behind 32 positions, got 109"):
        speech.speak(state, 109, argmax)
    assert (state.kv_length, state.frames) == (32, 0)
    speech.speak(state, 1, argmax)
    with pytest.raises(OrderError, match="has 1 frames already"):
        speech.prefill_audio(state, torch.zeros(3, 4, dtype=torch.long))


def test_weight_norm_is_folded_row_by_row() -> None:
    lengths, directions = torch.tensor([[2.0], [10.0]]), torch.tensor([[3.0, 4.0], [0.0, 5.0]])
    assert torch.allclose(
        folded(lengths, directions, lengths[:1], directions[1:]), torch.tensor([[1.2, 1.6], [0.0, 10.0], [0.0, 2.0]])
    )


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_number_formats(tiny_config: ModelConfig, tensors: Tensors, dtype: torch.dtype) -> None:
    config, logits = tiny_config.speech, []
    for each in (torch.float32, dtype):
        with torch.device("meta"):
            part = Speech(config)
        fill(part, recipes(config), tensors, each)
        state = part.new_state(speaker(config))
        state.text_length = 9
        part.prefill_text(state, [config.text_eos_id, config.speaker_id, *range(10)], 0)
        part.prefill_audio(state, torch.arange(40).view(10, 4))
        logits.append(part.logits(state))
    assert logits[1].dtype == torch.float32
    assert (logits[0] - logits[1]).abs().max() < 0.05 * logits[0].abs().max()
