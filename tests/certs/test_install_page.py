"""The install page: what it serves, to whom it listens, and what it can never give away."""

from __future__ import annotations

import base64
import hashlib
import plistlib
import re
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
import segno
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from starlette.types import ASGIApp, Receive, Scope, Send

from certs import Bundle, CertificateError, fingerprint_rows
from certs.install_page import create_app
from tests.certs.folder import load_authority, make, state

HTTPS_URL = "https://192.168.1.5:8443"
IPAD = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 Version/18.0 Safari/605.1.15"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 Version/18.0 Mobile Safari/604.1"
ANDROID = "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36"
WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36"
LINUX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return make(tmp_path / "certs")


@pytest.fixture
def client(bundle: Bundle) -> httpx.AsyncClient:
    return _client(bundle)


def _client(bundle: Bundle, https_url: str = HTTPS_URL, base_url: str = "http://here:8081") -> httpx.AsyncClient:
    # No connection is opened, so there is nothing to close.
    return httpx.AsyncClient(transport=httpx.ASGITransport(create_app(bundle, https_url)), base_url=base_url)


async def test_the_page_says_what_to_compare_and_where_to_go(client: httpx.AsyncClient, bundle: Bundle) -> None:
    page = await client.get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "\n".join(fingerprint_rows(bundle.fingerprint_sha256)) in page.text
    assert f'href="{HTTPS_URL}"' in page.text
    assert 'href="/ca.mobileconfig"' in page.text
    assert 'href="/ca.crt"' in page.text
    assert "Certificate Trust Settings" in page.text
    assert not re.findall(r"\$\w", page.text)


async def test_it_needs_nothing_from_elsewhere(client: httpx.AsyncClient) -> None:
    loaded = re.findall(r'(?:src|<link[^>]* href)="([^"]*)"|url\(([^)]*)\)|@import (\S+)', (await client.get("/")).text)
    assert loaded == [("data:,", "", "")]
    assert "<script" not in (await client.get("/")).text


@pytest.mark.parametrize(
    ("base_url", "https_url", "page_url"),
    [
        ("http://here:8081", HTTPS_URL, "http://192.168.1.5:8081/"),
        ("http://here", "https://kiosk.local", "http://kiosk.local/"),
        ("http://here:9", "https://[fd00::5]:8443", "http://[fd00::5]:9/"),
    ],
)
async def test_the_qr_code_leads_to_the_page_itself(
    bundle: Bundle, base_url: str, https_url: str, page_url: str
) -> None:
    page = (await _client(bundle, https_url, base_url).get("/")).text
    drawn = re.search(r'<svg role="img".*?</svg>', page, re.DOTALL)
    assert drawn is not None
    assert _path(drawn[0]) == _path(segno.make_qr(page_url, error="m").svg_inline(border=4, omitsize=True))
    assert f'href="{page_url}"' in page


def _path(svg: str) -> str:
    return svg.partition(' d="')[2].partition('"')[0]


async def test_an_address_of_this_computer_only_is_called_so(bundle: Bundle) -> None:
    page = (await _client(bundle, "https://localhost:8443").get("/")).text
    assert "Opens on this computer only." in page


@pytest.mark.parametrize(
    ("user_agent", "unfolded"),
    [
        (IPHONE, "iPhone"),
        (IPAD, "iPhone"),
        (ANDROID, "Android"),
        (WINDOWS, "Windows"),
        (LINUX, "Linux"),
        ("", "iPhone"),
    ],
)
async def test_the_steps_of_the_asking_device_are_unfolded(
    client: httpx.AsyncClient, user_agent: str, unfolded: str
) -> None:
    page = (await client.get("/", headers={"User-Agent": user_agent})).text
    opened = re.findall(r'<details name="device" open>\s*<summary>(\w+)', page)
    assert opened == [unfolded]


async def test_the_certificate_is_the_ca_in_der(client: httpx.AsyncClient, bundle: Bundle) -> None:
    answer = await client.get("/ca.crt")
    assert answer.headers["content-type"] == "application/x-x509-ca-cert"
    digest = x509.load_der_x509_certificate(answer.content).fingerprint(hashes.SHA256())
    assert digest.hex(":").upper() == bundle.fingerprint_sha256


async def test_the_profile_holds_the_ca_and_nothing_else(client: httpx.AsyncClient, bundle: Bundle) -> None:
    answer = await client.get("/ca.mobileconfig")
    assert answer.headers["content-type"] == "application/x-apple-aspen-config"
    profile = plistlib.loads(answer.content)
    assert (profile["PayloadType"], profile["PayloadVersion"]) == ("Configuration", 1)
    assert profile["PayloadRemovalDisallowed"] is False
    (root,) = profile["PayloadContent"]
    assert root["PayloadType"] == "com.apple.security.root"
    assert root["PayloadContent"] == (await client.get("/ca.crt")).content
    assert root["PayloadUUID"] != profile["PayloadUUID"]
    assert root["PayloadIdentifier"] != profile["PayloadIdentifier"]
    assert x509.load_der_x509_certificate(root["PayloadContent"]) == load_authority(bundle).certificate


