"""What one call is told and says, step by step: everything here runs on the device thread, but `prepare`.

Around the network's own session this keeps what the engine contract adds: settings that may change at any time, the
system prompt that goes with them, instructions for one reply, and replies that can be cut long after they were given.
A step that fails leaves everything as it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from model_server.engine import ItemRejected, Kept, Mark, MarkGone
from model_server.minicpmo.errors import InputError
from model_server.minicpmo.inputs.message import Message
from model_server.minicpmo.memory import marks
from model_server.minicpmo.network.draws import keyed_codes, keyed_text
from model_server.minicpmo.network.sampling import MOST_SEED, TextChooser, TextSampling
from model_server.minicpmo.replies.segment import Piece, Voice
from model_server.minicpmo.replies.steps import Step
from model_server.minicpmo.scheduling.batcher import Running
from model_server.minicpmo.serving.item_content import content_of, silent_content
from model_server.minicpmo.serving.session_settings import SessionSettings
from model_server.minicpmo.serving.stored_reply import restored, stored
from model_server.minicpmo.serving.system_prompt import Openings, SystemPrompt
from model_server.minicpmo.session import Session
from model_server.minicpmo.words.turns import Role
from model_server.protocol import GenerateOptions, Item, Unit

MOST_SOUNDS = 64
"""Seconds of a turn that are kept to be transcribed: 2 MB."""

OWN_GREETING = {
    "en": "Hello! I can hear you, and see what you show me.",
    "zh": "你好！我能听到你，也能看到你给我看的东西。",
}


@dataclass(frozen=True, eq=False, slots=True, weakref_slot=True)
class Place:
    """A moment of the call: which system prompt holds, which writes were none of the gateway's items, and the sound of
    the person's open turn, PCM16 by second.
    """

    prompt: SystemPrompt
    own_writes: tuple[int, ...] = ()
    sounds: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class TalkMark(Mark):
    """A moment to return to."""

    session: Session
    mark: marks.SessionMark
    place: Place


@dataclass(frozen=True, slots=True)
class Prepared:
    """An item, decoded; `message` is None for a silent second without a picture."""

    message: Message | None
    silent: bool
    sound: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply that was begun: its pieces, and what has to be known to cut it. `read`: positions it was made from."""

    place: Place
    session: Session
    before: marks.SessionMark
    pieces: Running[Piece]
    instructions: str
    read: int


