"""Writes `docs/protocol.md` and `docs/schema/*.json` from the message types themselves: `python -m docs.generate`.

With `--check` nothing is written; the exit status is 1 when a file is not what would be written.
"""

from __future__ import annotations

import inspect
import json
import sys
import types
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from model_server import protocol
from realtime import events

ROOT = Path(__file__).resolve().parent.parent

HEAD = """# Protocols

Written by `python -m docs.generate` from `model_server/protocol.py` and `realtime/events/`: change those and run it.
The same types as JSON Schema: [session socket](schema/session-socket.json), [events](schema/events.json).
"""


def documents() -> dict[Path, str]:
    """Every generated file and what belongs into it."""
    folder = ROOT / "docs"
    return {
        folder / "protocol.md": protocol_page(),
        folder / "schema" / "session-socket.json": schema(protocol.Request | protocol.Reply, "Session socket"),
        folder / "schema" / "events.json": schema(events.ClientEvent | events.ServerEvent, "Events"),
    }


def schema(union: Any, title: str) -> str:
    """The JSON Schema of one protocol's messages."""
    (root,), components = msgspec.json.schema_components([union], ref_template="#/$defs/{name}")
    page = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title, **root, "$defs": components}
    return json.dumps(page, indent=2, ensure_ascii=False) + "\n"


def protocol_page() -> str:
    """The page for people."""
    parts = [
        HEAD,
        "## The session socket: gateway and model server\n",
        inspect.cleandoc(protocol.__doc__ or ""),
        f"\nVersion {protocol.PROTOCOL_VERSION}. A message has at most {protocol.MAX_MESSAGE_BYTES:,} bytes.\n",
        *section("What the gateway says", members(protocol.Request)),
        *section("What the model server answers", members(protocol.Reply)),
        *section("What they are made of", nested([*members(protocol.Request), *members(protocol.Reply)])),
        "## The channel `oai-events`: page and gateway\n",
        inspect.cleandoc(events.__doc__ or ""),
        f"\nAn event has at most {events.MAX_EVENT_BYTES:,} bytes.\n",
        *section("What a client says", members(events.ClientEvent)),
        *section("What the gateway says", members(events.ServerEvent)),
        *section("What events are made of", nested([*members(events.ClientEvent), *members(events.ServerEvent)])),
    ]
    return "\n".join(parts)


def members(union: Any) -> list[type[msgspec.Struct]]:
    """The structs of a union, in the order of the source."""
    return list(typing.get_args(union))


def nested(structs: Iterable[type[msgspec.Struct]]) -> list[type[msgspec.Struct]]:
    """Structs that are fields of `structs`, and theirs."""
    outer = list(structs)
    found: list[type[msgspec.Struct]] = []
    waiting = list(outer)
    while waiting:
        for hint in hints(waiting.pop(0)).values():
            for inner in structs_in(hint):
                if inner not in found and inner not in outer:
                    found.append(inner)
                    waiting.append(inner)
    return found


def structs_in(hint: Any) -> list[type[msgspec.Struct]]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return [hint]
    return [struct for part in typing.get_args(hint) for struct in structs_in(part)]


def hints(struct: type[msgspec.Struct]) -> dict[str, Any]:
    """The fields' types, in order."""
    known = typing.get_type_hints(struct, include_extras=True)
    return {name: known[name] for name in struct.__struct_fields__}


def section(title: str, structs: Iterable[type[msgspec.Struct]]) -> list[str]:
    return [f"### {title}\n", *(describe(struct) for struct in structs)]


def describe(struct: type[msgspec.Struct]) -> str:
    """One type: its name on the wire, what it means, its fields."""
    tag = struct.__struct_config__.tag
    as_array = ", an array in this order" if struct.__struct_config__.array_like else ""
    lines = [f"#### `{tag}`" if tag else f"#### {struct.__name__}{as_array}", ""]
    text = inspect.cleandoc(own_docstring(struct))
    lines += [text, ""] if text else []
    rows = [field_row(struct, name, hint) for name, hint in hints(struct).items()]
    if rows:
        lines += ["| field | type | default |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def own_docstring(struct: type[msgspec.Struct]) -> str:
    inherited = {base.__doc__ for base in struct.__bases__}
    return struct.__doc__ if struct.__doc__ and struct.__doc__ not in inherited else ""


def field_row(struct: type[msgspec.Struct], name: str, hint: Any) -> str:
    position = struct.__struct_fields__.index(name)
    defaults: tuple[Any, ...] = struct.__struct_defaults__
    index = position - (len(struct.__struct_fields__) - len(defaults))
    default = show_default(defaults[index]) if index >= 0 else "required"
    return f"| `{name}` | {show_type(hint)} | {default} |"


def show_default(value: Any) -> str:
    if value is msgspec.NODEFAULT:
        return "required"
    if value is msgspec.UNSET:
        return "as it was"
    if type(value).__name__ == "Factory":
        made = value.factory()
        value = made if isinstance(made, list | dict | str) else f"a default {type(made).__name__}"
        return value if isinstance(value, str) and value.startswith("a default") else f"`{json.dumps(value)}`"
    return f"`{json.dumps(value if not isinstance(value, bytes) else value.decode())}`"


def show_type(hint: Any) -> str:
    """The type in words: msgpack and JSON know no Python."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        limits = hint.__metadata__[0]
        limit = f" ≥ {limits.ge}" if limits.ge is not None else f" like `{limits.pattern}`"
        return show_type(arguments[0]) + limit
    if origin is typing.Literal:
        return " or ".join(f"`{json.dumps(value)}`" for value in arguments)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(show_type(part) for part in arguments if part is not msgspec.UnsetType)
    if origin in (list, tuple):
        inner = [part for part in arguments if part is not Ellipsis]
        many = origin is list or Ellipsis in arguments
        return f"list of {show_type(inner[0])}" if many else f"[{', '.join(map(show_type, inner))}]"
    if origin is dict:
        return f"map of {show_type(arguments[1])}"
    return show_plain(hint)


def show_plain(hint: Any) -> str:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return f"{hint.__struct_config__.tag or hint.__name__}"
    names = {str: "string", int: "integer", float: "number", bool: "boolean", bytes: "bytes", Any: "anything"}
    return "null" if hint is type(None) else names[hint]


def main(arguments: list[str]) -> int:
    """Write, or look whether that would change anything."""
    stale = [path for path, text in documents().items() if not path.exists() or path.read_text() != text]
    if "--check" in arguments:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not current: run python -m docs.generate")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_text(documents()[path])
        print(f"wrote {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
