"""What the calls of a trial have met with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

UNIT_S = 1.0
"""A unit has to be written before the next one is due."""

HEAD = (
    f"{'calls':>5} {'units':>6} {'late':>5} {'unit s p50/p95/max':>20} {'pieces':>7} {'late':>5} {'dry ms max':>10} "
    f"{'first audio s p50/p95':>22} {'speaking':>8} {'device s/s':>10} {'GB':>6}"
)


@dataclass(slots=True)
class Figures:
    """Of all calls together, in seconds. `units`: from a unit's end to its being written. `dry`: silences inside of
    replies. `first_audio`: from the end of the person's turn. `heard`: speech that was played.
    """

    units: list[float] = field(default_factory=list)
    pieces: int = 0
    dry: list[float] = field(default_factory=list)
    first_audio: list[float] = field(default_factory=list)
    heard: float = 0.0

    def piece(self, gap: float) -> None:
        """A piece of speech that came so long after the sound before it ran dry."""
        self.pieces += 1
        if gap > 0:
            self.dry.append(gap)

    @property
    def units_late(self) -> int:
        return sum(took > UNIT_S for took in self.units)

    @property
    def missed(self) -> int:
        """Deadlines."""
        return self.units_late + len(self.dry)


@dataclass(frozen=True, slots=True)
class Result:
    """Of one trial of `seconds`. `busy` and `kinds`: device seconds, all and by kind of step; `processor`: processor
    seconds of the thread; `rows`: steps in a pass, by kind; `memory`: bytes that the sessions took.
    """

    calls: int
    seconds: float
    figures: Figures
    busy: float
    processor: float
    kinds: Mapping[str, float]
    rows: Mapping[str, float]
    memory: int

    @property
    def holds(self) -> bool:
        """No deadline was missed, and there were some."""
        return bool(self.figures.units) and not self.figures.missed

    def lines(self) -> list[str]:
        """The row under `HEAD`, and where the device's time went."""
        return [self._row(), self._time()]

    def _row(self) -> str:
        seen = self.figures
        first = "/".join(f"{share:.2f}" for share in quantiles(seen.first_audio, (50, 95))) or "-"
        took = "/".join(f"{share:.2f}" for share in quantiles(seen.units, (50, 95, 100)))
        speaking, busy = seen.heard / self.seconds / self.calls, self.busy / self.seconds
        dry = 1000 * max(seen.dry, default=0.0)
        return (
            f"{self.calls:5} {len(seen.units):6} {seen.units_late:5} {took:>20} {seen.pieces:7} {len(seen.dry):5} "
            f"{dry:10.0f} {first:>22} {speaking:8.2f} {busy:10.2f} {self.memory / 1e9:6.2f}"
            f"{'' if self.holds else '  MISSED'}"
        )

    def _time(self) -> str:
        by_kind = [
            f"{kind} {seconds / self.seconds:.3f}" + (f" ({self.rows[kind]:.1f} rows)" if kind in self.rows else "")
            for kind, seconds in sorted(self.kinds.items(), key=lambda item: -item[1])
        ]
        return f"      of a second: {', '.join(by_kind)}; processor time {self.processor / self.seconds:.3f}"


def quantiles(values: Sequence[float], percent: Sequence[float]) -> list[float]:
    """Percentiles; none of nothing."""
    return [float(value) for value in np.percentile(values, list(percent))] if len(values) else []
