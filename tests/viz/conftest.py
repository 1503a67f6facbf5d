"""Shared by the tests of both pages: a browser, and pages that must make no requests and log no
errors."""

import re

import pytest


@pytest.fixture(scope="module")
def browser():
    from browser import FLAGS, chromium, playwright  # skips if there is none

    with playwright.sync_playwright() as engine:
        one = engine.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield one
        one.close()


@pytest.fixture
def open_page(browser, tmp_path):
    """Opens a page from its file; returns it with its log and its requests."""
    pages = []

    def open_one(made, address="", **options):
        file = tmp_path / "page.html"
        made.save(file)
        page = browser.new_page(**options)
        page.messages, page.requests = [], []
        page.on("console", lambda message: page.messages.append(message.text))
        page.on("pageerror", lambda error: page.messages.append(str(error)))
        page.on("request", lambda request: page.requests.append(request.url))
        page.goto(f"file://{file}{address}")
        pages.append(page)
        return page

    yield open_one
    for page in pages:
        assert page.messages == [], "the console is not empty"
        assert [u for u in page.requests if not u.startswith(("file://", "data:", "blob:"))] == []
        page.close()


@pytest.fixture
def show(open_page):
    """Open a page and wait until the model has run."""
    from live_pages import SETTLED

    pages = []

    def open_settled(made_page, address="", **options):
        page = open_page(made_page, address, **options)
        page.evaluate(SETTLED)
        pages.append(page)
        return page

    yield open_settled
    for page in pages:
        assert not re.search("NaN|Infinity|undefined", page.inner_text("body"))
