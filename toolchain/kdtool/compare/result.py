"""Result of a comparison, the content of compare.json. Unknown values are null."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from kdtool.results.statistics.estimate import Interval

SCHEMA = 1
EVALUATED = "torch"  # torch ran the networks on the test images; bench runs ONNX files


@dataclass(frozen=True)
class SeedMean:
    """Mean and sample standard deviation over `n` seeds; `sd` is None for one seed."""

    mean: float
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> SeedMean | None:
        """Compute mean and standard deviation; None if there is no value."""
        n = len(values)
        return cls(fmean(values), stdev(values) if n > 1 else None, n) if values else None


@dataclass(frozen=True)
class Difference:
    """Test accuracy of a recipe minus that of another row, in percentage points, paired by seed and image.

    Attributes:
        than: name of the other row.
        points: mean over the `n` seeds that both rows have.
        seeds_ci: 95 % interval for other seeds with these images (`paired.seeds_interval`).
        images_ci: 95 % interval for other images with these networks (`paired.images_interval`).
    """

    than: str
    points: float
    sd: float | None
    n: int
    seeds_ci: Interval | None
    images_ci: Interval


@dataclass(frozen=True)
class SeedResult:
    """Result of one training. Accuracies are fractions in [0, 1]; seconds are the time of training steps."""

    seed: int
    validation: float | None
    test: float | None
    best_epoch: int | None
    epochs: int | None
    seconds: float | None
    failed: str | None
    test_balanced_accuracy: float | None = None
    test_macro_f1: float | None = None


@dataclass(frozen=True)
class Row:
    """Row of the comparison: a recipe, a baseline or a linear probe.

    Attributes:
        name: name of the recipe; for a baseline or a probe the name of its folder.
        budget: largest number of epochs.
        student: settings of the student.
        baseline: name of the baseline of the recipe; None for a baseline.
        gain: difference from the baseline.
        over_kd: difference from plain KD with the same student and budget.
        over_probe: difference from the student's linear probe; None for a student from scratch.
        gap_closed: (student − baseline) / (teacher − baseline), with mean test accuracies.
        best: true for the highest mean validation accuracy of all recipes without a failed training; equal
            recipes are all best.
    """

    role: str
    name: str
    budget: int
    student: dict[str, Any]
    runs: tuple[SeedResult, ...]
    validation: SeedMean | None
    test: SeedMean | None
    seconds: float | None
    baseline: str | None = None
    gain: Difference | None = None
    over_kd: Difference | None = None
    gap_closed: float | None = None
    best: bool = False
    test_balanced_accuracy: SeedMean | None = None
    test_macro_f1: SeedMean | None = None
    over_probe: Difference | None = None

    @property
    def failed(self) -> bool:
        """True if a training failed."""
        return any(run.failed for run in self.runs)


@dataclass(frozen=True)
class Comparison:
    """Whole comparison. Recipes are in the order of mean validation accuracy, those with a failure last.

    Attributes:
        test_images: number of test images.
        plain_kd: names of the plain KD recipes that `over_kd` refers to, one for each student and budget;
            empty if no recipe is compared with plain KD.
        notes: reasons for doubt about the figures.
    """

    source: str
    data: str
    seeds: tuple[int, ...]
    test_images: int
    teacher_arch: str
    teacher_validation: float
    teacher_test: float
    plain_kd: tuple[str, ...]
    recipes: tuple[Row, ...]
    baselines: tuple[Row, ...]
    notes: tuple[str, ...]
    teacher_test_balanced_accuracy: float | None = None
    teacher_test_macro_f1: float | None = None
    probes: tuple[Row, ...] = ()

    def title(self, row: Row) -> str:
        """Title of a row for the user; if there are several baselines, their titles name their recipes."""
        if row.baseline is not None:
            return row.name
        if row in self.probes:
            return f"frozen, linear ({row.student['arch']})"
        names = [recipe.name for recipe in self.recipes if recipe.baseline == row.name]
        return "baseline" if len(self.baselines) == 1 else f"baseline of {', '.join(names)}"

    def to_json(self) -> dict[str, Any]:
        """Convert to plain values for compare.json."""
        return {"schema": SCHEMA, "evaluated": EVALUATED, **asdict(self)}
