"""The scan: every picture decoded, all findings at once, what is fatal and what is a warning."""

from __future__ import annotations

import io
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from fixtures.screens import Recorder
from kdtool.core.errors import DataError
from kdtool.core.screen import QUIET
from kdtool.data import photo as photo_module
from kdtool.data.findings import duplicates
from kdtool.data.findings.finding import KINDS, SHOWN, WAYS_OUT, Finding, describe, ways_out
from kdtool.data.listing import Listing, Sample
from kdtool.data.photo import Photo
from kdtool.data.scan import Scan, scan
from kdtool.data.sources import load_listing
from kdtool.recipe.settings import DataSettings

Photos = Callable[..., Path]
SPLITS = {"train": 4, "validation": 2, "test": 2}
SIZE_8 = DataSettings(size=8)


def scan_of(root: Path, **fields: object) -> Scan:
    return scan(load_listing(str(root)), DataSettings(size=8, **fields), 0, QUIET)


def texts(found: Scan, kind: str, fatal: bool = True) -> list[str]:
    return [f.text for f in found.findings if (f.kind, f.fatal) == (kind, fatal)]


def test_nothing_to_find(photos: Photos) -> None:
    found = scan_of(photos(splits=SPLITS))
    assert found.findings == ()
    assert Counter(found.splits) == {"train": 12, "validation": 6, "test": 6}
    found.require(QUIET)


