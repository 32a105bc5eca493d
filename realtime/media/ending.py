"""How a voice ended: when, by its level, and by how much it fell before. Sans-I/O.

The detector hears a voice for about 100 ms after it has ended, more or less of it as the room and the last sound go;
where the level sank into the room's noise says more precisely when that was. The weights were fitted to the tuning
voices of the floor bench.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from realtime.media.levels import BLOCK, Levels

ROOM_BLOCKS = 8
"""The newest so many blocks (80 ms) hold no voice any more when the detector says so."""

ABOVE_ROOM = 10 ** (5.0 / 10)
"""Whatever has so many times the room's power is voice."""

LOOK_BACK = 60
"""Blocks in which the end is looked for."""

EARLIEST_SAMPLES = 4_800
"""The end is at most so long before the detector's."""

LATE_SAMPLES = 592.0
"""The detector says the end so much too late."""

LEVEL_SHARE = 0.4
"""How much of the difference between the level's end and the detector's counts."""

LAST_BLOCKS = 27
"""The last syllable or two: 270 ms."""

LOUD_BLOCKS = 20
"""As many as the loudest of the last second's blocks say how loud the voice was."""

SMOOTH = np.full(3, 1 / 3)


@dataclass(frozen=True, slots=True)
class Ending:
    """The voice ended before sample `position`; its last 270 ms reached `fall_db` less than it had before."""

    position: float
    fall_db: float


def ending(levels: Levels, stopped: int) -> Ending:
    """How the voice ended that the detector, hearing `levels` up to now, heard until sample `stopped`."""
    room = float(levels.powers[-ROOM_BLOCKS:].mean())
    smooth = np.convolve(levels.powers, SMOOTH, "same")
    loud = np.flatnonzero(smooth[-LOOK_BACK:-2] > ABOVE_ROOM * room)
    quiet_blocks = LOOK_BACK - (int(loud[-1]) + 1 if len(loud) else 0)
    by_level = min(max(levels.position - quiet_blocks * BLOCK, stopped - EARLIEST_SAMPLES), stopped)
    end = stopped - LATE_SAMPLES + LEVEL_SHARE * (by_level - stopped)
    return Ending(end, _fall_db(smooth[: _blocks_until(levels, end)], room))


def _blocks_until(levels: Levels, end: float) -> int:
    behind = int((levels.position - end) // BLOCK)
    return min(max(len(levels.powers) - behind, 1), len(levels.powers))


def _fall_db(powers: NDArray[np.float64], room: float) -> float:
    voice = 10 * np.log10(np.maximum(powers - room, powers.max() * 1e-4))
    return float(np.sort(voice)[-LOUD_BLOCKS:].mean() - voice[-LAST_BLOCKS:].max())
