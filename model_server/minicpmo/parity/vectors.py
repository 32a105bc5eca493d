"""A folder of golden vectors: arrays by file and key, data by path, and which of them were looked at.

The format: `checkpoint/` (a model folder), `vectors/index.json` (`files`: every key of every array file with shape and
dtype; `data`: everything that is no array) and `vectors/*.npz`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from model_server.minicpmo.errors import CheckpointError

Array = npt.NDArray[Any]

INDEX = "index.json"


class Node:
    """A part of the index's data that remembers what was read of it."""

    def __init__(self, value: Any, path: str, seen: set[str]) -> None:
        self.path = path
        self._value, self._seen = value, seen

    def __contains__(self, key: str) -> bool:
        return isinstance(self._value, dict) and key in self._value

    def __len__(self) -> int:
        return len(self._value)

    def __iter__(self) -> Iterator[Node]:
        """The children, in order."""
        keys = self._value if isinstance(self._value, dict) else range(len(self._value))
        return (self[key] for key in keys)

    def __getitem__(self, key: str | int) -> Node:
        path = f"{self.path}[{key}]" if isinstance(key, int) else f"{self.path}.{key}"
        return Node(self._value[key], path, self._seen)

    def keys(self) -> list[str]:
        """Names of the children of an object."""
        return list(self._value)

    def get(self, key: str, default: Any = None) -> Any:
        """The value under `key`, now looked at, or `default`."""
        return self[key].value if key in self else default

    @property
    def value(self) -> Any:
        """All of it, now looked at."""
        self._seen.update(leaves(self._value, self.path))
        return self._value


def leaves(value: Any, path: str) -> Iterator[str]:
    """Paths of all that is no container; a list without containers in it, or an empty container, is one leaf."""
    if isinstance(value, dict) and value:
        for key, child in value.items():
            yield from leaves(child, f"{path}.{key}")
    elif isinstance(value, list) and any(isinstance(child, dict | list) for child in value):
        for number, child in enumerate(value):
            yield from leaves(child, f"{path}[{number}]")
    else:
        yield path


@dataclass(frozen=True, slots=True)
class Seen:
    """What was looked at: arrays by file and key, data by path."""

    arrays: set[tuple[str, str]] = field(default_factory=set)
    data: set[str] = field(default_factory=set)


class VectorSet:
    """Golden vectors in a folder. Raises `CheckpointError` for a folder of another form."""

    def __init__(self, folder: Path) -> None:
        self.checkpoint = folder / "checkpoint"
        self._folder = folder / "vectors"
        try:
            index = json.loads((self._folder / INDEX).read_text())
            self._data, self._files = index["data"], index["files"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{folder}: no folder of golden vectors (vectors/{INDEX}): {error}") from error
        self._open: dict[str, Any] = {}
        self.seen = Seen()

    def has(self, file: str, key: str) -> bool:
        """Whether an array is there."""
        return key in self._files.get(file, {}).get("keys", {})

    def holder(self, key: str, *first: str) -> str | None:
        """A file that has an array, one of `first` if possible."""
        return next((file for file in (*first, *self._files) if self.has(file, key)), None)

    def keys(self, file: str) -> list[str]:
        """Names of the arrays of a file, none of a file that is not there."""
        return list(self._files.get(file, {}).get("keys", {}))

    def described(self, file: str, key: str) -> list[Any]:
        """Shape and dtype of an array, as the index has them."""
        return list(self._files[file]["keys"][key])

    def array(self, file: str, key: str) -> Array:
        """An array, now looked at."""
        if file not in self._open:
            self._open[file] = np.load(self._folder / file)
        self.seen.arrays.add((file, key))
        return np.asarray(self._open[file][key])

    def wave(self, file: str, key: str) -> npt.NDArray[np.float32]:
        """A 16 kHz clip [n] kept as int16, as float32 in [-1, 1)."""
        return self.array(file, key).astype(np.float32) / np.float32(32768)

    def data(self, section: str) -> Node:
        """A section of the index's data, an empty one if it is not there."""
        return Node(self._data.get(section, []), section, self.seen.data)

    def saw(self, seen: Seen) -> None:
        """Somebody else looked at these."""
        self.seen.arrays.update(seen.arrays)
        self.seen.data.update(seen.data)

    def unlisted(self) -> Iterator[tuple[str, str]]:
        """File and key of every array that the index does not name."""
        for file in sorted(self._folder.glob("*.npz")):
            with np.load(file) as arrays:
                yield from ((file.name, key) for key in arrays.files if not self.has(file.name, key))

    def unseen(self) -> Iterator[tuple[str, str]]:
        """File and key of everything that nobody looked at."""
        for file in self._files:
            yield from ((file, key) for key in self.keys(file) if (file, key) not in self.seen.arrays)
        for section, value in self._data.items():
            yield from ((INDEX, path) for path in leaves(value, section) if path not in self.seen.data)