def spoil(root: Path) -> None:
    """One of each unreadable kind in train/checks, which keeps one good picture."""
    folder = root / "train" / "checks"
    whole = (folder / "001.png").read_bytes()
    (folder / "000.png").write_bytes(b"")
    (folder / "001.png").write_bytes(whole[: len(whole) // 2])
    (folder / "002.png").write_bytes(b"no picture")
    (folder / "gone.jpg").symlink_to(root / "nowhere")
    (folder / "photo.heic").write_bytes(b"\0\0\0 ftypheic")


def test_unreadable_pictures_are_listed_with_their_reasons(photos: Photos) -> None:
    root = photos(splits=SPLITS)
    spoil(root)
    found = scan_of(root)
    reasons = texts(found, "unreadable")
    assert reasons[0] == "train/checks/000.png: the file is empty (0 bytes)."
    assert reasons[1].startswith("train/checks/001.png: not a readable image (")
    assert reasons[2] == "train/checks/002.png: not a readable image (no image format that Pillow knows)."
    assert reasons[3] == "train/checks/gone.jpg: cannot be read (No such file or directory)."
    assert reasons[4].startswith("train/checks/photo.heic: not a readable image (")
    with pytest.raises(DataError, match=r"because of 5 finding\(s\)") as caught:
        found.require(QUIET)
    assert caught.value.exit_code == 3
    assert "--skip-bad" in caught.value.hint
    assert caught.value.hint.count("Repair or remove the photo file.") == 1, "said once for all"
    assert f"kdtool data check {root} --json" in caught.value.hint


def test_skip_bad_leaves_them_out_and_substitutes_nothing(photos: Photos) -> None:
    root = photos(splits=SPLITS)
    spoil(root)
    found = scan_of(root, skip_bad=True)
    screen = Recorder()
    found.require(screen)
    assert "Photo files that cannot be read (5)" in screen.warned[0]
    assert [p.sample.path for p in found.photos if "train/checks" in p.sample.path] == [
        "train/checks/003.png"
    ]
    assert [bool(bad.sha256) for bad in found.unreadable] == [True, True, True, False, True]


def test_too_long_and_thin(photos: Photos) -> None:
    root = photos(splits=SPLITS)
    Image.new("L", (1, 60_000)).save(root / "train" / "checks" / "line.png")
    listing = load_listing(str(root))
    found = scan(listing, DataSettings(size=64), 0, QUIET)
    assert texts(found, "unreadable") == [
        "train/checks/line.png: 1 × 60000 pixels resized to 64 × 3840000: "
        "over the limit of 100,000,000 pixels."
    ]


def test_classes_that_differ_between_splits(photos: Photos) -> None:
    root = photos(splits=SPLITS)
    shutil.move(root / "validation" / "rings", root / "validation" / "circles")
    shutil.rmtree(root / "test" / "checks")
    found = scan_of(root)
    assert texts(found, "classes") == [
        "validation lacks 'rings', which train has.",
        "validation has 'circles', which train lacks.",
        "test lacks 'checks', which train has.",
    ]


def test_empty_class_and_class_of_broken_pictures_alone(photos: Photos) -> None:
    root = photos(splits=SPLITS)
    for path in (root / "train" / "checks").iterdir():
        path.unlink()
    for path in (root / "test" / "rings").iterdir():
        path.write_bytes(b"")
    found = scan_of(root, skip_bad=True)
    assert texts(found, "classes") == [
        "train: the class 'checks' has no readable photograph.",
        "test: the class 'rings' has no readable photograph.",
    ]


def test_fewer_than_two_classes(photos: Photos, tmp_path: Path) -> None:
    assert texts(scan_of(photos(classes=("one",))), "classes") == [
        "train has only the class 'one'; a classifier needs at least 2."
    ]
    loose = tmp_path / "loose"
    loose.mkdir()
    Image.new("L", (8, 8)).save(loose / "x.png")
    assert texts(scan_of(loose), "classes") == [
        "train has no class folder (1 photo file(s) lie outside the class folders); "
        "a classifier needs at least 2."
    ]


def test_too_few_pictures_to_split(photos: Photos) -> None:
    root = photos(per_class=3)
    (root / "rings" / "000.png").unlink()
    shutil.copy(root / "checks" / "000.png", root / "checks" / "001.png")
    assert texts(scan_of(root), "few") == [
        "'checks' has 2 different photograph(s); the splits train, validation, test need at least 3.",
        "'rings' has 2 different photograph(s); the splits train, validation, test need at least 3.",
    ]


def leak(root: Path) -> None:
    """The same pixels in other bytes: a TIFF in test of a PNG in train."""
    Image.open(root / "train" / "rings" / "000.png").save(root / "test" / "rings" / "x.tiff")


def test_the_same_picture_in_two_splits(photos: Photos) -> None:
    root = photos(splits=SPLITS)
    leak(root)
    found = scan_of(root)
    assert texts(found, "leak") == ["train/rings/000.png (train), test/rings/x.tiff (test)"]
    with pytest.raises(DataError, match=r"The same image in two splits") as caught:
        found.require(QUIET)
    assert "--allow-leaks" in caught.value.hint
    assert "--skip-bad" not in caught.value.hint


def test_leaks_may_be_allowed(photos: Photos) -> None:
    root = photos(splits=SPLITS)
    leak(root)
    found = scan_of(root, allow_leaks=True)
    assert len(texts(found, "leak", fatal=False)) == 1
    found.require(QUIET)


def test_the_same_picture_under_two_classes_is_a_warning(photos: Photos) -> None:
    root = photos(splits=SPLITS)
    shutil.copy(root / "train" / "rings" / "000.png", root / "train" / "checks" / "x.png")
    found = scan_of(root)
    assert texts(found, "labels", fatal=False) == ["train/checks/x.png (checks), train/rings/000.png (rings)"]
    assert not found.fatal


def test_a_picture_that_looks_the_same_is_a_warning(photos: Photos) -> None:
    root = photos(splits={"train": 3, "validation": 2, "test": 2}, side=96)
    for path in root.rglob("*.png"):  # noise alone has no look; large blots do
        rough = np.random.default_rng(list(path.as_posix().encode()[-30:])).integers(0, 256, (6, 6, 3))
        Image.fromarray(rough.astype(np.uint8)).resize((96, 96), Image.Resampling.BICUBIC).save(path)
    original = Image.open(root / "train" / "checks" / "000.png")
    original.resize((80, 80)).filter(ImageFilter.GaussianBlur(1)).save(root / "test" / "checks" / "x.jpg")
    found = scan_of(root)
    assert texts(found, "near", fatal=False) == [
        "train/checks/000.png (train, checks), test/checks/x.jpg (test, checks)"
    ] or texts(found, "near", fatal=False) == [
        "test/checks/x.jpg (test, checks), train/checks/000.png (train, checks)"
    ]
    assert not found.fatal


def test_without_imagehash_nothing_looks_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "imagehash", None)
    photo_module._imagehash.cache_clear()
    try:
        assert photo_module.perceptual_hash(Image.new("RGB", (40, 40))) is None
    finally:
        photo_module._imagehash.cache_clear()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 60))
