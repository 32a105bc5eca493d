"""The check of an SDP offer before anything is made of it: pure, bounded, strict about what can be answered.

Only the structure that the answer depends on is looked at (RFC 8866 lines, RFC 8839 ICE attributes, RFC 8122
fingerprints); codecs and parameters are left to the peer connection.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field

from realtime.web.refusals import Refusal

MAX_OFFER_BYTES = 64 * 1024
MAX_LINE_CHARS = 2_048
MAX_MEDIA = 8
MAX_CANDIDATES = 64

_RTP = "UDP/TLS/RTP/SAVPF"
_PROTOCOLS = {"audio": {_RTP}, "video": {_RTP}, "application": {"UDP/DTLS/SCTP", "DTLS/SCTP"}}
_HASH_BYTES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}
_ICE_VALUE = {"ice-ufrag": re.compile(r"[A-Za-z0-9+/]{4,256}"), "ice-pwd": re.compile(r"[A-Za-z0-9+/]{22,256}")}
_LINE = re.compile(r"[a-z]=[^\x00-\x08\x0b-\x1f\x7f]*")
_MEDIA = re.compile(r"(\S+) (\d{1,5})(?:/\d+)? (\S+) (\S.*)")
_CANDIDATE = re.compile(
    r"a=candidate:(\S{1,32}) ([12]) (\S+) (\d{1,10}) (\S+) (\d{1,5}) typ (host|srflx|prflx|relay)\b.*"
)


class OfferRejected(Refusal):
    """The SDP offer cannot be answered: it is the client's to change."""

    status = 400


@dataclass(slots=True)
class _Section:
    """The session part, or one m-line and what belongs to it; attributes by name, each with every value it has."""

    kind: str = "session"
    protocol: str = ""
    rejected: bool = False
    attributes: dict[str, list[str]] = field(default_factory=dict)


def check_offer(offer: str) -> str:
    """The offer, without the candidates that nobody can reach. Raises `OfferRejected`:

    `invalid_sdp`, `no_media`, `too_many_media`, `unsupported_media`, `too_many_candidates`.
    """
    lines = offer.replace("\r\n", "\n").rstrip("\n").split("\n")
    _check_lines(lines)
    sections = _sections(lines)
    _check_media(sections[1:])
    for section in sections[1:]:
        if not section.rejected:
            _check_transport(section, sections[0])
    return "\r\n".join(_reachable(lines)) + "\r\n"


def _check_lines(lines: list[str]) -> None:
    if lines[0] != "v=0":
        raise _invalid(f"an SDP offer begins with the line v=0, this begins with {lines[0][:40]!r}")
    for number, line in enumerate(lines, 1):
        if len(line) > MAX_LINE_CHARS:
            raise _invalid(f"line {number} has {len(line)} characters, at most {MAX_LINE_CHARS} are taken")
        if not _LINE.fullmatch(line):
            raise _invalid(f"line {number} is not of the form <letter>=<value>")


def _sections(lines: list[str]) -> list[_Section]:
    sections = [_Section()]
    for line in lines:
        if line.startswith("m="):
            sections.append(_media(line, len(sections)))
        elif line.startswith("a="):
            name, _, value = line[2:].partition(":")
            sections[-1].attributes.setdefault(name, []).append(value)
    return sections


def _media(line: str, number: int) -> _Section:
    if number > MAX_MEDIA:
        raise OfferRejected("too_many_media", f"an offer has at most {MAX_MEDIA} m-lines")
    match = _MEDIA.fullmatch(line[2:])
    if match is None or int(match[2]) > 65535:
        raise _invalid(f"m-line {number} is not <media> <port> <protocol> <formats>")
    return _Section(match[1], match[3], rejected=match[2] == "0")


def _check_media(sections: list[_Section]) -> None:
    for section in sections:
        section.rejected = section.rejected and "bundle-only" not in section.attributes
        protocols = _PROTOCOLS.get(section.kind)
        if protocols is None:
            kinds = ", ".join(_PROTOCOLS)
            raise OfferRejected("unsupported_media", f"m-lines are {kinds}; got {section.kind[:40]!r}")
        if section.protocol not in protocols:
            expected = " or ".join(sorted(protocols))
            message = f"an m-line of {section.kind} uses {expected}; got {section.protocol[:40]!r}"
            raise OfferRejected("unsupported_media", message)
    if not any(section.kind in ("audio", "application") and not section.rejected for section in sections):
        raise OfferRejected("no_media", "an offer needs at least one m-line of audio or application (a data channel)")


def _check_transport(section: _Section, session: _Section) -> None:
    def values(name: str) -> list[str]:
        return section.attributes.get(name) or session.attributes.get(name) or []

    for name, form in _ICE_VALUE.items():
        if not values(name) or not form.fullmatch(values(name)[0]):
            raise _invalid(f"the m-line of {section.kind} needs a valid a={name} (RFC 8839)")
    if not any(map(_is_fingerprint, values("fingerprint"))):
        hashes = ", ".join(_HASH_BYTES)
        raise _invalid(f"the m-line of {section.kind} needs an a=fingerprint with one of {hashes} (RFC 8122)")


def _is_fingerprint(value: str) -> bool:
    name, _, digits = value.partition(" ")
    size = _HASH_BYTES.get(name.lower(), 0)
    return bool(size) and re.fullmatch(rf"[0-9A-Fa-f]{{2}}(:[0-9A-Fa-f]{{2}}){{{size - 1}}}", digits) is not None


def _reachable(lines: list[str]) -> list[str]:
    """Without candidates of names (an mDNS `.local` costs a second, any other a DNS question) and of no single host."""
    candidates = sum(line.startswith("a=candidate:") for line in lines)
    if candidates > MAX_CANDIDATES:
        message = f"an offer has at most {MAX_CANDIDATES} candidates, got {candidates}"
        raise OfferRejected("too_many_candidates", message)
    return [line for line in lines if not line.startswith("a=candidate:") or _is_reachable(line)]


def _is_reachable(line: str) -> bool:
    match = _CANDIDATE.fullmatch(line)
    if match is None or int(match[6]) > 65535:
        raise _invalid("a candidate is not of the form that RFC 8839 gives")
    try:
        address = ipaddress.ip_address(match[5])
    except ValueError:
        return False
    return not (address.is_multicast or address.is_unspecified)


def _invalid(message: str) -> OfferRejected:
    return OfferRejected("invalid_sdp", message)
