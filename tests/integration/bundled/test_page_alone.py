"""Pages in a browser of their own: offline, with hostile names, with the runtime from elsewhere."""

from __future__ import annotations

import shutil
import unicodedata
from collections.abc import Callable
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Request, Route, expect

from fixtures.browser import MODULES, open_page, serving
from fixtures.bundles import answers, best, ready
from kdtool.bundle.options import Options
from kdtool.bundle.page.runtime import CDN, VERSION, WebRuntime, find_runtime
from kdtool.bundle.page.serve import open_server
from kdtool.bundle.stage import write_bundle
from kdtool.core.screen import QUIET
from kdtool.runs.folder import RunFolder

HOSTILE = ("<img src=x onerror=alert(1)>", '"><script>alert(2)', "right\u202eleft")


class SilentHandler(SimpleHTTPRequestHandler):
    """Python's own server, as any other gives files out."""

    def log_message(self, format: str, *args: object) -> None:
        pass


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


def test_any_web_server_can_give_out_the_page(browser: Browser, bundled: Path) -> None:
    """Without the headers of kdtool serve, and below a folder: one thread, the same answers."""
    troubles: list[str] = []
    context = browser.new_context()
    handler = partial(SilentHandler, directory=str(bundled.parent))
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as url:
        page = ready(open_page(context, f"{url}bundle/web/", troubles))
        expect(page.locator("#status")).to_contain_text("1 thread.")
        page.locator(".examples button").first.click()
        expect(page.locator("#columns .column")).to_have_count(1)
        assert answers(page)["FP32"] == best(bundled, "photo-1.png")
        assert not page.evaluate("crossOriginIsolated")
    assert troubles == []
    context.close()


def test_a_phone_can_install_the_page(browser: Browser, bundled: Path) -> None:
    context = browser.new_context()
    with serving(open_server(bundled, "127.0.0.1", 0)) as url:
        page = ready(open_page(context, url, []))
        chromium = context.new_cdp_session(page)
        assert chromium.send("Page.getAppManifest")["errors"] == []
        found = chromium.send("Page.getInstallabilityErrors")["installabilityErrors"]
        assert {one["errorId"] for one in found} <= {"in-incognito"}  # as every page of a test is
    context.close()


def test_a_model_that_does_not_load_is_said_and_left_out(browser: Browser, bundled: Path) -> None:
    context = browser.new_context(service_workers="block")  # so that a request can be refused here
    context.route("**/models/model.int8.onnx*", lambda route: route.abort())
    with serving(open_server(bundled, "127.0.0.1", 0)) as url:
        page = ready(open_page(context, url, []))
        box = page.locator("#models input").nth(1)
        box.click()
        expect(page.locator("#status.bad")).to_contain_text("INT8: ")
        expect(box).not_to_be_checked()
        page.locator(".examples button").first.click()
        expect(page.locator("#columns .column")).to_have_count(1)
    context.close()


def test_folders_are_classes_however_their_letters_are_composed(
    browser: Browser, make_bundle_run: Callable[..., RunFolder], tmp_path: Path
) -> None:
    """macOS takes ö apart into o and ¨, where another system wrote the name."""
    folder = write_bundle(make_bundle_run(("größe", "b", "c")), Options(photographs=3), find_runtime(), QUIET)
    apart = tmp_path / "set" / unicodedata.normalize("NFD", "größe")
    apart.mkdir(parents=True)
    for number in (1, 2):
        shutil.copy(folder / "golden" / f"photo-{number}.png", apart)
    context = browser.new_context()
    with serving(open_server(folder, "127.0.0.1", 0)) as url:
        page = ready(open_page(context, url, []))
        page.set_input_files("#folder", tmp_path / "set")
        expect(page.locator("#batch-text")).to_have_text("2 of 2 images classified.")
        assert page.locator("#accuracy tbody tr td").nth(2).inner_text() != "–"
    context.close()


def test_another_image_ends_a_batch(browser: Browser, bundled: Path, tmp_path: Path) -> None:
    for number in range(40):
        shutil.copy(bundled / "golden" / "drawn-stripes.png", tmp_path / f"{number}.png")
    context = browser.new_context()
    with serving(open_server(bundled, "127.0.0.1", 0)) as url:
        page = ready(open_page(context, url, []))
        page.set_input_files("#files", sorted(tmp_path.glob("*.png")))
        expect(page.locator("#status")).to_contain_text("of 40")
        page.locator(".examples button").first.click()
        expect(page.locator("#caption bdi")).to_have_text("photo-1.png")
        expect(page.locator("#status")).to_contain_text(best(bundled, "photo-1.png"))
        expect(page.locator("#batch")).to_be_hidden()
        page.wait_for_timeout(500)  # what was under way would have shown itself
        expect(page.locator("#caption bdi")).to_have_text("photo-1.png")
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
            said = page.locator("#status.bad")
            expect(said).to_contain_text(f"The runtime cannot be loaded from {CDN}ort.wasm.bundle.min.mjs")
            expect(said).to_contain_text(f"npm install onnxruntime-web@{VERSION}, then kdtool bundle")
            assert page.locator("body[data-ready]").count() == 0
        else:
            ready(page).locator(".examples button").first.click()
            expect(page.locator("#columns .column")).to_have_count(1)
            assert answers(page)["FP32"] == best(remote, "photo-1.png")
    assert asked[0] == "ort.wasm.bundle.min.mjs"
    context.close()
