"""Facts that an answer may name: the time, what is seen, how the call went so far."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from model_server.demo import numbers
from model_server.demo.talk import Talk

JUST_NOW_S = 2.5


@dataclass(frozen=True, slots=True)
class Moment:
    """When something is answered, and what the sentence that asks for it says: the values of its slots."""

    talk: Talk
    now: datetime
    values: Mapping[str, str]


def duration(seconds: float) -> str:
    """Seconds in words: `1 minute and 5 seconds`."""
    minutes, rest = divmod(max(0, int(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    parts = [_count(hours, "hour"), _count(minutes, "minute"), _count(rest, "second") if not hours else ""]
    said = [part for part in parts if part]
    return " and ".join(said) if said else "less than a second"


def _count(number: int, what: str) -> str:
    if not number:
        return ""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _time(moment: Moment) -> str:
    return moment.now.strftime("%I:%M %p").lstrip("0")


def _date(moment: Moment) -> str:
    return f"{moment.now:%A}, {moment.now:%B} {moment.now.day}, {moment.now.year}"


def _weekday(moment: Moment) -> str:
    return f"{moment.now:%A}"


def _colour(moment: Moment) -> str | None:
    last = moment.talk.seen.last
    return last.colour if last else None


def _brightness(moment: Moment) -> str | None:
    last = moment.talk.seen.last
    return last.light if last else None


def _movement(moment: Moment) -> str | None:
    seen, now = moment.talk.seen, moment.now.timestamp()
    if seen.count < 2:
        return None
    if seen.moving_since is not None:
        return f"something has been moving for {duration(now - seen.moving_since)}"
    if seen.moved_at is None:
        return f"nothing has moved for {duration(now - seen.first_at)}"
    ago = now - seen.moved_at
    return "something moved just now" if ago < JUST_NOW_S else f"something moved {duration(ago)} ago"


def _pictures(moment: Moment) -> str | None:
    return _count(moment.talk.seen.count, "picture") or None


def _counting(moment: Moment) -> str | None:
    number = numbers.value(moment.values.get("number", ""))
    return numbers.counting(1, number) if number else None


def _countdown(moment: Moment) -> str | None:
    number = numbers.value(moment.values.get("number", ""))
    return numbers.counting(number, 0) if number else None


def _talked(moment: Moment) -> str:
    return duration(moment.now.timestamp() - moment.talk.began)


def _asked_before(moment: Moment) -> str | None:
    return moment.talk.asked[-1] if moment.talk.asked else None


def _questions(moment: Moment) -> str | None:
    return _count(moment.talk.questions, "question") or None


def _last_answer(moment: Moment) -> str | None:
    return moment.talk.last_answer or None


def _interrupted(moment: Moment) -> str | None:
    return moment.talk.interrupted


FACTS: dict[str, Callable[[Moment], str | None]] = {
    "time": _time,
    "date": _date,
    "weekday": _weekday,
    "colour": _colour,
    "brightness": _brightness,
    "movement": _movement,
    "pictures": _pictures,
    "counting": _counting,
    "countdown": _countdown,
    "talked_for": _talked,
    "asked_before": _asked_before,
    "questions": _questions,
    "last_answer": _last_answer,
    "interrupted": _interrupted,
}
"""What a slot in an answer is filled with; None where there is nothing to say yet."""
