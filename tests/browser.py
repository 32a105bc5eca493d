"""The browser that tests and benches drive: any installed Chromium, never one that a package downloads."""

from __future__ import annotations

import os
import shutil

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
    "--ignore-certificate-errors",
    "--allow-loopback-in-peer-connection",
)
"""Headless, no first-run work, fake devices whose permission is granted, calls over loopback."""


def chromium_path() -> str:
    """The Chromium to drive: `CHROMIUM`, or the first one installed. Without one the test fails, it does not skip."""
    named = os.environ.get("CHROMIUM")
    found = shutil.which(named) if named else next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.fail("no Chromium found: install it (Debian: apt-get install chromium) or name it in CHROMIUM", False)
    return found
