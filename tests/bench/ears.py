"""How well the default engine hears: `python -m tests.bench.ears`.

Every phrasing of the script is spoken by flite's voices (awb is left out while tuning) and by espeak-ng, clean and in
white noise 15 dB below the speech; so are a hundred everyday sentences that the script does not know. Prints a table
and exits 1 where a limit is missed.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from model_server.demo.ear_messages import Sentence
from model_server.demo.engine import DEFAULT_SCRIPT, HEARING_DEADLINE_S
from model_server.demo.phrasings import expand
from model_server.demo.recogniser import Recogniser
from model_server.demo.script import Loaded, load
from model_server.demo.script_checks import BUILT_IN_SLOTS
from model_server.demo.understanding import understood
from tests.bench import spoken

EVERYDAY = Path(__file__).with_name("everyday.txt")
UNSEEN_VOICE = "awb"
NOISE_DB = 15.0
SWEEP = range(-12, 13, 2)


@dataclass(frozen=True)
class Trial:
    """One sentence in one voice; `intent` is empty for what the script does not know."""

    voice: str
    noise_db: float | None
    text: str
    intent: str


@dataclass(frozen=True)
class Result:
    """What came of it. Times in seconds: `cpu_s` for all of it, the others from the end of speech to the answer."""

    trial: Trial
    heard: tuple[Sentence, ...]
    sound_s: float
    cpu_s: float
    answer_s: float
    answer_cpu_s: float


@dataclass(frozen=True)
class Row:
    """One line of the table: `value` and `limit` in `unit`; `most` tells on which side the limit stands."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    most: bool = False

    @property
    def ok(self) -> bool:
        if self.limit is None:
            return True
        return self.value <= self.limit if self.most else self.value >= self.limit


@cache
def script(path: Path) -> Loaded:
    return load(path)


@cache
def recogniser(path: Path) -> Recogniser:
    return Recogniser(script(path).grammar, decoders=1)


def trials(path: Path, voices: Sequence[str], every: int) -> Iterator[Trial]:
    """Every phrasing (each voice says another of its sentences) and every everyday sentence."""
    everyday = EVERYDAY.read_text(encoding="utf-8").split("\n")[:-1]
    for number, voice in enumerate(voices):
        for noise_db in (None, NOISE_DB):
            for text, intent in list(_phrasings(script(path), number))[::every]:
                yield Trial(voice, noise_db, text, intent)
            for text in everyday[::every] if voice != spoken.ESPEAK else ():
                yield Trial(voice, noise_db, text, "")


def _phrasings(loaded: Loaded, voice: int) -> Iterator[tuple[str, str]]:
    slots = {**BUILT_IN_SLOTS, **{name: slot.values for name, slot in loaded.script.slots.items()}}
    for intent in loaded.script.intents:
        for number, phrasing in enumerate(intent.say):
            sentences = expand(phrasing, slots)
            yield sentences[(7 * voice + number) % len(sentences)].text, intent.name


def hear(task: tuple[Path, Trial]) -> Result:
    """Say it and hear it, second by second, as in a call."""
    path, trial = task
    seed = f"{trial.voice} {trial.noise_db} {trial.text}"
    samples = spoken.in_a_room(spoken.speak(trial.voice, trial.text), trial.noise_db, seed)
    pieces = spoken.units(samples, seed)
    ear = recogniser(path)
    began = time.process_time()
    for count in range(1, len(pieces)):
        for _ in ear.follow(pieces[:count]):
            pass
    asked, before = time.perf_counter(), time.process_time()
    words = ear.finish(pieces)
    answer_s, answer_cpu_s = time.perf_counter() - asked, time.process_time() - before
    heard = tuple(Sentence(each.text, each.partial, each.score, each.clarity_db) for each in words)
    return Result(trial, heard, len(samples) / spoken.HEARING_RATE, time.process_time() - began, answer_s, answer_cpu_s)


def intent_of(result: Result, path: Path, stricter: float = 0.0) -> str:
    meaning = understood(result.heard, script(path), stricter).meaning
    return meaning.intent.name if meaning else ""


def share(results: Iterable[bool]) -> float:
    """Per cent that are true."""
    values = list(results)
    return 100 * sum(values) / len(values) if values else float("nan")


def hearing_rows(results: Sequence[Result], path: Path, voices: Sequence[str]) -> Iterator[Row]:
    """What is understood: the limits hold for flite's voices together and for the unseen one by itself."""
    flite = [voice for voice in voices if voice != spoken.ESPEAK]
    for noise_db in (None, NOISE_DB):
        yield from _rows_of("all of flite", [r for r in results if r.trial.voice in flite], noise_db, path, True)
        for voice in voices:
            of_voice = [each for each in results if each.trial.voice == voice]
            label = f"{voice} (unseen)" if voice == UNSEEN_VOICE else voice
            yield from _rows_of(label, of_voice, noise_db, path, voice == UNSEEN_VOICE)


