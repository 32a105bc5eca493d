"""The HTTP side, request by request: good ones, bad ones, and whose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from model_server.protocol import Capabilities
from realtime.service.metrics import Metrics
from realtime.service.settings import IceServer, Settings
from realtime.service.upstream import Readiness
from realtime.web.app import Gateway, create_app
from realtime.web.calls import CallLimits, Calls
from realtime.web.offers import OfferRejected
from realtime.web.refusals import CallRefused, ModelServerUnavailable, ServerFull
from tests.realtime.call_doubles import Clock, FactoryDouble, settle
from tests.realtime.sdp_samples import CALL, MDNS, offer

OURS = "https://kiosk.local:8443"
PATH = "/v1/realtime/calls"
SDP = {"content-type": "application/sdp"}
PARTNER = "https://partner.example"


class Site:
    """The whole application around doubles, with a client that comes to it under a name of its own."""

    def __init__(self, page: Path) -> None:
        (page / "index.html").write_text("<!doctype html><title>call</title>")
        (page / "app.js").write_text("export const one = 1;")
        (page / ".env").write_text("hidden")
        (page / "parts").mkdir()
        (page / "parts" / "a.css").write_text("a {}")
        self.clock = Clock()
        self.factory = FactoryDouble()
        self.metrics = Metrics()
        self.readiness = Readiness(self.metrics)
        settings = Settings(
            page_folder=page,
            allowed_origins=[PARTNER],
            max_calls=3,
            ice_servers=[IceServer(urls=["turn:t.example"], username="u", credential="c")],
        )
        self.calls = Calls(self.factory, self.metrics, CallLimits(3, 600.0, 2), clock=self.clock)
        gateway = Gateway(self.calls, self.readiness, settings, self.metrics)
        self.app = create_app(gateway, ("localhost", "kiosk.local", "::1"))
        self.http = self.client()

    def client(self, *, raise_app_exceptions: bool = True) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=raise_app_exceptions)
        return httpx.AsyncClient(transport=transport, base_url=OURS)

    async def offer(self, sdp: str | bytes = CALL, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.http.post(PATH, content=sdp, headers={**SDP, **named})

    def refused(self, code: str) -> float | None:
        return self.metrics.registry.get_sample_value("realtime_refusals_total", {"code": code})


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    yield site
    await site.http.aclose()
    await site.calls.aclose()
    assert site.factory.live == []


def _error(answer: httpx.Response) -> dict[str, Any]:
    """The error of an answer, after a look at its form."""
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()["error"]
    assert set(error) == {"type", "code", "message", "param"}
    assert error["type"] == ("server_error" if answer.status_code >= 500 else "invalid_request_error")
    return dict(error)


# --------------------------------------------------------------------------------------------------------------------
# A call


async def test_a_call_from_offer_to_hang_up(site: Site) -> None:
    made = await site.offer(authorization="Bearer any-key")
    assert made.status_code == 201
    assert made.headers["content-type"].startswith("application/sdp")
    assert made.headers["cache-control"] == "no-store"
    assert made.text == f"v=0 answer to {site.factory.calls[0].call_id}"
    assert made.headers["location"] == f"{PATH}/{site.factory.calls[0].call_id}"
    secret = {"authorization": f"Call {made.headers['call-secret']}"}
    for _ in range(2):
        assert (await site.http.delete(made.headers["location"], headers=secret)).status_code == 204
    assert site.factory.calls[0].end_reason == "hang_up"


async def test_the_peer_gets_the_offer_without_unreachable_candidates(site: Site) -> None:
    await site.offer(offer("audio", candidates=[MDNS]))
    assert ".local" not in site.factory.calls[0].offer
    assert "m=audio" in site.factory.calls[0].offer


async def test_hanging_up_needs_the_call_and_its_secret(site: Site) -> None:
    made = await site.offer()
    for header in ("Call guess", "Call", "Bearer " + made.headers["call-secret"], ""):
        wrong = await site.http.delete(made.headers["location"], headers={"authorization": header})
        assert (wrong.status_code, _error(wrong)["code"]) == (403, "wrong_call_secret")
    assert (await site.http.delete(made.headers["location"])).status_code == 403
    unknown = await site.http.delete(f"{PATH}/call_1", headers={"authorization": "Call guess"})
    assert (unknown.status_code, _error(unknown)["code"]) == (404, "unknown_call")
    assert len(site.factory.live) == 1


async def _chunks(count: int, size: int, taken: list[int]) -> AsyncIterator[bytes]:
    for number in range(count):
        taken.append(number)
        yield b"a=" + b"x" * (size - 2)


BAD_BODIES = {
    "no body": (b"", 400, "empty_body"),
    "1 MB": (b"v=0\r\n" * 200_000, 413, "offer_too_large"),
    "one byte too many": (b"v=0\r\n" + b"x" * (64 * 1024 - 4), 413, "offer_too_large"),
    "not SDP": (b"hello", 400, "invalid_sdp"),
    "not UTF-8": (b"v=0\r\n\xff\xfe", 400, "invalid_sdp"),
    "no media": (offer().encode(), 400, "no_media"),
    "50 m-lines": (offer(*["audio"] * 50).encode(), 400, "too_many_media"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_a_bad_body_is_refused_by_name_and_opens_nothing(site: Site, name: str) -> None:
    body, status, code = BAD_BODIES[name]
    answer = await site.offer(body)
    assert (answer.status_code, _error(answer)["code"]) == (status, code)
    assert site.factory.calls == []
    assert site.refused(code) == 1


async def test_an_endless_body_is_not_read_to_its_end(site: Site) -> None:
    taken: list[int] = []
    # Without a length: ASGITransport hands over one chunk after the other.
    answer = await site.http.post(PATH, content=_chunks(1000, 16 * 1024, taken), headers=SDP)
    assert answer.status_code == 413
    assert len(taken) <= 6


@pytest.mark.parametrize("content_type", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""])
async def test_another_content_type_is_refused(site: Site, content_type: str) -> None:
    answer = await site.http.post(PATH, content=CALL, headers={"content-type": content_type})
    assert (answer.status_code, _error(answer)["code"]) == (415, "unsupported_media_type")
    assert "application/sdp" in _error(answer)["message"]


async def test_parameters_of_the_content_type_do_not_matter(site: Site) -> None:
    assert (
        await site.http.post(PATH, content=CALL, headers={"content-type": "Application/SDP; charset=utf-8"})
    ).is_success


@pytest.mark.parametrize(
    ("refusal", "code", "retry"),
    [
        (ServerFull(6.2), "server_full", "7"),
        (ModelServerUnavailable("waiting for the engine", retry_after=5.0), "model_server_unavailable", "5"),
        (CallRefused("draining", "moving out"), "draining", None),
    ],
)
async def test_what_the_model_server_refuses(site: Site, refusal: Exception, code: str, retry: str | None) -> None:
    site.factory.refusal = refusal  # type: ignore[assignment]
    answer = await site.offer()
    assert (answer.status_code, _error(answer)["code"]) == (503, code)
    assert answer.headers.get("retry-after") == retry
    assert site.refused(code) == 1


async def test_an_offer_the_peer_cannot_answer(site: Site) -> None:
    site.factory.answer_error = OfferRejected("invalid_sdp", "no codec in common")
    answer = await site.offer()
    assert (answer.status_code, _error(answer)["message"]) == (400, "no codec in common")


async def test_full_is_said_with_a_time_to_come_back(site: Site) -> None:
    for _ in range(3):
        assert (await site.offer()).status_code == 201
    full = await site.offer()
    assert (full.status_code, _error(full)["code"]) == (503, "server_full")
    assert int(full.headers["retry-after"]) >= 5


async def test_a_defect_is_told_without_details(site: Site) -> None:
    site.factory.answer_error = RuntimeError("private")
    site.http = site.client(raise_app_exceptions=False)
    answer = await site.offer()
    assert (answer.status_code, _error(answer)["code"]) == (500, "internal_error")
    assert "private" not in answer.text
    assert site.factory.live == []


# --------------------------------------------------------------------------------------------------------------------
# The waiting line


async def test_from_the_line_into_a_call(site: Site) -> None:
    for _ in range(3):
        await site.offer()
    place = await site.offer(prefer="respond-async, wait=30")
    assert (place.status_code, place.headers["retry-after"], place.headers["preference-applied"]) == (202, "2", "wait")
    assert set(place.json()) == {"ticket", "place", "wait_s"}
    ticket = place.json()["ticket"]
    assert (await site.offer(call_ticket=ticket)).json() == place.json()
    await site.factory.calls[0].hang_up("peer_lost")
    await settle()
    assert (await site.offer(call_ticket=ticket)).status_code == 201
    used = await site.offer(call_ticket=ticket)
    assert (used.status_code, _error(used)["code"]) == (404, "unknown_ticket")


async def test_the_line_is_bounded(site: Site) -> None:
    answers = [await site.offer(prefer="wait") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [201, 201, 201, 202, 202, 503]


# --------------------------------------------------------------------------------------------------------------------
# Whose requests


@pytest.mark.parametrize("host", ["kiosk.local:8443", "KIOSK.local", "localhost:8443", "kiosk.local.", "[::1]:8443"])
async def test_our_names_are_known(site: Site, host: str) -> None:
    assert (await site.http.get("/healthz", headers={"host": host})).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "kiosk.local.evil.example", "kiosk.local@evil.example", "", ":8443", "kiosk.local:x", "[::2]"],
)
@pytest.mark.parametrize("path", ["/", "/v1/config", "/metrics", "/readyz"])
async def test_a_foreign_host_gets_nothing(site: Site, host: str, path: str) -> None:
    answer = await site.http.get(path, headers={"host": host})
    assert (answer.status_code, _error(answer)["code"]) == (421, "unknown_host")


FOREIGN = [
    "https://evil.example",
    "http://kiosk.local:8443",
    "https://kiosk.local",
    "https://kiosk.local:8444",
    "https://localhost:8443",
    "https://kiosk.local:8443.evil.example",
    "https://partner.example:444",
    "http://partner.example",
    "null",
    "",
]


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_foreign_page_cannot_call_or_hang_up(site: Site, origin: str) -> None:
    answer = await site.offer(origin=origin)
    assert (answer.status_code, _error(answer)["code"]) == (403, "foreign_origin")
    answer = await site.http.delete(f"{PATH}/call_1", headers={"origin": origin})
    assert (answer.status_code, _error(answer)["code"]) == (403, "foreign_origin")
    assert site.factory.calls == []


@pytest.mark.parametrize("origin", [OURS, "https://KIOSK.local:8443", PARTNER, f"{PARTNER}:443"])
async def test_our_own_and_listed_pages_can_call(site: Site, origin: str) -> None:
    assert (await site.offer(origin=origin)).status_code == 201


async def test_two_origins_or_two_hosts_are_none(site: Site) -> None:
    answer = await site.http.post(PATH, content=CALL, headers=[*SDP.items(), ("origin", OURS), ("origin", OURS)])
    assert answer.status_code == 403
    answer = await site.http.get("/healthz", headers=[("host", "localhost"), ("host", "evil.example")])
    assert answer.status_code == 421


async def test_a_listed_page_may_ask_first_and_read_the_answer(site: Site) -> None:
    asked = {
        "origin": PARTNER,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type, prefer",
    }
    answer = await site.http.options(PATH, headers=asked)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, PARTNER)
    made = await site.offer(origin=PARTNER)
    assert made.headers["access-control-allow-origin"] == PARTNER
    exposed = made.headers["access-control-expose-headers"].lower()
    assert "call-secret" in exposed
    assert "location" in exposed
    foreign = await site.http.options(PATH, headers={**asked, "origin": "https://evil.example"})
    assert foreign.status_code == 403
    assert "access-control-allow-origin" not in foreign.headers


# --------------------------------------------------------------------------------------------------------------------
# The page, the configuration, the operators


async def test_the_page_comes_with_strict_headers_and_is_checked_for_news(site: Site) -> None:
    page = await site.http.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    policy = page.headers["content-security-policy"]
    assert "script-src 'self'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert page.headers["permissions-policy"].startswith("camera=(self), microphone=(self)")
    assert page.headers["x-content-type-options"] == "nosniff"
    again = await site.http.get("/", headers={"if-none-match": page.headers["etag"]})
    assert again.status_code == 304


async def test_files_have_the_types_browsers_insist_on(site: Site) -> None:
    assert (await site.http.get("/app.js")).headers["content-type"] == "text/javascript; charset=utf-8"
    assert (await site.http.get("/parts/a.css")).headers["content-type"] == "text/css; charset=utf-8"


@pytest.mark.parametrize(
    "path", ["/nothing", "/parts/", "/parts", "/.env", "/../settings.py", "/%2e%2e/x", "/a%00b", "/v1/nothing"]
)
async def test_there_is_nothing_else(site: Site, path: str) -> None:
    answer = await site.http.get(path)
    assert (answer.status_code, _error(answer)["code"]) == (404, "not_found")


async def test_a_wrong_method_is_said(site: Site) -> None:
    answer = await site.http.get(PATH)
    assert (answer.status_code, _error(answer)["code"]) == (405, "method_not_allowed")
    assert "POST" in answer.headers["allow"]


async def test_the_configuration_tells_what_a_page_needs(site: Site) -> None:
    body = (await site.http.get("/v1/config")).json()
    assert body["ice_servers"] == [{"urls": ["turn:t.example"], "username": "u", "credential": "c"}]
    assert body["engine"] is None
    assert body["limits"] == {"max_calls": 3, "max_call_s": 7200.0}
    assert isinstance(body["version"], str)
    site.readiness.set_ready(Capabilities(engine="demo", model="script", scripted=True, notice="no network"))
    engine = (await site.http.get("/v1/config")).json()["engine"]
    assert (engine["engine"], engine["scripted"], engine["notice"]) == ("demo", True, "no network")


async def test_readiness_says_what_it_waits_for(site: Site) -> None:
    assert (await site.http.get("/healthz")).status_code == 200
    site.readiness.set_waiting("the engine")
    waiting = await site.http.get("/readyz")
    assert (waiting.status_code, waiting.json()) == (503, {"status": "waiting", "waiting_for": "the engine"})
    site.readiness.set_ready(None)
    assert (await site.http.get("/readyz")).json() == {"status": "ready"}


async def test_metrics_are_there_for_prometheus(site: Site) -> None:
    await site.offer()
    await site.offer("hello")
    answer = await site.http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    lines = answer.text.splitlines()
    for line in (
        "realtime_calls_open 1.0",
        'realtime_refusals_total{code="invalid_sdp"} 1.0',
        "realtime_connect_seconds_count 1.0",
    ):
        assert line in lines


async def test_calls_made_at_once_are_all_their_own(site: Site) -> None:
    made = await asyncio.gather(*(site.offer() for _ in range(3)))
    assert len({answer.headers["call-secret"] for answer in made}) == 3
