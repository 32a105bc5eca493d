"""`python -m tests.bench.engine`: the MiniCPM-o 2.6 network by itself. Exit status 1: a row misses its goal.

One session over random weights (default: the size `mid` in float32 on the CPU). The ids of the reply are a fixed
script and the speech cannot end, so that every run does the same work; a unit is a 448x448 picture and 1 s of sound.
Two kernels that bound what the machine can do run between the rows: a 1024x1024x4096 product and a read of 256 MB.
Times are judged with all threads, as the published code's were taken; the part of the kernels' speed that is reached,
always.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from statistics import median

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from model_server.minicpmo.loading import devices
from model_server.minicpmo.loading.checkpoint import load, load_random
from model_server.minicpmo.model import MiniCPMO
from model_server.minicpmo.network.sampling import TextSampling
from model_server.minicpmo.network.speech_sampling import argmax
from model_server.minicpmo.replies.segment import Piece, Voice
from model_server.minicpmo.session import Session
from model_server.minicpmo.words.prompts import UNIT, system_content

SENTENCE = "The name is one, and you are not three, it is for the self and all that was said before. "
SPOKEN_S = 6.4
KV_LENGTHS = (512, 1024, 2048, 4096, 8192)
STEPS = 8
PRODUCT = (1024, 1024, 4096)
READ_BYTES = 256_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """A figure beside the published code's on this kind of machine, and the goal: at most (or at least) this."""

    what: str
    value: float
    unit: str
    published: float | None = None
    goal: float | None = None
    more_is_better: bool = False

    def unjudged(self) -> Row:
        """The same figure without a goal, unless it is a part of what the machine can do."""
        return self if not self.unit else replace(self, goal=None)

    @property
    def ok(self) -> bool:
        if self.goal is None:
            return True
        return self.value >= self.goal if self.more_is_better else self.value <= self.goal

    def line(self) -> str:
        goal = "" if self.goal is None else f"{'>=' if self.more_is_better else '<='} {self.goal:.3g}"
        published = "" if self.published is None else f"{self.published:.3g}"
        return f"{self.what:52} {self.value:10.4g} {self.unit:9} {published:>9} {goal:>10} {'' if self.ok else 'MISS'}"