def _rows_of(label: str, results: Sequence[Result], noise_db: float | None, path: Path, limited: bool) -> Iterator[Row]:
    right, name = (90.0, "clean") if noise_db is None else (80.0, f"{noise_db:.0f} dB noise")
    got = [(each.trial.intent, intent_of(each, path)) for each in results if each.trial.noise_db == noise_db]
    known, other = [pair for pair in got if pair[0]], [pair for pair in got if not pair[0]]
    if known:
        label = f"{label}, {name}"
        yield Row(f"{label}: right intent", share(a == b for a, b in known), "%", right if limited else None)
        wrong = share(b not in ("", a) for a, b in known)
        yield Row(f"{label}: wrong action", wrong, "%", 3.0 if limited else None, True)
    if other:
        rejected = share(not b for _, b in other)
        yield Row(f"{label}: everyday sentences rejected", rejected, "%", 85.0 if limited else None)


def cost_rows(results: Sequence[Result]) -> Iterator[Row]:
    """What it costs."""
    wall = [1000 * each.answer_s for each in results]
    processor = [1000 * each.answer_cpu_s for each in results]
    for part in (50, 95):
        yield Row(f"answer after the end of speech, p{part}, as busy as this machine is", _percentile(wall, part), "ms")
    limit = 1000 * HEARING_DEADLINE_S
    yield Row("answer after the end of speech, p95, processor", _percentile(processor, 95), "ms", limit, True)
    yield Row(
        "processor per second of speech", 1000 * sum(r.cpu_s for r in results) / sum(r.sound_s for r in results), "ms"
    )
    yield Row("processor for one sentence, p95", _percentile([1000 * r.cpu_s for r in results], 95), "ms")


def _percentile(values: Sequence[float], per_cent: int) -> float:
    return float(np.percentile(values, per_cent))


def show(rows: Sequence[Row]) -> None:
    for row in rows:
        limit = "" if row.limit is None else f"{'at most' if row.most else 'at least'} {row.limit:g}"
        mark = "" if row.ok else "MISSED"
        line = f"{row.name:66} {row.value:8.1f} {row.unit:3} {limit:14} {mark}"
        print(f"\033[31m{line}\033[0m" if mark and sys.stdout.isatty() else line)


def show_confusions(results: Sequence[Result], path: Path) -> None:
    """What went wrong, most often first: phrasings to rename."""
    wrong: dict[tuple[str, str, str], list[str]] = {}
    for each in results:
        if (got := intent_of(each, path)) != each.trial.intent:
            words = understood(each.heard, script(path)).words
            wrong.setdefault((each.trial.text, got or "not understood", words), []).append(
                each.trial.voice + ("" if each.trial.noise_db is None else "+noise")
            )
    for (text, got, words), voices in sorted(wrong.items(), key=lambda item: -len(item[1])):
        print(f"  {text!r} -> {got} ({words!r}): {', '.join(voices)}")


def show_sweep(results: Sequence[Result], path: Path) -> None:
    """Right, wrong and rejected if more or less were asked, on the voices that may be tuned with."""
    tuned = [r for r in results if r.trial.voice not in (UNSEEN_VOICE, spoken.ESPEAK)]
    print("stricter by   clean: right wrong rejected   noise: right wrong rejected")
    for stricter in SWEEP:
        cells = []
        for noise_db in (None, NOISE_DB):
            of = [(r.trial.intent, intent_of(r, path, stricter)) for r in tuned if r.trial.noise_db == noise_db]
            right = share(a == b for a, b in of if a)
            wrong = share(b not in ("", a) for a, b in of if a)
            cells.append(f"{right:12.1f} {wrong:5.1f} {share(not b for a, b in of if not a):8.1f}")
        print(f"{stricter:+11} {'   '.join(cells)}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--script", type=Path, default=DEFAULT_SCRIPT)
    parser.add_argument("--voices", nargs="+", default=[*spoken.FLITE_VOICES, spoken.ESPEAK])
    parser.add_argument("--quick", action="store_true", help="every fourth sentence only")
    parser.add_argument("--confusions", action="store_true", help="list what went wrong")
    parser.add_argument("--sweep", action="store_true", help="show other limits for the score")
    arguments = parser.parse_args()
    try:
        spoken.need_programs()
    except spoken.MissingProgram as error:
        print(error, file=sys.stderr)
        return 1
    path: Path = arguments.script
    tasks = [(path, trial) for trial in trials(path, arguments.voices, 4 if arguments.quick else 1)]
    with ProcessPoolExecutor(os.cpu_count() or 1, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(hear, tasks, chunksize=16))
    rows = [*hearing_rows(results, path, arguments.voices), *cost_rows(results)]
    print(f"{len(results)} sentences, load average {os.getloadavg()[0]:.1f}")
    show(rows)
    if arguments.confusions:
        show_confusions(results, path)
    if arguments.sweep:
        show_sweep(results, path)
    return 0 if all(row.ok for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
