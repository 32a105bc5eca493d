"""What holds for every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Whatever a test starts may configure logging; the next test finds it as it was."""
    configuration = structlog.get_config()
    yield
    structlog.configure(**configuration)
