"""The settings as a list of options: how each is spelled as a flag and as a variable, and what it takes, in words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from realtime.service.settings import Settings

ENV_PREFIX = "REALTIME_"
SettingPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Option:
    """One setting: its path in the type (`("floor", "silence_ms")`) and its field."""

    path: SettingPath
    field: FieldInfo

    @property
    def flag(self) -> str:
        return "--" + "-".join(self.path).replace("_", "-")

    @property
    def variable(self) -> str:
        return ENV_PREFIX + "__".join(self.path).upper()

    @property
    def types(self) -> tuple[Any, ...]:
        """The types its value may have."""
        annotation = self.field.annotation
        return get_args(annotation) if isinstance(annotation, UnionType) else (annotation,)

    @property
    def choices(self) -> tuple[Any, ...]:
        """The words it may be, if it is one of a few."""
        return get_args(self.field.annotation) if get_origin(self.field.annotation) is Literal else ()

    @property
    def is_secret(self) -> bool:
        return SecretStr in self.types

    @property
    def is_switch(self) -> bool:
        return self.field.annotation is bool

    @property
    def is_list(self) -> bool:
        return get_origin(self.field.annotation) is list

    def expected(self) -> str:
        """What may be said, in words: `a whole number from 0 to 65535`."""
        if self.choices:
            return "one of " + ", ".join(self.choices)
        for kind, words in _WORDS.items():
            if kind in self.types:
                return words + self._range()
        return "a list" if self.is_list else "a text"

    def _range(self) -> str:
        low, high = _bound(self.field, "ge", "gt"), _bound(self.field, "le", "lt")
        if high is None:
            return ""
        above = " above" if _bound(self.field, "gt") is not None else " from"
        return f"{above} {_number(low)} to {_number(high)}"


_WORDS: dict[type, str] = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}


def options(model: type[BaseModel] = Settings, prefix: SettingPath = ()) -> Iterator[Option]:
    """Every setting, in the order of the type."""
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from options(field.annotation, (*prefix, name))
        else:
            yield Option((*prefix, name), field)


def _bound(field: FieldInfo, *names: str) -> float | None:
    values = [getattr(rule, name) for rule in field.metadata for name in names if getattr(rule, name, None) is not None]
    return values[0] if values else None


def _number(value: float | None) -> str:
    return "0" if value is None else f"{value:g}"
