"""Many replies on one device: which kind of step is next, for whom, and how far each of them has come.

A pass takes every reply along that waits for the same kind of step. Kinds that come first in a reply are run first, so
that replies that are behind catch up and then share the passes of those ahead; but while some are about to fall
silent, only what the first of them wait for is run. A reply that decodes text on and on is not waited for.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from model_server.minicpmo.replies.steps import LanguageStep, SoundStep, SpeechStep, SpeechTextStep, Step, Steps
from model_server.minicpmo.scheduling.together import Counts, Failed, Outcome, run

Made = TypeVar("Made")
Made_co = TypeVar("Made_co", covariant=True)
Kind = type[Step[Any]]

ORDER: tuple[Kind, ...] = (LanguageStep, SpeechTextStep, SpeechStep, SoundStep)
"""As they follow each other in a reply."""

URGENT_S = 0.25
"""A reply with less speech than this before it is about to fall silent."""

AHEAD_S = 2.0
"""Replies with more speech than this before them wait for the others."""

WORTH_WAITING = 24
"""Language steps on end for which others wait: two chunks of text, and the rounds' remainders."""


class Running(Generic[Made_co]):
    """A reply under way. `Batcher.pull` runs it to the next thing that it makes."""

    def __init__(self, steps: Steps[Made_co]) -> None:
        self.steps = steps
        self.language_steps = 0
        """On end, the latest ones."""
        self.closed = False
        self.pulled = False

    def close(self) -> None:
        """Abandon it, wherever it is; whoever waits for it is told that there is nothing more."""
        self.closed = True
        self.steps.close()


@dataclass(slots=True, eq=False)
class _Wait:
    """Somebody waits for the next thing that a reply makes."""

    running: Running[Any]
    due: float
    told: Callable[[Outcome], None]
    step: Step[Any] | None = None

    @property
    def asked(self) -> Step[Any]:
        """The step that it has come to."""
        assert self.step is not None, "a reply that waits has asked for something"
        return self.step

    @property
    def kind(self) -> Kind:
        return type(self.asked)


class Batcher:
    """Used by one thread. `clock` gives seconds, those of the dues."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._waits: list[_Wait] = []
        self._last_run: dict[Kind, int] = {}
        self._ticks = 0
        self.counts: Counter[str] = Counter()
        """Passes, steps and splits by kind: `LanguageStep.passes` and so on."""

    @property
    def waiting(self) -> int:
        """Replies that somebody waits for."""
        return len(self._waits)

    @property
    def due(self) -> float:
        """When the first of them is due; infinite where there is none."""
        return min((wait.due for wait in self._waits), default=math.inf)

    def pull(self, running: Running[Made], due: float, told: Callable[[Outcome], None]) -> None:
        """Tell what the reply makes next: once, None behind the last thing, or `Failed`.

        Raises `ValueError` if somebody waits for it already.
        """
        if running.pulled:
            raise ValueError("pull: somebody waits for this reply already")
        running.pulled = True
        wait = _Wait(running, due, told)
        self._waits.append(wait)
        self._go_on(wait, None)

    def tick(self) -> None:
        """Run one pass, and every reply in it on to its next step or to what it makes."""
        for wait in [wait for wait in self._waits if wait.running.closed]:
            self._tell(wait, None)
        if not self._waits:
            return
        batch = self._batch()
        kind = batch[0].kind
        outcomes, counts = run([wait.asked for wait in batch])
        self._count(kind, counts)
        for wait, outcome in zip(batch, outcomes, strict=True):
            wait.running.language_steps = wait.running.language_steps + 1 if kind is LanguageStep else 0
            self._go_on(wait, outcome)

    def _batch(self) -> list[_Wait]:
        """Who is next: one alone, or all that wait for steps of the kind chosen."""
        self._waits.sort(key=lambda wait: wait.due)
        first = self._waits[0]
        if first.kind not in ORDER:
            return [first]
        together = [wait for wait in self._waits if wait.kind in ORDER]
        most = self._horizon(first.due)
        kind = self._kind([wait for wait in together if wait.due < most])
        return [wait for wait in together if wait.kind is kind]

    def _horizon(self, first: float) -> float:
        """Up to which due replies have a say in what is run next, if the first one is due then."""
        now = self._clock()
        if first < now + URGENT_S:
            return first + URGENT_S
        return now + AHEAD_S if first < now + AHEAD_S else math.inf

    def _kind(self, waits: list[_Wait]) -> Kind:
        near = [wait for wait in waits if wait.running.language_steps < WORTH_WAITING]
        if near and len(near) < len(waits):
            # Those that write on and on take turns with the others.
            return min({wait.kind for wait in waits}, key=self._least_recent)
        return min((wait.kind for wait in waits), key=ORDER.index)

    def _least_recent(self, kind: Kind) -> int:
        return self._last_run.get(kind, -1)

    def _count(self, kind: Kind, counts: Counts) -> None:
        self._ticks += 1
        self._last_run[kind] = self._ticks
        self.counts[f"{kind.__name__}.passes"] += counts.passes
        self.counts[f"{kind.__name__}.steps"] += counts.steps
        self.counts[f"{kind.__name__}.splits"] += counts.splits

    def _go_on(self, wait: _Wait, outcome: Outcome) -> None:
        steps = wait.running.steps
        try:
            found = steps.throw(outcome.error) if isinstance(outcome, Failed) else steps.send(outcome)
        except StopIteration:
            self._tell(wait, None)
        except Exception as error:
            self._tell(wait, Failed(error))
        else:
            if isinstance(found, Step):
                wait.step = found
            else:
                self._tell(wait, found)

    def _tell(self, wait: _Wait, outcome: Outcome) -> None:
        self._waits.remove(wait)
        wait.running.pulled = False
        wait.told(outcome)
