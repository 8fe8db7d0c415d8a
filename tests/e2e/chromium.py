"""Debian's chromium, headless, on a fresh profile, driven by Playwright, which brings no browser of its own here."""

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

IMAGES = Path(__file__).parents[2] / "docs" / "images"


@contextmanager
def browser():
    """A browser, closed in the end."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    where = shutil.which("chromium")
    if where is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium)")
    with sync_api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=where, args=["--no-sandbox"])
        yield opened
        opened.close()


def shot(page, name, folder, **settings):
    """A picture of the page: into a folder of the test's, or with ``SCREENSHOTS=1`` into the documentation."""
    target = IMAGES if os.environ.get("SCREENSHOTS") else folder
    page.screenshot(path=target / name, **settings)
    return target / name
