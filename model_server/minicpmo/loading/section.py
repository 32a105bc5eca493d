"""One JSON object of a model folder, read key by key."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from model_server.minicpmo.loading.findings import Findings

LARGEST = 1 << 24
"""No size of any such network comes near it."""


class Section:
    """One JSON object of the files; what does not fit goes into the findings, and reading goes on with a default."""

    def __init__(self, values: Any, name: str, findings: Findings) -> None:
        self._name, self._findings = name, findings
        self._values: Mapping[str, Any] = values if isinstance(values, dict) else {}
        if not isinstance(values, dict):
            findings.add(name, values, "an object")

    def section(self, key: str) -> Section:
        """An object inside; one that is left out has only defaults."""
        return Section(self._values.get(key, {}), f"{self._name} {key}:", self._findings)

    def get(self, key: str) -> Any:
        return self._values.get(key)

    def miss(self, key: str, expected: object) -> None:
        """Report a key's value."""
        self._findings.add(f"{self._name} {key}", self._values.get(key, "(left out)"), expected)

    def whole(self, key: str, default: int | None, least: int = 1, most: int = LARGEST) -> int:
        """A whole number in [least, most]; without a default it has to be there."""
        value = self._values.get(key, default)
        if isinstance(value, int) and not isinstance(value, bool) and least <= value <= most:
            return value
        self.miss(key, f"a whole number from {least} to {most}")
        return default or least

    def positive(self, key: str, default: float, most: float = 1e9) -> float:
        """A number above 0."""
        value = self._values.get(key, default)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= most:
            return float(value)
        self.miss(key, f"a number above 0, up to {most:g}")
        return default

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self._values.get(key, default)
        if not isinstance(value, bool):
            self.miss(key, "true or false")
        return bool(value)

    def must_be(self, key: str, expected: Any, why: str = "") -> None:
        """A setting that may be left out, but has to be this one."""
        value = self._values.get(key, expected)
        if value != expected or isinstance(value, bool) != isinstance(expected, bool):
            self.miss(key, f"{json.dumps(expected)}{f' ({why})' if why else ''}")
