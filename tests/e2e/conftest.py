"""One Chromium for each module, with the microphone and the camera that its tests put before it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, expect

from tests.e2e.chromium import TIMEOUT_MS, chromium
from tests.e2e.devices import Devices

expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture(scope="module")
def devices(tmp_path_factory: pytest.TempPathFactory) -> Devices:
    """What the module's browser hears and sees."""
    return Devices(tmp_path_factory.mktemp("devices"))


@pytest.fixture(autouse=True)
def quiet_room(request: pytest.FixtureRequest) -> None:
    """Each test begins with nobody speaking."""
    if "devices" in request.fixturenames:
        request.getfixturevalue("devices").listen_to()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(devices: Devices) -> AsyncIterator[Browser]:
    """It grants microphone and camera to every page without a question."""
    async with chromium(devices) as browser:
        yield browser
