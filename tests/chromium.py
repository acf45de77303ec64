"""Chromium for tests: started, and pages opened that keep their troubles; axe."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

MODULES = Path(sys.prefix) / "node_modules"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or "/usr/bin/chromium"
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
]  # fmt: skip
WAIT = 60_000  # ms; a machine under load takes its time to compile 14 MB of WebAssembly
expect.set_options(timeout=WAIT)


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=WAIT)
        yield browser
        browser.close()


@contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[str]:
    """Its address, while it serves."""
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.05), daemon=True)
    thread.start()
    try:
        yield f"http://localhost:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


def open_page(context: BrowserContext, url: str, troubles: list[str]) -> Page:
    """The page at `url`; what the browser complains of goes into `troubles`."""
    context.set_default_timeout(WAIT)
    page = context.new_page()
    page.on("console", lambda said: troubles.append(said.text) if said.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: (troubles.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.goto(url)
    return page


def violations(page: Page) -> list[str]:
    """What axe finds."""
    page.evaluate((MODULES / "axe-core" / "axe.min.js").read_text("utf-8"))
    found = page.evaluate("axe.run()")["violations"]
    return [f"{one['id']}: {node['target']}" for one in found for node in one["nodes"]]
