"""A suite's bookkeeping: resuming, broken rows, dead workers, and sums done by hand."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from rich.console import Console

from nanopilot.evaluate import suite
from nanopilot.evaluate.metrics import wilson
from nanopilot.evaluate.suite import Suite, parse_seeds


def even(job):
    with open(job["trace"], "a") as file:
        file.write(f"{job['seed']}\n")
    return {"success": job["seed"] % 2 == 0, "mean_speed": float(job["seed"]), "reason": "done"}


def breaks_on_three(job):
    if job["seed"] == 3:
        raise RuntimeError("no map")
    return {"success": True, "mean_speed": 1.0}


def dies_on_one(job):
    if job["seed"] == 1:
        os._exit(9)
    return {"success": True, "mean_speed": 1.0}


def make(run) -> Suite:
    return Suite("toy", run, ("success",), ("mean_speed",))


def test_a_summary_is_the_sum_done_by_hand(tmp_path):
    jobs = [{"seed": k, "trace": str(tmp_path / "trace")} for k in range(5)]
    report = suite.run(make(even), jobs, 2, tmp_path / "toy.json")
    assert [r["job"]["seed"] for r in report.rows] == [0, 1, 2, 3, 4]  # in the order asked for, whoever was first
    assert report.summary["success"] == 3 / 5 and report.summary["success_95"] == wilson(3, 5)
    assert report.summary["mean_speed"] == 2.0 and report.summary["n"] == 5
    stored = json.loads((tmp_path / "toy.json").read_text())
    assert {"suite", "commit", "rows", "summary", "machine", "command", "date"} <= set(stored)
    assert stored["summary"]["success"] == 3 / 5
    console = Console(record=True, width=100)
    console.print(suite.table(report))
    text = console.export_text()
    assert "0.600" in text and "0.231 to 0.882" in text


def test_a_stopped_run_goes_on_and_another_commit_starts_over(tmp_path, monkeypatch):
    trace, path = tmp_path / "trace", tmp_path / "new" / "toy.json"  # the folder is made
    jobs = [{"seed": k, "trace": str(trace)} for k in range(4)]
    monkeypatch.setattr(suite, "this_commit", lambda: "a")
    suite.run(make(even), jobs[:3], 1, path)
    with open(path.with_suffix(".rows.jsonl"), "a") as file:
        file.write('{"suite": "toy", "comm')  # cut off by a kill
    report = suite.run(make(even), jobs, 1, path)
    assert trace.read_text().split() == ["0", "1", "2", "3"]
    assert report.summary["n"] == 4
    monkeypatch.setattr(suite, "this_commit", lambda: "b")
    suite.run(make(even), jobs, 1, path)
    assert len(trace.read_text().split()) == 8


def test_a_row_that_raises_is_a_failure_and_is_counted(tmp_path):
    report = suite.run(make(breaks_on_three), [{"seed": k} for k in range(2, 5)], 1)
    assert report.rows[1]["error"] == "RuntimeError: no map"
    assert report.summary["success"] == 2 / 3 and report.summary["errors"] == 1


def test_a_worker_that_dies_ends_as_errors_and_not_in_a_hang():
    start = time.monotonic()
    report = suite.run(make(dies_on_one), [{"seed": k} for k in range(3)], 1)
    assert time.monotonic() - start < 60
    assert "error" in report.rows[1] and report.summary["success"] < 1


@pytest.mark.parametrize("text, seeds", [("7", [7]), ("3-5", [3, 4, 5]), ("1,9-10", [1, 9, 10]), (" 2 ", [2])])
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "x", "5-3", "-3", "3-", "1,,2", "1.5", "3-4-5"])
def test_nonsense_seeds_are_refused(text):
    with pytest.raises(ValueError, match="seeds must look like"):
        parse_seeds(text)


SLOW = """
import sys, tempfile, time
from pathlib import Path
from nanopilot.evaluate import suite

def work(job):
    with tempfile.TemporaryDirectory(dir=job["folder"]):
        (Path(job["folder"]) / "began").touch()
        time.sleep(600)

if __name__ == "__main__":
    from nanopilot.cli import main
    import nanopilot.cli as cli
    cli.run = lambda command: suite.run(suite.Suite("slow", work, (), ()), [{"seed": k, "folder": sys.argv[1]} for k in range(3)], 1)
    main(["doctor"])
"""


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_suite_that_is_told_to_end_leaves_no_folder_and_no_worker(tmp_path, number, code):
    script, folder = tmp_path / "slow.py", tmp_path / "work"
    script.write_text(SLOW)
    folder.mkdir()
    main = subprocess.Popen([sys.executable, str(script), str(folder)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _until(lambda: (folder / "began").exists())
    family = psutil.Process(main.pid).children(recursive=True)
    main.send_signal(number)
    assert main.wait(60) == code
    _until(lambda: not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in family))
    assert [p.name for p in folder.iterdir()] == ["began"]


def _until(true, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)
