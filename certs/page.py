"""The install page as HTML: the template `page.html` filled in for one CA and one address."""

from __future__ import annotations

import base64
import hashlib
import html
from dataclasses import dataclass
from pathlib import Path
from string import Template

import segno

from certs.authority import fingerprint_rows

_TEMPLATE = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
_STYLE = _TEMPLATE.partition("<style>")[2].partition("</style>")[0]

STYLE_HASH = "sha256-" + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
"""Source expression for a content security policy that allows the page's own style sheet."""

_SECTIONS = {"android": "Android", "windows": "Windows", "linux": "Linux"}


@dataclass(frozen=True)
class Page:
    """What the page says, whoever asks."""

    name: str
    """The CA's common name, which devices list."""
    fingerprint: str
    """SHA-256 of the CA: 32 pairs of hex digits, joined by colons."""
    https_url: str
    """Where the call itself is."""

    def render(self, page_url: str, reachable: bool, user_agent: str) -> str:
        """The page as it stands at `page_url`; `reachable` says whether other devices can open that address.

        The steps for the device that `user_agent` names are unfolded; an iPad calls itself a Mac, so Macs see its.
        """
        return Template(_TEMPLATE).substitute(
            name=html.escape(self.name),
            fingerprint="\n".join(fingerprint_rows(self.fingerprint)),
            https_url=html.escape(self.https_url),
            page_url=html.escape(page_url),
            qr=_qr(page_url),
            caption="Scan this to open the same page there." if reachable else "Opens on this computer only.",
            **_unfolded(user_agent),
        )


def _unfolded(user_agent: str) -> dict[str, str]:
    # Android names Linux too, so it comes first.
    device = next((section for section, word in _SECTIONS.items() if word in user_agent), "apple")
    return {section: " open" if section == device else "" for section in ("apple", "mac", *_SECTIONS)}


def _qr(url: str) -> str:
    """A QR code as inline SVG, black on white with the quiet zone that scanners need."""
    svg = segno.make_qr(url, error="m").svg_inline(border=4, omitsize=True, title=None)
    return svg.replace("<svg ", '<svg role="img" aria-label="QR code of this page\'s address" ', 1)
