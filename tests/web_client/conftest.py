"""One Chromium and one site for all tests of the page; every test has a fresh browser context."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from tests.browser import ARGUMENTS, chromium_path
from tests.web_client.site import serve


@pytest.fixture(scope="session")
def site() -> Iterator[str]:
    """Address of the page."""
    with serve() as address:
        yield address


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=list(ARGUMENTS))
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def blank(browser: Browser, site: str) -> AsyncIterator[Page]:
    """An empty page of the site, to import modules into; tests leave nothing behind in it."""
    context = await browser.new_context()
    page = await context.new_page()
    await page.goto(f"{site}/blank")
    yield page
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, site: str) -> AsyncIterator[Page]:
    """The page at rest. Whatever it complains about in the console, or throws, fails the test."""
    context = await browser.new_context(viewport={"width": 1180, "height": 820})
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(site)
    await page.locator("#brand-name", has_text="Demo guide").wait_for()
    yield page
    await context.close()
    refused = [text for text in complaints if "Failed to load resource" not in text]
    assert refused == []
