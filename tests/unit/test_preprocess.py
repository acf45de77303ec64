"""The one decode rule and the one resize, crop and normalization, against torchvision and by hand."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision.transforms import v2
from torchvision.transforms.functional import InterpolationMode

from kdtool.core import preprocess
from kdtool.core.errors import DataError
from kdtool.core.preprocess import Preprocess, decode

TORCHVISION = {
    "nearest": InterpolationMode.NEAREST,
    "bilinear": InterpolationMode.BILINEAR,
    "bicubic": InterpolationMode.BICUBIC,
    "lanczos": InterpolationMode.LANCZOS,
}


def noise(*shape: int, high: int = 256, dtype: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(0).integers(0, high, shape).astype(dtype)


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png(depth: int, colour: int, rows: list[bytes], width: int) -> bytes:
    """A PNG written by hand, for what Pillow reads but cannot write."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def grey(image: Image.Image) -> np.ndarray:
    """The one channel of an image that must be grey."""
    pixels = np.asarray(image)
    assert pixels.shape[2] == 3
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


# --- resize and crop -------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 70),
    height=st.integers(1, 70),
    size=st.integers(8, 32),
    more=st.integers(0, 9),
    interpolation=st.sampled_from(sorted(TORCHVISION)),
)
def test_pixels_are_exactly_torchvisions(
    width: int, height: int, size: int, more: int, interpolation: str
) -> None:
    image = Image.fromarray(noise(height, width, 3))
    reference = v2.Compose(
        [v2.Resize(size + more, TORCHVISION[interpolation], antialias=True), v2.CenterCrop(size)]
    )
    ours = Preprocess(size + more, size, interpolation).pixels(image)
    assert ours.shape == (size, size, 3)
    np.testing.assert_array_equal(ours, np.asarray(reference(image)))


def test_every_interpolation_is_compared() -> None:
    assert set(TORCHVISION) == set(preprocess.INTERPOLATIONS)


def test_normalize_is_torchvisions() -> None:
    pixels = noise(3, 8, 8, 3)
    mean, std = (0.1, 0.5, 0.7), (0.2, 0.3, 0.9)
    ours = Preprocess(8, 8, mean=mean, std=std).normalize(pixels)
    scaled = v2.functional.to_dtype(torch.from_numpy(pixels).permute(0, 3, 1, 2), torch.float32, scale=True)
    theirs = v2.functional.normalize(scaled, list(mean), list(std)).numpy()
    assert ours.dtype == np.float32
    assert ours.flags.c_contiguous
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


def test_a_thread_of_an_image_is_refused_before_it_fills_the_memory() -> None:
    with pytest.raises(DataError, match=r"resized to 2048 × 4096000"):
        Preprocess(2048, 2048).pixels(Image.new("RGB", (1, 2000)))


def test_json_round_trip() -> None:
    original = Preprocess(40, 32, "bicubic", (0.1, 0.2, 1 / 3), (0.4, 0.5, 0.6))
    assert Preprocess.from_json(original.to_json()) == original


@pytest.mark.parametrize("change", [{"mean": [1.0]}, {"interpolation": "box"}, {"std": ["a", 1, 1]}])
def test_what_is_no_preprocess_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        Preprocess.from_json(Preprocess(8, 8).to_json() | change)


# --- modes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "kind"),
    [("1", "PNG"), ("L", "PNG"), ("RGB", "PNG"), ("P", "PNG"), ("CMYK", "TIFF"), ("YCbCr", "TIFF")],
)
def test_modes_without_transparency_are_pillows_rgb(mode: str, kind: str) -> None:
    image = Image.fromarray(noise(8, 9, 3)).convert(mode)
    payload = encode(image, kind)
    expected = np.asarray(Image.open(io.BytesIO(payload)).convert("RGB"))
    np.testing.assert_array_equal(np.asarray(decode(payload, "x")), expected)


def test_cmyk_jpeg() -> None:
    payload = encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    red, green, blue = np.asarray(decode(payload, "x"))[4, 4].tolist()
    assert red > 240 and green < 15 and blue < 15


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_alpha_is_laid_on_white(mode: str) -> None:
    dark = (40,) if mode == "LA" else (40, 40, 40)
    image = Image.new(mode, (3, 1))
    for x, alpha in enumerate((0, 255, 128)):
        image.putpixel((x, 0), (*dark, alpha))
    clear, opaque, half = grey(decode(encode(image), "x"))[0].tolist()
    assert (clear, opaque) == (255, 40)
    assert abs(half - round(40 * 128 / 255 + 255 * 127 / 255)) <= 1


