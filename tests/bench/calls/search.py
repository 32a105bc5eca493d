"""The largest number of calls for which a trial holds: doubled until one does not, then halved in between."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

Holds = Callable[[int], Awaitable[bool]]


def step(calls: int) -> int:
    """How exactly a number is looked for."""
    return max(1, calls // 16)


async def largest(holds: Holds, confirmed: Holds, first: int, most: int) -> int:
    """0 where not even one call holds. `holds` may be a short trial; `confirmed`, the whole one, has the last word."""
    low, high = 0, most + 1
    calls = min(first, most)
    while high > most:
        if await holds(calls):
            low = calls
            if calls == most:
                break
            calls = min(2 * calls, most)
        else:
            high = calls
    while low < most and high - low > step(low):
        calls = (low + high) // 2
        if await holds(calls):
            low = calls
        else:
            high = calls
    while low > 0 and not await confirmed(low):
        low -= step(low)
    return low