def test_close_hashes_are_found_as_by_comparing_all(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    bases = [int(value) for value in generator.integers(0, 2**63, 4)]
    hashes = []
    for _ in range(count):
        flips = generator.choice(64, size=generator.integers(0, 7), replace=False)
        hashes.append(bases[generator.integers(4)] ^ sum(1 << int(bit) for bit in flips))
    photos = [
        Photo(Sample(str(i), "a", "train", bytes), "", str(i), phash, 40, 40, "RGB", "PNG")
        for i, phash in enumerate(hashes)
    ]
    splits = [("train", "test")[i % 2] for i in range(count)]
    groups = [{i} for i in range(count)]
    for i in range(count):
        for j in range(i):
            if (hashes[i] ^ hashes[j]).bit_count() <= duplicates.PHASH_DISTANCE and groups[i] is not groups[
                j
            ]:
                groups[i] |= groups[j]
                for member in groups[j]:
                    groups[member] = groups[i]
    expected = {tuple(map(str, sorted(group))) for group in groups if len({splits[i] for i in group}) > 1}
    found = [finding.paths for finding in duplicates.near_findings(photos, splits)]
    assert set(found) == expected
    assert len(found) == len(expected)


@pytest.mark.parametrize(("bits", "alike"), [(4, True), (5, False)])
def test_looks_are_close_up_to_four_bits(bits: int, alike: bool) -> None:
    photos = [
        Photo(Sample(str(look), "a", "train", bytes), "", str(look), look, 40, 40, "RGB", "PNG")
        for look in (0, (1 << bits) - 1)
    ]
    assert bool(list(duplicates.near_findings(photos, ["train", "test"]))) is alike


def test_many_pictures_that_look_alike_are_one_finding() -> None:
    photos = [
        Photo(Sample(f"{i}.png", "ab"[i % 2], "train", bytes), "", str(i), 7, 40, 40, "RGB", "PNG")
        for i in range(1800)
    ]
    [finding] = duplicates.near_findings(photos, ["train"] * 1800)
    assert finding.text == (
        "0.png (train, a), 1.png (train, b), 2.png (train, a), 3.png (train, b), 4.png (train, a), "
        "5.png (train, b), … and 1,794 more"
    )
    assert len(finding.paths) == 1800
    assert list(duplicates.near_findings(photos[::2], ["train"] * 900)) == []  # all of one class


def test_a_group_in_a_message_shows_every_place(photos: Photos) -> None:
    root = photos(splits=SPLITS)
    for index in range(10):
        shutil.copy(root / "train" / "checks" / "000.png", root / "train" / "checks" / f"copy{index}.png")
    shutil.copy(root / "train" / "checks" / "000.png", root / "test" / "checks" / "x.png")
    [text] = texts(scan_of(root), "leak")
    assert "test/checks/x.png (test)" in text
    assert text.endswith("… and 6 more")


def test_every_fatal_finding_has_a_way_out() -> None:
    assert set(WAYS_OUT) == set(KINDS) - {"labels", "near"}  # these two are warnings
    assert ways_out([Finding("leak", "x", fatal=False), Finding("few", "y")]) == WAYS_OUT["few"]


def test_all_findings_come_at_once_and_each_kind_is_cut(photos: Photos) -> None:
    findings = [Finding(kind, f"{kind} {i}") for kind in KINDS for i in range(SHOWN + 3)]
    text = describe(findings)
    assert all(heading in text for heading in KINDS.values())
    assert text.count("… and 3 more") == len(KINDS)
    assert "unreadable 19" in text and "unreadable 20" not in text
    root = photos(splits=SPLITS)
    leak(root)
    spoil(root)
    shutil.rmtree(root / "validation" / "stripes")
    with pytest.raises(DataError) as caught:
        scan_of(root).require(QUIET)
    for kind in ("classes", "unreadable", "leak"):
        assert KINDS[kind] in caught.value.message


def png(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (8, 8), value).save(stream, "PNG")
    return stream.getvalue()


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(14)), st.integers(0, 3))
def test_the_split_of_a_picture_does_not_depend_on_its_place_in_the_listing(
    order: list[int], seed: int
) -> None:
    samples = [Sample(str(i), "ab"[i % 2], "train", lambda i=i: png(i // 2 * 2 + i % 2)) for i in range(14)]

    def splits(of: list[Sample]) -> dict[str, str]:
        listing = Listing("x", tuple(of), {"train": ("a", "b")}, ("validation", "test"))
        found = scan(listing, SIZE_8, seed, QUIET)
        return dict(zip((p.sample.path for p in found.photos), found.splits, strict=True))

    assert splits(samples) == splits([samples[i] for i in order])


def test_pixels_are_kept_in_the_order_of_the_photos(photos: Photos) -> None:
    kept: list[np.ndarray] = []
    listing = load_listing(str(photos()))
    found = scan(listing, SIZE_8, 0, QUIET, keep=kept.append)
    assert [photo.sample for photo in found.photos] == list(listing.samples)
    alone = scan(Listing("x", listing.samples[5:6], {"train": ("a",)}), SIZE_8, 0, QUIET, keep=kept.append)
    assert len(alone.photos) == 1
    np.testing.assert_array_equal(kept[5], kept[-1])
