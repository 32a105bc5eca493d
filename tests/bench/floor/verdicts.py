"""What came of a call: each metric's figures, 1 or 0 where a share is asked for, else milliseconds."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from model_server.protocol import HEARING_RATE
from realtime.floor.hold import REPAIR_HEARD_MS
from tests.bench.floor.page import STEP_S
from tests.bench.floor.simulation import Moment, Simulation

Figures = dict[str, list[float]]

SHORT_S = 0.7
"""Pauses up to here may not be taken."""

SMOOTH_S = 2.0
"""An answer within so long of the turn's end is one."""

YIELD_S = 1.5
"""A yield within so long of the end of a sound belongs to it."""

STEP_MS = 1000 * STEP_S
"""The loudspeaker is watched in steps of this."""

BINS = (0.0, 0.3, 0.5, 0.7, 1.0, 1.5, 9.0)
"""Edges of the curve of take-overs by the pause's length, s."""


def turn_figures(call: Simulation, turns: list[list[tuple[float, float]]]) -> Figures:
    """Take-overs, latency and smooth turns."""
    figures: Figures = {name: [] for name in ("take_over", "all_pauses", "mid_clause", "smooth", "latency", "ear")}
    figures |= {name: [] for name in ("repair_ms", "one_turn", "lost_ms", "repaired", "wasted", "turn_cut")}
    kept = call.places.kept(call.session.units)
    for index, clauses in enumerate(turns):
        until = turns[index + 1][0][0] if index + 1 < len(turns) else float("inf")
        _pause_figures(call, clauses, kept, figures)
        _answer_figures(call, clauses, until, figures)
    for response_id, given in call.session.given.items():
        figures["wasted"].append(float(given.cancelled_at is not None and not call.audible(response_id)))
    return figures


def _pause_figures(
    call: Simulation, clauses: list[tuple[float, float]], kept: NDArray[np.bool_], figures: Figures
) -> None:
    cut = False
    for (start, end), (going_on, its_end) in itertools.pairwise(clauses):
        taken = [each for each, at in call.first_sent.items() if end <= at < its_end]
        pause_s = going_on - end
        figures["all_pauses"].append(float(bool(taken)))
        if pause_s <= SHORT_S:
            figures["take_over"].append(float(bool(taken)))
        figures.setdefault(bin_name(pause_s), []).append(float(bool(taken)))
        figures["mid_clause"].append(float(any(start <= at < end for at in call.first_sent.values()) and not cut))
        cut = bool(taken)
        if taken:
            heard = [moment for each in taken for moment in call.audible(each)]
            after_ms = STEP_MS * sum(at >= going_on for at, _ in heard)
            figures["repair_ms"].append(after_ms)
            if max((position for _, position in heard), default=0) / 24 <= REPAIR_HEARD_MS:
                one_turn, lost_ms = (
                    _is_one_turn(call, end, its_end),
                    _lost_ms(call, kept, (start, end), (going_on, its_end)),
                )
                figures["one_turn"].append(float(one_turn))
                figures["lost_ms"].append(lost_ms)
                figures["repaired"].append(float(one_turn and not lost_ms and after_ms <= REPAIR_HEARD_MS))
    if len(clauses) > 1:
        figures["turn_cut"].append(float(any(clauses[0][0] <= at < clauses[-1][1] for at in call.first_sent.values())))


def _is_one_turn(call: Simulation, end: float, its_end: float) -> bool:
    """Whether what was committed in a pause comes back, as one item with what follows."""
    committed = [each for each in call.moments if each.kind == "committed" and each.at >= end]
    before = {each.of for each in committed if each.at < its_end}
    after = next((each.of for each in committed if each.at >= its_end), None)
    return before <= {after}


def _lost_ms(call: Simulation, kept: NDArray[np.bool_], *clauses: tuple[float, float]) -> float:
    """How much of these clauses the session does not hold."""
    places = [slice(*(call.places.shift + round(HEARING_RATE * at) for at in clause)) for clause in clauses]
    return 1000 / HEARING_RATE * sum(int((~kept[place]).sum()) for place in places)


def bin_name(pause_s: float) -> str:
    """The metric of a pause's length."""
    edge = max(edge for edge in BINS if pause_s >= edge)
    return f"pause_{round(1000 * edge)}"


def _answer_figures(call: Simulation, clauses: list[tuple[float, float]], until: float, figures: Figures) -> None:
    end = clauses[-1][1]
    answers = [(at, each) for each, at in call.first_sent.items() if end <= at < min(until, end + SMOOTH_S)]
    figures["smooth"].append(float(bool(answers)))
    if not answers:
        return
    at, response_id = min(answers)
    figures["latency"].append(1000 * (at - end))
    heard = call.audible(response_id)
    if heard:
        figures["ear"].append(1000 * (heard[0][0] - end))


def overlap_figures(call: Simulation, response_id: str, start: float, end: float) -> Figures:
    """Whether the assistant yielded to a sound from `start` to `end`, and how soon it fell silent."""
    cleared = call.told("cleared", response_id, start, end + YIELD_S)
    paused = call.told("paused", response_id, start, end + YIELD_S)
    figures: Figures = {
        "yielded": [float(bool(cleared))],
        "missed": [float(not cleared)],
        "held": [float(bool(paused))],
    }
    if cleared:
        figures["silent_ms"] = [1000 * (min(each.there for each in [*paused, *cleared]) - start)]
        figures["yield_ms"] = [1000 * (cleared[0].there - start)]
        figures["words_off"] = [_words_off(call, response_id)]
    figures["hold_ms"] = _holds(call, response_id, paused)
    return figures


def _words_off(call: Simulation, response_id: str) -> float:
    """By how many words what the session keeps differs from what was heard."""
    given, heard = call.session.given[response_id], call.audible(response_id)
    if given.cancelled_at is None:
        return float(len(given.spoken.text.split()))
    heard_ms = max((position for _, position in heard), default=0) / 24
    return float(abs(given.kept_words - given.spoken.words(heard_ms)))


def _holds(call: Simulation, response_id: str, paused: list[Moment]) -> list[float]:
    """How long each hold lasted that went on."""
    lasted = []
    for hold in paused:
        resumed = call.told("resumed", response_id, hold.at, float("inf"))
        if resumed:
            lasted.append(1000 * (resumed[0].there - hold.there))
    return lasted


def alone_figures(call: Simulation, seconds: float) -> Figures:
    """How often the assistant stopped or held its breath for nobody; `minutes` is how long it was watched."""
    return {
        "stops": [float(sum(each.kind == "cleared" for each in call.moments))],
        "holds": [float(sum(each.kind == "paused" for each in call.moments))],
        "minutes": [seconds / 60],
    }
