"""Reads the settings: flags before `REALTIME_*` variables before the TOML file before the defaults.

A value that cannot be taken is told in one line that names the setting, where it was said, what was said and what would
have been right.
"""

from __future__ import annotations

import argparse
import difflib
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from realtime.service.options import ENV_PREFIX, Option, SettingPath, options
from realtime.service.settings import Settings


class ConfigurationError(Exception):
    """Settings that cannot be used; the message has one line for each."""


def load(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """The settings in force. Raises `ConfigurationError`; `--help` prints and raises `SystemExit(0)`."""
    flags = _parse(arguments)
    file = flags.pop(("config",), None) or environment.get(ENV_PREFIX + "CONFIG")
    layers = [
        _Layer("flag", flags),
        _Layer("variable", {o.path: environment[o.variable] for o in options() if o.variable in environment}),
        _Layer(f"file {file}", _read(Path(file)) if file else {}),
    ]
    merged: dict[str, Any] = {}
    for layer in reversed(layers):
        for path, value in layer.values.items():
            _put(merged, path, value)
    try:
        return Settings(**merged)
    except ValidationError as error:
        raise ConfigurationError("\n".join(_explain(detail, layers) for detail in error.errors())) from None


def unknown_variables(environment: Mapping[str, str]) -> list[str]:
    """One line for each `REALTIME_*` variable that is no setting: most likely a slip of the pen."""
    known = {option.variable for option in options()} | {ENV_PREFIX + "CONFIG"}
    lines = []
    for name in sorted(set(environment) - known):
        if name.startswith(ENV_PREFIX):
            close = difflib.get_close_matches(name, known, n=1)
            lines.append(f"{name} is no setting" + (f", did you mean {close[0]}?" if close else ""))
    return lines


# --------------------------------------------------------------------------------------------------------------------
# Layers


@dataclass(frozen=True, slots=True)
class _Layer:
    name: str
    values: dict[SettingPath, Any]

    def spelling(self, option: Option) -> str:
        names = {"flag": f"flag {option.flag}", "variable": f"variable {option.variable}"}
        return names.get(self.name, f"{'.'.join(option.path)} in {self.name}")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigurationError(f"{message} (see --help)")


def _parse(arguments: Sequence[str]) -> dict[SettingPath, Any]:
    """The flags that were given, as text. Secrets have none: other people on the machine can read a command line."""
    parser = _Parser(
        prog="python -m realtime",
        usage="python -m realtime [options]",
        description=Settings.__doc__,
        epilog=f"Every setting is also a variable (--port: {ENV_PREFIX}PORT) and a line of the TOML file (port = 8443):"
        " flags win over variables, variables over the file. See docs/configuration.md.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help="read settings from this TOML file")
    destinations: dict[str, SettingPath] = {"config": ("config",)}
    for option in options():
        if not option.is_secret:
            destinations["__".join(option.path)] = option.path
            _add_flag(parser, option)
    return {destinations[name]: value for name, value in vars(parser.parse_args(arguments)).items()}


def _add_flag(parser: argparse.ArgumentParser, option: Option) -> None:
    destination = "__".join(option.path)
    if option.is_switch:
        description = f"{option.field.description} ({'on' if option.field.default else 'off'})"
        parser.add_argument(
            option.flag,
            dest=destination,
            action=argparse.BooleanOptionalAction,
            default=argparse.SUPPRESS,
            help=description,
        )
        return
    default = option.field.default
    shown = "" if default in (None, []) or isinstance(default, Path) else f" ({_short(default)})"
    parser.add_argument(
        option.flag,
        dest=destination,
        action="append" if option.is_list else "store",
        default=argparse.SUPPRESS,
        metavar="|".join(option.choices) or _metavar(option),
        help=f"{option.field.description}{shown}".replace("%", "%%"),
    )


def _short(default: object) -> str:
    return f"{default:g}" if isinstance(default, float) else str(default)


def _metavar(option: Option) -> str:
    for kind, word in {int: "N", float: "N", Path: "PATH"}.items():
        if kind in option.types:
            return word
    return "LIST" if option.is_list else "TEXT"


def _read(file: Path) -> dict[SettingPath, Any]:
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"cannot read the settings file {file}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the settings file {file} is not TOML: {error}") from None
    groups = {option.path[0] for option in options() if len(option.path) > 1}
    return dict(_flatten(content, groups, file))


def _flatten(content: dict[str, Any], groups: set[str], file: Path) -> Iterator[tuple[SettingPath, Any]]:
    for name, value in content.items():
        if name not in groups:
            yield (name,), value
        elif isinstance(value, dict):
            yield from (((name, inner), said) for inner, said in value.items())
        else:
            raise ConfigurationError(f"{name} in file {file}: expected a table [{name}], got {value!r}")


def _put(tree: dict[str, Any], path: SettingPath, value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value


# --------------------------------------------------------------------------------------------------------------------
# Errors


def _explain(detail: ErrorDetails, layers: list[_Layer]) -> str:
    known = {option.path: option for option in options()}
    location = tuple(str(part) for part in detail["loc"])
    message = str(detail["msg"]).removeprefix("Value error, ")
    if not location:
        return message
    path = next((location[:length] for length in (1, 2) if location[:length] in known), location)
    layer = next((layer for layer in layers if path in layer.values), None)
    if path not in known:
        return _unknown(path, layer, known)
    option = known[path]
    where = layer.spelling(option) if layer else f"{'.'.join(path)} (default)"
    if detail["type"] == "value_error":
        return f"{where}: {message}"
    said = "" if option.is_secret or layer is None else f", got {layer.values[path]!r}"
    return f"{where}: expected {option.expected()}{said}"


def _unknown(path: SettingPath, layer: _Layer | None, known: Iterable[SettingPath]) -> str:
    name = ".".join(path)
    close = difflib.get_close_matches(name, [".".join(other) for other in known], n=1)
    where = f" in {layer.name}" if layer else ""
    return f"{name}{where} is no setting" + (f", did you mean {close[0]}?" if close else "")
