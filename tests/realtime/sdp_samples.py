"""SDP offers as browsers write them, in parts that a test can change."""

from __future__ import annotations

from collections.abc import Sequence

FINGERPRINT = "sha-256 " + ":".join(f"{byte:02X}" for byte in range(32))
HOST = "candidate:1 1 udp 2122260223 192.168.1.5 50000 typ host generation 0 ufrag abcd network-id 1"
MDNS = "candidate:2 1 udp 2122260223 6f8a-11.local 50001 typ host generation 0"
TRANSPORT = (
    "a=ice-ufrag:abcd",
    "a=ice-pwd:abcdefghijklmnopqrstuvwx",
    "a=ice-options:trickle",
    f"a=fingerprint:{FINGERPRINT}",
    "a=setup:actpass",
)
_HEADS = {
    "audio": ("m=audio 9 UDP/TLS/RTP/SAVPF 111 63", "a=rtpmap:111 opus/48000/2", "a=sendrecv", "a=rtcp-mux"),
    "video": ("m=video 9 UDP/TLS/RTP/SAVPF 96", "a=rtpmap:96 VP8/90000", "a=sendonly", "a=rtcp-mux"),
    "application": ("m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=sctp-port:5000"),
}


def section(kind: str, mid: int, candidates: Sequence[str] = (), transport: Sequence[str] = TRANSPORT) -> list[str]:
    """One m-line and its attributes."""
    return [*_HEADS[kind], f"a=mid:{mid}", *transport, *(f"a={candidate}" for candidate in candidates)]


def offer(
    *kinds: str, candidates: Sequence[str] = (HOST,), transport: Sequence[str] = TRANSPORT, session: Sequence[str] = ()
) -> str:
    """A whole offer; candidates stand in its first m-line."""
    lines = ["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", *session]
    for mid, kind in enumerate(kinds):
        lines += section(kind, mid, candidates if mid == 0 else (), transport)
    return "\r\n".join(lines) + "\r\n"


CALL = offer("audio", "application")
