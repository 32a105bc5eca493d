"""Offers: what is answered, what is refused and why, and that nothing else ever happens."""

from __future__ import annotations

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection
from hypothesis import given, settings
from hypothesis import strategies as st

from realtime.web.offers import MAX_CANDIDATES, MAX_MEDIA, OfferRejected, check_offer
from tests.realtime.sdp_samples import CALL, FINGERPRINT, HOST, MDNS, TRANSPORT, offer

_A_FINGERPRINT = f"a=fingerprint:{FINGERPRINT}"

ACCEPTED = {
    "audio": offer("audio"),
    "data channel only": offer("application"),
    "everything": offer("audio", "video", "application"),
    "as many m-lines as there may be": offer(*["audio"] * MAX_MEDIA),
    "as many candidates as there may be": offer("audio", candidates=[HOST] * MAX_CANDIDATES),
    "line feeds only": CALL.replace("\r\n", "\n"),
    "transport for the whole session": offer("audio", transport=(), session=TRANSPORT),
    "one of two fingerprints known": CALL.replace(_A_FINGERPRINT, f"a=fingerprint:sha-1 00\r\n{_A_FINGERPRINT}"),
    "a bundled m-line": offer("audio", "video")
    .replace("m=video 9", "m=video 0")
    .replace("a=mid:1", "a=mid:1\r\na=bundle-only"),
    "a refused m-line without transport": offer("audio") + "m=video 0 UDP/TLS/RTP/SAVPF 96\r\n",
}

REFUSED = {
    "text": ("hello", "invalid_sdp"),
    "nothing": ("", "invalid_sdp"),
    "html": ("<html></html>", "invalid_sdp"),
    "json": ('{"sdp": "v=0"}', "invalid_sdp"),
    "version only": ("v=0\r\n", "no_media"),
    "no media": (offer(), "no_media"),
    "video only": (offer("video"), "no_media"),
    "audio refused by its own sender": (offer("audio").replace("m=audio 9", "m=audio 0"), "no_media"),
    "50 m-lines": (offer(*["audio"] * 50), "too_many_media"),
    "one m-line too many": (offer(*["audio"] * (MAX_MEDIA + 1)), "too_many_media"),
    "one candidate too many": (offer("audio", candidates=[HOST] * (MAX_CANDIDATES + 1)), "too_many_candidates"),
    "unknown media": (CALL.replace("m=audio", "m=text"), "unsupported_media"),
    "no encryption": (CALL.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP"), "unsupported_media"),
    "sound over SCTP": (CALL.replace("UDP/TLS/RTP/SAVPF", "UDP/DTLS/SCTP"), "unsupported_media"),
    "port out of range": (CALL.replace("m=audio 9", "m=audio 70000"), "invalid_sdp"),
    "m-line cut off": (CALL.replace("m=audio 9 UDP/TLS/RTP/SAVPF 111 63", "m=audio 9"), "invalid_sdp"),
    "a line that is none": (CALL + "what is this\r\n", "invalid_sdp"),
    "an empty line inside": (CALL.replace("s=-", "s=-\r\n"), "invalid_sdp"),
    "a control character": (CALL.replace("s=-", "s=\x00"), "invalid_sdp"),
    "a carriage return inside": (CALL.replace("s=-", "s=\ra"), "invalid_sdp"),
    "an endless line": (CALL.replace("s=-", "s=" + "x" * 5000), "invalid_sdp"),
    "no ufrag": (CALL.replace("a=ice-ufrag:abcd\r\n", ""), "invalid_sdp"),
    "short password": (CALL.replace("abcdefghijklmnopqrstuvwx", "abc"), "invalid_sdp"),
    "no fingerprint": (CALL.replace(f"a=fingerprint:{FINGERPRINT}\r\n", ""), "invalid_sdp"),
    "fingerprint of a weak hash": (CALL.replace("sha-256", "md5"), "invalid_sdp"),
    "fingerprint cut off": (CALL.replace(FINGERPRINT, FINGERPRINT[:-3]), "invalid_sdp"),
    "candidate without type": (offer("audio", candidates=["candidate:1 1 udp 1 192.168.1.5 5000"]), "invalid_sdp"),
    "candidate port out of range": (offer("audio", candidates=[HOST.replace("50000", "99999")]), "invalid_sdp"),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_an_offer_that_can_be_answered_stays_as_it_is(name: str) -> None:
    lines = ACCEPTED[name].replace("\r\n", "\n").splitlines()
    assert check_offer(ACCEPTED[name]) == "\r\n".join(lines) + "\r\n"


@pytest.mark.parametrize("name", REFUSED)
def test_an_offer_that_cannot_be_answered_is_refused_by_name(name: str) -> None:
    text, code = REFUSED[name]
    with pytest.raises(OfferRejected) as refused:
        check_offer(text)
    assert refused.value.code == code
    assert len(str(refused.value)) > 20


@pytest.mark.parametrize(
    "unreachable",
    [
        MDNS,
        HOST.replace("192.168.1.5", "host.example"),
        HOST.replace("192.168.1.5", "224.0.0.1"),
        HOST.replace("192.168.1.5", "0.0.0.0"),
    ],
)
def test_candidates_that_nobody_can_reach_are_left_out(unreachable: str) -> None:
    checked = check_offer(offer("audio", candidates=[unreachable, HOST]))
    assert [line for line in checked.splitlines() if "candidate" in line] == [f"a={HOST}"]


def test_an_ipv6_candidate_stays() -> None:
    ipv6 = HOST.replace("192.168.1.5", "fd00::5")
    assert f"a={ipv6}" in check_offer(offer("audio", candidates=[ipv6])).splitlines()


async def test_what_aiortc_offers_is_accepted() -> None:
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        connection.addTransceiver("audio")
        connection.addTransceiver("video")
        connection.createDataChannel("oai-events")
        await connection.setLocalDescription(await connection.createOffer())
        assert check_offer(connection.localDescription.sdp).count("\r\nm=") == 3
    finally:
        await connection.close()


@settings(deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_refused_or_taken(text: str) -> None:
    _check(text)


_lines = CALL.splitlines()
_mutation = st.one_of(
    st.tuples(st.integers(0, len(_lines) - 1), st.sampled_from(_lines)),
    st.tuples(st.integers(0, len(_lines) - 1), st.text(max_size=80)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_mutation, min_size=1, max_size=6))
def test_an_offer_with_lines_exchanged_is_refused_or_taken(mutations: list[tuple[int, str]]) -> None:
    lines = list(_lines)
    for place, line in mutations:
        lines[place] = line
    _check("\r\n".join(lines))


def _check(text: str) -> None:
    """Only the one error; and what is taken would be taken again, unchanged."""
    try:
        checked = check_offer(text)
    except OfferRejected:
        return
    assert check_offer(checked) == checked
