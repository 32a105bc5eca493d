"""One streaming conversation: messages in while the person speaks, replies out (specification section 6)."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from model_server.minicpmo.errors import InputError, OrderError
from model_server.minicpmo.inputs.message import Message, read_message
from model_server.minicpmo.memory.eviction import ContextLimits
from model_server.minicpmo.memory.heard import Timeline
from model_server.minicpmo.memory.marks import SessionMark
from model_server.minicpmo.memory.silent_pictures import SilentPicture, Thinning
from model_server.minicpmo.memory.state import Memory
from model_server.minicpmo.memory.told import Kept, Told
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.layers import KVCache
from model_server.minicpmo.network.sampling import TextChooser, TextSampling, drawing, seeded
from model_server.minicpmo.network.speech_sampling import drawing_codes
from model_server.minicpmo.replies.behaviour import DEFAULT, Behaviour
from model_server.minicpmo.replies.generation import ROUND, Reply, Round, TextRounds
from model_server.minicpmo.replies.reply import SpokenReply
from model_server.minicpmo.replies.reply_official import OfficialReply
from model_server.minicpmo.replies.segment import Piece, Voice
from model_server.minicpmo.replies.steps import Step, Steps, inferring, pulled, result_alone, run_alone
from model_server.minicpmo.words.prompts import UNIT, Item
from model_server.minicpmo.words.rounds import RoundText
from model_server.minicpmo.words.turns import OfficialTurns, Role, Turns, WholeTurns
from model_server.minicpmo.writing import Prefilled, Writer


class Session:
    """The state of one conversation. Everything that fails leaves it as it was."""

    def __init__(
        self,
        model: MiniCPMO,
        behaviour: Behaviour = DEFAULT,
        seed: int | None = None,
        limits: ContextLimits | None = None,
        thinning: Thinning | None = None,
    ) -> None:
        """`seed` makes the draws repeatable. With `limits` the oldest parts go before the context is full; without, it
        ends. Raises `InputError` for a seed outside its range, and for limits with the published behaviour.
        """
        if limits is not None and not behaviour.whole_messages:
            raise InputError("limits: the published behaviour evicts nothing: leave them out")
        self.model, self.behaviour = model, behaviour
        turns: Turns = WholeTurns() if behaviour.whole_messages else OfficialTurns()
        self._memory = Memory(model, turns, seeded(seed), limits, thinning or Thinning())
        self._writer = Writer(model, self._memory, whole_messages=behaviour.whole_messages)
        self._replying = self._busy = False
        self._told: Told | None = None
        self.reply = Reply()
        """The last reply."""

    @property
    def length(self) -> int:
        """Positions in the context."""
        return self.cache.length

    @property
    def waiting(self) -> int:
        """Positions that the pictures of silent seconds will take."""
        return sum(len(picture.embeddings) + 3 for picture in self._memory.silent.waiting)

    @property
    def items(self) -> int:
        """How many pieces, silent seconds and appended replies were taken; the system prompt is none."""
        return self._memory.items

    @property
    def evicted_items(self) -> int:
        """How many of the oldest of them are gone for good."""
        return self._memory.evicted_items

    @property
    def cache(self) -> KVCache:
        """Keys and values of the context."""
        return self._memory.cache

    @property
    def audio_cache(self) -> KVCache:
        """Keys and values of the audio encoder."""
        return self._memory.ear

    @property
    def turns(self) -> Turns:
        """Whose turn it is."""
        return self._memory.turns

    @property
    def _owed(self) -> list[int]:
        return list(self._memory.owed)

    # Writing --------------------------------------------------------------------------------------------------------

    def prefill(self, role: Role, content: Sequence[Item], max_slices: int = 1) -> Prefilled:
        """Write a message piece: texts, pictures and at most one clip of 20 ms to 30 s, in their order.

        A user turn stays open for further pieces; messages of the other roles are whole. Raises `InputError`, and
        `OrderError` in the middle of a reply.
        """
        self._check_idle()
        return self.write(self.prepare(role, content, max_slices))

    def prepare(self, role: Role, content: Sequence[Item], max_slices: int = 1) -> Message:
        """Read a message piece, in any thread. Raises `InputError`."""
        return read_message(self.model, role, content, max_slices)

    @torch.inference_mode()
    def write(self, message: Message, *, stays: bool = False) -> Prefilled:
        """Write what `prepare` gave. Raises as `prefill` does.

        A message of the role system is evicted with what it stands behind, but the first of a session never, and one
        that `stays` not until the next such one is written.
        """
        return result_alone(self._writing(message, stays))

    def write_steps(self, message: Message, *, stays: bool = False) -> Generator[Step[Any], Any, Prefilled]:
        """`write`, with every stretch of it left to whoever drives it. One that is closed has written nothing."""
        return inferring(self._writing(message, stays))

    def _writing(self, message: Message, stays: bool) -> Generator[Step[Any], Any, Prefilled]:
        self._check_idle()
        if stays and message.role != "system":
            raise InputError(f"stays: expected a message of the role system, got {message.role}")
        memory, head = self._memory, self._is_head(message.role)
        with self._at_work():
            done = yield from self._writer.steps(message, -1 if head else memory.items, stays=stays or head)
        memory.items += not head
        return done

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        self._busy = True
        try:
            yield
        finally:
            self._busy = False

    def _is_head(self, role: Role) -> bool:
        return role == "system" and not self._written

    @property
    def _written(self) -> bool:
        return self.length > 0

    def _check_idle(self) -> None:
        if self._replying:
            raise OrderError("a reply is being given: close it first")
        if self._busy:
            raise OrderError("a piece is being written: wait for its end, or close it")

    def _check_mended(self) -> None:
        self._check_idle()
        if not self.behaviour.whole_messages:
            raise InputError("reply: the published behaviour neither cuts nor appends one: use the mended behaviour")

    @torch.inference_mode()
    def remember_silent(self, message: Message | None) -> None:
        """A second in which nobody spoke, with at most one picture, in one slice. It waits outside the context, goes
        there with the person's next piece or before the next reply, and makes room for newer ones while it waits.

        Raises `InputError`, and `OrderError` in the middle of a reply.
        """
        result_alone(self._remembering(message))

    def remember_silent_steps(self, message: Message | None) -> Generator[Step[Any], Any, None]:
        """`remember_silent`, with every stretch of it left to whoever drives it."""
        return inferring(self._remembering(message))

    def _remembering(self, message: Message | None) -> Generator[Step[Any], Any, None]:
        self._check_idle()
        memory = self._memory
        picture = None
        if message is not None:
            if message.role != "user" or message.mels or len(message.pictures) != 1:
                raise InputError("silent second: expected one picture of the role user and nothing else")
            with self._at_work():
                seen = yield from self._writer.seen(message)
            picture = SilentPicture(UNIT + message.text, seen, memory.items, memory.second)
        memory.second += 1.0
        memory.silent = memory.silent.add(picture, memory.second)
        memory.items += 1
        memory.changed()

    @torch.inference_mode()
    def adopt(self, other: Session, *, slotted: bool = False) -> None:
        """Become a copy of another session, which then is the head that is never evicted, `slotted` in a slot of the
        network's pool, if it has one. Raises `OrderError` unless this one is fresh and the other is idle.
        """
        other._check_idle()
        if self._written or self.items:
            raise OrderError("adopt: expected a session in which nothing was written")
        self._memory.adopt(other._memory, slotted=slotted)

    # Going back -----------------------------------------------------------------------------------------------------

    def mark(self) -> SessionMark:
        """The present state, to return to. Raises `OrderError` in the middle of a reply."""
        self._check_idle()
        return self._memory.mark()

    def rollback(self, mark: SessionMark) -> None:
        """Return to `mark` exactly. Raises `MarkGone`, `InputError` for another session's, `OrderError` in a reply."""
        self._check_idle()
        self._memory.stand(mark)

    @torch.inference_mode()
    def keep_heard(self, mark: SessionMark, heard_ms: float) -> Kept:
        """Undo everything since `mark` but what was heard of the reply that was generated from there.

        The reply is cut behind the last whole word within `heard_ms` of its speech. With nothing heard this is
        `rollback`. Raises as that does, and `InputError` in the published behaviour, which keeps replies whole.
        """
        return result_alone(self._keeping(mark, heard_ms))

    def keep_heard_steps(self, mark: SessionMark, heard_ms: float) -> Generator[Step[Any], Any, Kept]:
        """`keep_heard`, with every stretch of it left to whoever drives it."""
        return inferring(self._keeping(mark, heard_ms))

    def _keeping(self, mark: SessionMark, heard_ms: float) -> Generator[Step[Any], Any, Kept]:
        self._check_mended()
        self._memory.marks.check(mark)
        told = mark.told
        kept = told.kept(heard_ms) if told is not None else Kept()
        if told is None or not kept.ids:
            self._memory.stand(mark)
            return Kept()
        length = told.base.kv_length + told.opening + len(kept.ids) - 1
        if told.base.gone or told.intact < length:
            self._memory.stand(mark)
            with self._at_work():
                yield from self._writer.tell(list(kept.ids), -1)
            return kept
        self._memory.stand(told.base)
        _, turns = self._writer.opening()
        self.cache.length = length
        self._writer.settle(turns, kept.ids)
        return kept

    @torch.inference_mode()
    def append_reply(self, ids: Sequence[int]) -> None:
        """Write a reply's tokens as if they had been generated here: those of `Kept`, or all of a reply.

        Raises `InputError` for none, or ids outside the vocabulary, and `OrderError` in the middle of a reply.
        """
        result_alone(self._appending(ids))

    def append_reply_steps(self, ids: Sequence[int]) -> Generator[Step[Any], Any, None]:
        """`append_reply`, with every stretch of it left to whoever drives it."""
        return inferring(self._appending(ids))

    def _appending(self, ids: Sequence[int]) -> Generator[Step[Any], Any, None]:
        self._check_mended()
        size = self.model.tokenizer.size
        if not ids or not all(0 <= token < size for token in ids):
            raise InputError(f"reply: expected ids of 0 to {size - 1}, at least one")
        with self._at_work():
            yield from self._writer.tell(list(ids), self.items)
        self._memory.items += 1

    # Replies --------------------------------------------------------------------------------------------------------

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
        return run_alone(self.reply_steps(options, speak=speak, choose=choose, voice=voice, observe=observe))

    def reply_steps(
        self,
        options: TextSampling | None = None,
        *,
        speak: bool = True,
        choose: TextChooser | None = None,
        voice: Voice | None = None,
        observe: Callable[[Tensor], None] = lambda logits: None,
    ) -> Steps[Piece]:
        """`generate`, with every step of the network left to whoever drives it; may be closed at any step."""
        self._check_idle()
        if not self._written and not self._memory.silent.waiting:
            raise OrderError("generate: nothing was written yet: prefill a message first")
        options = options or TextSampling()
        opening = self._writer.opening()
        if self._memory.limits is None:
            self._memory.check_room(len(opening[0]) + ROUND)
        choose = choose or drawing(options, self._memory.draws)
        rounds = TextRounds(self.model.language, self.model.tokenizer, self.behaviour, options, choose, observe)
        self.reply = rounds.reply
        voice = (voice or Voice(drawing_codes(self._memory.draws))) if speak else None
        if self.behaviour.whole_messages:
            return self._given(rounds, None, voice)
        self._writer.begin(opening[1])
        return self._given(rounds, opening, voice)

    def _given(self, rounds: TextRounds, opening: tuple[list[int], Turns] | None, voice: Voice | None) -> Steps[Piece]:
        """Without an `opening` it is found at the first pull: messages may have been written since it was asked for."""
        self._check_idle()
        timeline = voice.timeline if voice else Timeline()
        with self._at_work():
            ids, turns = yield from inferring(self._start(rounds, opening, timeline))
        self._replying, self.reply = True, rounds.reply
        pieces = self._pieces(self._kept(rounds, ids, turns), rounds.reply, voice)
        try:
            yield from inferring(pieces)
            timeline.finished = True
        finally:
            pieces.close()
            self._replying = False

    def _start(
        self, rounds: TextRounds, opening: tuple[list[int], Turns] | None, timeline: Timeline
    ) -> Generator[Step[Any], Any, tuple[list[int], Turns]]:
        """Write what waits, make room, and remember from where the reply goes on."""
        memory, asked_at = self._memory, self._memory.version
        if opening is None:
            yield from self._writer.flush()
            opening = self._writer.opening()
        yield from self._writer.make_room(len(opening[0]) + ROUND)
        rounds.most = memory.reply_ends(len(opening[0]))
        memory.before_writing()
        over = (self.model.tokenizer.specials.speech_end,)
        reader = RoundText(self.model.tokenizer, self.behaviour.keep_exclamation_marks, over)
        self._told = Told(memory.mark(pinned=False), rounds.reply, len(opening[0]), timeline, reader)
        if self.behaviour.whole_messages:
            memory.began(self._told, asked_at)
        return opening

    def heard(self, ms: float) -> int:
        """How many characters of the last reply's text, as far as it is, are heard after `ms` of its speech.

        An estimate that grows with `ms`; 0 at 0, all of a finished reply at its end.
        """
        return self._told.heard(ms) if self._told is not None else 0

    def _kept(self, rounds: TextRounds, ids: list[int], turns: Turns) -> Steps[Round]:
        """The rounds, with the state of the turns kept up to date."""
        mended = self.behaviour.whole_messages
        running = rounds.run(ids, self.cache)
        while (found := (yield from pulled(running))) is not None:
            if mended:
                self._writer.settle(turns, rounds.reply.ids)
            yield found
        if not mended and rounds.reply.completed:
            self._memory.turns = self.turns.finished(spoken_to_end=True)

    def _pieces(self, rounds: Steps[Round], reply: Reply, voice: Voice | None) -> Steps[Piece]:
        if voice is None:
            return self._texts(rounds)

        def speaker() -> Tensor:
            assert reply.speaker is not None, "no round was pulled"
            return reply.speaker

        kind = SpokenReply if self.behaviour.speak_like_people else OfficialReply
        return kind(self.model, voice, rounds, speaker, self.behaviour.emit_early).run()

    def _texts(self, rounds: Steps[Round]) -> Steps[Piece]:
        while (found := (yield from pulled(rounds))) is not None:
            if found.text or not self.behaviour.whole_messages:
                yield Piece(found.text, torch.zeros(0))
