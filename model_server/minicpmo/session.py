"""One streaming conversation: messages in while the person speaks, replies out (specification section 6)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from model_server.minicpmo.errors import InputError, OrderError
from model_server.minicpmo.inputs.mel import embedding_count, log_mel
from model_server.minicpmo.inputs.pictures import SlicedPicture, slice_picture
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.layers import KVCache
from model_server.minicpmo.network.sampling import TextChooser, TextSampling, drawing, seeded
from model_server.minicpmo.network.speech_sampling import drawing_codes
from model_server.minicpmo.replies.behaviour import DEFAULT, Behaviour
from model_server.minicpmo.replies.generation import ROUND, Reply, Round, TextRounds
from model_server.minicpmo.replies.reply import SpokenReply
from model_server.minicpmo.replies.reply_official import OfficialReply
from model_server.minicpmo.replies.segment import Piece, Voice
from model_server.minicpmo.words.prompts import Item, checked_text, clip_fillers, picture_fillers
from model_server.minicpmo.words.turns import OfficialTurns, Role, Turns, WholeTurns


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


@dataclass(frozen=True, slots=True)
class _Message:
    """A message piece, ready to be written."""

    texts: list[str]
    pictures: list[SlicedPicture] = field(default_factory=list)
    mels: list[Tensor] = field(default_factory=list)


class Session:
    """The state of one conversation. Everything that fails leaves it as it was."""

    def __init__(self, model: MiniCPMO, behaviour: Behaviour = DEFAULT, seed: int | None = None) -> None:
        """`seed` makes the draws repeatable. Raises `InputError` for one outside its range."""
        self.model, self.behaviour = model, behaviour
        self.cache: KVCache = model.language.new_cache()
        self.audio_cache: KVCache = model.audio.new_cache()
        self.turns: Turns = WholeTurns() if behaviour.whole_messages else OfficialTurns()
        self._owed: list[int] = []
        """Tokens of the last reply that the context does not hold yet."""
        self._generator = seeded(seed)
        self._written = False
        self._replying = False
        self.reply = Reply()
        """The last reply."""

    @property
    def length(self) -> int:
        """Positions in the context."""
        return self.cache.length

    @torch.inference_mode()
    def prefill(self, role: Role, content: Sequence[Item], max_slices: int = 1) -> Prefilled:
        """Write a message piece: texts, pictures and at most one clip of 20 ms to 30 s, in their order.

        A user turn stays open for further pieces; messages of the other roles are whole. Raises `InputError`, and
        `OrderError` in the middle of a reply.
        """
        self._check_idle()
        message = self._read(role, content, max_slices)
        prompt, turns = self.turns.prefill(role, "".join(message.texts))
        ids = self._owed + self.model.tokenizer.encode(prompt)
        self._check_room(len(ids))
        audio_cache = self._audio_cache_for(role, message)
        cached = audio_cache.length
        try:
            done = self._write(prompt, ids, message, audio_cache)
        except BaseException:
            audio_cache.truncate(cached)
            raise
        # The published code drops the encoder's cache after a session's first message, the mended one after every
        # message that is not the person's.
        drop = role != "user" if self.behaviour.whole_messages else not self._written
        self.audio_cache = self.model.audio.new_cache() if drop else audio_cache
        self.turns, self._owed, self._written = turns, [], True
        return done

    def _read(self, role: Role, content: Sequence[Item], max_slices: int) -> _Message:
        if role not in get_args(Role):
            raise InputError(f"role: expected one of {', '.join(get_args(Role))}, got {role!r}")
        message = _Message([])
        for item in content:
            if isinstance(item, str):
                message.texts.append(checked_text(item, self.model.tokenizer.special_strings))
            elif isinstance(item, Image.Image):
                picture = slice_picture(item, max_slices, self.model.config.pictures)
                message.pictures.append(picture)
                message.texts.append(picture_fillers(picture.grid, self.model.config.resampler.num_queries))
            elif isinstance(item, np.ndarray):
                message.mels.append(log_mel(item))
                message.texts.append(clip_fillers(embedding_count(len(item))))
            else:
                raise InputError(f"content: expected text, pictures and sound, got {type(item).__name__}")
        if len(message.mels) > 1:
            raise InputError(
                f"content: expected at most one clip in one piece, got {len(message.mels)}: send them apart"
            )
        return message

    def _check_idle(self) -> None:
        if self._replying:
            raise OrderError("a reply is being given: close it first")

    def _check_room(self, tokens: int) -> None:
        most = self.model.config.language.max_positions
        if self.cache.length + tokens > most:
            raise InputError(
                f"context: expected at most {most} positions, {self.cache.length} + {tokens} would be more"
            )

    def _audio_cache_for(self, role: Role, message: _Message) -> KVCache:
        """The encoder's cache to go on with: a new one for a new message, or when the old one would overflow."""
        frames = sum((mel.shape[1] - 1) // 2 + 1 for mel in message.mels)
        full = self.audio_cache.length + frames >= self.model.config.audio.max_positions
        return self.model.audio.new_cache() if full or role != "user" else self.audio_cache

    def _write(self, prompt: str, ids: list[int], message: _Message, audio_cache: KVCache) -> Prefilled:
        model, special = self.model, self.model.tokenizer.specials
        # What a cut reply left over may be a media token; it encloses nothing.
        own, behind = ids[len(self._owed) :], len(self._owed)
        pictures = filler_bounds(
            own, (special.image_start, special.slice_start), (special.image_end, special.slice_end), behind
        )
        clips = filler_bounds(own, (special.audio_start,), (special.audio_end,), behind)
        embeddings = model.language.embed(ids)
        slices = [part for picture in message.pictures for part in picture.slices]
        if slices:
            shapes = [(part.rows, part.columns) for part in slices]
            pour(embeddings, pictures, model.resampler(model.vision(slices), shapes).flatten(0, 1))
        if message.mels:
            pour(embeddings, clips, torch.cat([model.audio.stream(mel, audio_cache) for mel in message.mels]))
        hidden = model.language(embeddings, self.cache)
        return Prefilled(prompt, ids, pictures, clips, embeddings, hidden)

    def generate(
        self,
        options: TextSampling | None = None,
        *,
        speak: bool = True,
        choose: TextChooser | None = None,
        voice: Voice | None = None,
        observe: Callable[[Tensor], None] = lambda logits: None,
    ) -> Generator[Piece]:
        """The reply to everything written so far, computed while it is pulled; may be closed at any piece.

        `choose` and `voice` replace the draws, `observe` is shown the raw logits of every step. Raises `OrderError`
        before anything was written and in the middle of another reply.
        """
        self._check_idle()
        if not self._written:
            raise OrderError("generate: nothing was written yet: prefill a message first")
        options = options or TextSampling()
        opening = self._opening()
        choose = choose or drawing(options, self._generator)
        rounds = TextRounds(self.model.language, self.model.tokenizer, self.behaviour, options, choose, observe)
        self.reply = rounds.reply
        voice = (voice or Voice(drawing_codes(self._generator))) if speak else None
        if self.behaviour.whole_messages:
            return self._given(rounds, self._opening, voice)
        self._begin(opening[1])
        return self._given(rounds, lambda: opening, voice)

    def _opening(self) -> tuple[list[int], Turns]:
        """What opens a reply now, and the turns then."""
        prompt, turns = self.turns.reply()
        ids = self._owed + self.model.tokenizer.encode(prompt)
        self._check_room(len(ids) + ROUND)
        return ids, turns

    def _begin(self, turns: Turns) -> None:
        self.turns, self._owed = turns, []
        self.audio_cache = self.model.audio.new_cache()

    def _given(
        self, rounds: TextRounds, opening: Callable[[], tuple[list[int], Turns]], voice: Voice | None
    ) -> Generator[Piece]:
        """`opening` is asked at the first pull: messages may have been written since the reply was asked for."""
        self._check_idle()
        ids, turns = opening()
        self._replying, self.reply = True, rounds.reply
        pieces = self._pieces(self._kept(rounds, ids, turns), rounds.reply, voice)
        try:
            # Inference mode must not leak into the code that pulls: it is entered for each piece.
            while True:
                with torch.inference_mode():
                    piece = next(pieces, None)
                if piece is None:
                    return
                yield piece
        finally:
            pieces.close()
            self._replying = False

    def _kept(self, rounds: TextRounds, ids: list[int], turns: Turns) -> Generator[Round]:
        """The rounds, with the state of the turns kept up to date."""
        mended = self.behaviour.whole_messages
        for found in rounds.run(ids, self.cache):
            if mended:
                self._begin(turns)
                self._settle(rounds.reply)
            yield found
        if not mended and rounds.reply.completed:
            self.turns = self.turns.finished(spoken_to_end=True)

    def _settle(self, reply: Reply) -> None:
        """What the next message has to write first, if the reply goes no further."""
        special = self.model.tokenizer.specials
        self._owed = [token for token in reply.unwritten if token not in special.terminators]
        if reply.completed:
            self.turns = self.turns.finished(spoken_to_end=reply.ids[-1] == special.speech_end)

    def _pieces(self, rounds: Generator[Round], reply: Reply, voice: Voice | None) -> Generator[Piece]:
        if voice is None:
            return self._texts(rounds)

        def speaker() -> Tensor:
            assert reply.speaker is not None, "no round was pulled"
            return reply.speaker

        kind = SpokenReply if self.behaviour.speak_like_people else OfficialReply
        return kind(self.model, voice, rounds, speaker, self.behaviour.emit_early).run()

    def _texts(self, rounds: Iterator[Round]) -> Generator[Piece]:
        for found in rounds:
            if found.text or not self.behaviour.whole_messages:
                yield Piece(found.text, torch.zeros(0))


def filler_bounds(
    ids: list[int], starts: tuple[int, ...], ends: tuple[int, ...], before: int = 0
) -> list[tuple[int, int]]:
    """The spans [start, end) between start tokens and end tokens, in order; `before` ids stand in front of these."""
    first = [place + 1 for place, token in enumerate(ids, before) if token in starts]
    last = [place for place, token in enumerate(ids, before) if token in ends]
    return list(zip(first, last, strict=True))


def pour(embeddings: Tensor, bounds: list[tuple[int, int]], media: Tensor) -> None:
    """Write media embeddings [N, hidden] over the fillers in order, as many as there are (specification 3.3)."""
    done = 0
    for start, end in bounds:
        part = media[done : done + end - start]
        embeddings[start : start + len(part)] = part.to(embeddings.dtype)
        done += len(part)
