"""What a comparison found: compare.json as the code knows it. Unknown values are null."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

from kdtool.results.statistics import Interval

SCHEMA = 1
EVALUATED = "torch"  # what ran the networks on the test images; bench runs ONNX files


@dataclass(frozen=True)
class Figure:
    """Mean and sample standard deviation over `n` seeds; `sd` None for one."""

    mean: float
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure | None:
        """None where there is no value."""
        n = len(values)
        return cls(fmean(values), stdev(values) if n > 1 else None, n) if values else None


@dataclass(frozen=True)
class Difference:
    """Test accuracy of a recipe minus that of `than`, percentage points, paired by seed and image.

    Attributes:
        points: mean over the `n` seeds that both have.
        seeds_ci: 95 % interval for other seeds on these images (`paired.seeds_interval`).
        images_ci: 95 % interval for other images with these networks (`paired.images_interval`).
    """

    than: str
    points: float
    sd: float | None
    n: int
    seeds_ci: Interval | None
    images_ci: Interval


@dataclass(frozen=True)
class Run:
    """One training. Accuracies are fractions in [0, 1]; seconds are of its training steps."""

    seed: int
    validation: float | None
    test: float | None
    best_epoch: int | None
    epochs: int | None
    seconds: float | None
    failed: str | None


@dataclass(frozen=True)
class Row:
    """A recipe, or a baseline.

    Attributes:
        name: of the recipe; of a baseline, the part of its folder's name.
        budget: epochs at most; `student`: the settings of the student.
        baseline: name of the recipe's; None of a baseline itself.
        gain, over_kd: against the baseline, and against plain KD of the same student and budget.
        gap_closed: (student − baseline) / (teacher − baseline), of mean test accuracies.
        best: of all recipes without a failure, the highest mean validation accuracy; equals share it.
    """

    role: str
    name: str
    budget: int
    student: dict[str, Any]
    runs: tuple[Run, ...]
    validation: Figure | None
    test: Figure | None
    seconds: float | None
    baseline: str | None = None
    gain: Difference | None = None
    over_kd: Difference | None = None
    gap_closed: float | None = None
    best: bool = False

    @property
    def failed(self) -> bool:
        """Whether a training is missing."""
        return any(run.failed for run in self.runs)


@dataclass(frozen=True)
class Comparison:
    """The whole. Recipes are in the order of mean validation accuracy, those with a failure last.

    Attributes:
        plain_kd: the recipes that `over_kd` is against, one a student and budget; empty where none is plain
            KD, or none has another to be held against.
        test_images: how many; notes: what makes the figures doubtful.
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

    def title(self, row: Row) -> str:
        """A row's name as people read it: a baseline's by its recipes, where there is more than one."""
        if row.baseline is not None:
            return row.name
        names = [recipe.name for recipe in self.recipes if recipe.baseline == row.name]
        return "baseline" if len(self.baselines) == 1 else f"baseline of {', '.join(names)}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for compare.json."""
        return {"schema": SCHEMA, "evaluated": EVALUATED, **asdict(self)}
