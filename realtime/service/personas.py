"""The personas that callers choose from: a TOML file with one table for each, written by whoever runs the service."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from model_server.protocol import MAX_TEXT_CHARS

MOST_PERSONAS = 32
MOST_NAME_CHARS = 60


class Persona(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a caller sees, and the `instructions` of a session that it comes to."""

    id: str
    name: str
    instructions: str


def read_personas(file: Path | None) -> tuple[Persona, ...]:
    """Those of a file, in its order; none without one. Raises `ValueError` that names the table and what is wrong."""
    if file is None:
        return ()
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"{file}: {error}") from error
    if not 1 <= len(tables) <= MOST_PERSONAS:
        raise ValueError(f"{file}: expected 1 to {MOST_PERSONAS} tables, got {len(tables)}")
    return tuple(_persona(f"{file}: [{key}]", key, table) for key, table in tables.items())


def _persona(place: str, key: str, table: object) -> Persona:
    if not isinstance(table, dict):
        raise ValueError(f"{place}: expected a table with instructions, got a {type(table).__name__}")
    try:
        persona = msgspec.convert({"name": key, **table, "id": key}, Persona)
    except msgspec.ValidationError as error:
        raise ValueError(f"{place}: {error}") from error
    for field, text, most in (
        ("name", persona.name, MOST_NAME_CHARS),
        ("instructions", persona.instructions, MAX_TEXT_CHARS),
    ):
        if not 1 <= len(text.strip()) <= len(text) <= most:
            raise ValueError(f"{place}: {field} has 1 to {most} characters, got {len(text)}")
    return persona