@dataclass(slots=True)
class Machine:
    """What the machine can do, measured again beside every row."""

    device: torch.device
    dtype: torch.dtype
    product_s: list[float] = field(default_factory=list)
    read_s: list[float] = field(default_factory=list)

    def measure(self) -> None:
        rows, inner, columns = PRODUCT
        a = torch.randn(rows, inner, device=self.device, dtype=self.dtype)
        b = torch.randn(inner, columns, device=self.device, dtype=self.dtype)
        memory = torch.ones(READ_BYTES // 4, device=self.device)
        for _ in range(3):
            self.product_s.append(timed(lambda: a @ b, self.device))
            self.read_s.append(timed(memory.sum, self.device))

    @property
    def flops(self) -> float:
        """Floating-point operations per second of the product."""
        rows, inner, columns = PRODUCT
        return 2.0 * rows * inner * columns / median(self.product_s)

    @property
    def bytes_per_s(self) -> float:
        return READ_BYTES / median(self.read_s)


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that `work` takes on the device."""
    devices.synchronise(device)
    begun = time.perf_counter()
    work()
    devices.synchronise(device)
    return time.perf_counter() - begun


class Bench:
    """The rows, one after the other, over one model."""

    def __init__(self, model: MiniCPMO, repetitions: int) -> None:
        self.model, self.repetitions = model, repetitions
        weight = model.language.embedding
        self.device = weight.device
        self.machine = Machine(weight.device, weight.dtype)
        noise = np.random.default_rng(5)
        self.picture = Image.fromarray(noise.integers(0, 255, (448, 448, 3), dtype=np.uint8))
        self.second = (noise.standard_normal(16000) * 0.1).astype(np.float32)
        self.voice = (noise.standard_normal(32000) * 0.1).astype(np.float32)

    def session(self) -> Session:
        """A call with a 2 s reference voice."""
        session = Session(self.model, seed=1)
        session.prefill("system", system_content("omni", "en", self.voice))
        return session

    def median_s(self, work: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
        """Median time of the repetitions, the machine measured in between; the first, warming one left out."""
        before()
        work()
        seconds = []
        for _ in range(self.repetitions):
            self.machine.measure()
            before()
            seconds.append(timed(work, self.device))
        return median(seconds)

    def rows(self) -> list[Row]:
        unit_s, unit_flops = self.unit([UNIT, self.picture, self.second])
        audio_s, _ = self.unit([self.second])
        first_text, first_audio = self.first()
        step_s = self.step(512)
        read = weight_bytes(self.model.language) / step_s
        factor, speech_read = self.speech()
        rows = [
            Row("picture unit: a 448x448 picture and 1 s of sound", unit_s, "s", 0.57, 0.57 / 1.5),
            Row("audio unit: 1 s of sound", audio_s, "s", 0.074, 0.074 / 2),
            Row("first text after the end of the turn", first_text, "s", 0.12, 0.12 / 2),
            Row("first sound, after 2 units and a 2 s voice", first_audio, "s", 1.34, 1.34 / 3),
            Row("language tokens, one session", 1 / step_s, "tokens/s", 32, 32 * 1.7, more_is_better=True),
            Row(f"speech, {SPOKEN_S} s with its language tokens: per second", factor, "s", 1.25, 0.6),
        ]
        fractions = [
            Row(
                "picture unit, part of the product's speed",
                unit_flops / unit_s / self.machine.flops,
                "",
                None,
                0.6,
                True,
            ),
            Row("language decode, part of the read's speed", read / self.machine.bytes_per_s, "", None, 0.5, True),
            Row("speech decode, part of the read's speed", speech_read / self.machine.bytes_per_s, "", None, 0.5, True),
        ]
        return rows + fractions

    def unit(self, content: list[object]) -> tuple[float, float]:
        """Seconds of one prefilled unit behind the system prompt and two others, and its operations."""
        session = self.session()
        for _ in range(2):
            session.prefill("user", [UNIT, self.picture, self.second])
        length, heard = session.cache.length, session.audio_cache.length

        def again() -> None:
            session.cache.truncate(length)
            session.audio_cache.truncate(heard)

        seconds = self.median_s(lambda: session.prefill("user", content), again)  # type: ignore[arg-type]
        again()
        with FlopCounterMode(display=False, custom_mapping=PACKED) as counter:
            session.prefill("user", content)  # type: ignore[arg-type]
        return seconds, float(counter.get_total_flops())

    def reply(self) -> tuple[Session, Callable[[], object]]:
        """A call that was asked something; its forced reply is started by the second value."""
        session = self.session()
        for _ in range(2):
            session.prefill("user", [UNIT, self.picture, self.second])
        ids = iter(self.model.tokenizer.encode(SENTENCE * 40))
        return session, lambda: session.generate(
            TextSampling(max_new_tokens=2000),
            choose=lambda logits: next(ids),
            voice=Voice(argmax, forbid_end=lambda call: True),
        )

    def first(self) -> tuple[float, float]:
        """Seconds to the first text and to the first sound of a reply."""
        texts, sounds = [], []
        for _ in range(self.repetitions + 1):
            self.machine.measure()
            _, start = self.reply()
            begun, text, stream = time.perf_counter(), 0.0, start()
            for piece in stream:  # type: ignore[attr-defined]
                assert isinstance(piece, Piece)
                text = text or (time.perf_counter() - begun if piece.text else 0.0)
                if len(piece.samples):
                    break
            texts.append(text)
            sounds.append(time.perf_counter() - begun)
            stream.close()  # type: ignore[attr-defined]
        return median(texts[1:]), median(sounds[1:])

    @torch.inference_mode()
    def step(self, length: int) -> float:
        """Seconds of one language token behind `length` positions."""
        language, cache = self.model.language, self.model.language.new_cache()
        x = torch.randn(length, language.config.hidden_size, device=self.device, dtype=self.machine.dtype) * 0.1
        for start in range(0, length, 512):
            language(x[start : start + 512], cache)

        def tokens() -> None:
            for _ in range(STEPS):
                language.logits(language(x[:1], cache)[-1]).argmax().item()

        return self.median_s(tokens, lambda: cache.truncate(length)) / STEPS

    def speech(self) -> tuple[float, float]:
        """Compute time per second of speech with its text, and bytes per second read by the speech model alone."""
        factors = []
        for _ in range(max(1, self.repetitions // 2)):
            self.machine.measure()
            _, start = self.reply()
            begun, samples, stream = time.perf_counter(), 0, start()
            for piece in stream:  # type: ignore[attr-defined]
                samples += len(piece.samples)
                if samples >= SPOKEN_S * 24000:
                    break
            factors.append((time.perf_counter() - begun) / (samples / 24000))
            stream.close()  # type: ignore[attr-defined]
        return median(factors), self.speech_steps()

    @torch.inference_mode()
    def speech_steps(self) -> float:
        speech = self.model.speech
        state = speech.new_state(torch.randn(self.model.config.speech.llm_size, device=self.device))
        state.text_length = 100
        speech.prefill_text(state, [1] * 102, 0)
        seconds = self.median_s(lambda: speech.speak(state, 25, argmax, no_stop=True))
        return weight_bytes(speech) * 25 / seconds

    def growth(self) -> list[Row]:
        """Cost of a language token against the positions before it."""
        return [Row(f"language token behind {n} positions", self.step(n) * 1000, "ms") for n in KV_LENGTHS]


def packed_flops(x: torch.Size, weight: torch.Size, *_: object, **__: object) -> int:
    """Operations of a packed linear layer, of its input's and its weight's shapes."""
    return 2 * math.prod(x) * int(weight[0])


PACKED = {torch.ops.mkldnn._linear_pointwise: packed_flops}


def weight_bytes(part: torch.nn.Module) -> int:
    """Bytes that every step of a part reads: embedding tables are only looked up, the projector runs once."""
    weights = (*part.named_parameters(), *part.named_buffers())
    return sum(w.numel() * w.element_size() for name, w in weights if not re.search("embedding|projector", name))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.engine", description=__doc__)
    parser.add_argument("--size", default="mid", help="tiny, mid or full: random weights of this size")
    parser.add_argument("--model", help="a model folder instead")
    parser.add_argument("--devices", default="cpu")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repetitions", type=int, default=5)
    asked = parser.parse_args()
    cards = tuple(asked.devices.split(","))
    source: dict[str, object] = {"devices": cards, "dtype": asked.dtype}
    missed = 0
    for threads in asked.threads:
        torch.set_num_threads(threads)  # Before loading: weights are prepared for it.
        begun = time.perf_counter()
        model = load(asked.model, **source) if asked.model else load_random(asked.size, **source)  # type: ignore[arg-type]
        print(f"loaded in {time.perf_counter() - begun:.1f} s")
        bench = Bench(model, asked.repetitions)
        rows = bench.rows()
        rows = rows + bench.growth() if threads == max(asked.threads) else [row.unjudged() for row in rows]
        machine = f"{bench.machine.flops / 1e9:.0f} Gflop/s, {bench.machine.bytes_per_s / 1e9:.1f} GB/s"
        print(f"\n{threads} threads, {asked.dtype}: {machine}, load average {os.getloadavg()[0]:.1f}")
        print(f"{'':52} {'ours':>10} {'':9} {'published':>9} {'goal':>10}")
        print("\n".join(row.line() for row in rows))
        missed += sum(not row.ok for row in rows)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
