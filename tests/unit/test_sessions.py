"""Sessions: processes that measure, what they ask of the parent, and how they fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fixtures.commands import stand_in
from fixtures.runs.onnxmodels import SIDE, classifier
from kdtool.benchmark.timing.onesession import JOB, RESULT
from kdtool.benchmark.timing.protocol import plans
from kdtool.benchmark.timing.sessions import Job, run_session
from kdtool.core.errors import ModelFileError
from kdtool.recipe.choices import MOST_SAMPLES
from kdtool.recipe.settings import BenchSettings
from kdtool.runtime.turns import Plan

IMAGE = np.zeros((1, 3, SIDE, SIDE), np.float32)


def job(folder: Path, *files: bytes, threads: tuple[int, ...] = (2, 1), batches: bool = True) -> Job:
    models = []
    for number, content in enumerate(files):
        path = folder / f"{number}.onnx"
        path.write_bytes(content)
        models.append(("onnxruntime", path, IMAGE))
    return Job(models, threads, Plan(4, 16), Plan(1, 3) if batches else None, 4)


def test_a_session_measures_all_models_with_each_number_of_threads(tmp_path: Path) -> None:
    looks: list[None] = []
    ends: list[None] = []
    work = job(tmp_path, classifier(None), classifier(None))
    series = run_session(work, lambda: looks.append(None), lambda: ends.append(None))
    assert [one.threads for one in series] == [(2, 2), (1, 1)]
    for one in series:
        assert [len(timed.samples) for timed in one.latency] == [16, 16]
        assert [len(timed.samples) for timed in one.throughput] == [3, 3]
        assert min(time for timed in (*one.latency, *one.throughput) for time in timed.samples) > 0
    assert len(ends) == work.series == 4
    assert len(looks) > len(ends), "it asks between rounds too"


def test_without_batches_there_is_no_throughput(tmp_path: Path) -> None:
    work = job(tmp_path, classifier(None), threads=(1,), batches=False)
    (series,) = run_session(work, lambda: None, lambda: None)
    assert (len(series.latency), series.throughput, work.series) == (1, (), 1)


def test_a_file_that_is_broken_by_now_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"1\.onnx"):
        run_session(job(tmp_path, classifier(None), b"torn"), lambda: None, lambda: None)


@pytest.mark.parametrize(
    ("script", "why"),
    [("kill -9 $$", "ended by signal 9"), ("echo odd >&2; exit 4", "odd"), ("exit 0", "exit code 0")],
)
def test_a_process_that_ends_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    stand_in(script, tmp_path, monkeypatch)
    with pytest.raises(ModelFileError, match=rf"0\.onnx gave no result \({why}\)") as raised:
        run_session(job(tmp_path, classifier(None)), lambda: None, lambda: None)
    assert "kdtool bench MODEL.onnx" in raised.value.hint


def test_a_stop_ends_the_process(tmp_path: Path) -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_session(job(tmp_path, classifier(None)), stop, lambda: None)


def test_a_process_without_a_parent_ends(tmp_path: Path) -> None:
    """Nobody answers: the parent was killed."""
    (tmp_path / "0.onnx").write_bytes(classifier(None))
    np.save(tmp_path / "0.npy", IMAGE)
    series = {"warmup": 4, "runs": 16}
    models = [("onnxruntime", str(tmp_path / "0.onnx"))]
    content = {"models": models, "threads": [1], "latency": series, "throughput": None, "batch": 4}
    (tmp_path / JOB).write_text(json.dumps(content))
    command = [sys.executable, "-m", "kdtool.benchmark.timing.onesession", str(tmp_path)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.strip()) == (1, "the parent ended")
    assert not (tmp_path / RESULT).exists()


def test_sessions_share_what_is_asked() -> None:
    latency, throughput = plans(BenchSettings(sessions=3, runs=100, warmup=30, seconds=6, batches=7))
    assert latency == Plan(10, 34, 2.0, MOST_SAMPLES // 3 + 1)
    assert throughput == Plan(1, 3, 2.0, MOST_SAMPLES // 3 + 1)
    latency, throughput = plans(BenchSettings(sessions=1, runs=100, warmup=1, seconds=0, batch=0))
    assert (latency, throughput) == (Plan(4, 100, 0.0, MOST_SAMPLES), None)
