"""Measure an epoch of distillation in kdtool, torchdistill and a plain PyTorch loop, on the same images.

python benchmarks/training.py [--data FOLDER] [--sizes 224:16:160,64:64:960] [--repeats 3] [--augment]

FOLDER has class folders; without --data, the script makes JPEG files of coloured noise, 500 × 375 pixels. A
ResNet34 teaches a ResNet18, both from scratch (the time of a step does not depend on weights), with Adam
and cross-entropy plus KL. Each measurement is a process of its own that trains `--epochs` epochs; the first
epoch warms up. In each repeat every candidate is measured once, in an order that rotates. The result has the
median and range of the ratios within a repeat.

    stored       kdtool distill with stored soft labels
    online       kdtool distill, the teacher asked in every step
    alone        kdtool without a teacher
    bfloat16     stored, with --precision bfloat16
    torchdistill the package of that name (pip install torchdistill), left out if it is not installed
    plain        a loop over ImageFolder and DataLoader, the teacher asked in every step
    one, two     stored, in one process of one thread, and in two processes of one thread each (torchrun)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from kdtool.machine.threads import usable_threads

TEACHER, STUDENT, CLASSES = "resnet34", "resnet18", 10
LR, TEMPERATURE = 1e-3, 4.0
CROP = 0.5  # smallest share of the area that a random crop keeps
RESULTS = Path(__file__).with_name("results") / "training.json"


def kdtool(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Train with kdtool; return the seconds of an epoch and of a checkpoint, and the share of its data."""
    from kdtool.core.screen import QUIET
    from kdtool.data.reader import open_prepared
    from kdtool.losses import logit_loss
    from kdtool.recipe.settings import AugmentSettings, StudentSettings
    from kdtool.runs.folder import RunFolder
    from kdtool.train.loop import fit
    from kdtool.train.loop.checkpoint import Checkpoints
    from kdtool.train.loop.criterion import Distillation
    from kdtool.train.stage import Training, train
    from kdtool.train.student import distill, train_baseline
    from kdtool.train.teaching.features import OnlineTeacher
    from kdtool.train.teaching.teacher import open_teacher
    from kdtool.train.together.processes import processes
    from kdtool.train.views.batch import Examples

    first = processes().first
    run = RunFolder(options.folder / f"run-{options.size}")
    prepared = open_prepared(run.data)
    settings = StudentSettings(
        arch=STUDENT, epochs=options.epochs, patience=0, lr=LR, batch_size=options.batch,
        precision="bfloat16" if name == "bfloat16" else "float32",
        loss={"name": "kd", "temperature": TEMPERATURE},
        augment=AugmentSettings(crop=CROP, flip=True) if options.augment else AugmentSettings(),
    )  # fmt: skip
    data, saves, marks = Stopwatch(), Stopwatch(), Stopwatch()
    Examples.shared_batch = data.of(Examples.shared_batch)
    Checkpoints.save = saves.of(Checkpoints.save)
    fit.evaluate = marks.of(fit.evaluate)
    out = Path(tempfile.mkdtemp(dir=options.folder)) if first else options.folder / "other"
    if name == "alone":
        train_baseline(out, prepared, settings, 0, QUIET)
    elif name == "online":
        teacher = open_teacher(run, prepared)
        online = OnlineTeacher(teacher.network, teacher.info.preprocess)
        criterion = Distillation(logit_loss(settings.loss.name, settings.loss.params), online)
        both = {"train": criterion, "validation": criterion}
        train(prepared, Training("student", out, settings, 0, 0), lambda _: both, QUIET)
    else:
        # naming their folder has soft labels stored, even if asking would cost less
        distill(run, prepared, settings, 0, QUIET, folder=out, soft_labels=run.soft_labels)
    if not first:
        return {}
    starts = [data.calls[0][0], *(end for _, end in marks.calls[:-1])]
    ends = [start for start, _ in marks.calls]
    measured = [end - start for start, end in zip(starts, ends, strict=True)][1:]
    after_first = [end - start for start, end in data.calls if start > starts[1]]
    save = statistics.median(end - start for start, end in saves.calls)
    return {
        "seconds": statistics.median(measured),
        "data_share": sum(after_first) / sum(measured),
        "save_seconds": save,
        "durability_share_at_most": save / (fit.checkpoint_interval(save) + save),
    }


