"""A script's YAML file: typed values, and the line where each of them stands."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import yaml

from model_server.demo.script_form import Script


class ScriptError(ValueError):
    """A script that cannot be used; the text is one line with file, line and what was expected."""


class ScriptFile:
    """A YAML file that remembers where each value stands."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise ScriptError(f"{path}:{mark.line + 1 if mark else 1}: {error.problem or 'not YAML'}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise ScriptError(f"{path}:1: expected a YAML file in UTF-8, got {_one_line(error)}") from error

    def convert(self) -> Script:
        """The typed script."""
        if self._root is None:
            raise self.error("", "expected a script, got an empty file")
        self._no_key_twice(self._root)
        try:
            return msgspec.convert(_plain(self._root), Script)
        except msgspec.ValidationError as error:
            problem, _, place = str(error).partition(" - at `$")
            raise self.error(place.rstrip("`"), problem[:1].lower() + problem[1:]) from error

    def _no_key_twice(self, node: yaml.Node) -> None:
        seen: set[str] = set()
        for key, value in node.value if isinstance(node, yaml.MappingNode) else ():
            if key.value in seen:
                where = f"{self._path}:{key.start_mark.line + 1}: {key.value}"
                raise ScriptError(f"{where}: expected each key once, got {key.value} again")
            seen.add(key.value)
            self._no_key_twice(value)
        for each in node.value if isinstance(node, yaml.SequenceNode) else ():
            self._no_key_twice(each)

    def error(self, place: str, problem: str) -> ScriptError:
        """`problem` at `place`, e.g. `.intents[3].say[0]`."""
        where = f"{place.lstrip('.')}: " if place else ""
        return ScriptError(f"{self._path}:{self._line(place)}: {where}{problem}")

    def _line(self, place: str) -> int:
        node = self._root
        if node is None:
            return 1
        for key in re.findall(r"[\w']+", place.replace("...", "")):
            deeper = _child(node, key)
            if deeper is None:
                break
            node = deeper
        return int(node.start_mark.line) + 1


def _plain(node: yaml.Node) -> object:
    """Plain values; YAML's own words for true and numbers stay what they are."""
    match node:
        case yaml.MappingNode():
            return {str(_plain(key)): _plain(value) for key, value in node.value}
        case yaml.SequenceNode():
            return [_plain(each) for each in node.value]
        case yaml.ScalarNode(tag="tag:yaml.org,2002:bool"):
            return node.value.lower() in ("true", "yes", "on")
        case _:
            return node.value


def _child(node: yaml.Node, key: str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for name, value in node.value if name.value == key), None)
    if isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
        found: yaml.Node = node.value[int(key)]
        return found
    return None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
