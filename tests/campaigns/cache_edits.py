"""Bytes change, size and modification time stay: never is anything stale reused.

python -m campaigns.cache_edits --rounds 1000

Photographs, decoded images at both sizes, whole photographs, records, the teacher's answers and manifests
are edited. After each edit data and answers must be those that a run without a cache gives.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from campaigns.tiny import ARCH, photographs
from fixtures.images import PATTERNS
from kdtool.arch.network import build, save_network
from kdtool.core.files import sha256_file
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.screen import QUIET
from kdtool.data.pixels.whole import FOLDER as WHOLE
from kdtool.data.pixels.whole import INDEX, PIXELS, make_whole, whole_side
from kdtool.data.prepare import prepare
from kdtool.data.reader import TEACHER_FOLDER, Prepared, read_prepared, with_teacher
from kdtool.recipe.settings import AugmentSettings, DataSettings, StudentSettings
from kdtool.runs.folder import RunFolder
from kdtool.train.stage import training_examples
from kdtool.train.teaching.softlabels import SPLITS, SoftLabels, store_soft_labels
from kdtool.train.teaching.teacher import open_teacher

HEADER = 54  # bytes of a BMP before its pixels
STUDENT = StudentSettings(arch=ARCH, epochs=2, augment=AugmentSettings(crop=0.6, flip=True))
SIZE, TEACHER_SIZE = 32, 40  # pixels


def campaign(rounds: int, seed: int, folder: Path) -> dict[str, Any]:
    """Edit, make again, compare with what is made from nothing."""
    chance = random.Random(seed)
    source, run = photographs(folder / "photographs"), RunFolder(folder / "run")
    torch.manual_seed(0)
    network = build(ARCH, len(PATTERNS), TEACHER_SIZE)
    prepared = _prepared(source, run)
    info = ModelInfo("teacher", ARCH, prepared.classes, prepared.for_teacher.preprocess)
    save_network(run.weights("teacher"), network.state_dict(), info)
    labels = _labels(run, prepared)
    edits: Counter[str] = Counter()
    stale, held = [], (_content(prepared), _answers(labels))
    for number in range(rounds):
        kind, path = _choose(chance, source, run)
        _edit(path, chance, HEADER if kind == "photograph" else 0)
        edits[kind] += 1
        prepared = _prepared(source, run)
        labels = _labels(run, prepared)
        if kind == "photograph":
            fresh = RunFolder(folder / "fresh")
            shutil.copytree(run.role("teacher"), fresh.role("teacher"))
            anew = _prepared(source, fresh)
            expected = (_content(anew), _answers(_labels(fresh, anew)))
            if "test" not in path.parts and expected[0] == held[0]:
                stale.append(f"{number}: an edit of {path.name} that changes nothing is no edit")
            shutil.rmtree(fresh.path)
        else:
            expected = held
        held = (_content(prepared), _answers(labels))
        if held[0] != expected[0] or not np.array_equal(held[1], expected[1]):
            stale.append(f"{number}: {kind} {path.relative_to(folder)}")
            held = expected
    return {"seed": seed, "edits": sum(edits.values()), "by_kind": dict(edits), "stale": stale}


def _prepared(source: Path, run: RunFolder) -> Prepared:
    """Prepare at both sizes, and whole training photographs."""
    for size, folder in ((SIZE, run.data), (TEACHER_SIZE, run.data / TEACHER_FOLDER)):
        prepare(str(source), DataSettings(size=size, allow_leaks=True), 0, folder, QUIET)
    prepared = with_teacher(read_prepared(run.data).at(str(source)))
    side = whole_side(SIZE, TEACHER_SIZE)
    make_whole(run.data, str(source), *prepared.files("train"), side, stored=True, screen=QUIET)
    return prepared


def _labels(run: RunFolder, prepared: Prepared) -> SoftLabels:
    """Validation and two views of the training images."""
    teacher = open_teacher(run, prepared.for_teacher)
    return store_soft_labels(
        teacher, prepared, training_examples(prepared, STUDENT, 0), run.soft_labels, QUIET
    )


def _answers(labels: SoftLabels) -> npt.NDArray[np.float32]:
    """All of them, of both splits."""
    return np.concatenate([labels.logits[split].ravel() for split in SPLITS])


def _content(prepared: Prepared) -> dict[str, str]:
    """Hashes of the files themselves, not those on record."""
    return {
        str(path.relative_to(prepared.folder)): sha256_file(path)
        for path in prepared.folder.rglob("*.*")
        if "manifest" not in path.name
    }


def _choose(chance: random.Random, source: Path, run: RunFolder) -> tuple[str, Path]:
    folders, whole = (run.data, run.data / TEACHER_FOLDER), run.data / WHOLE
    kinds = {
        "photograph": sorted(source.rglob("*.bmp")),
        "decoded": [path for folder in folders for path in sorted(folder.glob("*.npy"))],
        "whole": [whole / name for name in (PIXELS, INDEX)],
        "record": [folder / name for folder in folders for name in ("samples.csv", "data.json")],
        "answers": sorted(run.soft_labels.glob("*.npy")),
        "manifest": [place / "manifest.json" for place in (*folders, whole, run.soft_labels)],
    }
    kind = chance.choice(list(kinds))
    return kind, chance.choice(kinds[kind])


def _edit(path: Path, chance: random.Random, start: int) -> None:
    """Change one byte; size, modification and access time are as before."""
    before = path.stat()
    payload = bytearray(path.read_bytes())
    place = chance.randrange(start, len(payload))
    payload[place] ^= chance.randint(1, 255)
    path.write_bytes(payload)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kdtool-edits-") as folder:
        result = campaign(options.rounds, options.seed, Path(folder))
    print(json.dumps(result, indent=2))
    raise SystemExit(1 if result["stale"] else 0)


if __name__ == "__main__":
    main()
