"""Trainings of test_processes.py, in one process and, started by torchrun, in two.

python together.py SOURCE OUT [train|stop]
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import Any

from kdtool.cli import main
from kdtool.core.errors import KdtoolError
from kdtool.data.reader import open_prepared
from kdtool.recipe.settings import StudentSettings
from kdtool.runs.folder import RunFolder
from kdtool.train.loop import fit
from kdtool.train.student import distill, train_baseline
from kdtool.train.together.processes import processes

ARCH = "timm/test_resnet"
SHARED = (
    "epochs=2",
    "patience=0",
    "optimizer=sgd",
    "lr=0.001",
    "batch_size=10",
    f"arch={ARCH}",
    "precision=float32",
)
FIELDS = [
    "data.size=32",
    "data.cache=none",
    "teacher.weights=none",
    "student.loss.name=dist",
    "student.ema=0.5",
    "student.augment.mixup=0.4",
    "student.augment.flip=true",
    *(f"{role}.{field}" for role in ("teacher", "student") for field in SHARED),
    "student.lr=0.0002",  # the loss of DIST divides by deviations; larger steps amplify the last bits
]
SETTINGS: dict[str, Any] = {
    "arch": ARCH, "epochs": 2, "patience": 0, "optimizer": "sgd", "lr": 1e-3, "batch_size": 10,
}  # fmt: skip


ALONE = StudentSettings.model_validate(SETTINGS)


class Spoken:
    """Screen that prints all messages."""

    def say(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    warn = say

    def bar(self, title: str, total: int) -> Any:
        from kdtool.core.screen import QUIET

        return QUIET.bar(title, total)


def train(source: Path, out: Path) -> None:
    """Train a teacher and four students: as the command does, with features, stopped, and not stopped."""
    run = RunFolder(out)
    command = [
        "distill",
        str(source),
        "--out",
        str(out),
        *(part for one in FIELDS for part in ("--set", one)),
    ]
    try:
        main(command)
    except SystemExit as left:
        assert not left.code
    prepared = open_prepared(run.data)
    hints = StudentSettings.model_validate(
        {**SETTINGS, "loss": {"name": "kd", "temperature": 2.0}, "features": {"name": "fitnet"}}
    )
    distill(run, prepared, hints, 0, Spoken(), folder=out / "hints")
    stop(source, out)
    for name in ("baseline", "whole"):
        train_baseline(out / name, prepared, ALONE, 0, Spoken())


def stop(_: Path, out: Path) -> None:
    """Stop a student in its second step; the photographs are already prepared."""
    prepared = open_prepared(RunFolder(out).data)
    try:
        with_signal_after_two_steps(lambda: train_baseline(out / "baseline", prepared, ALONE, 0, Spoken()))
    except KdtoolError as error:
        Spoken().say(f"left with {error.exit_code}")


def with_signal_after_two_steps(action: Any) -> None:
    """Run `action`; only the last process gets SIGTERM, in the second step."""
    count, steps = fit._count, 0

    def counted(*arguments: Any) -> None:
        nonlocal steps
        count(*arguments)
        steps += 1
        if steps == 2 and processes().rank == processes().count - 1:
            signal.raise_signal(signal.SIGTERM)

    fit._count = counted
    try:
        action()
    finally:
        fit._count = count


if __name__ == "__main__":
    {"train": train, "stop": stop}[sys.argv[3]](Path(sys.argv[1]), Path(sys.argv[2]))
