from __future__ import annotations

import json
from pathlib import Path

import pytest

from docs.generate import documents
from model_server import protocol
from realtime import events

DOCUMENTS = documents()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_generated_pages_are_current(path: Path) -> None:
    assert path.exists(), f"{path.name} is missing: run python -m docs.generate"
    assert path.read_text() == DOCUMENTS[path], f"{path.name} is not current: run python -m docs.generate"


@pytest.mark.parametrize(
    ("name", "unions"),
    [
        ("session-socket.json", (protocol.Request, protocol.Reply)),
        ("events.json", (events.ClientEvent, events.ServerEvent)),
    ],
)
def test_every_message_has_a_schema_and_a_paragraph(name: str, unions: tuple[object, ...]) -> None:
    schema = next(json.loads(text) for path, text in DOCUMENTS.items() if path.name == name)
    page = next(text for path, text in DOCUMENTS.items() if path.name == "protocol.md")
    for union in unions:
        for struct in union.__args__:  # type: ignore[attr-defined]
            tag = struct.__struct_config__.tag
            assert tag in schema["discriminator"]["mapping"]
            assert f"#### `{tag}`\n" in page
