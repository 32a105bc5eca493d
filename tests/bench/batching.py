"""`python -m tests.bench.batching`: what calls that share the network cost. Exit status 1: a goal is missed.

Random weights (default: the size `mid` in float32 on the CPU, two threads). Every call speaks a forced text; no speech
can end. The numbers of calls take turns within each repetition, and figures are ratios to one call of the same
repetition, so that whatever else the machine does falls on all of them. One call and four are always measured: goals
are ratios of these. The cost is flat or linear if no call that is added costs more than 1.5 times what the cheapest
added before it did.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from statistics import median
from typing import Any

import numpy as np
import torch

from model_server.minicpmo.loading.checkpoint import load, load_random
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.network.speech_sampling import argmax
from model_server.minicpmo.replies.segment import Piece, Voice
from model_server.minicpmo.replies.steps import run_alone
from model_server.minicpmo.scheduling.batcher import Batcher, Running
from model_server.minicpmo.session import Session
from model_server.minicpmo.words.prompts import UNIT

SENTENCE = "The name is one, and you are not three, it is for the self and all that was said before. "
UNITS = 4
SPEECH_GOAL, PREFILL_GOAL, ALONE_GOAL = 1.5, 0.95, 0.95
GROWTH = 1.5


class Bench:
    """Replies of several calls at once."""

    def __init__(self, model: MiniCPMO, seconds: float) -> None:
        self.model, self.seconds = model, seconds
        noise = np.random.default_rng(5)
        self.second = (noise.standard_normal(16_000) * 0.1).astype(np.float32)
        self.batcher = Batcher()

    def call(self) -> Session:
        """One that was told something."""
        session = Session(self.model, seed=1)
        session.prefill("system", ["Be brief."])
        session.prefill("user", [UNIT, self.second])
        return session

    def reply(self, session: Session) -> dict[str, Any]:
        """Arguments of a reply that goes on and on."""
        ids = iter(self.model.tokenizer.encode(SENTENCE * 40))
        voice = Voice(argmax, forbid_end=lambda call: True)
        return {
            "options": TextSampling(max_new_tokens=2000),
            "choose": lambda logits: next(ids),
            "voice": voice,
        }

    def together(self, calls: int) -> float:
        """Seconds of speech, of all calls, that one second makes; the calls begin seven passes apart."""
        self.batcher = Batcher()
        sessions = [self.call() for _ in range(calls)]
        runnings = [Running(session.reply_steps(**self.reply(session))) for session in sessions]
        begun = time.perf_counter()
        for number, running in enumerate(runnings):
            self._pull(running, 0.0)
            for _ in range(7 * (number + 1 < calls)):
                self.batcher.tick()
        while self.batcher.waiting:
            self.batcher.tick()
        made = calls * self.seconds / (time.perf_counter() - begun)
        for running in runnings:
            running.close()
        return made

    def _pull(self, running: Running[Piece], spoken: float) -> None:
        def told(piece: Any) -> None:
            assert isinstance(piece, Piece), piece
            now = spoken + len(piece.samples) / 24_000
            if now < self.seconds:
                self._pull(running, now)

        self.batcher.pull(running, 0.0, told)

    def alone(self) -> float:
        """The same of one call that is driven without the batcher."""
        session = self.call()
        pieces = run_alone(session.reply_steps(**self.reply(session)))
        begun, spoken = time.perf_counter(), 0.0
        while spoken < self.seconds:
            spoken += len(next(pieces).samples) / 24_000
        made = self.seconds / (time.perf_counter() - begun)
        pieces.close()
        return made

    def prefills(self, calls: int) -> float:
        """Units of sound that are written in a second: four, of so many calls in turn."""
        sessions = [self.call() for _ in range(calls)]
        begun = time.perf_counter()
        for number in range(UNITS):
            sessions[number % calls].prefill("user", [UNIT, self.second])
        return UNITS / (time.perf_counter() - begun)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.batching", description=__doc__)
    parser.add_argument("--size", default="mid", help="tiny, mid or full: random weights of this size")
    parser.add_argument("--model", help="a model folder instead")
    parser.add_argument("--devices", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--calls", type=int, nargs="+", default=[1, 2, 4, 8, 16], help="1 and 4 always")
    parser.add_argument("--seconds", type=float, default=2.0, help="of speech of every call")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one repetition of half a second, up to four calls")
    asked = parser.parse_args()
    if asked.quick:
        asked.calls, asked.seconds, asked.repetitions = [1, 2, 4], 0.5, 1
    torch.set_num_threads(asked.threads)  # Before loading: weights are prepared for it.
    where: dict[str, Any] = {"devices": tuple(asked.devices.split(",")), "dtype": asked.dtype}
    model = load(asked.model, **where) if asked.model else load_random(asked.size, **where)
    bench = Bench(model, asked.seconds)
    bench.together(1)
    missed = report(bench, sorted({1, 4, *asked.calls}), asked.repetitions)
    return 1 if missed else 0


@dataclass(slots=True)
class Taken:
    """Figures of all repetitions. `rates`: seconds of speech in a second, by number of calls; the others are ratios."""

    rates: dict[int, list[float]]
    alone: list[float] = field(default_factory=list)
    prefills: list[float] = field(default_factory=list)
    rows: dict[int, list[float]] = field(default_factory=dict)
    """In a pass: of language steps and of speech steps."""

    @property
    def gains(self) -> dict[int, list[float]]:
        """Rates to that of one call."""
        return {
            calls: [rate / one for rate, one in zip(rates, self.rates[1], strict=True)]
            for calls, rates in self.rates.items()
        }


def report(bench: Bench, numbers: list[int], repetitions: int) -> int:
    """Print the figures; how many goals are missed."""
    taken = _taken(bench, numbers, repetitions)
    print(f"load average {os.getloadavg()[0]:.1f}; medians of {repetitions}, spread in brackets")
    for line in _table(taken):
        print(line)
    gains = {calls: median(found) for calls, found in taken.gains.items()}
    least = [
        ("summed prefill, 4 calls to one", median(taken.prefills), PREFILL_GOAL),
        ("one call, through the batcher to alone", median(taken.alone), ALONE_GOAL),
        ("summed decode and speech, 4 calls to one", gains[4], SPEECH_GOAL),
    ]
    for what, value, goal in least:
        print(f"{what:44} {value:6.2f}  >= {goal} {'' if value >= goal else 'MISS'}")
    growth, linear = worst_growth(costs(gains)), "an added call to the cheapest before it"
    print(f"{linear:44} {growth:6.2f}  <= {GROWTH} {'' if growth <= GROWTH else 'MISS'}")
    return sum(value < goal for _, value, goal in least) + (growth > GROWTH)


def _taken(bench: Bench, numbers: list[int], repetitions: int) -> Taken:
    taken = Taken({number: [] for number in numbers})
    for _ in range(repetitions):
        for number in numbers:
            taken.rates[number].append(bench.together(number))
            counts = bench.batcher.counts
            taken.rows[number] = [
                counts[f"{kind}.steps"] / counts[f"{kind}.passes"] for kind in ("LanguageStep", "SpeechStep")
            ]
        taken.alone.append(taken.rates[1][-1] / bench.alone())
        taken.prefills += [bench.prefills(UNITS) / bench.prefills(1) for _ in range(3)]
    return taken


def _table(taken: Taken) -> Iterator[str]:
    yield (
        f"{'calls':>5} {'speech s/s':>11} {'device s per s':>15} {'to one call':>22} {'an added call':>14}  "
        "rows in a pass: text, speech"
    )
    added = added_costs(costs({calls: median(gain) for calls, gain in taken.gains.items()}))
    for calls, gain in taken.gains.items():
        rate, spread = median(taken.rates[calls]), f"{median(gain):.2f} [{min(gain):.2f}, {max(gain):.2f}]"
        rows = ", ".join(f"{value:.1f}" for value in taken.rows[calls])
        yield f"{calls:5} {rate:11.2f} {1 / rate:15.2f} {spread:>22} {added[calls]:14.2f}  {rows}"


def costs(gains: Mapping[int, float]) -> dict[int, float]:
    """What a second of speech of all calls takes, to that of one call, of the rates to that of one call."""
    return {calls: calls / gain for calls, gain in gains.items()}


def added_costs(whole: Mapping[int, float]) -> dict[int, float]:
    """What each further call adds, from one number of calls to the next, ascending, of what all of them cost."""
    before = [(0, 0.0), *whole.items()]
    steps = zip(before, whole.items(), strict=False)
    return {calls: (cost - less) / (calls - fewer) for (fewer, less), (calls, cost) in steps}


def worst_growth(whole: Mapping[int, float]) -> float:
    """The most that an added call costs, to what the cheapest before it cost; at most 1 where the cost is linear."""
    added = list(added_costs(whole).values())
    cheapest = accumulate(added, min)
    # A call that costs next to nothing is no measure for the next one.
    return max((later / max(least, 0.05) for least, later in zip(cheapest, added[1:], strict=False)), default=0.0)


if __name__ == "__main__":
    sys.exit(main())
