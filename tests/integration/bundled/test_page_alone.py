"""Pages in a browser of their own: offline, with hostile names, with the runtime from elsewhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Request, Route, expect

from bundles import answers, best, ready
from chromium import MODULES, open_page, serving
from kdtool.bundle.options import Options
from kdtool.bundle.runtime import CDN, WebRuntime, find_runtime
from kdtool.bundle.serve import open_server
from kdtool.bundle.stage import write_bundle
from kdtool.core.run import RunFolder
from kdtool.core.screen import QUIET

HOSTILE = ("<img src=x onerror=alert(1)>", '"><script>alert(2)', "right\u202eleft")


def test_the_page_works_offline_once_loaded(browser: Browser, bundled: Path) -> None:
    troubles: list[str] = []
    context = browser.new_context()
    with serving(open_server(bundled, "127.0.0.1", 0)) as url:
        page = ready(open_page(context, url, troubles))
        page.locator(".examples button").first.click()
        expect(page.locator("#columns .column")).to_have_count(1)
    context.set_offline(True)  # and the server is gone
    page.reload()
    ready(page).locator(".examples button").nth(1).click()
    expect(page.locator("#caption bdi")).to_have_text("photo-2.png")
    assert answers(page)["FP32"] == best(bundled, "photo-2.png")
    context.close()


def test_hostile_names_are_text(browser: Browser, make_bundle_run: Callable[..., RunFolder]) -> None:
    folder = write_bundle(make_bundle_run(HOSTILE), Options(photographs=3), find_runtime(), QUIET)
    troubles: list[str] = []
    context = browser.new_context()
    with serving(open_server(folder, "127.0.0.1", 0)) as url:
        page = ready(open_page(context, url, troubles))
        page.locator(".examples button").first.click()
        expect(page.locator("#columns li")).to_have_count(3)
        shown = set(page.locator("#columns li bdi").all_inner_texts())
        assert shown == {HOSTILE[0], HOSTILE[1], "right\\u202eleft"}
        assert page.locator("main script, main img[src=x]").count() == 0
    assert troubles == []
    context.close()


@pytest.fixture
def remote(bundled: Path, tmp_path: Path) -> Path:
    """A bundle whose page takes the runtime from its pinned address."""
    run = RunFolder(Path(shutil.copytree(bundled.parent, tmp_path / "run")))
    return write_bundle(run, Options(), WebRuntime(None), QUIET)


@pytest.mark.parametrize("tampered", [False, True])
def test_a_runtime_from_elsewhere_is_taken_with_its_hash_alone(
    browser: Browser, remote: Path, tampered: bool
) -> None:
    context = browser.new_context(service_workers="block")  # so that its requests can be answered here
    asked: list[str] = []

    def answer(route: Route, request: Request) -> None:
        name = request.url.rsplit("/", 1)[1]
        asked.append(name)
        body = (MODULES / "onnxruntime-web" / "dist" / name).read_bytes()
        kind = "application/wasm" if name.endswith(".wasm") else "text/javascript"
        headers = {"Access-Control-Allow-Origin": "*", "Content-Type": kind}
        route.fulfill(body=body + b"\n" * tampered, headers=headers)

    context.route(f"{CDN}**", answer)
    with serving(open_server(remote, "127.0.0.1", 0)) as url:
        page = open_page(context, url, [])
        if tampered:
            expect(page.locator("#status.bad")).to_contain_text("Failed to fetch")
            assert page.locator("body[data-ready]").count() == 0
        else:
            ready(page).locator(".examples button").first.click()
            expect(page.locator("#columns .column")).to_have_count(1)
            assert answers(page)["FP32"] == best(remote, "photo-1.png")
    assert asked[0] == "ort.wasm.bundle.min.mjs"
    context.close()
