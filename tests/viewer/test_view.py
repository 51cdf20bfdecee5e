"""The command: clear words and exit codes for bad input, an end by Ctrl-C, logs that are still to come."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request

import pytest
import viewer_logs

from nanopilot import viewer
from nanopilot.cli import main
from nanopilot.log import Log


def refused(capsys, *args: object) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["view", *map(str, args)])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def load(port: int) -> bytes:
    for _ in range(200):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/api/log", timeout=2).read()
        except OSError:
            time.sleep(0.05)
    raise TimeoutError


def test_bad_logs_are_said_in_words(tmp_path, capsys):
    assert "can't read the log" in refused(capsys, tmp_path / "none.mcap") and "No such file" in refused(capsys, tmp_path / "none.mcap")
    assert "Is a directory" in refused(capsys, tmp_path)
    (tmp_path / "text").write_text("this is no log at all")
    assert "is not an MCAP log" in refused(capsys, tmp_path / "text")
    (tmp_path / "nothing").write_bytes(b"")
    assert "holds no messages" in refused(capsys, tmp_path / "nothing")
    with Log(tmp_path / "empty.mcap"):
        pass
    assert "holds no messages" in refused(capsys, tmp_path / "empty.mcap")


def test_bad_addresses_are_said_in_words(tmp_path, capsys):
    log = viewer_logs.write(tmp_path / "a.mcap", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = refused(capsys, log, "--port", taken.getsockname()[1])
    assert "Address already in use" in said and "--port 0" in said
    assert "port must be from 0 to 65535" in refused(capsys, log, "--port", 99999)
    assert "can't listen on 203.0.113.9" in refused(capsys, log, "--host", "203.0.113.9")
    assert "host must not be empty" in refused(capsys, log, "--host", "")


def test_ctrl_c_ends_it_with_0(tmp_path):
    port, log = free_port(), viewer_logs.write(tmp_path / "a.mcap", 0.5)
    args = [sys.executable, "-m", "nanopilot", "view", str(log), "--port", str(port)]
    process = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert b'"state":"whole"' in load(port)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=10)
    assert process.returncode == 0 and err == ""
    assert f"http://127.0.0.1:{port}/" in out


def test_a_log_that_is_not_there_yet_is_waited_for(tmp_path):
    port, log, stop = free_port(), tmp_path / "later.mcap", threading.Event()
    thread = threading.Thread(target=viewer.view, args=(viewer.ViewConfig(log, port=port, wait=True), stop))
    thread.start()
    try:
        assert b'"times":[]' in load(port)
        viewer_logs.write(log, 1)
        for _ in range(100):
            if b'"state":"whole"' in load(port):
                break
            time.sleep(0.05)
        assert b'"times":[0.0,0.05,' in load(port)
    finally:
        stop.set()
        thread.join()


def test_a_page_beside_a_drive_takes_another_port_when_its_own_is_taken(tmp_path, capfd):
    with socket.create_server(("127.0.0.1", 0)) as other, viewer.Beside(other.getsockname()[1]) as page:
        taken = other.getsockname()[1]
        page.show(tmp_path / "a.mcap")
        said, start = "", time.monotonic()
        while "is shown on" not in said and time.monotonic() < start + 5:
            time.sleep(0.05)
            said += capfd.readouterr().out
    port = int(said.split("http://127.0.0.1:")[1].split("/")[0])
    assert port not in (0, taken)


def test_the_page_beside_a_drive_forgets_the_last_drive_and_ends_with_it(tmp_path):
    port, log = free_port(), viewer_logs.write(tmp_path / "a.mcap", 1)
    with viewer.Beside(port) as page:
        page.show(log)
        assert not log.exists()
        assert b'"times":[]' in load(port)
        process = page._process
    assert process.poll() is not None


@pytest.mark.drive
def test_a_drive_is_on_the_page_while_it_is_driven(tmp_path):
    args = [sys.executable, "-m", "nanopilot", "drive", "--oracle", "--seconds", "6", "--no-video", "--show", "--out", str(tmp_path)]
    drive = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    try:
        said = ""
        while "is shown on" not in said:
            said = drive.stdout.readline()
        port, states = int(said.split("http://127.0.0.1:")[1].split("/")[0]), set()
        for _ in range(600):
            log = json.loads(load(port))
            states.add((log["state"], bool(log["times"])))
            if log["state"] == "whole":
                break
            time.sleep(0.1)
        assert ("live", True) in states and log["times"][-1] >= 6
        lines = []
        while "the page stays until Ctrl-C\n" not in lines:
            lines.append(drive.stdout.readline())
            assert lines[-1], lines  # the drive ended without a page
        assert "the time is up" in "".join(lines) and json.loads(load(port))["state"] == "whole"
    finally:
        os.killpg(drive.pid, signal.SIGINT)  # as Ctrl-C in a terminal
    out, _ = drive.communicate(timeout=20)
    assert drive.returncode == 1 and "Traceback" not in out
