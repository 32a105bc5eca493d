"""What every event is."""

from __future__ import annotations

import msgspec


class Event(msgspec.Struct, tag_field="type", kw_only=True, omit_defaults=True):
    """Base of every event; `event_id` names it in errors."""

    event_id: str = ""
