"""`python -m tests.e2e.picture FILE`: a picture of a real call with the default engine, for the documentation."""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from pathlib import Path

from PIL import Image

from tests.e2e.chromium import chromium, open_page
from tests.e2e.devices import Devices
from tests.e2e.scenes import apple_on_a_table
from tests.service import running_service

SIZE = (1280, 800)


async def take(file: Path) -> None:
    """Call, show an apple, ask for its colour, and take the picture while the assistant says it."""
    with tempfile.TemporaryDirectory() as folder:
        devices = Devices(Path(folder))
        devices.look_at(apple_on_a_table())
        async with (
            running_service() as service,
            chromium(devices) as browser,
            open_page(browser, service.url, size=SIZE, reduced_motion="no-preference") as call,
        ):
            await call.call()
            await call.reads("Hello")
            await call.button("What colour do you see?").click()
            await call.page.mouse.move(0, 0)
            await call.begins(r"\bred\b.*\.$")
            data = await call.page.screenshot()
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(data)).convert("RGB").point(_even).save(file, optimize=True)


def _even(level: int) -> int:
    """Half of the levels look the same, and the file is a quarter smaller."""
    return level & 0xFE


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1])))
