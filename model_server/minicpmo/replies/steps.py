"""What a reply asks of the network, one step at a time, so that others decide when and with whom a step is run.

A reply is a generator that gives steps and what it has made, and is sent each step's result. `run_alone` runs each
step at once; `model_server.minicpmo.scheduling` runs the steps of many replies together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

import torch
from torch import Tensor

from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.language import Language
from model_server.minicpmo.network.layers import KVCache
from model_server.minicpmo.network.speech import Chooser, Speech, SpeechState

Result = TypeVar("Result")
Made = TypeVar("Made")


class Step(ABC, Generic[Result]):
    """One piece of work. A step that fails may be run again."""

    @abstractmethod
    def alone(self) -> Result:
        """Run it now, by itself."""


Steps = Generator["Step[Any] | Made", Any, Any]
"""Steps, and in between what was made of their results."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """Of a language step: hidden states [T, hidden] and the id that was chosen behind them."""

    hidden: Tensor
    id: int


@dataclass(frozen=True, slots=True, eq=False)
class LanguageStep(Step[Decoded]):
    """Ids behind a cache, and the next one by `choose` of the raw logits [vocab]: a number, or a tensor of one."""

    language: Language
    ids: list[int]
    cache: KVCache
    choose: Callable[[Tensor], int | Tensor]

    def alone(self) -> Decoded:
        hidden = self.language(self.language.embed(self.ids), self.cache)
        return Decoded(hidden, int(self.choose(self.language.logits(hidden[-1]))))


@dataclass(frozen=True, slots=True, eq=False)
class SpeechStep(Step[None]):
    """One frame of a segment's speech, or its end."""

    speech: Speech
    state: SpeechState
    choose: Chooser
    may_end: bool

    def alone(self) -> None:
        self.speech.take(self.state, self.chosen(self.speech.logits(self.state)))

    def chosen(self, logits: Tensor) -> Tensor:
        """Its codes [codebooks], of the raw logits [codebooks, codes]; nothing is changed yet."""
        return self.speech.chosen(self.state, logits, self.choose, self.may_end)


@dataclass(frozen=True, slots=True, eq=False)
class SpeechTextStep(Step[None]):
    """Text ids into the slots of a segment from `start` on."""

    speech: Speech
    state: SpeechState
    ids: Sequence[int]
    start: int

    def alone(self) -> None:
        self.speech.prefill_text(self.state, self.ids, self.start)


@dataclass(frozen=True, slots=True, eq=False)
class SoundStep(Step[Tensor]):
    """Sound [n], 24 kHz, of code frames [t, codebooks]."""

    model: MiniCPMO
    codes: Tensor

    def alone(self) -> Tensor:
        return self.model.vocos(self.model.dvae(self.codes).float())  # type: ignore[no-any-return]


def asked(step: Step[Result]) -> Generator[Step[Any], Any, Result]:
    """Give a step; its result comes back."""
    return cast(Result, (yield step))


@dataclass(frozen=True, slots=True)
class _Done:
    value: Any


@dataclass(frozen=True, slots=True, eq=False)
class Stretch(Step["_Done | None"]):
    """A computation up to its next halt, or to its end."""

    work: Generator[None, None, Any]

    def alone(self) -> _Done | None:
        try:
            next(self.work)
        except StopIteration as done:
            return _Done(done.value)
        return None


def stretched(work: Generator[None, None, Result]) -> Generator[Step[Any], Any, Result]:
    """What a computation comes to, up to each of its halts as a step of its own."""
    try:
        while (done := (yield from asked(Stretch(work)))) is None:
            pass
        return cast(Result, done.value)
    finally:
        work.close()


def pulled(made: Steps[Made]) -> Generator[Step[Any], Any, Made | None]:
    """The next thing that is made, None behind the last; steps and their results pass through."""
    result: Any = None
    while True:
        try:
            found = made.send(result)
        except StopIteration:
            return None
        if not isinstance(found, Step):
            return found
        try:
            result = yield found
        except BaseException as error:
            made.throw(error)
            raise


def inferring(made: Generator[Made, Any, Result]) -> Generator[Made, Any, Result]:
    """The same in inference mode, which must not leak into the code that drives it."""
    result: Any = None
    failed: Exception | None = None
    try:
        while True:
            with torch.inference_mode():
                try:
                    found = made.send(result) if failed is None else made.throw(failed)
                except StopIteration as done:
                    return cast(Result, done.value)
            result = failed = None
            try:
                result = yield found
            except Exception as error:
                failed = error
    finally:
        made.close()


def result_alone(steps: Generator[Step[Any], Any, Result]) -> Result:
    """What steps come to, each being run at once."""
    try:
        step = next(steps)
        while True:
            try:
                result = step.alone()
            except BaseException as error:
                steps.throw(error)
                raise
            step = steps.send(result)
    except StopIteration as done:
        return cast(Result, done.value)


def run_alone(made: Steps[Made]) -> Generator[Made]:
    """What is made, each step being run at once."""
    result: Any = None
    failed: Exception | None = None
    try:
        while True:
            try:
                found = made.send(result) if failed is None else made.throw(failed)
            except StopIteration:
                return
            result = failed = None
            if not isinstance(found, Step):
                yield found
                continue
            try:
                with torch.inference_mode():
                    result = found.alone()
            except Exception as error:
                failed = error
    finally:
        made.close()