class Talk:
    """The call. `settings` may be replaced at any time."""

    @classmethod
    def opened(cls, openings: Openings, settings: SessionSettings, seed: int) -> Generator[Step[Any], Any, Talk]:
        """A call that was told its system prompt."""
        return cls(openings, settings, seed, (yield from openings.session(settings.prompt)))

    def __init__(self, openings: Openings, settings: SessionSettings, seed: int, session: Session) -> None:
        self.settings = settings
        self._openings = openings
        self._seed = seed
        self._session = session
        self._place = Place(settings.prompt)
        self._answers: WeakKeyDictionary[Place, Answer] = WeakKeyDictionary()

    @property
    def length(self) -> int:
        """Positions of the context, pictures of silent seconds that wait for it included."""
        return self._session.length + self._session.waiting

    @property
    def evicted_items(self) -> int:
        """The gateway's items that the context holds no more."""
        evicted = self._session.evicted_items
        return evicted - sum(place < evicted for place in self._place.own_writes)

    @property
    def sounds(self) -> tuple[bytes, ...]:
        """What the person said since the last reply, PCM16 by second; of a long turn the end."""
        return self._place.sounds

    # Writing --------------------------------------------------------------------------------------------------------

    def prepare(self, item: Item) -> Prepared:
        """Decode an item; on any thread, while nothing else happens to this call. Raises `ItemRejected`."""
        with _rejecting():
            if isinstance(item, Unit) and not item.voiced:
                silent = silent_content(item)
                return Prepared(None if silent is None else self._session.prepare("user", silent.parts), silent=True)
            opens_turn = self._untold or self._session.turns.starts_turn
            content = content_of(item, self.settings, opens_turn)
            sound = item.audio if isinstance(item, Unit) else b""
            return Prepared(self._session.prepare("user", content.parts, content.slices), False, sound)

    def write(self, prepared: Prepared) -> Generator[Step[Any], Any, None]:
        """Write a whole item or nothing, step by step."""
        with self._all_or_nothing():
            yield from self._tell_settings()
            if prepared.silent:
                yield from self._session.remember_silent_steps(prepared.message)
            else:
                assert prepared.message is not None
                yield from self._session.write_steps(prepared.message)
                if prepared.sound:
                    self._move(sounds=(*self._place.sounds, prepared.sound)[-MOST_SOUNDS:])

    def append(self, role: str, text: str, engine_tokens: bytes) -> Generator[Step[Any], Any, None]:
        """Write history. Raises `ItemRejected`."""
        with self._all_or_nothing():
            yield from self._tell_settings()
            if engine_tokens:
                reply = restored(engine_tokens, self._session.model.config.language.vocab_size)
                yield from self._instruct(reply.instructions)
                yield from self._session.append_reply_steps(reply.ids)
                self._move(sounds=())
            elif role == "assistant":
                yield from self._prefill("assistant", text)
                self._move(sounds=())
            else:
                yield from self._prefill("user" if role == "user" else "system", text)

    def _prefill(self, role: Role, text: str) -> Generator[Step[Any], Any, None]:
        yield from self._session.write_steps(self._session.prepare(role, [text]))

    def _tell_settings(self) -> Generator[Step[Any], Any, None]:
        """The system prompt of the settings in force: at once where nothing was said yet, else as a message."""
        if not self._untold:
            return
        prompt = self.settings.prompt
        if self._session.items == 0 and not self._place.own_writes:
            self._session = yield from self._openings.session(prompt)
            self._place = Place(prompt)
        else:
            own = (*self._place.own_writes, self._session.items)
            # Unlike what is said, a persona holds for as long as the call lasts.
            yield from self._session.write_steps(self._session.prepare("system", prompt.content()), stays=True)
            self._move(prompt=prompt, own_writes=own)

    @property
    def _untold(self) -> bool:
        return self.settings.prompt != self._place.prompt

    def _instruct(self, instructions: str) -> Generator[Step[Any], Any, None]:
        if instructions:
            own = (*self._place.own_writes, self._session.items)
            yield from self._prefill("system", instructions)
            self._move(own_writes=own)

    @contextmanager
    def _all_or_nothing(self) -> Iterator[None]:
        before = self.mark()
        try:
            with _rejecting():
                yield
        except BaseException:
            self.rollback(before)
            raise
        self._move()

    def _move(self, **changes: Any) -> None:
        """Another moment, even if nothing of it is different."""
        self._place = replace(self._place, **changes)

    # Replies --------------------------------------------------------------------------------------------------------

    def begin(self, options: GenerateOptions) -> Generator[Step[Any], Any, Answer]:
        """Begin a reply to everything written so far; `end` it before anything else. Raises `ItemRejected`."""
        asked_at = self._place
        with self._all_or_nothing():
            yield from self._tell_settings()
            yield from self._instruct(options.instructions)
            session, before = self._session, self._session.mark()
            pieces = self._pieces(options)
            answer = Answer(self._place, session, before, pieces, options.instructions, self.length)
        self._answers[asked_at] = answer
        return answer

    def end(self, answer: Answer) -> None:
        """The reply goes no further, wherever it is."""
        answer.pieces.close()
        self._move(sounds=())

    def _pieces(self, options: GenerateOptions) -> Running[Piece]:
        settings, session = self.settings, self._session
        # Draws depend on the seed and the place in the call alone: a call that is replayed elsewhere draws the same.
        seed = _key(self._seed, self.length)
        sampling, choose = settings.sampling, keyed_text(settings.sampling, seed)
        if options.say is not None:
            ids = self._said_ids(options.say)
            sampling, choose = TextSampling(max_new_tokens=len(ids)), _reciting(ids)
        voice = Voice(keyed_codes(seed)) if settings.speak else None
        return Running(session.reply_steps(sampling, speak=settings.speak, choose=choose, voice=voice))

    def _said_ids(self, text: str) -> list[int]:
        """The tokens of a text that is given, and the end of speech. Raises `ItemRejected`."""
        tokenizer = self._session.model.tokenizer
        text = text.strip() or OWN_GREETING[self.settings.prompt.language]
        for special in tokenizer.special_strings:
            if special in text:
                raise ItemRejected(f"options.say has no special tokens, got {special}: take it out")
        return [*tokenizer.encode(text), tokenizer.specials.speech_end]

    # Marks ----------------------------------------------------------------------------------------------------------

    def mark(self) -> TalkMark:
        """The present moment."""
        return TalkMark(self._session, self._session.mark(), self._place)

    def rollback(self, mark: TalkMark) -> None:
        """Return to it. Raises `MarkGone`."""
        with _gone():
            mark.session.rollback(mark.mark)
        self._session, self._place = mark.session, mark.place

    def keep_heard(self, before: TalkMark, keep_ms: int) -> Generator[Step[Any], Any, Kept]:
        """Undo everything since `before`, but what was heard of the reply begun there. Raises `MarkGone`."""
        answer = self._answers.get(before.place)
        if answer is None:
            self.rollback(before)
            return Kept("")
        try:
            with _gone():
                kept = yield from answer.session.keep_heard_steps(answer.before, keep_ms)
        except GeneratorExit:
            self.rollback(before)
            raise
        if not kept.ids:
            self.rollback(before)
            return Kept("")
        self._session = answer.session
        self._place = replace(answer.place, sounds=())
        return Kept(kept.text, stored(list(kept.ids), answer.instructions))

    def all_of(self, answer: Answer) -> bytes:
        """A reply given to its end, as `append` takes it."""
        return stored(list(answer.session.reply.ids), answer.instructions)


def _key(seed: int, place: int) -> int:
    digest = hashlib.blake2b(f"{seed} {place}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) & MOST_SEED


def _reciting(ids: list[int]) -> TextChooser:
    remaining = iter(ids)
    return lambda logits: next(remaining)


@contextmanager
def _rejecting() -> Iterator[None]:
    try:
        yield
    except InputError as error:
        raise ItemRejected(str(error)) from error


@contextmanager
def _gone() -> Iterator[None]:
    try:
        yield
    except marks.MarkGone as error:
        raise MarkGone(str(error)) from error