def torchdistill(options: argparse.Namespace) -> dict[str, float]:
    """Train with torchdistill's DistillationBox, as its examples do."""
    import torch
    from torch.utils.data import RandomSampler
    from torchdistill.core.distillation import get_distillation_box

    loader = {
        "dataset_id": "train", "sampler": {"class_or_func": RandomSampler},
        "kwargs": {"batch_size": options.batch, "num_workers": options.workers},
    }  # fmt: skip
    loss = {
        "student_module_path": ".", "student_module_io": "output", "teacher_module_path": ".",
        "teacher_module_io": "output", "temperature": TEMPERATURE, "alpha": 0.5, "reduction": "batchmean",
    }  # fmt: skip
    criterion = {"kd": {"criterion": {"key": "KDLoss", "kwargs": loss}, "weight": 1.0}}
    config = {
        "num_epochs": options.epochs,
        "train_data_loader": loader,
        "teacher": {"forward_proc": "forward_batch_only", "requires_grad": False, "sequential": []},
        "student": {"forward_proc": "forward_batch_only", "sequential": []},
        "optimizer": {"key": "Adam", "kwargs": {"lr": LR}},
        "criterion": {"key": "WeightedSumLoss", "kwargs": {"sub_terms": criterion}},
    }
    teacher, student = networks()
    teacher.eval()  # the box itself does not do this
    device = torch.device("cpu")
    box = get_distillation_box(
        teacher, student, {"train": image_folder(options)}, config, device, None, False, 1
    )

    def epoch(number: int) -> None:
        box.pre_epoch_process(epoch=number)
        for images, targets, extra in box.train_data_loader:
            box.post_forward_process(loss=box.forward_process(images, targets, extra))

    return timed(epoch, options.epochs)


def plain(options: argparse.Namespace) -> dict[str, float]:
    """Train with a loop as tutorials show it."""
    import torch
    import torch.nn.functional as F
    from torch.utils.data import DataLoader

    teacher, student = networks()
    teacher.eval()
    student.train()
    loader = DataLoader(
        image_folder(options), batch_size=options.batch, shuffle=True, num_workers=options.workers
    )
    optimizer = torch.optim.Adam(student.parameters(), lr=LR)

    def epoch(_: int) -> None:
        for images, targets in loader:
            with torch.no_grad():
                teacher_logits = teacher(images)
            logits = student(images)
            soft = F.kl_div(
                F.log_softmax(logits / TEMPERATURE, 1),
                F.softmax(teacher_logits / TEMPERATURE, 1),
                reduction="batchmean",
            )
            loss = 0.5 * F.cross_entropy(logits, targets) + 0.5 * TEMPERATURE**2 * soft
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return timed(epoch, options.epochs)


CANDIDATES: dict[str, Callable[[argparse.Namespace], dict[str, float]]] = {
    **{
        name: lambda options, name=name: kdtool(name, options)
        for name in ("stored", "online", "alone", "bfloat16")
    },
    "torchdistill": torchdistill,
    "plain": plain,
    **{name: lambda options: kdtool("stored", options) for name in ("one", "two")},
}
ONE_THREAD = ("one", "two")
RATIOS = (
    ("stored", "alone"), ("torchdistill", "stored"), ("plain", "stored"), ("online", "stored"),
    ("stored", "bfloat16"), ("torchdistill", "bfloat16"), ("one", "two"), ("one", "stored"),
)  # fmt: skip
OF_STORED = ("data_share", "durability_share_at_most", "save_seconds")


