"""Stage of `kdtool bundle`: writes the folder and the zip for developers of apps and pages.

    bundle/                 model files, labels, preprocessing, README, MODEL_CARD, infer.py, SHA256SUMS
    bundle/golden/          images, with the pixels and logits that an app must compute
    bundle/js/              preprocessing for the snippets in JavaScript
    bundle/hub/             the layout of Hugging Face
    bundle/web/             the page
    bundle.zip              the first three, for an app

The bundle is a function of the run's files and the options: it contains no time and no absolute path.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from kdtool import __version__
from kdtool.bundle import content, texts
from kdtool.bundle.about import gather
from kdtool.bundle.hub import HUB, write_hub
from kdtool.bundle.options import Options
from kdtool.bundle.packing import PARTS, SUMS, as_json, checksums, copy, link, part_of, write, write_zip
from kdtool.bundle.page.runtime import WebRuntime
from kdtool.bundle.page.webpage import FOLDER as WEB
from kdtool.bundle.page.webpage import MODULES, page_files, page_hash
from kdtool.bundle.page.webpage import source as page_source
from kdtool.bundle.preprocessing import preprocess_json
from kdtool.bundle.proof.golden import FOLDER as GOLDEN
from kdtool.bundle.proof.images import drawn_images, select_photographs
from kdtool.bundle.proof.vectors import make_golden
from kdtool.bundle.session import open_shipped
from kdtool.bundle.shipped import (
    REDUCED,
    ModelFile,
    describe,
    info_of,
    missing_kinds,
    model_files,
    operators_config,
)
from kdtool.bundle.targets import check_compatibility, named_targets, require_fit, warn_of_misfits
from kdtool.core.errors import UsageError
from kdtool.core.files import PARTIAL, durable, sha256_file
from kdtool.core.screen import Screen
from kdtool.core.text import printable
from kdtool.machine.packages import versions_of
from kdtool.results.figures import megabytes
from kdtool.runs.folder import RunFolder
from kdtool.runs.stage import Stage

RECORD, LABELS, PREPROCESS, INFER = "bundle.json", "labels.txt", "preprocess.json", "infer.py"


def write_bundle(run: RunFolder, options: Options, runtime: WebRuntime, screen: Screen) -> Path:
    """Write bundle/ and bundle.zip of `run`; return the folder.

    Raises:
        UsageError: nothing is exported, a stage of the run is outdated, or bundle/ holds something else.
        ModelFileError: a model file is broken.
        GateError: a model file computes wrong logits, or no file fits a target in `options`.
    """
    named_targets(options.targets)
    shipped = model_files(run, options.role)
    stage = Stage("bundle", run.path, _inputs(run, shipped, options, runtime), "bundle.manifest.json")
    folder, archive = run.path / "bundle", run.path / "bundle.zip"
    complete = stage.complete()
    if complete is not None:
        screen.say("bundle: complete, skipped")
        _report_gaps(run, shipped, complete.result["findings"], screen)
        return folder
    _require_bundle(folder)
    partial = run.path / f".bundle.{os.getpid()}{PARTIAL}"
    try:
        findings = _fill(partial, run, shipped, options, runtime, screen)
        names = _files_in(partial)
        stage.reopen()
        if folder.exists():
            shutil.rmtree(folder)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    app = [name for name in names if part_of(name) == ""]
    with durable(archive) as path:
        write_zip(path, f"{run.path.resolve().name}-bundle", folder, app)
    stage.seal([*(f"bundle/{name}" for name in names), archive.name], {"findings": findings}, versions_of())
    sizes = sorted((folder / model.kind.file).stat().st_size for model in shipped)
    screen.say(
        f"bundle: {folder}, {archive.name} {megabytes(archive.stat().st_size)}; an app needs one of "
        f"{len(sizes)} model file(s), {sizes[0] / 1e6:.1f} to {megabytes(sizes[-1])}"
    )
    _report_gaps(run, shipped, findings, screen)
    return folder


def _report_gaps(
    run: RunFolder, shipped: Sequence[ModelFile], findings: Sequence[Mapping[str, Any]], screen: Screen
) -> None:
    """Tell the user which kinds of model file are missing and which targets have no fitting file."""
    missing = missing_kinds(run, shipped)
    if missing:
        screen.say(f"bundle: {missing}")
    warn_of_misfits(findings, screen)


def _fill(
    folder: Path,
    run: RunFolder,
    shipped: Sequence[ModelFile],
    options: Options,
    runtime: WebRuntime,
    screen: Screen,
) -> list[dict[str, Any]]:
    """Write everything but the zip into the new `folder`; return the findings of all targets as JSON."""
    info = info_of(shipped[0])
    about = gather(run, info, screen)
    for model in shipped:
        copy(model.path, folder / model.kind.file)
    operators = operators_config(run, options.role)
    if operators is not None:
        copy(operators, folder / REDUCED)
    kinds = [model.kind for model in shipped]
    sessions = {kind.file: (kind, open_shipped(folder / kind.file)) for kind in kinds}
    models = tuple(describe(kind, session, about, run, info.role) for kind, session in sessions.values())
    targets = named_targets(options.targets)
    findings = check_compatibility(targets, models)
    require_fit(findings, options.targets)
    images = [*select_photographs(run, about.source, options.photographs), *drawn_images()]
    golden = make_golden(folder, images, info.preprocess, sessions)
    write_hub(folder, info, golden, sessions)
    contents = content.Content(
        about, info, options, models, golden, targets, findings, has_operators=operators is not None
    )
    write(folder / LABELS, "".join(f"{printable(name)}\n" for name in info.classes))
    write(folder / PREPROCESS, as_json(preprocess_json(info.preprocess)))
    write(folder / INFER, files("kdtool.bundle").joinpath("templates", INFER).read_text("utf-8"))
    for name in MODULES:
        write(folder / "js" / name, page_source(name))
    write(folder / texts.CARD, content.card(contents))
    write(folder / texts.README, content.readme(contents))
    write(folder / HUB / texts.README, content.hub_readme(contents))
    for name in (PREPROCESS, *(f"js/{module}" for module in MODULES)):
        link(folder / name, folder / HUB / name)
    write(folder / RECORD, as_json(content.record(contents)))
    _web(folder, contents, runtime)
    for part in PARTS:
        names = [name for name in _files_in(folder) if part_of(name) == part]
        inside = folder / part
        write(inside / SUMS, checksums(inside, [name.removeprefix(f"{part}/") for name in names]))
    return [
        {**asdict(finding), "reasons": list(finding.reasons), "remarks": list(finding.remarks)}
        for finding in findings
    ]


def _web(folder: Path, contents: content.Content, runtime: WebRuntime) -> None:
    """Write the page; its models and golden images are hard links to those of the bundle."""
    web = folder / WEB
    golden = [name for vector in contents.golden.vectors for name in (vector.image, vector.pixels)]
    record = as_json(content.page_record(contents, runtime)).encode()
    for name, payload in page_files(contents.about.title, record, golden, runtime):
        write(web / name, payload)
    for name in golden:
        link(folder / GOLDEN / name, web / GOLDEN / name)
    for model in contents.models:
        if model.web:
            link(folder / model.file, web / "models" / model.file)


def _files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _inputs(
    run: RunFolder, shipped: Sequence[ModelFile], options: Options, runtime: WebRuntime
) -> dict[str, Any]:
    """Everything that determines the content of the bundle."""
    operators = operators_config(run, options.role)
    parents = [
        *(model.path for model in shipped),
        *([operators] if operators else []),
        run.quantize_manifest(options.role),
        run.record,
        run.bench,
        run.predictions,
        run.data / "manifest.json",
    ]
    return {
        "name": run.path.resolve().name,
        "kdtool": __version__,
        "page": page_hash(),
        "texts": texts.texts_hash(),
        "options": {**asdict(options), "targets": list(options.targets)},
        "runtime": runtime.to_json(),
        "parents": {
            path.relative_to(run.path).as_posix(): sha256_file(path) for path in parents if path.is_file()
        },
    }


def _require_bundle(folder: Path) -> None:
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RECORD).is_file():
        raise UsageError(
            f"{folder} holds something else than a bundle (it has no {RECORD}).",
            "Move it away first.",
        )
