"""The speech model ("ConditionalChatTTS"): a Llama from text and a speaker to frames of audio codes.

Specification sections 8.1 to 8.4 and, for a segment that continues another, 8.6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model_server.minicpmo.config import SpeechConfig
from model_server.minicpmo.errors import InputError, OrderError
from model_server.minicpmo.network.attention import in_one_call
from model_server.minicpmo.network.cache_slots import SlotPool
from model_server.minicpmo.network.layers import Linear, RMSNorm, rotary_table, rotate
from model_server.minicpmo.network.speech_rows import SpeechBatch, SpeechRows
from model_server.minicpmo.network.speech_sampling import LEAST_STEPS, Chooser, frame_probabilities
from model_server.minicpmo.network.speech_state import SpeechState
from model_server.minicpmo.network.weights import Recipe, stacked

__all__ = ["Chooser", "Speech", "SpeechState", "recipes"]


class Attention(nn.Module):
    """Multi-head attention, of each segment's rows over its own slots."""

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__()
        self.heads, self.head_dim = config.num_heads, config.head_dim
        self.qkv = Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.out = Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor, batch: SpeechBatch, layer: int) -> Tensor:
        """x [rows, hidden]; the rows' keys and values of this layer are written into their segments."""
        qkv = self.qkv(x).view(x.shape[0], 3 * self.heads, self.head_dim).transpose(0, 1)
        q, k = rotate(qkv[: 2 * self.heads], batch.cos, batch.sin).chunk(2)
        return self.out(batch.seen(q, k, qkv[2 * self.heads :], layer))  # type: ignore[no-any-return]