@pytest.mark.parametrize("kind", ["one index", "alpha table", "tRNS of RGB", "PA"])
def test_transparency_without_an_alpha_channel_is_laid_on_white(kind: str) -> None:
    if kind in ("one index", "alpha table"):
        image = Image.new("P", (2, 1))
        image.putpalette([10, 10, 10, 20, 20, 20])
        image.putpixel((1, 0), 1)
        payload = encode(image, transparency=0 if kind == "one index" else bytes([0, 255]))
    elif kind == "tRNS of RGB":
        image = Image.new("RGB", (2, 1), (10, 10, 10))
        image.putpixel((1, 0), (20, 20, 20))
        payload = encode(image, transparency=(10, 10, 10))
    else:
        image = Image.new("PA", (2, 1))
        image.putpalette([10, 10, 10, 20, 20, 20])
        image.putpixel((0, 0), (0, 0))
        image.putpixel((1, 0), (1, 255))
        assert grey(preprocess.to_rgb(image))[0].tolist() == [
            255,
            20,
        ]  # no format stores PA: no bytes to decode
        return
    assert grey(decode(payload, "x"))[0].tolist() == [255, 20]


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "TIFF big-endian", "PGM"])
def test_sixteen_bit_grey_is_divided_by_257(kind: str) -> None:
    values = np.array([[0, 1, 128, 129, 257, 32768, 65406, 65535]], dtype=np.uint16)
    if kind == "TIFF big-endian":
        payload = encode(Image.frombytes("I;16B", (8, 1), values.astype(">u2").tobytes()), "TIFF")
        assert Image.open(io.BytesIO(payload)).mode == "I;16B"
    elif kind == "PGM":
        payload = b"P5 8 1 65535\n" + values.astype(">u2").tobytes()
    else:
        payload = encode(Image.fromarray(values), kind)
    expected = np.rint(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(grey(decode(payload, "x")), expected)


def test_sixteen_bit_rgb_keeps_its_range() -> None:
    values = np.array([[[0, 32768, 65535], [257, 514, 65278]]], dtype=">u2")
    decoded = np.asarray(decode(png(16, 2, [values[0].tobytes()], 2), "x"), dtype=int)
    assert np.abs(decoded - np.asarray(values, dtype=float) / 257).max() <= 1


def test_sixteen_bit_grey_with_alpha_is_laid_on_white() -> None:
    row = np.array([0, 0, 0, 65535], dtype=">u2").tobytes()
    assert grey(decode(png(16, 4, [row], 2), "x"))[0].tolist() == [255, 0]


def test_floating_point_has_no_rule() -> None:
    payload = encode(Image.fromarray(np.zeros((4, 4), np.float32)), "TIFF")
    with pytest.raises(DataError, match=r"^a.tif: not a readable image .floating-point pixels"):
        decode(payload, "a.tif")


# --- orientation and animation -------------------------------------------------------------------


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_exif_orientation(orientation: int, dtype: type) -> None:
    high = np.iinfo(dtype).max
    upright = np.array([[0, 0, 0], [high, 0, 0]], dtype=dtype)  # the lower left corner is bright
    turns = {
        1: upright,
        2: np.fliplr(upright),
        3: np.rot90(upright, 2),
        4: np.flipud(upright),
        5: upright.T,
        6: np.rot90(upright, 1),
        7: np.rot90(upright, 2).T,
        8: np.rot90(upright, -1),
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    payload = encode(Image.fromarray(np.ascontiguousarray(turns[orientation])), exif=exif)
    np.testing.assert_array_equal(grey(decode(payload, "x")), upright // (257 if dtype is np.uint16 else 1))


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_first_frame_of_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    payload = encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(payload)).n_frames == 3
    assert np.asarray(decode(payload, "x"))[4, 4].tolist() == [255, 0, 0]


# --- broken ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_truncated(kind: str) -> None:
    payload = encode(Image.fromarray(noise(32, 32, 3)), kind)
    with pytest.raises(DataError, match=r"^cut.img: not a readable image"):
        decode(payload[: len(payload) // 2], "cut.img")


@pytest.mark.parametrize("payload", [b"", b"hello", b"\xff\xd8\xff", b"<svg/>"])
def test_no_image(payload: bytes) -> None:
    with pytest.raises(DataError) as caught:
        decode(payload, "a b.jpg")
    assert caught.value.message == "a b.jpg: not a readable image (no image format that Pillow knows)."
    assert caught.value.hint == "Repair or remove the photo file."


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_broken_bytes_are_a_data_error_or_an_image(data: st.DataObject) -> None:
    payload = bytearray(
        encode(Image.fromarray(noise(8, 8, 3)), data.draw(st.sampled_from(["JPEG", "PNG", "GIF"])))
    )
    for _ in range(3):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert decode(bytes(payload), "fuzz").mode == "RGB"
    except DataError as error:
        assert " at 0x" not in str(error)


@pytest.mark.parametrize("side", [10_001, 20_000])  # over our limit, and over twice Pillow's
def test_pixel_limit(side: int, recwarn: pytest.WarningsRecorder) -> None:
    payload = png(1, 0, [], side)
    payload = payload[:20] + struct.pack(">I", side) + payload[24:]  # the height
    payload = payload[:29] + struct.pack(">I", zlib.crc32(payload[12:29])) + payload[33:]
    with pytest.raises(DataError, match=r"^big.png.*: over the limit of 100,000,000 pixels\.\n"):
        decode(payload, "big.png")
    assert not recwarn.list


def test_exif_turn_is_pillows_for_jpeg() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    payload = encode(Image.fromarray(noise(8, 16, 3)), "JPEG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(payload)))
    np.testing.assert_array_equal(np.asarray(decode(payload, "x")), np.asarray(expected))
