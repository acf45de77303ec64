"""The durable writer, manifests and the lock."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from kdtool.core import files
from kdtool.core.errors import LockedError, SetupError
from kdtool.runs import lock
from kdtool.runs.lock import run_lock
from kdtool.runs.stage import Stage


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(files.PARTIAL)]


def test_write_and_replace(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    files.write_text(target, "old")
    files.write_text(target, "new")
    assert target.read_text() == "new"
    assert leftovers(target.parent) == []


def test_the_file_is_durable_before_it_has_its_name_and_the_name_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, seen = tmp_path / "file.txt", []
    monkeypatch.setattr(files, "_fsync", lambda path: seen.append((path.name, target.exists())))
    files.write_text(target, "new")
    assert [exists for _, exists in seen] == [False, True]
    assert seen[0][0].endswith(files.PARTIAL)
    assert seen[1][0] == tmp_path.name


@pytest.mark.parametrize("call", ["replace", "fsync"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
def test_a_failing_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, code: int
) -> None:
    target = tmp_path / "file.txt"
    files.write_text(target, "old")

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(SetupError, match=rf"Cannot write {target}: {os.strerror(code)}"):
        files.write_text(target, "new")
    monkeypatch.undo()
    assert target.read_text() == "old"
    assert leftovers(tmp_path) == []


def test_an_error_of_the_caller_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    files.write_text(target, "old")
    with pytest.raises(ZeroDivisionError), files.durable(target) as partial:
        partial.write_text("half")
        _ = 1 // 0
    assert target.read_text() == "old"
    assert leftovers(tmp_path) == []


def test_hashes_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    assert files.sha256_file(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()
    assert files.sha256_json({"b": 1, "a": 2}) == files.sha256_json({"a": 2, "b": 1})
    assert files.sha256_json({"a": 1}) != files.sha256_json({"a": 2})


def test_a_stage_is_complete_only_with_its_inputs_and_its_files(tmp_path: Path) -> None:
    stage = Stage("teach", tmp_path, {"lr": 0.1})
    assert stage.complete() is None
    files.write_text(tmp_path / "model", "weights")
    stage.seal(["model"], {"accuracy": 0.5}, {})
    manifest = stage.complete()
    assert manifest is not None
    assert manifest.result == {"accuracy": 0.5}
    assert Stage("teach", tmp_path, {"lr": 0.2}).complete() is None, "other inputs"
    assert Stage("distill", tmp_path, {"lr": 0.1}).complete() is None, "another stage"
    (tmp_path / "model").write_text("altered")
    assert stage.complete() is None, "an altered file"
    (tmp_path / "model").unlink()
    assert stage.complete() is None, "a missing file"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 99}', '{"schema": 1}', "\x00\xff"])
def test_a_broken_manifest_is_no_manifest(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    assert Stage("teach", tmp_path, {}).complete() is None


def test_reopen_removes_the_manifest_first(tmp_path: Path) -> None:
    stage = Stage("teach", tmp_path, {})
    stage.seal([], {}, {})
    stage.reopen()
    assert stage.complete() is None


def test_the_second_process_is_told_who_holds_the_run(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from kdtool.runs.lock import run_lock\n"
        f"with run_lock(pathlib.Path({str(tmp_path)!r})):\n"
        "    print('held', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match=f"in use by process {holder.pid}"), run_lock(tmp_path):
            pass
    finally:
        holder.kill()
        holder.communicate()
    with run_lock(tmp_path):  # the system freed it when the holder was killed
        pass


def test_what_killed_processes_left_is_swept_under_the_lock(tmp_path: Path) -> None:
    left = [tmp_path / ".run.json.7.partial", tmp_path / "onnx" / ".student.onnx.7.partial"]
    folder = tmp_path / "onnx" / ".int8-x.partial"
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_text("half")
    for path in left:
        path.write_text("half")
    (tmp_path / "onnx" / "student.onnx").write_text("whole")
    (tmp_path / "film.partial").write_text("a browser's")
    with run_lock(tmp_path):
        names = [".lock", "film.partial", "onnx", "student.onnx"]
        assert sorted(path.name for path in tmp_path.rglob("*")) == names


def test_a_disk_that_is_full_at_once_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("kdtool.runs.lock.json.dump", full)
    with pytest.raises(SetupError, match=r"Cannot write .*\.lock: No space left"), run_lock(tmp_path):
        pass


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="Cannot write in"), run_lock(tmp_path / "file" / "run"):
        pass


def test_a_file_system_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(lock.fcntl, "flock", no_locks)
    with (
        pytest.raises(SetupError, match=r"cannot be locked: No locks available.*\n.*flock"),
        run_lock(tmp_path),
    ):
        pass