class Layer(nn.Module):
    """Pre-norm attention and SwiGLU MLP, each with its residual."""

    def __init__(self, config: SpeechConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.attention = Attention(config)
        self.mlp_norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.gate_up = Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down = Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor, batch: SpeechBatch, layer: int) -> Tensor:
        x = x + self.attention(self.attention_norm(x), batch, layer)
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
        self.pool: SlotPool | None = None
        """Slots for the segments of calls, where there are any."""
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
        speaker = self.project(speaker_hidden)[1]
        return SpeechState(self.config, speaker, self.text_embedding.dtype, self.pool)

    def new_pool(self, capacity: int, one_call: bool | None = None) -> SlotPool:
        """Slots of `capacity` positions; whether rows share calls is told by the device if it is not said."""
        config, like = self.config, self.text_embedding
        if one_call is None:
            one_call = in_one_call(like.device)
        devices = [like.device] * config.num_layers
        return SlotPool(devices, config.num_heads, config.head_dim, like.dtype, capacity, one_call=one_call)

    @torch.inference_mode()
    def prefill_text(self, state: SpeechState, ids: Sequence[int], start: int) -> None:
        """Fill the text slots from `start` on; the one of the audio BOS may be named and is left out.

        Raises `InputError` for slots or ids that there are not.
        """
        self.prefill_texts([(state, ids, start)])

    @torch.inference_mode()
    def prefill_texts(self, texts: Sequence[tuple[SpeechState, Sequence[int], int]]) -> None:
        """The same for several segments in one pass. Raises before anything is written."""
        found = [self._text_rows(*text) for text in texts]
        found = [one for one in found if one[0].count]
        if found:
            rows, inputs, places = zip(*found, strict=True)
            self._run(torch.cat(inputs), torch.cat(places), *rows)

    def _text_rows(self, state: SpeechState, ids: Sequence[int], start: int) -> tuple[SpeechRows, Tensor, Tensor]:
        """Where text stands, its input [T, hidden], and its places [T] in the table of angles."""
        self._check_text(ids, start)
        stop = min(start + len(ids), self.config.audio_start)
        x = self.text_embedding[torch.tensor(ids[: stop - start], dtype=torch.long, device=self.text_embedding.device)]
        if start == 0 and stop > 1:
            x[1] = state.speaker
        # The slots lie in reverse order, and so do the rows: each sees itself and what lies behind it.
        mask = torch.ones(stop - start, stop, dtype=torch.bool, device=x.device).triu()
        end = self.config.audio_start
        rows = SpeechRows(state, stop - start, end - stop, end - stop, end, mask)
        return rows, x.flip(0), torch.arange(start, stop).flip(0)

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
            end = self.config.audio_start + len(codes) - 1
            rows = SpeechRows(state, stop - start, self.config.audio_start, first, end)
            self._run(self._embedded(codes[:-1]), torch.arange(start, stop), rows)
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
        self.begin_call(state, frames)
        before = state.frames
        for step in range(frames):
            logits = self.logits(state)
            observe(logits)
            may_end = step >= LEAST_STEPS and not no_stop
            self.take(state, self.chosen(state, logits, chooser, may_end))
            if state.finished:
                break
        return state.codes[before:].clone(), state.finished

    def chosen(self, state: SpeechState, logits: Tensor, chooser: Chooser, may_end: bool) -> Tensor:
        """The next frame's codes [codebooks], of its raw logits [codebooks, codes]; nothing is changed."""
        return chooser(frame_probabilities(self.config, logits, state.codes, state.steps == 0, may_end))

    def take(self, state: SpeechState, codes: Tensor, ends: bool | None = None) -> None:
        """Put the codes [codebooks] of a step behind the others; `ends`: whether an end is among them, if known."""
        state.steps += 1
        if bool((codes == self.config.eos_code).any()) if ends is None else ends:
            state.finished = True
        else:
            state.append(codes[None])

    def begin_call(self, state: SpeechState, frames: int) -> None:
        """Make room for a call of so many frames. Raises `InputError`, and `OrderError` for an ended segment."""
        self._check_call(state, frames)
        state.asked.clear()
        state.reserve(state.frames + frames)

    def _check_call(self, state: SpeechState, frames: int) -> None:
        if state.finished:
            raise OrderError("speak: the segment has ended; begin a new one or truncate it")
        most = self.config.max_positions - state.kv_length
        if not 1 <= frames <= most:
            raise InputError(f"frames: expected 1 to {most} behind {state.kv_length} positions, got {frames}")

    @torch.inference_mode()
    def logits(self, state: SpeechState) -> Tensor:
        """Raw logits [codebooks, codes] in float32 of the next frame; the step counts once its codes are chosen."""
        return self.logits_of([state])[0]

    @torch.inference_mode()
    def logits_of(self, states: Sequence[SpeechState]) -> Tensor:
        """Those [segments, codebooks, codes] of several segments in one pass."""
        inputs, rows = zip(*(self._next(state) for state in states), strict=True)
        x = inputs[0] if len(inputs) == 1 else torch.cat(inputs)
        hidden = self._run(x, torch.tensor([state.kv_length for state in states]), *rows)
        return self.head(hidden).float().view(-1, self.config.num_codebooks, self.config.num_codes)  # type: ignore[no-any-return]

    def _next(self, state: SpeechState) -> tuple[Tensor, SpeechRows]:
        """The next step's input [1, hidden], and where it stands."""
        first, end = state.visible()
        if state.steps:
            return self._embedded(state.codes[-1:]), SpeechRows(state, 1, end - 1, first, end, step=True)
        # The BOS sees only text. Its keys go to the first frame's slot, which that overwrites before it looks.
        return self.text_embedding[self.config.audio_bos_id][None], SpeechRows(state, 1, end, first, end, step=True)

    def _embedded(self, codes: Tensor) -> Tensor:
        """[m, codebooks] to [m, hidden]: the codes' embeddings added up."""
        offsets = torch.arange(self.config.num_codebooks, device=codes.device) * self.config.num_codes
        return self.code_embedding[codes + offsets].sum(1)

    def _run(self, x: Tensor, places: Tensor, *rows: SpeechRows) -> Tensor:
        """Rows x [rows, hidden] of one or more segments at the places [rows] of the table of angles."""
        cos, sin = (table[places.to(table.device)] for table in self._rotary())
        batch = SpeechBatch(cos, sin, rows)
        for index, layer in enumerate(self.layers):
            x = layer(x, batch, index)
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
