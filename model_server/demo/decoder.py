"""pocketsphinx, set up for one closed grammar: samples in, words and a score out.

The score is measured against a free choice of the model's states in every frame (`compallsen`): the best path through
the grammar is worth little where any other sound explains the frames better. On 100 everyday sentences outside of the
grammar this separates better than a free phone loop, at half of its cost. No word lattice is built (`bestpath`): that
is what can take many seconds for one sentence that does not fit.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pocketsphinx import Config, Decoder

from model_server.demo.enhancement import Samples
from model_server.demo.grammar import END, START, Grammar, model_folder

_LOG_BASE = math.log(1.0001)
_SMALLEST = 1e-300


@dataclass(frozen=True, slots=True)
class Words:
    """What the grammar made of the samples.

    `text` is empty where no sentence came to its end, and `partial` then the words that were on the way. `score`: log
    likelihood per frame, in the model's own unit, 0 is perfect; it counts the sound between and around the words, too.
    `clarity_db`: how far the loudest of the turn stood above its quietest.
    """

    text: str
    partial: str
    score: float
    clarity_db: float = 0.0


class GrammarDecoder:
    """One decoder; it listens to one utterance at a time."""

    def __init__(self, grammar: Grammar) -> None:
        with tempfile.TemporaryDirectory() as folder:
            dictionary = Path(folder) / "words.dict"
            dictionary.write_text("\n".join(_dictionary_lines(grammar)) + "\n", encoding="utf-8")
            self._decoder = Decoder(_config(dictionary))
        transitions = [(arc.source, arc.target, 1.0, arc.word) for arc in grammar.arcs]
        fsg = self._decoder.create_fsg("script", START, END, transitions)
        self._decoder.add_fsg("script", fsg)
        self._decoder.activate_search("script")

    def average(self, samples: Samples) -> str:
        """The cepstral mean of `samples`, by which level and channel are taken out of what follows."""
        self._start()
        self._decoder.process_raw(_pcm(samples), no_search=True, full_utt=True)
        self._decoder.end_utt()
        return str(self._decoder.get_cmn(False))

    def begin(self, average: str) -> None:
        """A new utterance, with the mean that `average` gave."""
        self._start(average)

    def feed(self, samples: Samples) -> None:
        """The next samples (16 kHz, -1 to 1); 1 s takes about 60 ms."""
        if len(samples):
            self._decoder.process_raw(_pcm(samples))

    def end(self) -> Words:
        """The end of the utterance."""
        on_the_way = self._decoder.hyp()
        self._decoder.end_utt()
        heard = self._decoder.hyp()
        partial = on_the_way.hypstr if on_the_way else ""
        if heard is None or not heard.hypstr:
            return Words("", partial, -math.inf)
        return Words(heard.hypstr, partial, self._score())

    def _start(self, average: str = "") -> None:
        self._decoder.reinit_feat()  # Its noise estimate would go from one utterance into the next.
        if average:
            self._decoder.set_cmn(average)
        self._decoder.start_utt()

    def _score(self) -> float:
        parts = list(self._decoder.seg())
        total = sum(math.log(max(float(part.ascore), _SMALLEST)) for part in parts) / _LOG_BASE
        return total / (int(parts[-1].end_frame) + 1)


def _pcm(samples: Samples) -> bytes:
    return (np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes()


def _dictionary_lines(grammar: Grammar) -> Iterable[str]:
    for word, sounds in grammar.lexicon.items():
        for number, phones in enumerate(sounds, 1):
            yield f"{word} {phones}" if number == 1 else f"{word}({number}) {phones}"


def _config(dictionary: Path) -> Config:
    return Config(
        hmm=str(model_folder() / "en-us"),
        dict=str(dictionary),
        loglevel="FATAL",
        cmn="live",
        bestpath=False,
        compallsen=True,
        beam=1e-60,
        pbeam=1e-60,
        wbeam=1e-40,
        maxhmmpf=4000,
    )
