"""The page of a bundle in Chromium, loaded once: the same answers as Python, by every way in."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from fixtures.browser import open_page, violations
from fixtures.bundles import answers, best, labels_of, ready
from kdtool.bundle.proof.golden import largest_allowed, read_golden

INT8 = "model.int8.onnx"


@pytest.fixture(scope="module")
def troubles() -> list[str]:
    return []


@pytest.fixture(scope="module")
def page(browser: Browser, address: str, troubles: list[str]) -> Iterator[Page]:
    """The page, loaded once, with every model chosen."""
    context = browser.new_context(viewport={"width": 1200, "height": 900}, permissions=["camera"])
    page = ready(open_page(context, address, troubles))
    for box in page.locator("#models input").all():
        box.check()
    expect(page.locator("#status")).to_contain_text("Ready: 8-bit input")
    yield page
    context.close()


def test_chromium_computes_what_python_computed(page: Page, bundled: Path) -> None:
    page.click("#check")
    expect(page.locator("#status")).to_have_text("This browser computes what Python computed.")
    rows, golden = page.locator("#checked tbody tr").all(), read_golden(bundled)
    assert len(rows) == 9
    for row, vector in zip(rows, golden.vectors, strict=True):
        pixels, *logits = row.locator("td").all_inner_texts()
        assert int(pixels.split()[0]) <= 1
        fp32, int8, uint8 = map(float, logits)
        assert max(fp32, uint8) < 1e-4, row.inner_text()
        step = largest_allowed(golden.logit_tolerance[INT8], np.array(vector.logits[INT8]))
        assert int8 <= step, row.inner_text()  # a processor may round a tie to the other side


def test_each_golden_image_gets_pythons_class_from_every_model(page: Page, bundled: Path) -> None:
    for index, vector in enumerate(read_golden(bundled).vectors):
        page.locator(".examples button").nth(index).click()
        expect(page.locator("#caption bdi")).to_have_text(vector.image)
        assert answers(page) == {
            "FP32": best(bundled, vector.image),
            "INT8": best(bundled, vector.image, "model.int8.onnx"),
            "8-bit input": best(bundled, vector.image, "model.uint8.onnx"),
        }


def test_a_chosen_file_is_classified_and_a_broken_one_reported(
    page: Page, bundled: Path, tmp_path: Path
) -> None:
    page.set_input_files("#files", bundled / "golden" / "photo-2.png")
    expect(page.locator("#caption bdi")).to_have_text("photo-2.png")
    assert answers(page)["FP32"] == best(bundled, "photo-2.png")
    expect(page.locator("#status")).to_contain_text(best(bundled, "photo-2.png"))
    (tmp_path / "broken.png").write_bytes(b"no image")
    page.set_input_files("#files", tmp_path / "broken.png")
    expect(page.locator("#status")).to_have_text("broken.png: this browser cannot read the file as an image")


def test_a_dropped_file_is_classified(page: Page, bundled: Path) -> None:
    content = list((bundled / "golden" / "photo-3.png").read_bytes())
    transfer = page.evaluate_handle(
        """bytes => {
            const transfer = new DataTransfer();
            transfer.items.add(new File([new Uint8Array(bytes)], "dropped.png", { type: "image/png" }));
            return transfer;
        }""",
        content,
    )
    page.dispatch_event("#drop", "dragover", {"dataTransfer": transfer})
    expect(page.locator("#drop")).to_have_class("over")
    page.dispatch_event("#drop", "drop", {"dataTransfer": transfer})
    expect(page.locator("#caption bdi")).to_have_text("dropped.png")
    assert answers(page)["FP32"] == best(bundled, "photo-3.png")


def test_the_keyboard_is_enough(page: Page, bundled: Path) -> None:
    page.evaluate("document.activeElement.blur(); window.getSelection().collapse(document.body, 0)")
    reached = []
    for _ in range(12):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.id || document.activeElement.ariaLabel"))
        if page.evaluate("document.activeElement.closest('.examples') !== null"):
            break
    assert {"files", "folder", "camera"} <= set(reached)
    page.keyboard.press("Enter")
    expect(page.locator("#caption bdi")).to_have_text("photo-1.png")
    assert answers(page)["FP32"] == best(bundled, "photo-1.png")


def test_folders_give_an_accuracy(page: Page, bundled: Path, tmp_path: Path) -> None:
    golden, labels = read_golden(bundled), labels_of(bundled)
    photos = [vector for vector in golden.vectors if vector.label]
    for vector in photos:
        (tmp_path / "set" / vector.label).mkdir(parents=True, exist_ok=True)
        shutil.copy(bundled / "golden" / vector.image, tmp_path / "set" / vector.label)
    (tmp_path / "set" / labels[0] / "notes.txt").write_text("no image")
    page.set_input_files("#folder", tmp_path / "set")
    expect(page.locator("#batch-text")).to_have_text("4 of 4 images classified.")
    right = sum(best(bundled, vector.image) == vector.label for vector in photos)
    row = page.locator("#accuracy tbody tr").first.locator("td").all_inner_texts()
    assert row[:2] == ["4", str(right)]
    assert row[2].replace("\u00a0", " ") == f"{right / 4:.1%}".replace("%", " %")
    assert page.locator("#rows tbody tr").count() == 4


def test_the_camera_is_live_until_it_is_stopped(page: Page) -> None:
    page.click("#camera")
    expect(page.locator("#caption bdi")).to_have_text("camera")
    expect(page.locator("#camera")).to_have_attribute("aria-pressed", "true")
    page.click("#camera")
    expect(page.locator("#video")).to_be_hidden()
    expect(page.locator("#camera")).to_have_attribute("aria-pressed", "false")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_violation(page: Page, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme)
    assert violations(page) == []


def test_a_narrow_phone_scrolls_in_one_direction(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    try:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        boxes = [box.bounding_box() for box in page.locator("button:visible, .button:visible").all()]
        assert min(box["height"] for box in boxes if box) >= 44  # a finger's width
        said = [caption.bounding_box() for caption in page.locator("caption:visible").all()]
        assert said
        assert all(box and box["x"] + box["width"] <= 360 for box in said)  # read without scrolling the table
        assert violations(page) == []
    finally:
        page.set_viewport_size({"width": 1200, "height": 900})


def test_nothing_was_refused_or_failed(page: Page, troubles: list[str]) -> None:
    assert page.evaluate("crossOriginIsolated")
    assert troubles == []
