"""The page's files as they are served: complete, self-contained, checked by any editor, without a build step."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.web_client.site import FOLDER

MODULES = sorted(FOLDER.glob("*.js"))
IMPORT = re.compile(r'^import\b[^;]*?"(\./[^"]+)";', re.MULTILINE | re.DOTALL)


def imports_of(module: Path) -> set[Path]:
    return {(FOLDER / name).resolve() for name in IMPORT.findall(module.read_text())}


def all_imports(module: Path) -> set[Path]:
    found: set[Path] = set()
    waiting = [module]
    while waiting:
        fresh = imports_of(waiting.pop()) - found
        found |= fresh
        waiting.extend(fresh)
    return found


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.name)
def test_every_module_is_typed_and_imports_what_exists(module: Path) -> None:
    assert module.read_text().startswith("// @ts-check\n")
    assert [path.name for path in imports_of(module) if not path.is_file()] == []
    assert len(module.read_text().splitlines()) <= 500


def test_the_page_fetches_all_its_modules_at_once() -> None:
    page = (FOLDER / "index.html").read_text()
    preloaded = re.findall(r'rel="modulepreload" href="([^"]+)"', page)
    assert sorted(preloaded) == sorted(path.name for path in all_imports(FOLDER / "app.js"))


def test_nothing_comes_from_elsewhere_and_nothing_is_inline() -> None:
    page = (FOLDER / "index.html").read_text()
    texts = [page, *(path.read_text() for path in FOLDER.glob("*.css"))]
    for text in texts:
        assert re.findall(r"""(?:https?:)?//[\w.-]+\.\w|@import|url\(""", text) == []
    assert re.findall(r"<style|<script(?![^>]*src=)|\sstyle=|\son\w+=", page) == []
    ids = set(re.findall(r'\bid="([^"]+)"', page))
    wanted = set(re.findall(r'(?:href="#|for="|aria-labelledby=")([^"]+)"', page))
    assert wanted <= ids
