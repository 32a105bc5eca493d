"""The speech model ("ConditionalChatTTS"): a Llama from text and a speaker to frames of audio codes.

Specification sections 8.1 to 8.4 and, for a segment that continues another, 8.6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.minicpmo.config import SpeechConfig
from model_server.minicpmo.errors import InputError, OrderError
from model_server.minicpmo.network.layers import Linear, RMSNorm, rotary_table, rotate
from model_server.minicpmo.network.speech_sampling import LEAST_STEPS, Chooser, frame_probabilities
from model_server.minicpmo.network.speech_state import SpeechState
from model_server.minicpmo.network.weights import Recipe, stacked

__all__ = ["Chooser", "Speech", "SpeechState", "recipes"]


@dataclass(frozen=True, slots=True)
class Rows:
    """Where rows of input stand: their angles, the slots of their keys, and the slots that they see."""

    cos: Tensor  # [T, head_dim]
    sin: Tensor
    write: int
    first: int
    end: int
    mask: Tensor | None = None  # [T, end - first], None when all is visible.


class Attention(nn.Module):
    """Multi-head attention over the slots of one segment."""

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__()
        self.heads, self.head_dim = config.num_heads, config.head_dim
        self.qkv = Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.out = Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor, rows: Rows, keys: Tensor, values: Tensor) -> Tensor:
        """x [T, hidden]; keys and values [heads, slots, head_dim] of this layer, of which the rows' are written."""
        steps = x.shape[0]
        qkv = self.qkv(x).view(steps, 3 * self.heads, self.head_dim).transpose(0, 1)
        q, k = rotate(qkv[: 2 * self.heads], rows.cos, rows.sin).chunk(2)
        keys[:, rows.write : rows.write + steps] = k
        values[:, rows.write : rows.write + steps] = qkv[2 * self.heads :]
        seen, heard = keys[:, rows.first : rows.end], values[:, rows.first : rows.end]
        y = F.scaled_dot_product_attention(q[None], seen[None], heard[None], attn_mask=rows.mask)[0]
        return self.out(y.transpose(0, 1).reshape(steps, -1))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Pre-norm attention and SwiGLU MLP, each with its residual."""

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.gate_up = Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down = Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor, rows: Rows, keys: Tensor, values: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), rows, keys, values)
        gate, up = self.gate_up(self.mlp_norm(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)  # type: ignore[no-any-return]


class Projector(nn.Module):
    """From the language model's hidden state to the speaker's slot."""

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__()
        self.linear1 = Linear(config.llm_size, config.hidden_size)
        self.linear2 = Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """[..., llm_size] to [..., hidden]."""
        return self.linear2(F.relu(self.linear1(x)))  # type: ignore[no-any-return]


class Speech(nn.Module):
    """Weights alone; everything about one segment is in its `SpeechState`."""

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__()
        self.config = config
        rows = config.num_codebooks * config.num_codes
        self.projector = Projector(config)
        self.text_embedding = nn.Parameter(torch.empty(config.num_text_tokens, config.hidden_size), requires_grad=False)
        self.code_embedding = nn.Parameter(torch.empty(rows, config.hidden_size), requires_grad=False)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.head = Linear(config.hidden_size, rows, bias=False)
        self._angles: tuple[Tensor, Tensor] | None = None

    def project(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """A speaker's hidden state [..., llm_size] projected [..., hidden], and that at unit length."""
        projected = self.projector(hidden.to(self.text_embedding.device, self.text_embedding.dtype))
        return projected, F.normalize(projected, dim=-1)

    @torch.inference_mode()
    def new_state(self, speaker_hidden: Tensor) -> SpeechState:
        """The beginning of a segment spoken as the hidden state [llm_size] says. Raises `InputError`."""
        if speaker_hidden.shape != (self.config.llm_size,):
            raise InputError(f"speaker: expected [{self.config.llm_size}], got {tuple(speaker_hidden.shape)}")
        return SpeechState(self.config, self.project(speaker_hidden)[1], self.text_embedding.dtype)

    @torch.inference_mode()
    def prefill_text(self, state: SpeechState, ids: Sequence[int], start: int) -> None:
        """Fill the text slots from `start` on; the one of the audio BOS may be named and is left out.

        Raises `InputError` for slots or ids that there are not.
        """
        self._check_text(ids, start)
        stop = min(start + len(ids), self.config.audio_start)
        if stop <= start:
            return
        x = self.text_embedding[torch.tensor(ids[: stop - start], device=self.text_embedding.device)]
        if start == 0 and stop > 1:
            x[1] = state.speaker
        # The slots lie in reverse order, and so do the rows: each sees itself and what lies behind it.
        cos, sin = (table[start:stop].flip(0) for table in self._rotary())
        mask = torch.ones(stop - start, stop, dtype=torch.bool, device=x.device).triu()
        end = self.config.audio_start
        self._run(x.flip(0), state, Rows(cos, sin, end - stop, end - stop, end, mask))

    def _check_text(self, ids: Sequence[int], start: int) -> None:
        last, most = self.config.audio_start + 1, self.config.num_text_tokens
        if not ids or start < 0 or start + len(ids) > last:
            raise InputError(f"text: expected a range within [0, {last}), got [{start}, {start + len(ids)})")
        if not 0 <= min(ids) <= max(ids) < most:
            raise InputError(f"text: expected ids from 0 to {most - 1}, got {min(ids)} to {max(ids)}")

    @torch.inference_mode()
    def prefill_audio(self, state: SpeechState, codes: Tensor) -> None:
        """Begin behind frames [m, codebooks] of the segment before; the last of them is the next step's input.

        The frames see all of each other and the text of the very first step (Q14). Raises `InputError`, and
        `OrderError` if the segment has audio already.
        """
        self._check_context(state, codes)
        first, _ = state.visible()
        state.append(codes)
        start, stop = self.config.audio_start + 1, self.config.audio_start + len(codes)
        if stop > start:
            cos, sin = (table[start:stop] for table in self._rotary())
            end = self.config.audio_start + len(codes) - 1
            self._run(self._embedded(codes[:-1]), state, Rows(cos, sin, self.config.audio_start, first, end))
        state.steps = len(codes)

    def _check_context(self, state: SpeechState, codes: Tensor) -> None:
        if state.steps or state.frames:
            raise OrderError(f"context: the segment has {state.frames} frames already; begin a new one")
        books, most = self.config.num_codebooks, self.config.max_positions - self.config.audio_start
        if codes.dim() != 2 or codes.shape[1] != books or not 1 <= len(codes) < most:
            raise InputError(f"context: expected 1 to {most - 1} frames of {books} codes, got {tuple(codes.shape)}")
        if int(codes.min()) < 0 or int(codes.max()) >= self.config.eos_code:
            raise InputError(f"context: expected codes from 0 to {self.config.eos_code - 1}")

    @torch.inference_mode()
    def speak(
        self,
        state: SpeechState,
        frames: int,
        chooser: Chooser,
        no_stop: bool = False,
        observe: Callable[[Tensor], None] = lambda logits: None,
    ) -> tuple[Tensor, bool]:
        """One call: up to `frames` new frames [m, codebooks], fewer if the speech ends, and whether it did.

        The first ten steps of a call cannot end it, with `no_stop` none can. `observe` is shown the raw logits
        [codebooks, codes] of every step. Raises `InputError`, and `OrderError` for a segment that has ended.
        """
        self._check_call(state, frames)
        state.reserve(state.frames + frames)
        before = state.frames
        for step in range(frames):
            logits = self.logits(state)
            observe(logits)
            may_end = step >= LEAST_STEPS and not no_stop
            codes = chooser(frame_probabilities(self.config, logits, state.codes, state.steps == 0, may_end))
            state.steps += 1
            if bool((codes == self.config.eos_code).any()):
                state.finished = True
                break
            state.append(codes[None])
        return state.codes[before:].clone(), state.finished

    def _check_call(self, state: SpeechState, frames: int) -> None:
        if state.finished:
            raise OrderError("speak: the segment has ended; begin a new one or truncate it")
        most = self.config.max_positions - state.kv_length
        if not 1 <= frames <= most:
            raise InputError(f"frames: expected 1 to {most} behind {state.kv_length} positions, got {frames}")

    @torch.inference_mode()
    def logits(self, state: SpeechState) -> Tensor:
        """Raw logits [codebooks, codes] in float32 of the next frame; the step counts once its codes are chosen."""
        position, (first, end) = state.kv_length, state.visible()
        cos, sin = (table[position : position + 1] for table in self._rotary())
        if state.steps:
            x, write = self._embedded(state.codes[-1:]), end - 1
        else:
            # The BOS sees only text. Its keys go to the first frame's slot, which that overwrites before it looks.
            x, write = self.text_embedding[self.config.audio_bos_id][None], end
        hidden = self._run(x, state, Rows(cos, sin, write, first, end))
        return self.head(hidden).float().view(self.config.num_codebooks, self.config.num_codes)  # type: ignore[no-any-return]

    def _embedded(self, codes: Tensor) -> Tensor:
        """[m, codebooks] to [m, hidden]: the codes' embeddings added up."""
        offsets = torch.arange(self.config.num_codebooks, device=codes.device) * self.config.num_codes
        return self.code_embedding[codes + offsets].sum(1)

    def _run(self, x: Tensor, state: SpeechState, rows: Rows) -> Tensor:
        for layer, keys, values in zip(self.layers, state.keys, state.values, strict=True):
            x = layer(x, rows, keys, values)
        return self.norm(x)  # type: ignore[no-any-return]

    def _rotary(self) -> tuple[Tensor, Tensor]:
        """cos and sin [max_positions, head_dim], computed where and as the weights are."""
        like, config = self.text_embedding, self.config
        found = self._angles
        if found is None or found[0].device != like.device or found[0].dtype != like.dtype:
            positions = torch.arange(config.max_positions, device=like.device)
            found = self._angles = rotary_table(positions, config.head_dim, config.rope_theta, like.dtype)
        return found


