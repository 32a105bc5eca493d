from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_server.engine import Mark
from model_server.ledger import Ledger, RequestRefused


class At(Mark):
    """A mark that says where it was taken."""

    def __init__(self, place: str) -> None:
        self.place = place

    def __repr__(self) -> str:
        return f"At({self.place})"


def ledger_with(*steps: str, marks: int = 16) -> Ledger:
    """`i` is an item, anything else a response of that id that ran to its end."""
    ledger = Ledger(marks)
    for step in steps:
        if step == "i":
            ledger.wrote_item(At(f"before {ledger.last_seq + 1}"))
        else:
            ledger.began_response(step, At(f"before {step}"), ledger.last_seq)
            ledger.ended_response(step)
    return ledger


def place(mark: Mark | None) -> str:
    return mark.place if isinstance(mark, At) else "here"


def code_of(call: object, *arguments: object) -> str:
    with pytest.raises(RequestRefused) as refused:
        call(*arguments)  # type: ignore[operator]
    return refused.value.code


def test_items_come_in_order() -> None:
    ledger = ledger_with("i", "i")
    ledger.check_next(3)
    assert code_of(ledger.check_next, 2) == "stale_seq"
    assert code_of(ledger.check_next, 0) == "stale_seq"
    assert code_of(ledger.check_next, 4) == "seq_gap"


@pytest.mark.parametrize(("to_seq", "expected"), [(3, "here"), (2, "before 3"), (1, "before 2"), (0, "before 1")])
def test_the_way_back_keeps_the_responses_before_the_item(to_seq: int, expected: str) -> None:
    ledger = ledger_with("i", "r1", "i", "r2", "i", "r3")
    assert place(ledger.way_back(to_seq)) == expected
    ledger.undone_to(to_seq)
    assert ledger.last_seq == to_seq
    for number in (1, 2, 3):
        if number <= to_seq:
            assert ledger.response(f"r{number}").response_id == f"r{number}"
        else:
            assert code_of(ledger.response, f"r{number}") == "unknown_response"


def test_the_future_and_the_far_past_are_out_of_reach() -> None:
    ledger = ledger_with(*"iiiii", marks=3)
    assert code_of(ledger.way_back, 6) == "out_of_order"
    assert code_of(ledger.way_back, 1) == "mark_gone"
    assert place(ledger.way_back(2)) == "before 3"


def test_a_response_is_there_as_long_as_its_mark() -> None:
    ledger = ledger_with("r0", *"iii", marks=3)
    assert ledger.response("r0").after_seq == 0
    ledger.wrote_item(At("before 4"))
    ledger.wrote_item(At("before 5"))
    assert code_of(ledger.response, "r0") == "unknown_response"


def test_many_responses_without_items_are_bounded() -> None:
    ledger = ledger_with("i", *(f"r{number}" for number in range(100)), marks=4)
    assert code_of(ledger.response, "r91") == "unknown_response"
    assert ledger.response("r92").response_id == "r92"
    assert code_of(ledger.way_back, 0) == "mark_gone"
    assert ledger.way_back(1) is None


def test_a_cut_response_cannot_be_cut_again_and_is_rolled_back_with_its_items() -> None:
    ledger = ledger_with("i", "r1", "i", "i")
    ledger.cut(ledger.response("r1"), kept=True)
    assert ledger.last_seq == 1
    assert code_of(ledger.response, "r1") == "unknown_response"
    ledger.wrote_item(At("before the new 2"))
    assert place(ledger.way_back(1)) == "before the new 2"
    assert place(ledger.way_back(0)) == "before 1"


def test_response_ids_are_used_once_and_follow_the_last_item() -> None:
    ledger = ledger_with("i", "r1")
    ledger.check_new_response("r2", 1)
    assert code_of(ledger.check_new_response, "r1", 1) == "out_of_order"
    assert code_of(ledger.check_new_response, "r2", 0) == "out_of_order"
    assert code_of(ledger.check_new_response, "r2", 2) == "out_of_order"
    ledger.cut(ledger.response("r1"), kept=False)
    assert code_of(ledger.check_new_response, "r1", 1) == "out_of_order"


def test_a_native_response_told_late_stands_before_the_items_it_ran_beside() -> None:
    ledger = ledger_with("i", "i", "i")
    ledger.began_response("n1", At("before n1"), 1)
    ledger.wrote_item(At("before 4"))
    for to_seq in (1, 2, 3):
        assert code_of(ledger.way_back, to_seq) == "mark_gone"
    ledger.ended_response("n1")
    ledger.wrote_item(At("before 5"))
    assert code_of(ledger.way_back, 3) == "mark_gone"
    assert place(ledger.way_back(4)) == "before 5"
    assert place(ledger.way_back(0)) == "before 1"
    step = ledger.response("n1")
    assert place(step.before) == "before n1"
    ledger.cut(step, kept=True)
    assert ledger.last_seq == 1
    assert ledger.way_back(1) is None


def test_a_response_the_engine_refused_never_was() -> None:
    ledger = ledger_with("i")
    ledger.began_response("r1", At("before r1"), 1)
    ledger.never_began("r1")
    assert code_of(ledger.response, "r1") == "unknown_response"
    assert ledger.last_seq == 1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["item", "response", "rollback", "cut", "keep"]), max_size=80), st.randoms())
def test_every_way_back_leads_to_the_history_it_names(steps: list[str], random: object) -> None:
    """Against a model that keeps every state: the mark that is given was taken in exactly that state."""
    ledger, history, number = Ledger(4), (), 0  # type: tuple[Ledger, tuple[str, ...], int]
    choose = random.randint  # type: ignore[attr-defined]
    for step in steps:
        number += 1
        mark = At(repr(history))
        if step == "item":
            ledger.wrote_item(mark)
            history = (*history, "i")
        elif step == "response":
            ledger.began_response(f"r{number}", mark, ledger.last_seq)
            ledger.ended_response(f"r{number}")
            history = (*history, f"r{number}")
        elif step == "rollback":
            to_seq = choose(0, ledger.last_seq)
            try:
                back = ledger.way_back(to_seq)
            except RequestRefused:
                continue  # The mark is gone, which other tests look at.
            kept = _before_item(history, to_seq + 1)
            assert place(back) == (repr(kept) if back else "here")
            ledger.undone_to(to_seq)
            history = kept
        else:
            responses = [name for name in history if name.startswith("r")]
            if not responses:
                continue
            name = responses[choose(0, len(responses) - 1)]
            try:
                found = ledger.response(name)
            except RequestRefused:
                continue
            before = history[: history.index(name)]
            assert place(found.before) == repr(before)
            ledger.cut(found, kept=step == "keep")
            history = (*before, f"kept {name}") if step == "keep" else before
        assert ledger.last_seq == history.count("i")


def _before_item(history: tuple[str, ...], number: int) -> tuple[str, ...]:
    items = [index for index, name in enumerate(history) if name == "i"]
    return history[: items[number - 1]] if number <= len(items) else history
