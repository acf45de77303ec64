"""The wrong changes that `campaigns.mutants` makes: a file of the package, what stands there once, what
shall stand there instead, and the files of tests that must catch it, the fewest and quickest."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    file: str
    right: str
    wrong: str
    tests: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.file}: {self.right!r} → {self.wrong!r}"


# test file → file of the package → (right, wrong)
_BY_TEST: dict[str, dict[str, list[tuple[str, str]]]] = {
    "contract/test_losses.py": {
        "losses/kd.py": [
            ("* temperature**2", "* temperature"),
            ("teacher / temperature", "teacher"),
            ('"batchmean"', '"sum"'),
        ],
        "losses/dkd.py": [
            ("alpha * tckd + beta *", "beta * tckd + alpha *"),
            ("_divergence(*others)) * temperature**2", "_divergence(*others))"),
            ("F.log_softmax(without_target(logits, target), dim=1)", "F.log_softmax(logits, dim=1)"),
        ],
        "losses/nkd.py": [
            ("F.softmax(teacher, dim=1).gather", "F.softmax(teacher / temperature, dim=1).gather"),
            ("hard + gamma * temperature**2 * soft", "hard + gamma * soft"),
            (
                "F.softmax(without_target(teacher, target) / temperature",
                "F.softmax(without_target(teacher, target)",
            ),
        ],
        "losses/dist.py": [
            ("_correlation(student.T, teacher.T)", "_correlation(student, teacher)"),
            ("beta * inter + gamma * intra", "gamma * inter + beta * intra"),
            ("rows - rows.mean(1, keepdim=True)", "rows"),
        ],
        "losses/deit.py": [
            ("/ student.numel()", "/ len(student)"),
            ("teacher.argmax(dim=1)", "target"),
        ],
        "losses/numerics.py": [
            ("teacher.detach()", "teacher"),
            ("value, value > 0,", "value, value >= 0,"),
            ("1, target[:, None], False", "1, (target[:, None] + 1) % logits.shape[1], False"),
        ],
        "losses/standardize.py": [
            ("/ (logits.shape[1] - 1)", "/ logits.shape[1]"),
        ],
        "losses/binding.py": [
            ("return kind is bool and isinstance(value, bool)", "return isinstance(value, bool)"),
        ],
    },
    "contract/test_feature_losses.py": {
        "losses/attention_transfer.py": [
            (".mean(dim=1).flatten(1)", ".amax(dim=1).flatten(1)"),
            ("max(height * width, self.min_positions)", "max(height * width, 1)"),
        ],
        "losses/reviewkd.py": [
            ("weight /= 2", "weight /= 4"),
            ("return loss / total", "return loss"),
            ("share * fused + deeper_share * deeper", "share * fused + deeper"),
        ],
        "losses/vitkd.py": [
            ("self.beta / self.mask_ratio", "self.beta"),
            ("masked * (restored - teacher)", "restored - teacher"),
        ],
    },
    "contract/test_feature_stages.py": {
        "losses/fitnet.py": [
            ("(len(pairs) - 1) // 2", "len(pairs) // 2"),
        ],
        "losses/stages.py": [
            ("stage.reduction >= FIRST_REDUCTION", "stage.reduction > FIRST_REDUCTION"),
        ],
    },
    "unit/test_statistics.py": {
        "results/statistics/times.py": [
            ("block = math.ceil(rounds ** (1 / 3))", "block = 1"),
            ("for values in pair]", "for values in (pair[0], np.roll(pair[1], 7))]"),
            ("(0.90, P90_SAMPLES)", "(0.91, P90_SAMPLES)"),
        ],
        "results/statistics/accuracy.py": [
            ("centre = p + z * z / (2 * n)", "centre = p"),
            ("inv_cdf((1 + confidence) / 2)", "inv_cdf(confidence)"),
            ("range(min(b, c) + 1)", "range(min(b, c))"),
            ("(len(p_values) - rank)", "len(p_values)"),
            ("least = max(least,", "least = max(0.0,"),
            ("table.neither]) + 0.5", "table.neither])"),
            ("draws[:, 1] - draws[:, 2]", "draws[:, 2] - draws[:, 1]"),
        ],
        "results/statistics/estimate.py": [
            ("np.quantile(values, [tail, 1 - tail])", "np.quantile(values, [2 * tail, 1 - 2 * tail])"),
        ],
        "results/statistics/sessions.py": [
            ("student_t(count - 1)", "student_t(count)"),
            ("std(ddof=1)", "std(ddof=0)"),
            ("(further + 1 / count)", "(further)"),
            ("1 / count), NORMAL * between)", "1 / count), 0)"),
            ("2 / math.pi * (angle", "2 / math.pi * (0"),
        ],
    },
    "unit/test_compare_parts.py": {
        "compare/paired.py": [
            ("(1 + confidence) / 2, n - 1)", "(1 + confidence) / 2, n)"),
            ("cells[seeds] += 1.0", "cells[seeds] += 0.0"),
            ("(teacher - baseline) if", "teacher if"),
        ],
    },
    "unit/test_claim.py": {
        "results/measures.py": [
            ("(-100 * high, -100 * low)", "(-100 * low, -100 * high)"),
            ("0.0 - 100 * table.difference", "100 * table.difference"),
            ("speedup_of_sessions(times, reference_times", "speedup_of_sessions(reference_times, times"),
        ],
        "results/claim.py": [
            ("(low >= limit, high < limit)", "(high >= limit, low < limit)"),
            ("(high <= limit, low > limit)", "(high < limit, low > limit)"),
            ("Fraction(str(bound.limit))", "Fraction(bound.limit)"),
            ('"FAIL" if "FAIL" in outcomes', '"FAIL" if "INCONCLUSIVE" not in outcomes'),
            ("n * distance / gap", "n * (distance / gap) ** 2"),
            (
                "interval[0] if value > limit else interval[1]",
                "interval[1] if value > limit else interval[0]",
            ),
            ("max(needed, default", "min(needed, default"),
        ],
    },
    "unit/test_latency.py": {
        "benchmark/timing/latency.py": [
            (
                "(1000 * batch / median.interval[1], 1000 * batch / median.interval[0])",
                "(1000 * batch / median.interval[0], 1000 * batch / median.interval[1])",
            ),
            ("sum(energies) / images", "sum(energies) / batch"),
            ("(throughput.by_session, reference.by_session", "(reference.by_session, throughput.by_session"),
        ],
        "results/statistics/times.py": [
            ("quantile(times, 0.5) / quantile(reference, 0.5)", "quantile(times, 0.5)"),
        ],
        "results/statistics/sessions.py": [
            ('method="weibull"', 'method="linear"'),
            ("np.median(own) / np.median(other)", "np.median(other) / np.median(own)"),
            ("return ratio_of_sessions(reference, times)", "return ratio_of_sessions(times, reference)"),
        ],
    },
    "unit/test_turns.py": {
        "runtime/turns.py": [
            ("STEADY = 0.05", "STEADY = 0.20"),
            ("(row, row[::-1])", "(row, row)"),
            ("self.taken[-window:]) is not False", "self.taken) is not False"),
        ],
    },
    "unit/test_calibration_ranges.py": {
        "calibration/ranges.py": [
            ("LEVELS = 256", "LEVELS = 264"),
            ("(1 - PERCENTILE / 100) / 2", "(1 - PERCENTILE / 100)"),
            ("counts[histogram.zero] = 0", "counts[histogram.zero] += 0"),
            ("reference[-1] += counts[last:].sum()", "reference[-1] += 0"),
            ("np.linspace(1.0, 0.2, 81)", "np.linspace(1.0, 0.2, 9)"),
        ],
    },
    "unit/test_calibration_histogram.py": {
        "calibration/histogram.py": [
            ("min(observed.low, 0.0)", "observed.low"),
            ("BINS - 1)", "BINS)"),
        ],
    },
    "unit/test_images_for_int8.py": {
        "api/calibration.py": [
            ("np.setdiff1d(np.arange(len(labels)), chosen)", "np.arange(len(labels))"),
            ("min(count, len(labels) // 2)", "count"),
        ],
    },
    "unit/test_quant_calibrate.py": {
        "quant/images.py": [
            ("np.sort(order[:count])", "np.sort(shuffled[:count])"),
        ],
    },
    "unit/test_quant_accuracy.py": {
        "quant/accuracy.py": [
            ("np.isfinite(logits).all(axis=1)", "~np.isnan(logits).all(axis=1)"),
        ],
    },
    "unit/test_quant_search.py": {
        "quant/sensitivity.py": [
            ("10 * float(np.log10", "20 * float(np.log10"),
        ],
        "quant/search.py": [
            ("other.drop <= trial.drop", "other.drop < trial.drop"),
            ("trial.drop <= max_drop", "trial.drop < max_drop"),
            ("[0] > EQUAL", "[1] > EQUAL"),
        ],
        "quant/speed.py": [
            ("self.low >= INT8_WORTH_IT", "self.ratio >= INT8_WORTH_IT"),
        ],
    },
    "unit/test_quant_target.py": {
        "machine/cpu.py": [
            ('"x86-vnni" if known & VNNI', '"x86-vnni" if not known & VNNI'),
        ],
        "quant/target.py": [
            ('X86_AVX2, "uint8", "int8", True, True', 'X86_AVX2, "uint8", "int8", True, False'),
        ],
    },
    "unit/test_quantaware.py": {
        "train/int8/fakequant.py": [
            ("64 if int8.reduce_range", "127 if int8.reduce_range"),
            ("round(-low / scale), 0, 255", "0, 0, 255"),
        ],
    },
    "unit/test_checkpoint.py": {
        "train/loop/checkpoint.py": [
            ("KEPT = 2", "KEPT = 1"),
            ("self._keep(1)", "self._keep(2)"),
            ('glob("*.safetensors"), reverse=True', 'glob("*.safetensors")'),
            ('path.stem.rsplit("-", 1)[-1]:', '"":'),
            ('_metadata(payload)["key"] == self._key', "True"),
            ("state.best = _under(tensors, BEST)", "state.best = {}"),
            ('{"state": state, "param_groups"', '{"state": {}, "param_groups"'),
            ("self._folder / f", "self._folder.parent / f"),
        ],
    },
    "unit/test_criterion.py": {
        "train/loop/optimizer.py": [
            ("value.ndim > 1]", "value.ndim > 0]"),
            ("epochs / self.warmup_epochs)", "epochs)"),
            ("(1 + math.cos(math.pi * share)) / 2", "1 - share"),
        ],
        "train/loop/criterion.py": [
            ("(output[0] + output[1]) / 2", "output[0]"),
            ("* warm(batch.epoch, self._warmup_epochs)", ""),
            ("batch.labels, label_smoothing", "batch.target, label_smoothing"),
        ],
    },
    "unit/test_order.py": {
        "train/views/order.py": [
            ("default_rng((seed, epoch))", "default_rng(seed)"),
            ("min(-(-samples // batch_size), samples // 2)", "-(-samples // batch_size)"),
        ],
    },
    "unit/test_augment.py": {
        "train/views/augment.py": [
            ("share <= 0.5", "share <= 1"),
            ("_key(self.seed, number, int(index))", "_key(self.seed, number)"),
            ("(view.second, view.share))", "(view.second, 1 - view.share))"),
        ],
    },
    "unit/test_shards.py": {
        "train/teaching/shards.py": [
            ("indices[inside] - number * size", "np.sort(indices[inside]) - number * size"),
            ("[:HASHED] == path.stem", "[:HASHED] != path.stem"),
            ("sorted(parts.items())", "parts.items()"),
            ("min(start + IMAGES, images)", "start + IMAGES"),
        ],
    },
    "unit/test_teacher_source.py": {
        "train/teaching/source.py": [
            ("views * (cost.forward + cost.view)", "views * cost.forward"),
            ("if views >= epochs:", "if views > epochs:"),
        ],
    },
    "unit/test_carve.py": {
        "data/carve.py": [
            ("round(fraction * total)", "int(fraction * total)"),
            ("size <= room[split]", "size < room[split]"),
            ('f"{seed}:{digest}"', 'f"{digest}"'),
        ],
    },
    "unit/test_channels.py": {
        "data/channels.py": [
            ("n * squares - total * total", "n * squares"),
            ("(values * values).sum(0)", "values.sum(0)"),
        ],
    },
    "unit/test_scan.py": {
        "data/findings/duplicates.py": [
            ("PHASH_DISTANCE = 4", "PHASH_DISTANCE = 8"),
            ("fatal=not allow_leaks", "fatal=allow_leaks"),
        ],
    },
    "unit/test_prepare.py": {
        "data/reader.py": [
            ('row["split"] == name', 'row["split"] != "none"'),
            ("if not intact(folder, manifest)", "if False"),
        ],
    },
    "unit/test_preprocess.py": {
        "core/preprocess.py": [
            ("(wide + 128) // 257", "wide // 256"),
            ("round((side - self.size) / 2.0)", "int((side - self.size) / 2.0)"),
            ("ImageOps.exif_transpose(image)", "image"),
            ("int(self.resize * long / short)", "round(self.resize * long / short)"),
            ("WHITE = (255, 255, 255, 255)", "WHITE = (0, 0, 0, 255)"),
            (".transpose(0, 3, 1, 2)", "[..., ::-1].transpose(0, 3, 1, 2)"),
        ],
    },
    "unit/test_manifest.py": {
        "runs/stage.py": [
            ("return manifest if intact(self.folder, manifest) else None", "return manifest"),
            ("sha256_json(manifest.inputs) != self.key", "False"),
        ],
    },
    "unit/test_lineage.py": {
        "runs/lineage.py": [
            ('student.inputs.get("teacher") != teacher', "False"),
            ("if stage == upto:", "if True:"),
        ],
    },
    "unit/test_files.py": {
        "core/files.py": [
            ("_fsync(path.parent)", "pass"),
            ("sort_keys=True", "sort_keys=False"),
            ("            partial.unlink()", "            pass"),
        ],
    },
    "unit/test_export_parity.py": {
        "exporters/parity.py": [
            ("difference <= limit", "difference <= 10 * limit"),
            ("best - chosen > ROUNDING", "best - chosen > 1e3 * ROUNDING"),
            ("start += batch", "start += 0"),
        ],
    },
    "unit/test_export_variants.py": {
        "exporters/passes/uint8.py": [
            ('"pixel_scale": np.float32(255)', '"pixel_scale": np.float32(256)'),
            ("np.round(values)", "np.floor(values)"),
        ],
    },
    "unit/test_export_pooling.py": {
        "exporters/passes/pooling.py": [
            ("== SPATIAL", "<= SPATIAL"),
            ("if not keepdims:", "if keepdims:"),
        ],
    },
    "unit/test_export_count.py": {
        "exporters/compute/count.py": [
            ("return 2 * self.macs", "return self.macs"),
            ("billed |= weights", "pass"),
            ("[0 if transposed else -1]", "[-1]"),
            ("and name not in steps", ""),
        ],
    },
    "unit/test_bundle_parts.py": {
        "bundle/packing.py": [
            ("elif sha256_file(path) != entry[1]:", "elif False:"),
            ('".." in PurePosixPath(entry[2]).parts', "False"),
        ],
    },
    "unit/test_advice.py": {
        "recipe/advice.py": [
            ("if teacher >= student:", "if teacher > student:"),
        ],
    },
    "unit/test_classes.py": {
        "results/classes.py": [
            ("smoothed[label] += UNSEEN", "smoothed[label] += 0"),
            ("+ estimate - values[-1]", ""),
        ],
    },
    "unit/test_health.py": {
        "results/health.py": [
            ("predicted_share - true_share > MORE_THAN_TRUE", "True"),
            ("tally.images < FEWEST", "tally.images < 0"),
            ("not loss <= EXPLODED", "loss > EXPLODED"),
            ("<= tally.chance", "<= 1 / len(tally.labels)"),
        ],
    },
    "unit/test_balance.py": {
        "train/views/order.py": [
            ("divmod(number * share, len(members))", "(number, 0)"),
            ("chosen = [np.flatnonzero(labels < 0)]", "chosen = [np.flatnonzero(labels < -1)]"),
        ],
        "train/loop/criterion.py": [
            ("self._smoothing * mass", "self._smoothing"),
            ("target < 0, answers.argmax(1), target", "target < 0, 0 * target, target"),
        ],
    },
    "unit/test_shipping.py": {
        "results/shipping.py": [
            ("ratio.interval[1] < 1", "ratio.value < 1"),
            ("return 0.0 - pair.points, (0.0 - high, 0.0 - low)", "return pair.points, (low, high)"),
        ],
    },
    "unit/test_starter.py": {
        "recipe/advised.py": [
            ("if epochs >= least:", "if epochs >= 1:"),
        ],
        "data/starter.py": [
            ("most > IMBALANCED * max(least, 1)", "most > 50 * max(least, 1)"),
        ],
    },
    "unit/test_classify.py": {
        "runtime/classify.py": [
            ("np.isfinite(logits).all(axis=1)", "~np.isnan(logits).any(axis=1)"),
            ("np.exp(wide - wide.max(axis=-1, keepdims=True))", "np.exp(wide)"),
        ],
    },
    "unit/test_onnxruntime_session.py": {
        "runtime/onnxruntime.py": [
            ("intra_op_num_threads = threads", "intra_op_num_threads = 1"),
        ],
        "runtime/session.py": [
            ("len(logits) != images", "False"),
        ],
    },
    "unit/test_report_parts.py": {
        "results/history.py": [
            ("index(max(", "index(min("),
        ],
    },
}

MUTANTS = [
    Mutant(file, right, wrong, (test,))
    for test, files in _BY_TEST.items()
    for file, changes in files.items()
    for right, wrong in changes
]
