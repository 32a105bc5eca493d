"""What another device on the network does: trust the certificate, open the page with HTTPS, call."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from playwright.async_api import Browser

from certs import Bundle, ensure, fingerprint_rows
from tests.e2e.chromium import open_page
from tests.service import Service, running_service

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("certificates")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def service(folder: Path) -> AsyncIterator[Service]:
    async with running_service("--engine", "echo", "--no-greeting", certificates=folder) as service:
        yield service


@pytest.fixture(scope="module")
def bundle(service: Service, folder: Path) -> Bundle:
    """The certificates that the service made when it started."""
    return ensure(folder)


async def test_the_install_page_gives_what_the_https_page_needs(
    service: Service, bundle: Bundle, tmp_path: Path
) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        page = await client.get(f"http://127.0.0.1:{service.ports['install']}/")
        authority = await client.get(f"http://127.0.0.1:{service.ports['install']}/ca.crt")
    assert page.status_code == authority.status_code == 200
    assert all(row in page.text for row in fingerprint_rows(bundle.fingerprint_sha256))
    trusting = ssl.create_default_context(cadata=authority.content)
    async with httpx.AsyncClient(verify=trusting, trust_env=False) as client:
        answer = await client.get(f"https://localhost:{service.ports['https']}/")
    assert answer.status_code == 200
    assert "<title>Call the assistant</title>" in answer.text


async def test_a_stranger_does_not_trust_it(service: Service) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            await client.get(f"https://localhost:{service.ports['https']}/")


async def test_a_call_with_https(service: Service, browser: Browser) -> None:
    async with open_page(browser, f"https://localhost:{service.ports['https']}") as call:
        await call.call()
        await call.type_in("good morning")
        await call.begins("you typed good morning")
        assert await call.complaints() == []
