"""The form of a script (`docs/demo-script.md`)."""

from __future__ import annotations

import msgspec


class Slot(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Things that may stand in a phrasing. `open`: typed text may put anything there (only at a phrasing's end)."""

    values: tuple[str, ...]
    open: bool = False


class Intent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One thing the person may want.

    `say`: phrasings. `answers`: one is chosen; where a slot in it has no value, one of `otherwise`. `suggest`:
    sentences worth trying next.
    """

    name: str
    say: tuple[str, ...]
    answers: tuple[str, ...]
    otherwise: tuple[str, ...] = ()
    suggest: tuple[str, ...] = ()


class Script(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything a script says."""

    name: str
    greeting: str
    suggestions: tuple[str, ...]
    not_understood: tuple[str, ...]
    nothing_said: tuple[str, ...]
    intents: tuple[Intent, ...]
    language: str = "en"
    picture_shown: tuple[str, ...] = ()
    notice: str = ""
    voice: str = "en-us"
    slots: dict[str, Slot] = {}
    pronunciations: dict[str, tuple[str, ...]] = {}
