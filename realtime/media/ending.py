"""When a voice ended. Sans-I/O.

The detector hears a voice for about 100 ms after it has ended, more or less of it as the room and the last sound go;
where the level sank into the room's noise says more precisely when that was. The weights were fitted to the tuning
voices of the floor bench.
"""

from __future__ import annotations

import numpy as np

from realtime.media.levels import BLOCK, Levels

ROOM_BLOCKS = 8
"""The newest so many blocks (80 ms) hold no voice any more when the detector says so."""

ABOVE_ROOM = 10 ** (2.0 / 10)
"""Whatever has so many times the room's power is voice."""

LOOK_BACK = 60
"""Blocks in which the end is looked for."""

EARLIEST_SAMPLES = 4_800
"""By its level the end is at most so long before the detector's."""

USUAL_SURE, EARLIEST_SURE = 900, 4_000
"""The last sure window ends so long before the detector's end. Where it is longer, the detector is never sure here."""

LATE_SAMPLES, HIDDEN_SAMPLES = 870.0, 170.0
"""The detector says the end so much too late; where the room hides the end of the last sound, by so much less."""

CLEAR_DB, HIDING_DB = 20.0, 8.0
"""A voice that was so far above the room is heard to its end, one that was no further is hidden."""

LEVEL_SHARE, SURE_SHARE = 0.37, 0.41
"""How much of the difference between the level's end and the detector's counts, and of that to the last sure window."""

STEADY = np.full(7, 1 / 7)
"""Levels are smoothed over 70 ms."""


def ending(levels: Levels, stopped: int, sure: int) -> float:
    """Before which sample the voice ended that the detector, hearing `levels` up to now, heard until sample `stopped`,
    and surely until `sure`.
    """
    by_level, above_db = _end_by_level(levels)
    by_level = _within(by_level, stopped - EARLIEST_SAMPLES, stopped)
    hidden = min(max((CLEAR_DB - above_db) / (CLEAR_DB - HIDING_DB), 0.0), 1.0)
    late = LATE_SAMPLES - HIDDEN_SAMPLES * hidden
    by_sure = min(sure, stopped) if stopped - sure <= EARLIEST_SURE else stopped - USUAL_SURE
    return stopped - late + LEVEL_SHARE * (by_level - stopped) + SURE_SHARE * (by_sure - stopped)


def _end_by_level(levels: Levels) -> tuple[int, float]:
    """Where the level sank into the room's, and by how many dB it was above that at its loudest."""
    powers = levels.powers
    room = float(powers[-ROOM_BLOCKS:].mean())
    steady = np.convolve(powers, STEADY, "same")[-LOOK_BACK:-ROOM_BLOCKS]
    loud = np.flatnonzero(steady > ABOVE_ROOM * room)
    quiet_blocks = LOOK_BACK - (int(loud[-1]) + 1 if len(loud) else 0)
    return levels.position - quiet_blocks * BLOCK, 10 * float(np.log10(steady.max() / room))


def _within(value: int, least: int, most: int) -> int:
    return min(max(value, least), most)