def folded(*tensors: Tensor) -> Tensor:
    """One matrix of several weight-normed ones, each given as lengths g [rows, 1] and directions v [rows, in]."""
    pairs = zip(tensors[::2], tensors[1::2], strict=True)
    rows = [g.float() * v.float() / v.float().norm(dim=1, keepdim=True) for g, v in pairs]
    return torch.cat(rows).to(tensors[0].dtype)


def recipes(config: SpeechConfig) -> Iterator[Recipe]:
    """How the published tensors become this part's."""
    books = range(config.num_codebooks)
    for linear in ("linear1", "linear2"):
        for kind in ("weight", "bias"):
            yield Recipe(f"projector.{linear}.{kind}", (f"tts.projector.{linear}.{kind}",))
    yield Recipe("text_embedding", ("tts.emb_text.weight",))
    yield Recipe("code_embedding", tuple(f"tts.emb_code.{book}.weight" for book in books), stacked)
    heads = tuple(f"tts.head_code.{book}.parametrizations.weight.original{part}" for book in books for part in (0, 1))
    yield Recipe("head.weight", heads, folded)
    yield Recipe("norm.weight", ("tts.model.norm.weight",))
    for i in range(config.num_layers):
        yield from _layer_recipes(f"layers.{i}", f"tts.model.layers.{i}")


def _layer_recipes(ours: str, theirs: str) -> Iterator[Recipe]:
    yield Recipe(f"{ours}.attention_norm.weight", (f"{theirs}.input_layernorm.weight",))
    yield Recipe(f"{ours}.mlp_norm.weight", (f"{theirs}.post_attention_layernorm.weight",))
    yield Recipe(f"{ours}.attention.qkv.weight", tuple(f"{theirs}.self_attn.{p}_proj.weight" for p in "qkv"), stacked)
    yield Recipe(f"{ours}.attention.out.weight", (f"{theirs}.self_attn.o_proj.weight",))
    yield Recipe(f"{ours}.gate_up.weight", tuple(f"{theirs}.mlp.{p}_proj.weight" for p in ("gate", "up")), stacked)
    yield Recipe(f"{ours}.down.weight", (f"{theirs}.mlp.down_proj.weight",))
