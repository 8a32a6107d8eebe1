"""A real JupyterLab 4 and Notebook 7 in headless Chromium: exercise 01 opened, a gradient filled in, `%check` asked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time

import pytest

from grader.course.course import Course
from grader.student.init import make_workspace
from tests.conftest import CHROMIUM, ROOT

pytestmark = [pytest.mark.slow, pytest.mark.browser]
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

WAIT = 240_000
FRONT_ENDS = {"jupyterlab": "lab/tree", "notebook": "notebooks"}
"""The server's module, and where it shows a notebook."""
SETTINGS = {
    "notebook-extension/tracker": '{"windowingMode": "none"}',  # every cell is in the page, also below the window
    "apputils-extension/notification": '{"fetchNews": "false", "checkForUpdates": false}',
}


@pytest.fixture(params=FRONT_ENDS)
def page_address(request, tmp_path):
    """A server with a student's workspace; the address of the notebook in it."""
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on this machine's PATH")
    make_workspace(Course(ROOT / "exercises"), tmp_path / "desk")
    for name, text in SETTINGS.items():
        file = tmp_path / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    folders = {f"JUPYTER_{name}_DIR": str(tmp_path / name.lower()) for name in ("CONFIG", "RUNTIME")}
    environment = {**os.environ, **folders, "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "settings")}
    environment["IPYTHONDIR"] = str(tmp_path / "ipython")
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", request.param, "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0",
             "--IdentityProvider.token=student"],
            cwd=tmp_path / "desk", env=environment, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        place = FRONT_ENDS[request.param]
        yield f"{_address(tmp_path / 'log', server)}{place}/01_backprop_ninja.ipynb?token=student"
    finally:
        server.terminate()
        server.wait(60)


def _address(log, server):
    deadline = time.monotonic() + WAIT / 1000
    while time.monotonic() < deadline and server.poll() is None:
        if found := re.search(r"http://127\.0\.0\.1:\d+/", log.read_text()):
            return found[0]
        time.sleep(0.2)
    raise AssertionError(log.read_text())


def test_a_gradient_is_filled_in_run_and_checked(page_address, tmp_path):
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1400, "height": 1200})
        page.set_default_timeout(WAIT)
        page.goto(page_address)
        cell = page.locator(".jp-CodeCell", has_text="dlogprobs = None").first
        cell.locator(".cm-content").click()
        page.keyboard.press("Control+a")
        page.keyboard.insert_text("dlogprobs = torch.zeros_like(logprobs)\ndlogprobs[range(n), Yb] = 1 / n")
        page.locator(".lm-MenuBar-item", has_text="Run").first.click()
        page.locator(".lm-Menu-item", has_text="Run All Above Selected Cell").click()
        page.keyboard.press("Shift+Enter")
        page.keyboard.press("Escape")
        page.keyboard.press("a")
        page.keyboard.press("Enter")
        page.keyboard.insert_text("%load_ext grader\n%check")
        page.keyboard.press("Shift+Enter")
        output = page.locator(".jp-OutputArea-output", has_text="start at dlogprobs")
        output.wait_for()
        said = output.inner_text()
        pictures = output.locator("img").evaluate_all(
            "images => images.map(image => image.complete && image.naturalWidth > 0)"
        )
        output.scroll_into_view_if_needed()
        page.screenshot(path=tmp_path / "check.png")
        browser.close()
    assert "dlogprobs is wrong" in said
    assert "its sign is not" in said or "sign" in said
    assert len(pictures) >= 4
    assert all(pictures)
