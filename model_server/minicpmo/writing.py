"""Writes messages and replies into a conversation's context, each whole or not at all (specification 6.2, 6.5)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from model_server.minicpmo.inputs.filling import filler_bounds, pour
from model_server.minicpmo.inputs.message import Message
from model_server.minicpmo.memory.parts import Kind, Part, Parts, only_last_stays, user_parts, whole_parts, with_silent
from model_server.minicpmo.memory.silent_pictures import SilentPicture
from model_server.minicpmo.memory.state import Memory
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.layers import LAYERS_AT_ONCE, KVCache
from model_server.minicpmo.replies.steps import Step, stretched
from model_server.minicpmo.words.turns import Role, Turns


@dataclass(frozen=True, slots=True)
class Prefilled:
    """What one prefill wrote, for whoever wants to look."""

    prompt: str
    ids: list[int]
    picture_bounds: list[tuple[int, int]]
    """Where pictures' embeddings were poured, [start, end)."""
    clip_bounds: list[tuple[int, int]]
    embeddings: Tensor
    """[T, hidden]."""
    hidden: Tensor
    """[T, hidden], after the last norm."""


class Writer:
    """Changes a conversation's memory only when the forward pass that goes with it has succeeded."""

    def __init__(self, model: MiniCPMO, memory: Memory, *, whole_messages: bool) -> None:
        self._model, self._memory, self._whole_messages = model, memory, whole_messages

    def steps(self, message: Message, item: int, *, stays: bool = False) -> Generator[Step[Any], Any, Prefilled]:
        """Write a piece of a message, and in front of a person's the pictures that wait. Number `item` is -1 for none.

        One that `stays` is not evicted until the next such one comes. Raises `InputError` where there is no room.
        """
        memory = self._memory
        silent = memory.silent.waiting if message.role == "user" else ()
        text = "".join([picture.text for picture in silent]) + message.text
        prompt, turns = memory.turns.prefill(message.role, text)
        own = self._model.tokenizer.encode(prompt)
        yield from self.make_room(len(memory.owed) + len(own))
        memory.before_writing()
        memory.book()
        ids, first = [*memory.owed, *own], not memory.cache.length
        ear = self._ear_for(message)
        heard = ear.length
        try:
            done = yield from self._pass(prompt, ids, message, silent, ear)
        except BaseException:
            ear.truncate(heard)
            raise
        # The published code drops the encoder's cache after a session's first message, the mended one after every
        # message that is not the person's.
        drop = message.role != "user" if self._whole_messages else first
        memory.second += message.seconds
        memory.parts += self._parts(message.role, ids, item, silent)
        if stays:
            memory.parts = only_last_stays(memory.parts)
        memory.ear = self._model.audio.new_cache() if drop else ear
        memory.turns, memory.owed = turns, ()
        if silent:
            memory.silent = memory.silent.taken()
        memory.changed()
        return done

    def _parts(self, role: Role, ids: list[int], item: int, silent: Sequence[SilentPicture]) -> Parts:
        memory, encode = self._memory, self._model.tokenizer.encode
        like = Part(Kind.WHOLE, len(ids), 0, item, memory.second)
        specials, owed = self._model.tokenizer.specials, len(memory.owed)
        if role != "user":
            return whole_parts(ids, owed, specials, like, memory.parts)
        header = len(encode("<|im_start|>user\n"))
        return with_silent(user_parts(ids, owed, specials, header, like, memory.parts), silent)

    def _ear_for(self, message: Message) -> KVCache:
        """The encoder's cache to go on with: a new one for a new message, or when the old one would overflow."""
        frames = sum((mel.shape[1] - 1) // 2 + 1 for mel in message.mels)
        full = self._memory.ear.length + frames >= self._model.config.audio.max_positions
        return self._model.audio.new_cache() if full or message.role != "user" else self._memory.ear

    def _pass(
        self, prompt: str, ids: list[int], message: Message, silent: Sequence[SilentPicture], ear: KVCache
    ) -> Generator[Step[Any], Any, Prefilled]:
        model, special = self._model, self._model.tokenizer.specials
        # What a cut reply left over may be a media token; it encloses nothing.
        behind = len(self._memory.owed)
        own = ids[behind:]
        pictures = filler_bounds(
            own, (special.image_start, special.slice_start), (special.image_end, special.slice_end), behind
        )
        clips = filler_bounds(own, (special.audio_start,), (special.audio_end,), behind)
        embeddings = model.language.embed(ids)
        seen = [picture.embeddings for picture in silent]
        if message.pictures:
            seen.append((yield from stretched(self._seeing(message))))
        if seen:
            pour(embeddings, pictures, torch.cat(seen))
        if message.mels:
            pour(embeddings, clips, (yield from stretched(self._hearing(message, ear))))
        reading = model.language.by_groups(embeddings, [len(embeddings)], [self._memory.cache], LAYERS_AT_ONCE)
        hidden = yield from stretched(reading)
        return Prefilled(prompt, ids, pictures, clips, embeddings, hidden)

    def seen(self, message: Message) -> Generator[Step[Any], Any, Tensor]:
        """Embeddings [N, hidden] of a message's pictures and their slices."""
        return stretched(self._seeing(message))

    def _seeing(self, message: Message) -> Generator[None, None, Tensor]:
        slices = [part for picture in message.pictures for part in picture.slices]
        shapes = [(part.rows, part.columns) for part in slices]
        states = yield from self._model.vision.by_groups(slices, LAYERS_AT_ONCE)
        seen: Tensor = self._model.resampler(states, shapes)
        return seen.flatten(0, 1)

    def _hearing(self, message: Message, ear: KVCache) -> Generator[None, None, Tensor]:
        heard = []
        for mel in message.mels:
            heard.append((yield from self._model.audio.stream_by_groups(mel, ear, LAYERS_AT_ONCE)))
            yield
        return torch.cat(heard)

    def tell(self, ids: list[int], item: int) -> Generator[Step[Any], Any, None]:
        """Write a reply as if it had been generated here. Raises `InputError` where there is no room."""
        memory = self._memory
        yield from self.flush()
        opening, turns = self.opening()
        written = opening + ids[:-1]
        yield from self.make_room(len(written), 0)
        memory.before_writing()
        memory.book()
        language = self._model.language
        yield from stretched(
            language.by_groups(language.embed(written), [len(written)], [memory.cache], LAYERS_AT_ONCE)
        )
        memory.parts += (Part(Kind.WHOLE, len(written), memory.last_round, item, memory.second),)
        self.settle(turns, ids)

    def make_room(self, tokens: int, reply: int | None = None) -> Generator[Step[Any], Any, None]:
        """See to it that `tokens` more positions fit, and a reply (as many as are reserved). Raises `InputError`."""
        evicting = self._memory.make_room(tokens, reply)
        if evicting is not None:
            yield from stretched(evicting)

    def flush(self) -> Generator[Step[Any], Any, None]:
        """Write the pictures that wait."""
        if self._memory.silent.waiting:
            yield from self.steps(Message("user"), -1)

    def opening(self) -> tuple[list[int], Turns]:
        """What opens a reply now, and the turns then."""
        prompt, turns = self._memory.turns.reply()
        return [*self._memory.owed, *self._model.tokenizer.encode(prompt)], turns

    def begin(self, turns: Turns) -> None:
        """A reply begins, after which these are the turns."""
        self._memory.turns, self._memory.owed = turns, ()
        self._memory.ear = self._model.audio.new_cache()
        self._memory.changed()

    def settle(self, turns: Turns, ids: Sequence[int]) -> None:
        """What the next message has to write first, if the reply ends with `ids`, the last of which is not written."""
        special = self._model.tokenizer.specials
        self.begin(turns.finished(spoken_to_end=ids[-1] == special.speech_end))
        self._memory.owed = () if ids[-1] in special.terminators else (ids[-1],)
