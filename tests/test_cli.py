"""The command line: exit codes, one clear line per mistake, and drives that are stopped, starved or killed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import psutil
import pytest

from nanopilot.cli import main
from nanopilot.log import about, read, steps
from nanopilot.sim.truth import SimTruth

SHORT = ("drive", "--oracle", "--no-video")  # without the network: what is tested here is the house around it


def command(*args: object) -> list[str]:
    return [sys.executable, "-m", "nanopilot", *map(str, args)]


def call(*args: object) -> subprocess.CompletedProcess:
    return subprocess.run(command(*args), capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize(
    "args, said",
    [
        (["drive", "--map", "Q"], "unknown map 'Q'"),
        (["robot", "dance"], "'dance' is not understood"),
        (["drive", "--seed", "-4"], "seed"),
        (["drive", "--seed", "99999999999"], "seed 99999999999 is out of range"),
        (["drive", "--seed", "9-3"], "seeds must look like"),
        (["drive", "--hz", "1000"], "hz must be from 10 to 100"),
        (["drive", "--hz", "nan"], "hz must be from 10 to 100"),
        (["drive", "--seconds", "0"], "seconds must be"),
        (["drive", "--traffic", "7"], "traffic 7.0"),
        (["drive", "--repeat", "0"], "repeat must be at least 1"),
        (["drive", "--camera", "laser"], "laser"),
        (["drive", "--out", "/dev/null/x"], "/dev/null/x"),
        (["evaluate", "routes", "--workers", "0"], "workers must be at least 1"),
        (["evaluate", "routes", "--map", "Q", "--seeds", "1"], "unknown map 'Q'"),
        (["evaluate", "routes", "--json", "/dev/null/x.json", "--seeds", "1"], "/dev/null"),
        (["evaluate", "minute", "--seeds", "x"], "seeds must look like"),
        (["video", "/nowhere/x.mcap"], "can't read the log /nowhere/x.mcap"),
        (["train", "nothing"], "nanopilot train needs one of"),
        (["fly"], "fly"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_bad_input_is_said_in_words_and_exits_2(args, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(args)
    assert stop.value.code == 2
    out, err = capsys.readouterr()
    assert said in out + err and "Traceback" not in err


def test_help_names_every_command_and_is_quick():
    start = time.monotonic()
    done = call("--help")
    assert done.returncode == 0
    assert all(name in done.stdout for name in ("drive", "evaluate", "video", "doctor", "train"))
    assert time.monotonic() - start < 5


@pytest.mark.drive
def test_a_drive_leaves_a_log_and_a_film_and_says_where(tmp_path):
    done = call("drive", "--oracle", "--seconds", 3, "--out", tmp_path / "out")
    assert done.returncode == 1 and "did not arrive" in done.stdout and "the time is up" in done.stdout
    log, film = tmp_path / "out" / "drive-3-3000.mcap", tmp_path / "out" / "drive-3-3000.mp4"
    assert str(log) in done.stdout.replace("\n", "") and str(film) in done.stdout.replace("\n", "")
    assert json.loads(about(log)["drive"])["seed"] == 3000
    whole = list(steps(log, (SimTruth,)))
    assert len(whole) == 61
    assert {"/car", "/percept", "/world", "/plan", "/command", "/safe", "/truth", "/step", "/camera/front", "/route"} <= set(whole[-1])
    assert all(s["/step"].t == s["/car"].t for s in whole)
    with av.open(str(film)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 61


def start_drive(tmp_path: Path) -> tuple[subprocess.Popen, Path]:
    """A drive that has its first chunk on the disk, in a session of its own as a terminal would give it."""
    log = tmp_path / "drive-3-3000.mcap"
    args = command(*SHORT, "--out", tmp_path)
    drive = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    for _ in range(1200):
        if (log.exists() and log.stat().st_size > 2_000_000) or drive.poll() is not None:
            break
        time.sleep(0.1)
    assert drive.poll() is None, drive.stdout.read()
    return drive, log


def assert_no_orphans(family: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(family, timeout=60)  # a simulator that is still being imported ends when it is told its parent is gone
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.drive
def test_ctrl_c_keeps_the_log_and_leaves_no_orphan(tmp_path):
    drive, log = start_drive(tmp_path)
    family = psutil.Process(drive.pid).children(recursive=True)
    assert family
    os.killpg(drive.pid, signal.SIGINT)  # a terminal sends it to everybody in the foreground
    said, _ = drive.communicate(timeout=60)
    assert drive.returncode == 130
    assert "interrupted; the log so far is" in said and "Traceback" not in said
    assert_no_orphans(family)
    assert len(list(steps(log))) > 20


@pytest.mark.drive
def test_an_evaluation_told_to_end_leaves_no_orphan():
    runs = subprocess.Popen(command("evaluate", "routes", "--seeds", "3000-3001", "--workers", "2"), start_new_session=True)
    family: list[psutil.Process] = []
    for _ in range(300):
        family = psutil.Process(runs.pid).children(recursive=True)
        if len(family) >= 5 or runs.poll() is not None:  # two workers, their simulators, a resource tracker
            break
        time.sleep(0.1)
    assert len(family) >= 5, family
    runs.terminate()
    assert runs.wait(timeout=60) == 128 + signal.SIGTERM
    assert_no_orphans(family)


@pytest.mark.drive
def test_a_killed_drive_leaves_a_readable_log_and_no_orphan(tmp_path):
    drive, log = start_drive(tmp_path)
    family = psutil.Process(drive.pid).children(recursive=True)
    drive.kill()
    drive.wait()
    assert_no_orphans(family)
    assert len(list(steps(log))) > 20


@pytest.mark.drive
def test_a_simulator_that_dies_is_said_and_the_log_is_whole(tmp_path):
    drive, log = start_drive(tmp_path)
    for child in psutil.Process(drive.pid).children(recursive=True):
        child.kill()
    said, _ = drive.communicate(timeout=60)
    assert drive.returncode == 1
    assert "ended unexpectedly" in said and "Traceback" not in said
    times = [t for t, topic, _ in read(log) if topic == "/step"]
    assert len(times) > 20 and times == sorted(times)


@pytest.mark.drive
def test_a_full_disk_ends_the_drive_with_a_clear_line(tmp_path):
    limit = f"ulimit -f 2000; trap '' XFSZ; exec {sys.executable} -m nanopilot {' '.join(SHORT)} --out {tmp_path}"
    done = subprocess.run(["bash", "-c", limit], capture_output=True, text=True, timeout=300)
    assert done.returncode == 2
    assert "stopped: File too large; it is readable up to" in done.stderr and "Traceback" not in done.stderr
    assert len(list(steps(tmp_path / "drive-3-3000.mcap"))) > 10


@pytest.mark.drive
def test_peers_are_judged_by_the_same_suite(tmp_path):
    path = tmp_path / "idm.json"
    done = call("evaluate", "routes", "--seeds", "1000-1001", "--driver", "idm", "--json", path, "--workers", 1)
    assert done.returncode == 0, done.stderr
    report = json.loads(path.read_text())
    assert report["suite"] == "routes" and report["summary"]["n"] == 2 and report["summary"]["errors"] == 0
    assert {"success", "route_completion", "crash_vehicle", "out_of_road", "mean_speed", "success_95"} <= set(report["summary"])
    assert all(0 < row["mean_speed"] < 30 for row in report["rows"])
