"""One Chromium and one site for all tests of the page; every test has a fresh browser context."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, ViewportSize, async_playwright

from tests.browser import ARGUMENTS, chromium_path
from tests.web_client.site import serve

VIEWPORT: ViewportSize = {"width": 1180, "height": 820}


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


async def _at_rest(page: Page, site: str) -> Page:
    await page.goto(site)
    await page.locator("#brand-name", has_text="Demo guide").wait_for()
    return page


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def plain(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A browser context whose pages find no gateway."""
    context = await browser.new_context(viewport=VIEWPORT, reduced_motion="reduce")
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(plain: BrowserContext, site: str) -> AsyncIterator[Page]:
    """The page at rest. Whatever it complains about in the console, or throws, fails the test."""
    complaints: list[str] = []
    page = await plain.new_page()
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield await _at_rest(page, site)
    await page.close()
    assert complaints == []


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def double(browser: Browser) -> AsyncIterator[BrowserContext]:
    """A browser context whose pages find a gateway double (`window.gateway`, see gateway_double.js)."""
    context = await browser.new_context(viewport=VIEWPORT, reduced_motion="reduce")
    await context.add_init_script(path=Path(__file__).with_name("gateway_double.js"))
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def caller(double: BrowserContext, site: str) -> AsyncIterator[Page]:
    """The page at rest with a gateway double behind it; what it throws fails the test."""
    thrown: list[str] = []
    page = await double.new_page()
    page.on("pageerror", lambda error: thrown.append(str(error)))
    yield await _at_rest(page, site)
    await page.evaluate("localStorage.clear()")
    await page.close()
    assert thrown == []
