"""Steps of one kind, of replies that are out of step, as one pass through the network.

Rows are stacked for the products with the weights, which are read once; each row attends to its own session's cache
alone, where that lies, so nothing is copied. What is drawn is read back once for all of them. If memory does not
suffice, or anything else fails, the steps are run again in two halves, so that only what fails alone fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from model_server.minicpmo.loading import devices
from model_server.minicpmo.replies.steps import Decoded, LanguageStep, SoundStep, SpeechStep, SpeechTextStep, Step


@dataclass(frozen=True, slots=True)
class Failed:
    """In the place of a step's result."""

    error: Exception


Outcome = Any
"""The result of a step, or `Failed`."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Passes through the network, the steps they held, and the passes that had to be split."""

    passes: int = 0
    steps: int = 0
    splits: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.passes + other.passes, self.steps + other.steps, self.splits + other.splits)

    @property
    def occupancy(self) -> float:
        """Steps in a pass, on average."""
        return self.steps / self.passes if self.passes else 0.0


@torch.inference_mode()
def run(steps: Sequence[Step[Any]]) -> tuple[list[Outcome], Counts]:
    """The outcome of each step, all of one kind and of one model, and what it took."""
    failure: Exception | None = None
    try:
        return _run_all(steps), Counts(_passes(steps), len(steps))
    except Exception as error:
        if len(steps) == 1:
            return [Failed(error)], Counts(1, 1)
        failure = error.with_traceback(None)
    # Outside of the handler, where what the failed pass had allocated is free again.
    if isinstance(failure, torch.OutOfMemoryError):
        devices.release()
    half = len(steps) // 2
    (left, some), (right, more) = run(steps[:half]), run(steps[half:])
    return left + right, Counts(splits=1) + some + more


def _run_all(steps: Sequence[Step[Any]]) -> list[Outcome]:
    if len(steps) == 1:
        return [steps[0].alone()]
    return _KINDS[type(steps[0])](steps)


def _passes(steps: Sequence[Step[Any]]) -> int:
    return len({len(step.codes) if isinstance(step, SoundStep) else 0 for step in steps})


def _language(steps: Sequence[LanguageStep]) -> list[Outcome]:
    language, counts = steps[0].language, [len(step.ids) for step in steps]
    before = [step.cache.length for step in steps]
    try:
        x = language.embed([token for step in steps for token in step.ids])
        hidden = torch.split(language.together(x, counts, [step.cache for step in steps]), counts)
        logits = language.logits(torch.stack([rows[-1] for rows in hidden]))
    except BaseException:
        for step, length in zip(steps, before, strict=True):
            step.cache.truncate(length)
        raise
    ids = _read([_tried(partial(step.choose, row)) for step, row in zip(steps, logits, strict=True)])
    return [
        token if isinstance(token, Failed) else Decoded(rows, token) for rows, token in zip(hidden, ids, strict=True)
    ]


def _read(found: list[Outcome]) -> list[Outcome]:
    """Numbers for tensors of one, with one read for all of them."""
    places = [place for place, one in enumerate(found) if isinstance(one, Tensor)]
    if places:
        values = torch.stack([found[place].reshape(()) for place in places]).tolist()
        for place, value in zip(places, values, strict=True):
            found[place] = int(value)
    return found


def _speech(steps: Sequence[SpeechStep]) -> list[Outcome]:
    speech = steps[0].speech
    logits = speech.logits_of([step.state for step in steps])
    codes = [_tried(partial(step.chosen, row)) for step, row in zip(steps, logits, strict=True)]
    good = [place for place, one in enumerate(codes) if not isinstance(one, Failed)]
    if good:
        drawn = torch.stack([codes[place] for place in good])
        ends = (drawn == speech.config.eos_code).any(1).tolist()
        for place, row, end in zip(good, drawn, ends, strict=True):
            speech.take(steps[place].state, row, end)
            codes[place] = None
    return codes


def _speech_text(steps: Sequence[SpeechTextStep]) -> list[Outcome]:
    steps[0].speech.prefill_texts([(step.state, step.ids, step.start) for step in steps])
    return [None] * len(steps)


def _sound(steps: Sequence[SoundStep]) -> list[Outcome]:
    """Only equal lengths share a pass: what is padded sounds different at its end."""
    model, found = steps[0].model, dict[int, Tensor]()
    for length in {len(step.codes) for step in steps}:
        places = [place for place, step in enumerate(steps) if len(step.codes) == length]
        sounds = model.vocos(model.dvae(torch.stack([steps[place].codes for place in places])).float())
        found.update(zip(places, sounds, strict=True))
    return [found[place] for place in range(len(steps))]


def _tried(work: Callable[[], Any]) -> Outcome:
    try:
        return work()
    except Exception as error:
        return Failed(error)


_KINDS: dict[type[Step[Any]], Callable[[Any], list[Outcome]]] = {
    LanguageStep: _language,
    SpeechTextStep: _speech_text,
    SpeechStep: _speech,
    SoundStep: _sound,
}
