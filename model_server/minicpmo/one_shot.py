"""A whole conversation answered at once, media heard and seen as a whole (specification sections 3.6, 5.1, 8.8).

Beside the streaming session this gives the language model the better sound embeddings; the context is written anew for
every answer. Beam search, which the published chat takes by default, is deliberately not built: the reply is drawn, or
the likeliest with a penalty of 1.2.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model_server.minicpmo.errors import InputError
from model_server.minicpmo.inputs.filling import filler_bounds, pour
from model_server.minicpmo.inputs.mel import HOP, check_clip, embedding_count, log_mel, split_clip
from model_server.minicpmo.inputs.pictures import SlicedPicture, slice_picture
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.layers import KVCache
from model_server.minicpmo.network.sampling import TextChooser, TextSampling, drawing, seeded
from model_server.minicpmo.network.speech_sampling import drawing_codes
from model_server.minicpmo.replies.behaviour import DEFAULT
from model_server.minicpmo.replies.generation import ROUND, Reply, TextRounds
from model_server.minicpmo.replies.reply import SpokenReply
from model_server.minicpmo.replies.segment import CALL, MOST_FRAMES, Piece, Voice
from model_server.minicpmo.replies.steps import run_alone
from model_server.minicpmo.words.prompts import REPLY_START, Clip, Item, checked_text, clip_fillers, picture_fillers
from model_server.minicpmo.words.rounds import decode_round
from model_server.minicpmo.words.speech_ids import speech_ids
from model_server.minicpmo.words.turns import MESSAGE_END, SPEECH_END, Role

DRAWN = TextSampling(max_new_tokens=2048)
LIKELIEST = TextSampling(do_sample=False, repetition_penalty=1.2, max_new_tokens=2048)

TO_THE_TERMINATOR = replace(DEFAULT, whole_messages=False)
"""As published, a reply goes on behind `<|tts_eos|>` until its terminator, and the penalty covers all of it."""

EVEN_CLIP = 4 * HOP
"""Clips of a multiple of so many samples have as many embeddings together as apart."""


@dataclass(frozen=True, slots=True)
class Message:
    """Texts, pictures and clips in their order; joined without anything between them."""

    role: Role
    content: Sequence[Item]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation as the language model reads it, up to the reply's first token."""

    ids: list[int]
    embeddings: Tensor
    """[T, hidden]."""
    reply_ids: list[int]
    """The last ids, which open the reply; the hidden state at `<|spk|>` among them is its voice."""


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole reply: its text, its frames [m, codebooks] and their sound [n], 24 kHz (both empty if not spoken)."""

    text: str
    codes: Tensor
    samples: Tensor


def template(messages: Iterable[tuple[Role, str]]) -> str:
    """All messages with their headers and ends, and the opening of the reply."""
    return "".join(f"<|im_start|>{role}\n{text}{MESSAGE_END}" for role, text in messages) + REPLY_START


@torch.inference_mode()
def read(
    model: MiniCPMO, messages: Sequence[Message], max_slices: int | None = None, number_pictures: bool = True
) -> Prompt:
    """Encode a conversation. `max_slices` of each picture, None for the checkpoint's own.

    Raises `InputError` for a conversation that is empty or too long, and for texts, pictures and clips outside theirs.
    """
    if not messages:
        raise InputError("messages: expected at least one, got none")
    reader = _Reader(model, max_slices or model.config.pictures.max_slices, number_pictures)
    ids = model.tokenizer.encode(template([(each.role, reader.text(each.content)) for each in messages]))
    most = model.config.language.max_positions - ROUND
    if len(ids) > most:
        raise InputError(f"conversation: expected at most {most} positions, got {len(ids)}: leave some of it out")
    return Prompt(ids, reader.embedded(ids), model.tokenizer.encode(REPLY_START))


class _Reader:
    """Collects the media of a conversation while its text is put together."""

    def __init__(self, model: MiniCPMO, max_slices: int, number_pictures: bool) -> None:
        self._model, self._max_slices, self._number = model, max_slices, number_pictures
        self._pictures: list[SlicedPicture] = []
        self._mels: list[Tensor] = []

    def text(self, content: Sequence[Item]) -> str:
        """A message with fillers where its media go."""
        self._mels += [log_mel(part) for part in merged([item for item in content if isinstance(item, np.ndarray)])]
        return "".join([self._item(item) for item in content])

    def _item(self, item: Item) -> str:
        if isinstance(item, str):
            return checked_text(item, self._model.tokenizer.special_strings)
        if isinstance(item, np.ndarray):
            return clip_fillers(embedding_count(len(item)))
        if not isinstance(item, Image.Image):
            raise InputError(f"content: expected text, pictures and sound, got {type(item).__name__}")
        config = self._model.config
        self._pictures.append(slice_picture(item, self._max_slices, config.pictures))
        number = len(self._pictures) - 1 if self._number else None
        return picture_fillers(self._pictures[-1].grid, config.resampler.num_queries, number)

    def embedded(self, ids: list[int]) -> Tensor:
        """Embeddings [T, hidden] with the media in their places."""
        model, special = self._model, self._model.tokenizer.specials
        embeddings = model.language.embed(ids)
        slices = [part for picture in self._pictures for part in picture.slices]
        if slices:
            places = filler_bounds(
                ids, (special.image_start, special.slice_start), (special.image_end, special.slice_end)
            )
            seen = model.resampler(model.vision(slices), [(part.rows, part.columns) for part in slices])
            pour(embeddings, places, seen.flatten(0, 1))
        if self._mels:
            heard = torch.cat(model.audio.encode(self._mels))
            pour(embeddings, filler_bounds(ids, (special.audio_start,), (special.audio_end,)), heard)
        return embeddings


def merged(clips: Sequence[Clip]) -> list[Clip]:
    """Clips of one message put together, so that seconds of a recording are heard as one, in pieces of at most 30 s.

    The published code merges all; here a clip that would shift the embeddings of those behind it ends its group (Q3).
    """
    groups: list[list[Clip]] = [[]]
    for clip in clips:
        check_clip(clip)
        groups[-1].append(clip)
        if len(clip) % EVEN_CLIP:
            groups.append([])
    return [part for group in groups if group for part in split_clip(np.concatenate(group))]


def answer(
    model: MiniCPMO,
    prompt: Prompt,
    options: TextSampling = DRAWN,
    *,
    speak: bool = True,
    seed: int | None = None,
) -> Generator[Piece]:
    """The reply while it is made: text at once, sound behind it if `speak`. `seed` makes draws repeatable.

    Raises `InputError` for a seed outside its range.
    """
    generator = seeded(seed)
    with torch.inference_mode():
        rounds = TextRounds(model.language, model.tokenizer, DEFAULT, options, drawing(options, generator))
        reply, pulled = rounds.reply, rounds.run(*_written(model, prompt))
    pieces: Generator[Piece]
    if speak:
        voice = Voice(drawing_codes(generator))
        pieces = run_alone(SpokenReply(model, voice, pulled, lambda: _speaker(reply), early=True).run())
    else:
        pieces = (Piece(found.text, torch.zeros(0)) for found in run_alone(pulled) if found.text)
    # Inference mode must not leak into the code that pulls.
    while True:
        with torch.inference_mode():
            piece = next(pieces, None)
        if piece is None:
            return
        yield piece


@torch.inference_mode()
def whole(
    model: MiniCPMO,
    prompt: Prompt,
    options: TextSampling = LIKELIEST,
    *,
    speak: bool = True,
    seed: int | None = None,
    choose: TextChooser | None = None,
    voice: Voice | None = None,
) -> tuple[Whole, Reply]:
    """The reply exactly as published, all its text before its sound. `choose` and `voice` replace the draws.

    Raises `InputError` for a seed outside its range.
    """
    generator = seeded(seed)
    choose = choose or drawing(options, generator)
    rounds = TextRounds(model.language, model.tokenizer, TO_THE_TERMINATOR, options, choose)
    for _ in run_alone(rounds.run(*_written(model, prompt))):
        pass
    text = decode_round(model.tokenizer, rounds.reply.ids[: options.max_new_tokens]).partition(SPEECH_END)[0]
    if not speak:
        silent = torch.zeros(0, model.config.speech.num_codebooks, dtype=torch.long)
        return Whole(text, silent, torch.zeros(0)), rounds.reply
    codes = spoken(model, text, _speaker(rounds.reply), voice or Voice(drawing_codes(generator)))
    return Whole(text, codes, model.vocos(model.dvae(codes).float()).cpu()), rounds.reply


def spoken(model: MiniCPMO, text: str, speaker: Tensor, voice: Voice) -> Tensor:
    """Frames [m, codebooks] of a text that is all there; of more than 300 tokens the rest is not spoken."""
    config, speech = model.config.speech, model.speech
    ids, count = speech_ids(model.speech_tokenizer, text, config.reserved_text)
    state = speech.new_state(speaker)
    state.text_length = count
    start, chunks = 0, -(-config.reserved_text // config.text_chunk) + 1
    while not state.finished and (chunks > 0 or state.frames <= MOST_FRAMES):
        stop = min(max(start, 2) + config.text_chunk, config.audio_start)
        if start < stop:
            speech.prefill_text(state, ids[start:stop], start)
            voice.trace.prefills.append((ids[start:stop], list(range(start, stop))))
        speech.speak(state, CALL, voice.choose, no_stop=voice.forbid_end(len(voice.trace.calls)))
        voice.trace.calls.append((state.frames, state.finished, state.kv_length))
        start, chunks = stop, chunks - 1
    return state.codes


def _written(model: MiniCPMO, prompt: Prompt) -> tuple[list[int], KVCache]:
    """What opens the reply, and a context with everything before it."""
    cache = model.language.new_cache()
    before = len(prompt.ids) - len(prompt.reply_ids)
    model.language(prompt.embeddings[:before], cache)
    return prompt.reply_ids, cache


def _speaker(reply: Reply) -> Tensor:
    assert reply.speaker is not None, "no round was pulled"
    return reply.speaker