async def test_the_profile_is_the_same_every_time_and_another_for_another_ca(tmp_path: Path, bundle: Bundle) -> None:
    make(bundle.key.parent, addresses=["10.0.0.1"])
    first, again, other = [await _profile(each) for each in (bundle, bundle, make(tmp_path / "other"))]
    assert first == again
    for key in ("PayloadUUID", "PayloadIdentifier"):
        assert first[key] != other[key]
        assert first["PayloadContent"][0][key] != other["PayloadContent"][0][key]


async def _profile(bundle: Bundle) -> dict[str, Any]:
    loaded: dict[str, Any] = plistlib.loads((await _client(bundle).get("/ca.mobileconfig")).content)
    return loaded


@pytest.mark.parametrize("path", ["/", "/ca.crt", "/ca.mobileconfig", "/nothing"])
async def test_every_answer_carries_the_security_headers(client: httpx.AsyncClient, path: str) -> None:
    headers = (await client.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"].startswith("default-src 'none'; ")
    assert "unsafe" not in headers["content-security-policy"]


async def test_the_policy_allows_exactly_the_page_s_own_style(client: httpx.AsyncClient) -> None:
    page = await client.get("/")
    (style,) = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}';" in page.headers["content-security-policy"]
    assert " style=" not in page.text


@pytest.mark.parametrize("path", ["/", "/ca.crt", "/ca.mobileconfig"])
async def test_only_get_and_head(client: httpx.AsyncClient, path: str) -> None:
    head = await client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len((await client.get(path)).content)
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        assert (await client.request(method, path)).status_code == 405


async def test_it_gives_no_key_away_under_any_path(client: httpx.AsyncClient, bundle: Bundle) -> None:
    folder, app = bundle.key.parent, create_app(bundle, HTTPS_URL)
    names = [*state(folder), "names.txt", "index.html", "page.html", "favicon.ico", "ca.crt/", "ca.pem"]
    prefixes = ("/", "//", "/./", "/../", "../", f"{folder}/", f"/{folder}/", "/certs/", "/static/", "/ca.crt/../")
    for path in sorted({f"{prefix}{name}" for prefix in prefixes for name in names} - {"/ca.crt"}):
        answer = await _ask_for(app, path)
        assert (answer.status_code, answer.text) == (404, "Not Found"), path
    secrets = [folder.joinpath(name).read_bytes().splitlines()[1] for name in ("ca.key", "server.key")]
    for path in ("/", "/ca.crt", "/ca.mobileconfig"):
        content = (await client.get(path)).content
        assert b"PRIVATE" not in content
        assert not any(secret in content for secret in secrets)


async def _ask_for(app: ASGIApp, path: str) -> httpx.Response:
    """The answer to a path as it is, which no client that tidies addresses would send."""

    async def with_path(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "path": path, "raw_path": path.encode()}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(with_path), base_url="http://here") as client:
        return await client.get("/")


async def test_it_reads_no_file_once_it_is_made(bundle: Bundle) -> None:
    client = _client(bundle)
    shutil.rmtree(bundle.key.parent)
    assert [(await client.get(path)).status_code for path in ("/", "/ca.crt", "/ca.mobileconfig")] == [200, 200, 200]


@pytest.mark.parametrize("path", ["/", "/ca.crt/", "/nothing"])
async def test_the_host_header_is_never_repeated(client: httpx.AsyncClient, path: str) -> None:
    answer = await client.get(path, headers={"Host": 'evil.example"><script>'})
    assert "evil.example" not in answer.text
    assert "location" not in answer.headers


async def test_the_address_of_the_call_is_escaped(bundle: Bundle) -> None:
    page = (await _client(bundle, 'https://pc.local/"><script>alert(1)</script>').get("/")).text
    assert "<script" not in page


@pytest.mark.parametrize("url", ["http://192.168.1.5:8443", "https://", "192.168.1.5", "javascript:alert(1)"])
def test_what_is_no_https_address_is_refused(bundle: Bundle, url: str) -> None:
    with pytest.raises(ValueError, match=r"must be an address like https://192\.168\.1\.5:8443"):
        create_app(bundle, url)


def test_a_ca_that_is_gone_is_an_error_at_the_start(bundle: Bundle) -> None:
    bundle.ca_certificate.unlink()
    with pytest.raises(CertificateError, match=r"ca\.crt: missing; run: python -m certs"):
        create_app(bundle, HTTPS_URL)


async def test_it_serves_without_a_known_port(bundle: Bundle) -> None:
    app = create_app(bundle, HTTPS_URL)

    async def without_server(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "server": None}, receive, send)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(without_server), base_url="http://x") as client:
        assert "http://192.168.1.5/" in (await client.get("/")).text