class Stopwatch:
    """Records start and end of every call of a function."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, float]] = []

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed_call(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            result = function(*arguments, **options)
            self.calls.append((started, time.perf_counter()))
            return result

        return timed_call


def timed(epoch: Callable[[int], None], epochs: int) -> dict[str, float]:
    """Run `epochs` epochs; return the median of their seconds without the first."""
    seconds = []
    for number in range(epochs):
        started = time.perf_counter()
        epoch(number)
        seconds.append(time.perf_counter() - started)
    return {"seconds": statistics.median(seconds[1:])}


def networks() -> tuple[Any, Any]:
    """Build teacher and student."""
    from torchvision import models

    return models.get_model(TEACHER, num_classes=CLASSES), models.get_model(STUDENT, num_classes=CLASSES)


def image_folder(options: argparse.Namespace) -> Any:
    """Open the training images; each is decoded, resized and cropped each time, as usual."""
    from torchvision import datasets, transforms

    plain = [transforms.Resize(options.size), transforms.CenterCrop(options.size)]
    views = [transforms.RandomResizedCrop(options.size, (CROP, 1)), transforms.RandomHorizontalFlip()]
    steps = [
        *(views if options.augment else plain),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
    return datasets.ImageFolder(photographs(options) / "train", transforms.Compose(steps))


def photographs(options: argparse.Namespace) -> Path:
    """Return the folder of photographs for one size of image."""
    root: Path = options.folder / f"photographs-{options.size}"
    return root


def lay_out(images: int, root: Path, data: Path | None) -> None:
    """Write training images in class folders, and a few for validation and test."""
    photos = iter(sorted(data.rglob("*.jp*g"))) if data else None
    for split, count in {"train": images, "validation": 2 * CLASSES, "test": 2 * CLASSES}.items():
        for index in range(count):
            folder = root / split / f"class{index % CLASSES}"
            folder.mkdir(parents=True, exist_ok=True)
            file = folder / f"{index:05d}.jpg"
            if photos is not None:
                file.symlink_to(next(photos).resolve())
            else:
                generator = np.random.default_rng((len(split), index))
                coarse = generator.integers(0, 256, (15, 20, 3)).astype(np.uint8)
                Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC).save(file, quality=90)


def prepare(options: argparse.Namespace) -> dict[str, float]:
    """Prepare images, a teacher and soft labels; return the seconds of the images and of the soft labels."""
    import torch

    from kdtool.arch.network import build, save_network
    from kdtool.core.modelinfo import ModelInfo
    from kdtool.core.screen import QUIET
    from kdtool.data.prepare import prepare as prepare_data
    from kdtool.recipe.settings import DataSettings, StudentSettings
    from kdtool.runs.folder import RunFolder
    from kdtool.train.stage import training_examples
    from kdtool.train.teaching.softlabels import store_soft_labels
    from kdtool.train.teaching.teacher import open_teacher

    torch.set_num_threads(usable_threads())
    run = RunFolder(options.folder / f"run-{options.size}")
    started = time.perf_counter()
    settings = DataSettings(size=options.size, allow_leaks=True)
    prepared, _ = prepare_data(str(photographs(options)), settings, 0, run.data, QUIET)
    decoded = time.perf_counter()
    info = ModelInfo("teacher", TEACHER, prepared.classes, prepared.preprocess)
    save_network(run.weights("teacher"), build(TEACHER, CLASSES, options.size).state_dict(), info)
    examples = training_examples(prepared, StudentSettings(arch=STUDENT, epochs=options.epochs), 0)
    asked = time.perf_counter()
    store_soft_labels(open_teacher(run, prepared), prepared, examples, run.soft_labels, QUIET)
    return {"prepare_seconds": decoded - started, "label_seconds": time.perf_counter() - asked}


def child(name: str, size: int, batch: int, options: argparse.Namespace) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    words = [
        __file__, "--child", name, "--size", str(size), "--batch", str(batch),
        "--folder", str(options.folder),
        "--epochs", str(options.epochs), "--workers", str(options.workers),
        *(["--augment"] if options.augment else []),
    ]  # fmt: skip
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    threads = 1 if name in ONE_THREAD else usable_threads()
    done = subprocess.run(
        [sys.executable, *(torchrun if name == "two" else []), *words],
        stdout=subprocess.PIPE, check=True, text=True, env=os.environ | {"OMP_NUM_THREADS": str(threads)},
    )  # fmt: skip
    result: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    print(f"{size} px, {name}: {result}", file=sys.stderr)
    return result


def measure(size: int, batch: int, images: int, options: argparse.Namespace) -> dict[str, Any]:
    """Measure all candidates at one size of image."""
    lay_out(images, options.folder / f"photographs-{size}", options.data)
    before = child("prepare", size, batch, options)
    names = [name for name in options.candidates if name != "torchdistill" or find_spec("torchdistill")]
    results: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for repeat in range(options.repeats):
        for name in (*names[repeat % len(names) :], *names[: repeat % len(names)]):
            results[name].append(child(name, size, batch, options))
    seconds = {name: [result["seconds"] for result in repeats] for name, repeats in results.items()}

    def ratios(over: str, under: str) -> dict[str, float]:
        return spread(a / b for a, b in zip(seconds[over], seconds[under], strict=True))

    pairs = [pair for pair in RATIOS if {*pair} <= seconds.keys()]
    stored = results.get("stored", [])
    shares = {name: spread(result[name] for result in stored) for name in OF_STORED} if stored else {}
    return {
        "size": size,
        "batch": batch,
        "images": images,
        "images_per_second": {name: spread(images / epoch for epoch in seconds[name]) for name in names},
        "ratios_of_seconds": {f"{over} / {under}": ratios(over, under) for over, under in pairs},
        "of_stored": shares,
        "seconds_of_an_epoch": seconds,
        **before,
    }


def spread(values: Iterator[float]) -> dict[str, float]:
    """Return median, smallest and largest value."""
    numbers = list(values)
    return {
        "median": round(statistics.median(numbers), 4),
        "min": round(min(numbers), 4),
        "max": round(max(numbers), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path)
    parser.add_argument(
        "--sizes", default="224:16:160,64:64:960", help="pixels:batch:images, separated by commas"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument(
        "--candidates",
        type=lambda text: text.split(","),
        default=list(CANDIDATES),
        help="candidates to measure, separated by commas",
    )
    parser.add_argument("--augment", action="store_true", help="random crops and flips for all")
    parser.add_argument(
        "--workers", type=int, default=2, help="workers of the DataLoader in torchdistill and plain"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    for hidden, kind in (("--child", str), ("--size", int), ("--batch", int), ("--folder", Path)):
        parser.add_argument(hidden, type=kind, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        result = (CANDIDATES | {"prepare": prepare})[options.child](options)
        if int(os.environ.get("RANK", "0")) == 0:
            print(json.dumps(result))
        return
    from kdtool.machine.host import read_host
    from kdtool.machine.packages import versions_of

    with tempfile.TemporaryDirectory(prefix="kdtool-training-") as folder:
        options.folder = Path(folder)
        sizes = [tuple(map(int, part.split(":"))) for part in options.sizes.split(",")]
        measured = [measure(*size, options) for size in sizes]
    result = {
        "repeats": options.repeats, "epochs": options.epochs,
        "photographs": options.data.name if options.data else "coloured noise, 500 × 375, JPEG",
        "augmented": options.augment, "loader_workers_of_peers": options.workers,
        "threads": usable_threads(), "measured": measured,
        "host": read_host().__dict__, "versions": versions_of((*versions_of(), "torchdistill")),
    }  # fmt: skip
    options.out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", "utf-8")
    print(json.dumps(measured, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
