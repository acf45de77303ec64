"""A small slice of each campaign; `make kill-campaign`, `io-faults` and `cache-edits` run them at length."""

from __future__ import annotations

from pathlib import Path

from campaigns import cache_edits, io_faults, kill


def test_killed_processes_go_on_to_the_same_files(tmp_path: Path) -> None:
    result = kill.campaign(rounds=5, command="distill", seed=1, folder=tmp_path)
    assert result["kills"] == 5
    assert result["points"] > 50
    assert (result["points_tried"], result["points_never_met"]) == (4, [])
    assert result["runs_completed"] >= 1
    assert result["files_compared_a_run"] >= 15
    assert result["different"] == []


def test_a_disk_that_fails_at_an_operation_loses_nothing(tmp_path: Path) -> None:
    result = io_faults.campaign("distill", tmp_path, codes=io_faults.CODES[:1], rounds=4)
    assert result["faults"] >= 4
    assert (result["different"], result["misreported"]) == ([], [])


def test_an_edit_that_keeps_size_and_time_is_noticed(tmp_path: Path) -> None:
    result = cache_edits.campaign(rounds=12, seed=2, folder=tmp_path)
    assert result["edits"] == 12
    assert len(result["by_kind"]) >= 4
    assert result["stale"] == []
