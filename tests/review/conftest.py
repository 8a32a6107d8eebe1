"""A Chromium, and pages in it that say whatever goes wrong."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest


class Desk:
    """A person at the review: a browser of their own, and everything that its page said and asked for."""

    def __init__(self, browser, address, **options):
        self.complaints, self.requests = [], []
        self.base = "{0.scheme}://{0.netloc}".format(urlsplit(address))
        self.context = browser.new_context(**options)
        self.page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.complaints.append(f"dialog {dialog.message}"), dialog.dismiss()))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.page.wait_for_url("**/queue")

    def open(self, path):
        self.page.goto(self.base + path)

    def press(self, key):
        """A key that leads to another page."""
        with self.page.expect_navigation():
            self.page.keyboard.press(key)

    @property
    def foreign(self):
        return [url for url in self.requests if not url.startswith((self.base, "data:", "blob:"))]

    def said(self):
        return self.page.locator("#said").inner_text()

    def failed(self):
        return self.page.locator("#failed").inner_text()


@pytest.fixture
def sit_down(chromium):
    """Opens the review as somebody: `sit_down(address)`."""
    desks = []

    def open_desk(address, **options):
        options = {"viewport": {"width": 1280, "height": 900}, **options}
        desks.append(Desk(chromium, address, **options))
        return desks[-1]

    yield open_desk
    for desk in desks:
        desk.context.close()
