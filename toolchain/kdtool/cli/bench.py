"""`kdtool bench`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kdtool.cli.options import json_option
from kdtool.core.errors import GateError, LockedError, SetupError, UsageError
from kdtool.recipe.choices import MOST_SAMPLES, MOST_SESSIONS, MOST_THREADS
from kdtool.runtime import DEFAULT, RUNTIMES

if TYPE_CHECKING:
    from kdtool.core.screen import Screen
    from kdtool.recipe.settings import BenchSettings
    from kdtool.results.bench import BenchResult
    from kdtool.results.claim import Bound


@click.command()
@click.argument(
    "targets", nargs=-1, metavar="[RUN | MODEL.onnx … | BENCH.json …]", type=click.Path(path_type=Path)
)
@click.option(
    "--compare", is_flag=True, help="Measure nothing; show bench.json files of several machines side by side."
)
@click.option("--check", is_flag=True, help="Exit with code 6 unless the verdict is PASS.")
@click.option(
    "--threads",
    type=click.IntRange(0, MOST_THREADS),
    help="Threads of the runtime; 0: one for each processor that this process may use.  "
    "[default: bench.threads, and also one thread]",
)
@click.option(
    "--sessions",
    type=click.IntRange(1, MOST_SESSIONS),
    help="Processes that measure the models, each anew; a claim on times needs 2 or more.  "
    "[default: bench.sessions]",
)
@click.option(
    "--runs",
    type=click.IntRange(64, MOST_SAMPLES),
    help="Minimum number of latency samples for each model.  [default: bench.runs]",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0, 3600),
    help="Minimum duration of each series of latency samples.  [default: bench.seconds]",
)
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    metavar="NAME",
    help=f"Runtime for the models: {', '.join(RUNTIMES)}; may be repeated.  [default: {DEFAULT}]",
)
@click.option(
    "--quick",
    is_flag=True,
    help="Leave out cold start, memory, throughput, the minimum duration and the second number of threads.",
)
@click.option(
    "--claim",
    metavar="BOUNDS",
    help='Claim to judge, such as "macs<=0.5,retention>=0.94"; the measures are listed above.  '
    "[default: the claim of the recipe]",
)
@click.option("--judge", metavar="NAME", help="Model that the claim is about.  [default: student]")
@click.option(
    "--against", metavar="NAME", help="Reference that this model is compared with.  [default: teacher]"
)
@click.option(
    "--data",
    metavar="DATA",
    help="Photographs with labels to measure the accuracy on, instead of the test split of the run.",
)
@click.option(
    "--skip-bad", is_flag=True, help="Leave out unreadable photographs of --data instead of stopping."
)
@click.option(
    "--like",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="ONNX file whose classes and preprocessing are used for files that state none.",
)
@click.option(
    "--per-layer",
    is_flag=True,
    help="Measure nothing; print the compute and parameters of each layer, counted from the graph.",
)
@json_option
def command(
    targets: tuple[Path, ...],
    compare: bool,
    check: bool,
    threads: int | None,
    sessions: int | None,
    runs: int | None,
    seconds: float | None,
    runtimes: tuple[str, ...],
    quick: bool,
    claim: str | None,
    judge: str | None,
    against: str | None,
    data: str | None,
    skip_bad: bool,
    like: Path | None,
    per_layer: bool,
    as_json: bool,
) -> None:
    """Measure accuracy, compute and latency, and judge the claim.

    RUN is the folder of a run; the default is the newest run under artifacts/. Its models are measured on
    its test split, and the result is written to its bench.json if the folder is writable.

    MODEL.onnx is any ONNX file. Its accuracy is measured on the photographs of --data, preprocessed as the
    file states. Nothing is written. Several files are compared; a verdict needs a --claim, which is about the
    second of two files, relative to the first, unless --judge and --against name others.

    BENCH.json is an earlier result, also of another machine, for --compare.

    An ONNX file may be any image classifier. It has one input, (N, 3, H, W) or (N, H, W, 3), of normalized
    float32 or of uint8 pixels (kdtool export --uint8); N is free or 1. It has one output of logits
    (N, classes). Of several outputs, the logits are the one with this name or the only one of this shape.
    Files in the format .ort cannot be measured.

    \b
    A claim is a list of bounds, all of which must hold. Measures:
      retention drop accuracy              on the test images; drop in percentage points
      balanced_accuracy macro_f1           on the test images; every class counts alike
      macs params size latency throughput  divided by those of the reference
      size_mb p50_ms p90_ms p99_ms         in MB and in ms
    """
    from kdtool.machine.terminal import open_screen
    from kdtool.runs.folder import RunFolder, newest_run

    if compare or per_layer:
        _require_unmeasured("--compare" if compare else "--per-layer")
    if compare:
        _compare(targets, as_json)
        return
    if like is not None and data is None:
        raise UsageError("--like has no effect, because no accuracy is measured.", "Add --data DATA.")
    if skip_bad and data is None:
        raise UsageError("--skip-bad has no effect without --data.", "Add --data DATA.")
    screen = open_screen()
    if quick and seconds is not None:
        raise UsageError("--quick has no minimum duration, so --seconds would be ignored.", "Leave one out.")
    given = {
        "threads": threads, "sessions": sessions, "runs": runs, "seconds": seconds,
        "claim": claim, "judged": judge, "reference": against,
    }  # fmt: skip
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if threads is not None:
        changes["single_thread"] = False
    if runtimes:
        changes["runtimes"] = runtimes
    if quick:
        from kdtool.api.bench import QUICK

        changes |= QUICK
    if claim is not None:
        from kdtool.results.claim import parse_claim

        parse_claim(claim)
    if not targets:
        targets = (newest_run().path,)
        screen.say(f"Newest run: {targets[0]}.")
    folders = [path for path in targets if path.is_dir()]
    if folders and len(targets) > 1:
        raise UsageError(
            f"{folders[0]} is a folder; allowed: one RUN, or ONNX files.",
            f"Measure one run at a time: kdtool bench {folders[0]}",
        )
    if per_layer:
        _print_layers(targets, as_json)
        return
    if check and not folders and claim is None:
        raise UsageError(
            "--check has no effect on ONNX files without a claim.", 'Example: --check --claim "macs<=0.5"'
        )
    if folders:
        if like is not None:
            raise UsageError(
                "--like has no effect on a run, whose models state their classes and preprocessing.",
                "Leave it out.",
            )
        result = _bench_folder(RunFolder(folders[0]), data, changes, screen, skip_bad=skip_bad)
    else:
        from kdtool.recipe.settings import BenchSettings

        settings = BenchSettings(**changes)
        bounds = settings.bounds if claim is not None else ()
        result = _bench_files(targets, data, settings, screen, like, bounds, skip_bad=skip_bad)
    _print(result, as_json, folders[0] if folders and data is None else None)
    if folders and data is None:
        from kdtool.runs.soundness import require_sound_results

        require_sound_results(result, RunFolder(folders[0]).bench)
    if check and result.claim.verdict != "PASS":
        void = f"; the latencies are void ({', '.join(result.void)})" if result.void else ""
        raise GateError(f"The verdict is {result.claim.verdict}{void}.", "The figures above say by how much.")


def _require_unmeasured(option: str) -> None:
    """Raise UsageError for options without effect, because `option` measures nothing."""
    context = click.get_current_context()
    given = [
        parameter.opts[0]
        for parameter in context.command.params
        if parameter.name not in ("targets", "as_json")
        and option not in parameter.opts
        and context.get_parameter_source(str(parameter.name)) is not click.core.ParameterSource.DEFAULT
    ]
    if given:
        raise UsageError(
            f"{', '.join(given)}: no effect together with {option}, which measures nothing.", "Leave it out."
        )


def _compare(targets: tuple[Path, ...], as_json: bool) -> None:
    from kdtool.benchmark.machines import read_machines
    from kdtool.benchmark.tables.machines import print_machines

    machines = read_machines(targets)
    if as_json:
        click.echo(json.dumps(machines.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print_machines(machines)


def _bench_folder(
    run: Any, data: str | None, changes: dict[str, Any], screen: Screen, *, skip_bad: bool
) -> BenchResult:
    from kdtool.benchmark.stage import MODELS, bench_run
    from kdtool.data.reader import open_prepared
    from kdtool.runs.comparison import require_run
    from kdtool.runs.lock import run_lock

    require_run(run)
    settings = _settings(run, changes)
    if data is not None:
        models = [run.onnx_model(*which) for which in MODELS.values()]
        paths = [path for path in models if path.is_file()]
        return _bench_files(paths, data, settings, screen, None, settings.bounds, skip_bad=skip_bad)
    prepared = open_prepared(run.data) if run.data.is_dir() else None
    if prepared is None:
        screen.warn(
            f"{run.data} does not exist: latency is measured, accuracy is not. "
            "To measure it, name photographs: --data DATA"
        )
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(run_lock(run.path))
        except LockedError as error:
            raise LockedError(error.message, "Wait until it has ended.") from error
        except SetupError as error:
            screen.warn(f"{error.message} The run is measured, and nothing is written into it.")
            return bench_run(run, prepared, settings, screen, always=True, write=False)
        return bench_run(run, prepared, settings, screen, always=True)


def _settings(run: Any, changes: dict[str, Any]) -> BenchSettings:
    """Return the bench settings of the run's recipe, with `changes`.

    A copy of a run on a device may contain only the models, without run.json; it gets the defaults.
    """
    from kdtool.recipe.files import parse_recipe
    from kdtool.recipe.settings import BenchSettings

    if not run.record.is_file() and run.onnx.is_dir():
        return BenchSettings(**changes)
    recipe = parse_recipe(run.read_record().get("recipe", {}), str(run.record))
    return BenchSettings(**(recipe.bench.model_dump() | changes))


def _bench_files(
    paths: Any,
    data: str | None,
    settings: BenchSettings,
    screen: Screen,
    like: Path | None,
    bounds: Sequence[Bound],
    *,
    skip_bad: bool,
) -> BenchResult:
    from kdtool.api.arguments import info_from_like
    from kdtool.api.bench import bench_any

    if not paths:
        raise UsageError("There are no exported models.", "Export them with: kdtool export --onnx")
    info = info_from_like(like) if like else None
    return bench_any(paths, data, settings, screen, info, bounds, skip_bad=skip_bad)


def _print_layers(targets: Sequence[Path], as_json: bool) -> None:
    """Print the layers of the named files, or of the FP32 models of a run."""
    from importlib.util import find_spec

    from kdtool.runs.folder import ROLES, RunFolder

    if find_spec("onnx") is None:
        raise SetupError("kdtool bench --per-layer needs the package onnx.", "Install it: pip install onnx")
    from kdtool.exporters.compute.count import count_onnx
    from kdtool.exporters.compute.layertable import layer_json, layer_lines

    folders = [RunFolder(path) for path in targets if path.is_dir()]
    models = [folder.onnx_model(role) for folder in folders for role in ROLES]
    paths = [path for path in models if path.is_file()] if folders else targets
    if not paths:
        raise UsageError(
            f"{targets[0]} has no exported models.", f"Export them with: kdtool export --onnx {targets[0]}"
        )
    counts = {str(path): count_onnx(path) for path in paths}
    if as_json:
        rows = [layer_json(name, count) for name, count in counts.items()]
        click.echo(json.dumps({"models": rows}, indent=2, ensure_ascii=False))
    for name, count in () if as_json else counts.items():
        click.echo("\n".join(layer_lines(name, count)))


def _print(result: BenchResult, as_json: bool, run: Path | None) -> None:
    from kdtool.benchmark.tables.models import print_table

    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2, ensure_ascii=False, allow_nan=False))
    else:
        print_table(result, run=run)
