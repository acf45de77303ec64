"""Statistics, rows, table and figure of a comparison, checked with values computed by hand."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from fixtures.screens import Recorder
from kdtool.compare.csvfiles import table_csv, trainings_csv
from kdtool.compare.entries import Entry, baselines_of, load_entries, plain_kd_of
from kdtool.compare.evaluation import EvaluatedNetworks
from kdtool.compare.figure import comparison_png
from kdtool.compare.paired import gap_closed, images_interval, seeds_interval
from kdtool.compare.record import record_students, require_same_students
from kdtool.compare.result import Comparison, Row, SeedMean
from kdtool.compare.summary import summarize
from kdtool.compare.table import print_comparison
from kdtool.compare.trainings import BASELINE, STUDENT, Trained, students_folder
from kdtool.core.errors import UsageError
from kdtool.core.files import sha256_json
from kdtool.core.preprocess import Preprocess
from kdtool.core.screen import QUIET
from kdtool.data.reader import Prepared
from kdtool.data.sources.digits import NAME as DIGITS
from kdtool.recipe.files import override_recipe
from kdtool.recipe.settings import Recipe
from kdtool.results.classes import Tally
from kdtool.results.statistics.accuracy import difference_bootstrap
from kdtool.runs.folder import RunFolder, newest_run
from kdtool.runs.record import Job


# Two-sided points as printed in the tables of any textbook.
@pytest.mark.parametrize(
    ("n", "confidence", "expected"),
    [(2, 0.95, 12.706), (3, 0.95, 4.303), (10, 0.95, 2.262), (3, 0.99, 9.925)],
)
def test_an_interval_is_students(n: int, confidence: float, expected: float) -> None:
    values = [float(value) for value in range(n)]
    low, high = seeds_interval(values, confidence) or (0, 0)
    assert (high - low) / 2 == pytest.approx(expected * np.std(values, ddof=1) / n**0.5, rel=1e-3)


def test_the_spread_is_that_of_a_sample() -> None:
    assert SeedMean.of([1.0, 2.0, 4.0]) == SeedMean(pytest.approx(7 / 3), pytest.approx((21 / 9) ** 0.5), 3)
    assert SeedMean.of([5.0]) == SeedMean(5.0, None, 1)
    assert SeedMean.of([]) is None


def test_an_interval_over_seeds() -> None:
    low, high = seeds_interval([1.0, 2.0, 3.0]) or (0, 0)  # 2 ± 4.3027 · 1 / √3
    assert (low, high) == (pytest.approx(-0.4842, abs=1e-3), pytest.approx(4.4842, abs=1e-3))
    assert seeds_interval([1.0]) is None


def test_an_interval_over_images_is_that_of_the_normal_where_there_are_many() -> None:
    ours, theirs = np.zeros((1, 10_000), bool), np.zeros((1, 10_000), bool)
    ours[0, :600], theirs[0, 600:1000] = True, True
    low, high = images_interval(ours, theirs)
    half = 1.96 * ((0.1 - 0.02**2) / 10_000) ** 0.5  # difference 0.02, variance of one image 0.1 − 0.02²
    assert (low, high) == (pytest.approx(0.02 - half, abs=4e-4), pytest.approx(0.02 + half, abs=4e-4))
    twice = images_interval(np.repeat(ours, 2, axis=0), np.repeat(theirs, 2, axis=0))
    assert twice == pytest.approx((low, high), abs=4e-4), "the same network again is no further image"
    mirrored = images_interval(theirs, ours)
    assert mirrored == pytest.approx((-high, -low), abs=4e-4)


def test_an_interval_over_images_of_one_seed_is_that_of_a_difference() -> None:
    """It equals the interval of two networks; the images are right for one network only, so the correction
    for small samples matters.
    """
    ours, theirs = np.ones(40, bool), np.zeros(40, bool)
    expected = difference_bootstrap(ours, theirs, 20_000)
    assert images_interval(ours[None], theirs[None], 20_000) == pytest.approx(expected, abs=0.01)


def test_an_interval_over_images_narrows_where_seeds_disagree() -> None:
    generator = np.random.default_rng(0)
    ours, theirs = generator.random((5, 500)) < 0.8, generator.random((5, 500)) < 0.7
    one, five = images_interval(ours[:1], theirs[:1]), images_interval(ours, theirs)
    assert five[1] - five[0] < 0.6 * (one[1] - one[0])
    assert five[0] < 0.1 < five[1]


def test_images_that_all_get_right_prove_nothing() -> None:
    low, high = images_interval(np.ones((3, 10), bool), np.ones((3, 10), bool))
    assert low < 0 < high
    with pytest.raises(ValueError, match="not paired"):
        images_interval(np.ones((3, 10), bool), np.ones((2, 10), bool))


def test_the_gap() -> None:
    assert gap_closed(0.8, 0.7, 0.9) == pytest.approx(0.5)
    assert gap_closed(0.6, 0.7, 0.9) == pytest.approx(-0.5)
    assert gap_closed(0.8, 0.7, 0.7) is None


def entry(name: str, *overrides: str) -> Entry:
    return Entry(override_recipe(Recipe(name=name), overrides))


def test_recipes_share_a_baseline_where_student_and_budget_are_equal() -> None:
    kd = entry("kd")
    dkd = entry("dkd", "student.loss.name=dkd", "student.views=3", "student.features.name=fitnet")
    assert dkd.baseline == kd.baseline
    assert dkd.baseline_student == kd.baseline_student
    for change in ("lr=0.1", "epochs=9", "arch=resnet34", "augment.flip=true"):
        assert entry("other", f"student.{change}").baseline != kd.baseline, change
    assert baselines_of([dkd, kd]) == {kd.baseline: dkd}


def test_where_epochs_can_be_added_they_stand_apart_in_the_name_of_a_baseline() -> None:
    settings = {"lr": 0.1, "schedule": "cosine", "epochs": 9}
    cosine = entry("a", *(f"student.{key}={value}" for key, value in settings.items()))
    assert cosine.baseline == sha256_json({"settings": settings})[:8], "as ever"
    own = sha256_json({"settings": {"lr": 0.1}})[:8]
    for epochs in (9, 60):  # the latter is the default
        assert entry("a", "student.lr=0.1", f"student.epochs={epochs}").baseline == f"{own}-{epochs}"


def test_recipes_share_soft_labels_if_the_augmentation_is_equal() -> None:
    assert entry("a").soft_labels == entry("b", "student.epochs=9").soft_labels == "plain"
    flip = "student.augment.flip=true"
    flipped = entry("a", flip, "student.epochs=9")
    assert flipped.soft_labels == entry("b", flip, "student.views=8").soft_labels
    assert flipped.soft_labels == entry("b", flip, "student.epochs=8").soft_labels
    assert flipped.soft_labels != entry("b", "student.augment.crop=0.5", "student.epochs=9").soft_labels


@pytest.mark.parametrize(
    ("overrides", "views"),
    [
        (("student.epochs=9",), 1),
        (("student.epochs=9", "student.augment.flip=true"), 9),
        (("student.epochs=9", "student.augment.flip=true", "student.views=4"), 4),
        (("student.epochs=4", "student.augment.flip=true", "student.views=9"), 4),
    ],
)
def test_the_views_of_which_soft_labels_are_stored(overrides: tuple[str, ...], views: int) -> None:
    assert entry("a", *overrides).views == views


def test_plain_kd_is_that_of_the_same_student_and_budget() -> None:
    kd, dkd = entry("kd"), entry("dkd", "student.loss.name=dkd")
    longer = entry("longer", "student.loss.name=dkd", "student.epochs=99")
    flipped = [
        entry("kd-flipped", "student.augment.flip=true"),
        entry("nkd-flipped", "student.augment.flip=true", "student.loss.name=nkd"),
    ]
    entries = [flipped[0], dkd, kd, longer, flipped[1]]
    found = {one.name: plain.name for one in entries if (plain := plain_kd_of(one, entries))}
    assert found == {"kd": "kd", "dkd": "kd", "kd-flipped": "kd-flipped", "nkd-flipped": "kd-flipped"}


@pytest.mark.parametrize(
    ("overrides", "plain"),
    [
        ((), True),
        (("student.loss.temperature=2",), True),
        (("student.loss.standardize=true",), False),
        (("student.loss.name=dkd",), False),
        (("student.features.name=fitnet",), False),
        (("student.loss.weight=0",), False),
    ],
)
def test_what_plain_kd_is(overrides: tuple[str, ...], plain: bool) -> None:
    assert entry("a", *overrides).is_plain_kd is plain


def test_data_and_teacher_settings_of_a_recipe_are_ignored(tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text("[data]\nsize = 64\n[teacher]\nepochs = 3\n[student.loss]\nname = 'dkd'\n")
    first, screen = Recipe(name="first"), Recorder()
    entries = load_entries(first, ["first", str(other)], ["student.epochs=7"], screen)
    assert [one.name for one in entries] == ["first", "other"]
    assert (entries[1].recipe.data, entries[1].recipe.teacher) == (first.data, first.teacher)
    assert entries[1].student.epochs == 7
    (said,) = screen.lines
    assert said.startswith("other: its data and teacher settings are ignored;")


def test_how_a_brought_teacher_was_trained_is_no_difference(tmp_path: Path) -> None:
    brought, other, screen = tmp_path / "t.safetensors", tmp_path / "other.toml", Recorder()
    other.write_text(f"[teacher]\nepochs = 3\ntrained = '{brought}'\n[student.loss]\nname = 'dkd'\n")
    load_entries(
        override_recipe(Recipe(name="a"), [f"teacher.trained={brought}"]), ["a", str(other)], [], screen
    )
    assert screen.lines == []


def test_equal_students_and_equal_names(tmp_path: Path) -> None:
    same, screen = tmp_path / "same.toml", Recorder()
    same.write_text("")
    load_entries(Recipe(name="first"), ["first", str(same)], [], screen)
    assert screen.warned == [
        "same: its student has the same settings as the student of first; "
        "with one teacher both give equal results."
    ]
    with pytest.raises(UsageError, match="more than one recipe has the name same;"):
        load_entries(Recipe(name="first"), ["first", str(same), str(same)], [], QUIET)


# Four test images. Seed 0 and 1 of each network: how many, and which, it classifies correctly.
RIGHT = {
    "teacher": [1, 1, 1, 1],
    "student/kd/seed-0": [1, 1, 1, 0],
    "student/kd/seed-1": [1, 1, 0, 0],
    "student/dkd/seed-0": [1, 1, 1, 0],
    "student/dkd/seed-1": [1, 1, 1, 1],
    "student/nkd/seed-1": [1, 1, 1, 1],
}
BASE = {0: [1, 1, 0, 0], 1: [1, 0, 0, 0]}
VALIDATION = {"kd": (0.5, 0.6), "dkd": (0.7, 0.6), "nkd": (None, 0.9)}
ENTRIES = (
    entry("kd"),
    entry("dkd", "student.loss.name=dkd"),
    entry("nkd", "student.loss.name=nkd"),
)


def trained(role: str, name: str, seed: int, validation: float | None) -> Trained:
    folder = Path(role, name, str(seed))
    if validation is None:
        return Trained(role, name, seed, folder, failed="loss nan")
    return Trained(role, name, seed, folder, validation, best_epoch=2, epochs=3, seconds=10.0 + seed)


def of_99_epochs(name: str) -> Entry:
    return entry(name, "student.epochs=99")


def comparison(
    source: str = "/photos", seeds: tuple[int, ...] = (0, 1), entries: tuple[Entry, ...] = ENTRIES
) -> Comparison:
    bases = baselines_of(entries)
    trainings = [
        *(trained(BASELINE, base, seed, 0.5) for base in bases for seed in seeds),
        *(trained(STUDENT, name, seed, VALIDATION[name][seed]) for seed in seeds for name in VALIDATION),
    ]
    right = RIGHT | {
        f"baseline/{base}/seed-{seed}": correct for base in bases for seed, correct in BASE.items()
    }
    labels = np.array([0, 1, 1, 1])
    hits = {key: np.array(correct, bool) for key, correct in right.items()}
    tallies = {key: Tally.of(labels, np.where(hit, labels, 1 - labels), 2) for key, hit in hits.items()}
    evaluation = EvaluatedNetworks(hits, tallies, 0.95)
    job = Job(RunFolder(Path("out")), ENTRIES[0].recipe, 0, source, QUIET)
    return summarize(job, PREPARED, entries, trainings, evaluation)


PREPARED = Prepared(
    Path("out/data"), ("a", "b"), Preprocess(32, 32, "bilinear", (0.5,) * 3, (0.5,) * 3), "digest", {}
)


def row(found: Comparison, name: str) -> Row:
    return next(one for one in found.recipes if one.name == name)


def test_recipes_are_in_the_order_of_validation() -> None:
    found = comparison()
    assert [one.name for one in found.recipes] == ["dkd", "kd", "nkd"], "a failure is last, whatever it has"
    assert [one.best for one in found.recipes] == [True, False, False]
    assert found.plain_kd == ("kd",)


def test_the_figures_of_a_recipe() -> None:
    kd = row(comparison(), "kd")
    assert kd.validation and kd.test and kd.gain
    assert (kd.validation.mean, kd.validation.sd) == (pytest.approx(0.55), pytest.approx(0.05 * 2**0.5))
    assert kd.test.mean == pytest.approx((0.75 + 0.5) / 2)
    assert (kd.gain.points, kd.gain.sd, kd.gain.n) == (pytest.approx(25.0), pytest.approx(0.0), 2)
    assert kd.test_balanced_accuracy and kd.test_macro_f1
    assert kd.test_balanced_accuracy.mean == pytest.approx((5 / 6 + 2 / 3) / 2)
    assert kd.test_macro_f1.mean == pytest.approx(((2 / 3 + 4 / 5) / 2 + (1 / 2 + 1 / 2) / 2) / 2)
    assert kd.over_kd is None, "itself"
    assert kd.gap_closed == pytest.approx((0.625 - 0.375) / (1 - 0.375))
    assert kd.seconds == pytest.approx(10.5)
    dkd = row(comparison(), "dkd")
    assert dkd.over_kd
    assert (dkd.over_kd.than, dkd.over_kd.points) == ("kd", pytest.approx((0 + 50) / 2))
    low, high = dkd.over_kd.seeds_ci or (0, 0)  # 25 ± 12.706 · 35.355 / √2
    assert (low, high) == (pytest.approx(-292.66, abs=0.01), pytest.approx(342.66, abs=0.01))


def test_a_difference_takes_the_seeds_that_both_have() -> None:
    nkd = row(comparison(), "nkd")
    assert nkd.failed
    assert nkd.gain and nkd.gain.n == 1
    assert nkd.gain.points == pytest.approx(75.0)
    assert nkd.gain.seeds_ci is None
    assert nkd.gap_closed == pytest.approx(1.0), "against the baseline of that seed"


def test_the_notes() -> None:
    two = "\n".join(comparison(DIGITS).notes)
    assert "2 seeds are no evidence" in two
    assert "embedded digits" in two
    assert "nkd, seed 0, failed: loss nan" in two


def shown(found: Comparison) -> str:
    text = io.StringIO()
    print_comparison(found, Console(file=text, width=200))
    return text.getvalue()


def test_the_table() -> None:
    lines = {line.split()[1]: line for line in shown(comparison()).splitlines() if line.startswith("│")}
    assert "95.00" in lines["teacher"] and "100.00" in lines["teacher"]
    assert "37.50 ± 17.68" in lines["baseline"]
    assert "55.00 ± 7.07" in lines["kd"] and "+25.00 (+25.0 to +25.0)" in lines["kd"]
    assert "dkd *" in lines["dkd"] and "+25.00 (-292.7 to +342.7)" in lines["dkd"]
    assert "1 of 2 failed" in lines["nkd"]
    assert "Best on validation: dkd. Test accuracy against its baseline" in shown(comparison())


def test_equals_share_the_first_place() -> None:
    found = comparison()
    equal = replace(found, recipes=tuple(replace(one, best=True) for one in found.recipes[:2]))
    assert shown(equal).count("Best on validation (equal)") == 2


def test_a_table_without_plain_kd_has_no_column_for_it() -> None:
    assert "vs kd" in shown(comparison())
    assert "vs kd" not in shown(comparison(entries=(of_99_epochs("kd"), *ENTRIES[1:])))


def test_without_plain_kd_of_its_budget_a_recipe_is_held_against_none() -> None:
    found = comparison(entries=(of_99_epochs("kd"), *ENTRIES[1:]))
    assert found.plain_kd == ()
    assert [one.over_kd for one in found.recipes] == [None] * 3
    assert len(found.baselines) == 2


def test_baselines_are_called_by_their_recipes_where_there_are_several() -> None:
    found = comparison()
    assert found.title(found.baselines[0]) == "baseline"
    several = replace(found, baselines=(*found.baselines, replace(found.baselines[0], name="other")))
    assert several.title(several.baselines[0]) == "baseline of dkd, kd, nkd"


def test_json_and_csv_hold_every_training() -> None:
    found = comparison()
    content = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert content["schema"] == 1
    assert [run["test"] for run in content["recipes"][0]["runs"]] == [0.75, 1.0]
    rows = list(csv.DictReader(io.StringIO(trainings_csv(found))))
    assert [(one["role"], one["name"], one["seed"]) for one in rows[:2]] == [
        ("teacher", "resnet34", ""),
        ("baseline", ENTRIES[0].baseline, "0"),
    ]
    assert len(rows) == 1 + 2 + 3 * 2
    failed = next(one for one in rows if one["failed"])
    assert (failed["name"], failed["test_accuracy"], failed["failed"]) == ("nkd", "", "loss nan")


def test_the_table_as_csv_is_that_of_the_terminal() -> None:
    found = comparison()
    teacher, baseline, *recipes = csv.DictReader(io.StringIO(table_csv(found)))
    assert (teacher["role"], teacher["name"], baseline["role"]) == ("teacher", "resnet34", "baseline")
    assert float(teacher["test_balanced_accuracy_mean"]) == found.teacher_test_balanced_accuracy
    assert float(teacher["test_mean"]) == pytest.approx(found.teacher_test)
    assert [row["name"] for row in recipes] == [row.name for row in found.recipes]
    for cells, row in zip(recipes, found.recipes, strict=True):
        assert cells["best"] == str(int(row.best))
        if row.test:
            assert float(cells["test_mean"]) == pytest.approx(row.test.mean, abs=1e-6)
        if row.gain and row.gain.seeds_ci:
            gained = [float(cells[f"gain_{part}"]) for part in ("points", "seeds_low", "seeds_high")]
            assert gained == pytest.approx([row.gain.points, *row.gain.seeds_ci], abs=1e-3)
        if row.over_kd:
            assert cells["over_kd_than"] == row.over_kd.than


def test_the_picture_is_a_function_of_the_result(tmp_path: Path) -> None:
    found = comparison()
    odd = replace(found, recipes=(replace(found.recipes[0], name="a $ b $"), *found.recipes[1:]))
    for name in ("one.png", "two.png"):
        comparison_png(odd, tmp_path / name)
    one, two = ((tmp_path / name).read_bytes() for name in ("one.png", "two.png"))
    assert one.startswith(b"\x89PNG")
    assert one == two
    comparison_png(found, tmp_path / "three.png")
    assert (tmp_path / "three.png").read_bytes() != one


def test_a_name_means_the_same_student_throughout(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    record_students(run, [entry("kd"), entry("dkd", "student.loss.name=dkd")])
    changed = entry("kd", "student.lr=0.5", "student.loss.temperature=9")
    require_same_students(run, [changed])  # none was trained yet
    students_folder(tmp_path, "kd").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"kd: lr: 0\.001 in the folder, 0\.5 in the recipe") as error:
        require_same_students(run, [changed])
    assert "loss.temperature: None in the folder, 9 in the recipe" in error.value.message
    require_same_students(run, [entry("kd", "student.epochs=61"), entry("new", "student.lr=0.5")])
    with pytest.raises(UsageError, match="epochs: 60 in the folder, 59 in the recipe"):
        require_same_students(run, [entry("kd", "student.epochs=59")])


def test_the_record_keeps_names_of_before(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    record_students(run, [entry("kd")])
    record_students(run, [entry("dkd")])
    assert json.loads(run.students_record.read_text())["students"].keys() == {"kd", "dkd"}
    run.students_record.write_text("{")
    with pytest.raises(UsageError, match=r"students\.json cannot be read"):
        require_same_students(run, [entry("kd")])


def test_a_comparison_is_not_the_newest_run(tmp_path: Path) -> None:
    for name in ("kd", "compare"):
        RunFolder(tmp_path / name).write_record({})
    record_students(RunFolder(tmp_path / "compare"), [entry("kd")])
    assert newest_run(tmp_path).path == tmp_path / "kd"
