"""Data sets by name: download with checksum, nothing half-done trusted. Only the network is replaced."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from kdtool.core.errors import LockedError, SetupError
from kdtool.core.preprocess import decode
from kdtool.core.screen import QUIET
from kdtool.data.prepare import prepare
from kdtool.data.sources import load_listing
from kdtool.data.sources import torchvision as source
from kdtool.data.sources.torchvision import DATASETS, cache_folder
from kdtool.recipe.settings import DataSettings

Serve = Callable[[dict[str, bytes]], list[str]]


class Response(io.BytesIO):
    """What urlopen gives."""

    def __init__(self, url: str, body: bytes) -> None:
        super().__init__(body)
        self.url, self.length = url, len(body)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KDTOOL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "datasets"


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Replaces the network by bodies, by the end of their address; gives the list of what was asked for."""

    def install(bodies: dict[str, bytes]) -> list[str]:
        asked: list[str] = []

        def urlopen(request: urllib.request.Request, *_: object, **__: object) -> Response:
            url = request.full_url
            if request.get_method() == "GET" and "Method" not in request.headers:
                asked.append(url)
            return Response(url, next(body for end, body in bodies.items() if url.endswith(end)))

        monkeypatch.setattr(urllib.request, "urlopen", urlopen)
        return asked

    return install


