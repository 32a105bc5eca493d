"""The pictures of seconds in which nobody spoke: they wait outside the context, thinned out as they grow old."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from model_server.minicpmo.errors import InputError


@dataclass(frozen=True, slots=True)
class Thinning:
    """How densely pictures are kept: pairs of an age and the seconds between two pictures up to that age.

    By default one a second for 10 s, one in 10 s for a minute, one a minute for ten. Raises `InputError` for ages or
    gaps that do not grow.
    """

    steps: tuple[tuple[float, float], ...] = ((10, 1), (60, 10), (600, 60))

    def __post_init__(self) -> None:
        growing = all(a[0] < b[0] and a[1] <= b[1] for a, b in zip(self.steps, self.steps[1:], strict=False))
        if not growing or any(age <= 0 or gap <= 0 for age, gap in self.steps):
            raise InputError(f"thinning: expected ages and gaps in seconds that grow, got {self.steps}")

    @property
    def most(self) -> int:
        """No more pictures than these ever wait."""
        return sum(
            int((age - before) // gap) + 1
            for (before, _), (age, gap) in zip(((0, 0), *self.steps), self.steps, strict=False)
        )

    def gap(self, age: float) -> float | None:
        """Seconds between two pictures of that age, None where none is kept."""
        return next((gap for until, gap in self.steps if age < until), None)


@dataclass(frozen=True, slots=True, eq=False)
class SilentPicture:
    """A picture as the language model sees it."""

    text: str
    """Its fillers."""
    embeddings: Tensor
    """[N, hidden]."""
    item: int
    second: float


@dataclass(frozen=True, slots=True)
class SilentPictures:
    """Those that wait, the oldest first. A value: adding gives another one."""

    thinning: Thinning
    waiting: tuple[SilentPicture, ...] = ()

    def add(self, picture: SilentPicture | None, second: float) -> SilentPictures:
        """With one more, and as sparse as they have to be at `second`.

        In a stretch of time as long as its gap a picture stands alone: the first of it, so that none is counted out
        again and again by newer ones.
        """
        kept: dict[tuple[float, int], SilentPicture] = {}
        for old in self.waiting if picture is None else (*self.waiting, picture):
            gap = self.thinning.gap(second - old.second)
            if gap is not None:
                kept.setdefault((gap, int(old.second // gap)), old)
        return replace(self, waiting=tuple(kept.values()))

    def taken(self) -> SilentPictures:
        """None waits any more."""
        return replace(self, waiting=())
