"""The report of a complete run in Chromium: axe, a phone, print, no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page

from fixtures.browser import chromium, violations
from fixtures.runs.written import HOSTILE, make_run
from kdtool.core.screen import QUIET
from kdtool.report.stage import write_report

PARTS = (
    "Models", "Training", "Confusion", "Worst mistakes", "Calibration", "The INT8 step", "Beside other runs",
)  # fmt: skip
A4 = 718  # pixels within margins of 1 cm


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every part of a report, with names that want to break it."""
    root = tmp_path_factory.mktemp("reports")
    runs = []
    for name in ("first", "<b>second"):
        (root / name).mkdir()
        runs.append(make_run(root / name, HOSTILE))
    return write_report(runs[0], QUIET, runs[1:])


def opened(browser: Browser, report: Path, width: int, scheme: Literal["light", "dark"]) -> Page:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(60_000)
    requested: list[str] = []
    page.on("request", lambda request: requested.append(request.url))
    page.goto(report.as_uri())
    assert [url for url in requested if not url.startswith(("file:", "data:"))] == []
    return page


def cut_off(page: Page, width: int) -> list[str]:
    """What reaches beyond the page's right edge."""
    found: list[str] = page.evaluate(
        """(width) => [...document.querySelectorAll("table, svg, img, p, h1, h2, h3, li")]
            .filter((one) => one.getBoundingClientRect().right > width + 1)
            .map((one) => one.outerHTML.slice(0, 80))""",
        width,
    )
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1200])
def test_axe_finds_no_violation_and_the_page_scrolls_in_one_direction(
    browser: Browser, report: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    page = opened(browser, report, width, scheme)
    for part in PARTS:
        assert page.get_by_role("heading", name=part, exact=True).count() == 1, part
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def test_print_cuts_nothing_off_and_leaves_the_links_out(browser: Browser, report: Path) -> None:
    page = opened(browser, report, A4, "light")  # which is how browsers print
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert cut_off(page, A4) == []
    page.close()
