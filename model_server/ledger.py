"""What was written into one session, in order, with the mark before each step: who may be undone, and to where.

Pure bookkeeping: marks are opaque, no engine is called here. A step is an item (prefill or append) or a response.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from model_server.engine import Mark


class RequestRefused(Exception):
    """A request that changed nothing. `code` is one of `protocol.Error`'s; the text says what to do."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(slots=True, eq=False)
class Step:
    """One step and the way back before it.

    `after_seq`: the last item before it. `response_id`: empty for an item. `until_seq`: the last item when the response
    had ended, None while it runs (only a native engine takes items meanwhile). `settled`: cut already.
    """

    after_seq: int
    before: Mark
    response_id: str = ""
    until_seq: int | None = None
    settled: bool = False


class Ledger:
    """The last steps of a session: `marks` items and at most twice as many steps can be undone."""

    def __init__(self, marks: int) -> None:
        self.last_seq = 0
        self._marks = marks
        self._steps: list[Step] = []
        self._oldest_seq = 0
        self._used_ids: deque[str] = deque(maxlen=256)

    def check_next(self, seq: int) -> None:
        """Raise unless `seq` is the number of the next item: `stale_seq` or `seq_gap`."""
        due = self.last_seq + 1
        if seq < due:
            raise RequestRefused("stale_seq", f"item {seq} is written already: the next item is {due}")
        if seq > due:
            raise RequestRefused("seq_gap", f"the next item is {due}, got {seq}: send the items between first")

    def check_new_response(self, response_id: str, after_seq: int) -> None:
        """Raise `out_of_order` unless a response of this id may begin after item `after_seq`."""
        if after_seq != self.last_seq:
            raise RequestRefused(
                "out_of_order", f"a response follows the last item, {self.last_seq}, got after_seq {after_seq}"
            )
        if response_id in self._used_ids:
            raise RequestRefused("out_of_order", f"response id {response_id} was used before: choose a new one")

    def wrote_item(self, before: Mark) -> None:
        """The next item is written; `before` is the mark taken right before it."""
        self._steps.append(Step(self.last_seq, before))
        self.last_seq += 1
        self._forget_old()

    def began_response(self, response_id: str, before: Mark, after_seq: int) -> None:
        """A response began after item `after_seq`; a native one may be told of when later items are written already."""
        index = sum(1 for step in self._steps if _stays(step, after_seq))
        self._steps.insert(index, Step(after_seq, before, response_id))
        self._used_ids.append(response_id)
        self._forget_old()

    def ended_response(self, response_id: str) -> None:
        """The response was generated to its end."""
        for step in self._steps:
            if step.response_id == response_id:
                step.until_seq = self.last_seq

    def never_began(self, response_id: str) -> None:
        """The engine refused the response."""
        self._steps = [step for step in self._steps if step.response_id != response_id]

    def response(self, response_id: str) -> Step:
        """The response's step. Raises `unknown_response` when it never was, is cut already, or its mark is gone."""
        for step in self._steps:
            if step.response_id == response_id and not step.settled:
                return step
        raise RequestRefused("unknown_response", f"response {response_id} is not there to cancel: nothing changed")

    def way_back(self, to_seq: int) -> Mark | None:
        """The mark right before item `to_seq + 1`, None when nothing follows `to_seq`. `out_of_order`, `mark_gone`."""
        if to_seq > self.last_seq:
            raise RequestRefused("out_of_order", f"the last item is {self.last_seq}, cannot return to {to_seq}")
        if to_seq < self._oldest_seq:
            raise RequestRefused("mark_gone", f"items up to {self._oldest_seq} cannot be undone, got {to_seq}")
        for step in self._steps:
            if not step.response_id and step.after_seq == to_seq:
                return step.before
            if step.response_id and step.after_seq <= to_seq and (step.until_seq is None or to_seq < step.until_seq):
                raise RequestRefused(
                    "mark_gone", f"response {step.response_id} was running after item {to_seq}: cancel it instead"
                )
        return None

    def undone_to(self, to_seq: int) -> None:
        """The items after `to_seq` are undone, and the responses that followed them."""
        self._steps = [step for step in self._steps if _stays(step, to_seq)]
        self.last_seq = to_seq

    def cut(self, response: Step, *, kept: bool) -> None:
        """Everything since the response began is undone, but what was `kept` of it, which cannot be cut again."""
        del self._steps[self._steps.index(response) + kept :]
        self.last_seq = response.until_seq = response.after_seq
        response.settled = True

    def _forget_old(self) -> None:
        items = sum(1 for step in self._steps if not step.response_id)
        while items > self._marks or len(self._steps) > 2 * self._marks:
            oldest = self._steps.pop(0)
            if not oldest.response_id:
                items -= 1
                self._oldest_seq = oldest.after_seq + 1


def _stays(step: Step, to_seq: int) -> bool:
    """Whether the step came before item `to_seq + 1`."""
    return step.after_seq < to_seq or (step.after_seq == to_seq and bool(step.response_id))
