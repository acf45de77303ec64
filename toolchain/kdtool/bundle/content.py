"""Content of bundle.json, the README and the model card."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kdtool import __version__
from kdtool.bundle import texts
from kdtool.bundle.about import About, Fact, host_in_words
from kdtool.bundle.licences import front_matter
from kdtool.bundle.options import Options
from kdtool.bundle.page.runtime import VERSION as ORT_VERSION
from kdtool.bundle.page.runtime import WebRuntime
from kdtool.bundle.preprocessing import preprocess_json
from kdtool.bundle.proof.golden import PIXEL_TOLERANCE, Golden
from kdtool.bundle.shipped import REDUCED, ShippedModel
from kdtool.bundle.targets import TARGETS, Compatibility, Target, best_file, check_compatibility, notes_on
from kdtool.core.modelinfo import ModelInfo
from kdtool.core.preprocess import Preprocess
from kdtool.results.wording import finetuned_in_words

SCHEMA = 1
FLOAT_KINDS = ("int8", "fp32")  # the snippets feed normalized floats
SNIPPET_TARGETS = {
    "kotlin": "android",
    "swift": "ios",
    "dart": "flutter",
    "reactnative": "react-native",
    "web": "web",
}


@dataclass(frozen=True)
class Content:
    """Everything that the texts of a bundle are written from.

    Attributes:
        findings: one for each target and model file.
        has_operators: True if the bundle has the operator list for a reduced build of ONNX Runtime.
    """

    about: About
    info: ModelInfo
    options: Options
    models: tuple[ShippedModel, ...]
    golden: Golden
    targets: tuple[Target, ...]
    findings: tuple[Compatibility, ...]
    has_operators: bool


def record(content: Content) -> dict[str, Any]:
    """Content of bundle.json."""
    about, info, options = content.about, content.info, content.options
    bench = about.bench
    licences = [("Licence", options.license), ("Licence of the data", options.data_license)]
    return {
        "schema": SCHEMA,
        "kdtool": __version__,
        "name": about.name,
        "title": about.title,
        "role": info.role,
        "arch": info.arch,
        "labels": list(info.classes),
        "preprocess": info.preprocess.to_json(),
        "models": [asdict(model) for model in content.models],
        "golden_images": len(content.golden.vectors),
        "targets": [asdict(finding) for finding in content.findings],
        "card": {
            "n_images": next((row.n_images for row in bench.models if row.n_images), None) if bench else None,
            "host": host_in_words(bench.host) if bench else None,
            "void": list(about.void),
            "facts": [list(fact) for fact in (*_facts(content), *about.data, *licences)],
        },
    }


def page_record(content: Content, runtime: WebRuntime) -> dict[str, Any]:
    """Content of web/bundle.json: everything that the page needs, in one file."""
    whole = record(content)
    return {
        **whole,
        "models": [model for model in whole["models"] if model["web"]],
        "preprocess": preprocess_json(content.info.preprocess),
        "golden": content.golden.to_json(),
        "runtime": runtime.to_json(),
    }


def card(content: Content) -> str:
    """Text of MODEL_CARD.md."""
    about, info, options = content.about, content.info, content.options
    rows = [(model, about.bench_row(model.sha256, info.role, model.kind)) for model in content.models]
    measured = [(model, row) for model, row in rows if row and row.accuracy is not None]
    values = {
        "title": about.title,
        "plumbing": about.plumbing,
        "facts": _facts(content),
        "data": about.data,
        "labels": info.classes,
        "measured": [
            {
                "title": model.file,
                "accuracy": row.accuracy,
                "accuracy_ci": row.accuracy_ci,
                "balanced_accuracy": row.balanced_accuracy,
                "balanced_accuracy_ci": row.balanced_accuracy_ci,
                "macro_f1": row.macro_f1,
                "macro_f1_ci": row.macro_f1_ci,
                "retention": row.retention,
                "retention_ci": row.retention_ci,
            }
            for model, row in measured
        ],
        "n_images": next((row.n_images for _, row in measured), 0),
        "verdict": about.verdict,
        "weakest": about.weakest,
        "latency": [
            {"title": model.file, "megabytes": model.bytes / 1e6, **model.latency}
            for model in content.models
            if model.latency
        ],
        "host": host_in_words(about.bench.host) if about.bench else "",
        "void": about.void,
        "notes": about.bench.notes if about.bench else (),
        "compute": about.compute,
        "license": options.license,
        "data_license": options.data_license,
        "version": __version__,
    }
    return texts.render(f"{texts.CARD}.jinja", values)


def readme(content: Content) -> str:
    """Text of README.md, with a snippet for each kind of app."""
    info, models = content.info, content.models
    taken = {target.name: best_file(target, models, content.findings) for target in content.targets}
    fed = {name: _for_snippet(TARGETS[name], models) for name in SNIPPET_TARGETS.values()}
    common = _preprocess_values(info.preprocess)
    snippets = {
        key: texts.render(texts.SNIPPETS[key], common | _snippet_values(fed[target][0]))
        for key, target in SNIPPET_TARGETS.items()
    }
    example = content.golden.vectors[0].image
    values = {
        **common,
        **snippets,
        "loaders": loaders(content, "`hub/`", "hub"),
        "python": _python(models[0].file, example),
        "title": content.about.title,
        "labels": info.classes,
        "models": models,
        "operators": REDUCED if content.has_operators else "",
        "targets": [
            {
                "name": target.name,
                "package": target.package,
                "release": target.release,
                "take": taken[target.name],
                "notes": " ".join([target.note, *notes_on(target, taken[target.name], content.findings)]),
            }
            for target in content.targets
        ],
        "take": {name.replace("-", "_"): model.file for name, (model, _) in fed.items()},
        "but": {name.replace("-", "_"): sentence for name, (_, sentence) in fed.items()},
        "example": example,
        "pixel_tolerance": PIXEL_TOLERANCE,
        "ort_version": ORT_VERSION,
    }
    return texts.render(f"{texts.README}.jinja", values)


def hub_readme(content: Content) -> str:
    """Text of hub/README.md: front matter for the Hub, the card, and code that loads the models."""
    values = {
        "license_yaml": front_matter(content.options.license),
        "card": card(content),
        "loaders": loaders(content, "this folder", "<this folder>"),
    }
    return texts.render(f"{texts.HUB}.jinja", values)


def loaders(content: Content, folder: str, path: str) -> str:
    """Section on loading hub/ with transformers.js and Optimum.

    Args:
        folder: words for hub/ in the text.
        path: path of hub/ in the code.
    """
    values = {
        "folder": folder,
        "path": path,
        "quantized": any(model.kind == "int8" for model in content.models),
        "size": content.info.preprocess.size,
    }
    return texts.render(f"{texts.LOADERS}.jinja", values)


def _facts(content: Content) -> tuple[Fact, ...]:
    """Facts about the model, and about a file with fine-tuned weights."""
    finetuned = [
        ("Fine-tuning", finetuned_in_words(model.file, "the float model", model.finetuned))
        for model in content.models
        if model.finetuned
    ]
    return (*content.about.facts, *finetuned)


def _preprocess_values(preprocess: Preprocess) -> dict[str, Any]:
    return {
        "size": preprocess.size,
        "resize": preprocess.resize,
        "interpolation": preprocess.interpolation,
        "nearest": preprocess.interpolation == "nearest",
        "reach": texts.REACH[preprocess.interpolation],
        "mean": list(preprocess.mean),
        "std": list(preprocess.std),
    }


def _snippet_values(model: ShippedModel) -> dict[str, str]:
    return {
        "file": model.file,
        "input": model.input.name,
        "output": model.output,
        "ort": "onnxruntime-web",
    }


def _for_snippet(target: Target, models: Sequence[ShippedModel]) -> tuple[ShippedModel, str]:
    """Return the file that the snippet feeds, and a text if it is not the best file of the target."""
    findings = check_compatibility([target], models)
    file = best_file(target, models, findings)
    loads = {finding.file for finding in findings if finding.loads}
    usable = {model.file for model in models if model.file in loads and model.kind in target.kinds}
    candidates = [model for model in models if model.kind in FLOAT_KINDS]
    fed = min(candidates, key=lambda model: (model.file != file, model.file not in usable))
    sentences = []
    if fed.file not in usable:
        sentences.append(
            f"**{target.package} {target.release} does not load `{fed.file}`.** Make a file that it loads "
            "with `kdtool export --onnx --compat`, then run `kdtool bundle` again."
        )
    if file not in ("", fed.file):
        sentences.append(f"The snippet feeds `{fed.file}`. The file to take, `{file}`, needs other code.")
    return fed, " ".join(sentences)


def _python(model: str, example: str) -> str:
    return (
        f'from infer import Classifier\n\nclassifier = Classifier("{model}")\n'
        f'for label, probability in classifier.classify("golden/{example}", top=3):\n'
        '    print(f"{label}: {probability:.1%}")\n'
    )
