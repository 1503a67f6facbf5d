"""A headless Chromium for the tests of the pages; without it, they are skipped with the reason."""

import os
import shutil

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")

FLAGS = (
    "--no-sandbox",  # Chromium does not start as root without it
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def chromium() -> str:
    """Path of Chromium; MINIVIT_CHROMIUM overrides it."""
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("MINIVIT_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if not found:
        pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")
    return found