def archive(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, body in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    return stream.getvalue()


def md5(body: bytes) -> str:
    return hashlib.md5(body, usedforsecurity=False).hexdigest()


def jpeg(seed: int) -> bytes:
    stream = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(stream, "JPEG")
    return stream.getvalue()


def imagenette(monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small imagenette2-160.tgz; torchvision's table is told its checksum."""
    wnids = list(datasets.Imagenette._WNID_TO_CLASS)
    body = archive(
        {
            f"imagenette2-160/{split}/{wnid}/{i}.JPEG": jpeg(1000 * label + 10 * i + (split == "val"))
            for split, count in (("train", 3), ("val", 1))
            for label, wnid in enumerate(wnids)
            for i in range(count)
        }
    )
    url = datasets.Imagenette._ARCHIVES["160px"][0]
    monkeypatch.setitem(datasets.Imagenette._ARCHIVES, "160px", (url, md5(body)))
    return body


def test_a_data_set_of_files(serve: Serve, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    asked = serve({"imagenette2-160.tgz": imagenette(monkeypatch)})
    listing = load_listing("imagenette-160")
    assert listing.classes[:2] == ("tench", "English springer")
    assert listing.carve == ("validation",)
    assert [sum(s.split == split for s in listing.samples) for split in ("train", "test")] == [30, 10]
    sample = listing.samples[0]
    assert sample.path == "imagenette2-160/train/n01440764/0.JPEG"
    assert sample.read() == jpeg(0)  # the file itself, not encoded again
    assert len(asked) == 1
    assert load_listing("imagenette-160").samples[0].path == sample.path
    assert len(asked) == 1  # from the cache
    assert [path.name for path in cache.iterdir() if path.name != ".imagenette-160.lock"] == [
        "imagenette-160"
    ]


def test_a_data_set_of_arrays(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = datasets.CIFAR10
    pixels = np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)
    names = [f"class{i}" for i in range(10)]
    files = {"batches.meta": pickle.dumps({"label_names": names})}
    for name in [name for name, _ in (*kind.train_list, *kind.test_list)]:
        files[name] = pickle.dumps({"data": pixels.reshape(10, -1), "labels": list(range(10))})
    body = archive({f"{kind.base_folder}/{name}": content for name, content in files.items()})
    monkeypatch.setattr(kind, "tgz_md5", md5(body))
    monkeypatch.setattr(kind, "train_list", [[name, md5(files[name])] for name, _ in kind.train_list])
    monkeypatch.setattr(kind, "test_list", [[name, md5(files[name])] for name, _ in kind.test_list])
    monkeypatch.setattr(kind, "meta", {**kind.meta, "md5": md5(files["batches.meta"])})
    serve({"cifar-10-python.tar.gz": body})
    listing = load_listing("cifar10")
    assert listing.classes == tuple(names)
    assert [s.split for s in listing.samples].count("train") == 50
    assert listing.samples[3].path == "train/00003.png"
    assert listing.samples[3].label == "class3"
    decoded = np.asarray(decode(listing.samples[3].read(), "x"))
    np.testing.assert_array_equal(decoded, pixels[3].transpose(1, 2, 0))


def test_grey_digits_by_name(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    labels = bytes(i % 10 for i in range(20))
    bodies = {
        "images-idx3-ubyte.gz": gzip.compress(struct.pack(">IIII", 0x803, 20, 28, 28) + pixels.tobytes()),
        "labels-idx1-ubyte.gz": gzip.compress(struct.pack(">II", 0x801, 20) + labels),
    }
    resources = [
        (name, md5(next(body for end, body in bodies.items() if name.endswith(end))))
        for name, _ in datasets.FashionMNIST.resources
    ]
    monkeypatch.setattr(datasets.FashionMNIST, "resources", resources)
    serve(bodies)
    listing = load_listing("fashion-mnist")
    assert listing.classes[0] == "T-shirt/top"
    assert len(listing.samples) == 40
    np.testing.assert_array_equal(np.asarray(decode(listing.samples[7].read(), "x"))[..., 0], pixels[7])


def test_the_pets_have_no_loader_but_their_files_are_found(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = datasets.OxfordIIITPet
    images = archive({f"images/Abyssinian_{i}.jpg": jpeg(i) for i in range(4)})
    lines = "".join(f"Abyssinian_{i} 1 1 1\n" for i in range(2)).encode()
    tests = "".join(f"Abyssinian_{i} 1 1 1\n" for i in range(2, 4)).encode()
    annotations = archive({"annotations/trainval.txt": lines, "annotations/test.txt": tests})
    urls = [url for url, _ in kind._RESOURCES]
    monkeypatch.setattr(kind, "_RESOURCES", tuple(zip(urls, map(md5, (images, annotations)), strict=True)))
    serve({"images.tar.gz": images, "annotations.tar.gz": annotations})
    listing = load_listing("oxford-pets")
    assert [sample.path for sample in listing.samples][-1] == "oxford-iiit-pet/images/Abyssinian_3.jpg"
    assert listing.samples[3].read() == jpeg(3)
    assert listing.samples[3].label == "Abyssinian"


def test_prepared_from_a_name(serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    serve({"imagenette2-160.tgz": imagenette(monkeypatch)})
    prepared, _ = prepare("imagenette-160", DataSettings(size=8), 0, tmp_path / "out", QUIET)
    assert prepared.counts == {"train": 20, "validation": 10, "test": 10}
    assert len(prepared.classes) == 10


def test_a_wrong_checksum_keeps_nothing(serve: Serve, cache: Path) -> None:
    serve({"imagenette2-160.tgz": archive({"imagenette2-160/train/n01440764/0.JPEG": jpeg(0)})})
    with pytest.raises(
        SetupError, match=r"'imagenette-160' could not be downloaded .File not found or corrupted"
    ):
        load_listing("imagenette-160")
    assert [path.name for path in cache.iterdir()] == [".imagenette-160.lock"]


def test_what_a_killed_download_left_is_not_trusted(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    half = cache / ".imagenette-160.partial" / "imagenette2-160" / "train" / "n01440764"
    half.mkdir(parents=True)
    (half / "half.JPEG").write_bytes(b"")
    serve({"imagenette2-160.tgz": imagenette(monkeypatch)})
    assert len(load_listing("imagenette-160").samples) == 40


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_an_empty_folder_in_the_cache(name: str, cache: Path) -> None:
    (cache / name).mkdir(parents=True)
    with pytest.raises(SetupError, match=r"is incomplete or damaged") as caught:
        load_listing(name)
    assert str(cache / name) in caught.value.message
    assert f"rm -r {cache / name}" in caught.value.hint


def test_a_damaged_folder_in_the_cache(serve: Serve, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    serve({"imagenette2-160.tgz": imagenette(monkeypatch)})
    load_listing("imagenette-160")
    for path in cache.rglob("n01440764/*.JPEG"):
        path.unlink()
    with pytest.raises(SetupError, match=r"'imagenette-160' in .* is incomplete or damaged"):
        load_listing("imagenette-160")


def test_who_comes_second_takes_what_the_first_has_downloaded(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = serve({"imagenette2-160.tgz": imagenette(monkeypatch)})
    locked = source.run_lock

    @contextlib.contextmanager
    def after_another(folder: Path) -> Iterator[None]:
        """Between the look into the cache and the lock, another process does all of it."""
        monkeypatch.setattr(source, "run_lock", locked)
        load_listing("imagenette-160")
        with locked(folder):
            yield

    monkeypatch.setattr(source, "run_lock", after_another)
    assert len(load_listing("imagenette-160").samples) == 40
    assert len(asked) == 1


def test_the_files_are_on_the_disk_before_the_folder_has_its_name(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    serve({"imagenette2-160.tgz": imagenette(monkeypatch)})
    there: list[int] = []
    monkeypatch.setattr(
        "os.sync", lambda: there.append(len(list(cache.glob(".imagenette-160.partial/*/*/*/*"))))
    )
    monkeypatch.setattr(Path, "rename", lambda path, target: there.append(-1) or path.replace(target))
    load_listing("imagenette-160")
    assert there == [40, -1]


def test_a_download_under_way_is_waited_for(cache: Path) -> None:
    with (
        source.run_lock(cache / ".mnist.lock"),
        pytest.raises(LockedError, match=r"'mnist' is being downloaded: .* in use by process") as caught,
    ):
        load_listing("mnist")
    assert caught.value.hint == "Wait until the download ends, then run the same command again."


@pytest.mark.parametrize("name", sorted(DATASETS))
def test_offline(name: str, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    """A real refusal: the connection goes to a port of this machine where nobody listens."""
    for scheme in ("http", "https"):
        monkeypatch.setenv(f"{scheme}_proxy", "http://127.0.0.1:9")
        monkeypatch.delenv(f"{scheme.upper()}_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setattr(urllib.request, "_opener", None)  # keeps the proxies of its first use
    with pytest.raises(SetupError) as caught:
        load_listing(name)
    assert f"The data set '{name}' could not be downloaded" in caught.value.message
    assert "no part of it was kept" in caught.value.message
    assert "Check the network" in caught.value.hint
    assert [path.name for path in cache.iterdir()] == [f".{name}.lock"]


def test_without_torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchvision", None)
    with pytest.raises(SetupError, match=r"The data set 'mnist' needs the package 'torchvision'"):
        load_listing("mnist")


def test_the_cache_is_in_the_home_folder_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KDTOOL_CACHE")
    monkeypatch.setenv("HOME", "/home/someone")
    assert cache_folder() == Path("/home/someone/.cache/kdtool/datasets")
