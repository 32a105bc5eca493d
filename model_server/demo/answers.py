"""Chooses what to say: from what was understood to the words of the answer."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from datetime import datetime

from model_server.demo.facts import FACTS, Moment
from model_server.demo.matching import Matcher, filled
from model_server.demo.phrasings import written
from model_server.demo.script import Loaded
from model_server.demo.talk import Reply, Talk
from model_server.demo.understanding import Understood

_SLOT = re.compile(r"\{([a-z_]+)\}")
SUGGESTIONS = 4


def answer(loaded: Loaded, matcher: Matcher, talk: Talk, understood: Understood, now: datetime) -> Reply:
    """The reply to something that was said or typed."""
    chance = talk.draw()
    if understood.meaning is None:
        nearest, second = map(written, matcher.nearest(understood.words))
        text = filled({"nearest": nearest, "second": second}, chance.choice(loaded.script.not_understood))
        return Reply(text, suggestions=_suggestions(loaded, talk, (nearest, second), chance))
    intent, sentence = understood.meaning.intent, understood.meaning.sentence
    moment = Moment(talk, now, dict(sentence.values))
    said = _say(intent.answers, moment, chance) or _say(intent.otherwise, moment, chance)
    text = said or chance.choice(loaded.script.nothing_said)
    suggestions = _suggestions(loaded, talk, tuple(map(written, intent.suggest)), chance)
    return Reply(text, asked=written(sentence.text), suggestions=suggestions)


def unasked(loaded: Loaded, talk: Talk, now: datetime) -> Reply:
    """The reply to no words: about a picture that was shown, else the greeting at the beginning, a nudge later."""
    chance, moment = talk.draw(), Moment(talk, now, {})
    if talk.turn.shown and (said := _say(loaded.script.picture_shown, moment, chance)):
        return Reply(said, suggestions=_suggestions(loaded, talk, (), chance))
    if not talk.draws:
        return Reply(loaded.script.greeting, suggestions=loaded.script.suggestions)
    return Reply(chance.choice(loaded.script.nothing_said))


def _say(answers: Sequence[str], moment: Moment, chance: random.Random) -> str | None:
    """One of `answers`, its slots filled; None where no answer has a value for each of its slots."""
    possible = []
    for text in answers:
        values = {name: _value(name, moment) for name in _SLOT.findall(text)}
        known = {name: value for name, value in values.items() if value is not None}
        if len(known) == len(values):
            possible.append(filled(known, text))
    if not possible:
        return None
    fresh = [text for text in possible if text.lower() != moment.talk.last_answer.lower()]
    said = chance.choice(fresh or possible)
    return said[:1].upper() + said[1:]


def _value(name: str, moment: Moment) -> str | None:
    if name in FACTS:
        return FACTS[name](moment)
    return moment.values.get(name)


def _suggestions(loaded: Loaded, talk: Talk, first: Sequence[str], chance: random.Random) -> tuple[str, ...]:
    """`first`, then sentences of the script that were not asked yet."""
    asked = set(talk.asked)
    more = [sentence for sentence in map(written, loaded.first_sentences) if sentence not in asked]
    chance.shuffle(more)
    every = dict.fromkeys((*first, *more))
    return tuple(every)[:SUGGESTIONS]
