"""`watch --show` as a user has it: the page over a watch that is under way, in Debian's Chromium, until Ctrl-C ends both."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from nanopilot.cli import main

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
CHROMIUM = shutil.which("chromium")
PATIENCE = 180.0  # s for what a calm machine does in ten
HZ, SECONDS = 20, 15


@pytest.fixture
def source(tmp_path):
    """A road of coarse noise, and a table that says 20 m/s."""
    rng = np.random.default_rng(0)
    path = tmp_path / "road.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("mpeg4", rate=HZ)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for k in range(SECONDS * HZ):
            image = cv2.resize(rng.integers(0, 255, (36, 64, 3), np.uint8), (640, 360))
            frame = av.VideoFrame.from_ndarray(image, "rgb24")
            frame.pts, frame.time_base = k, Fraction(1, HZ)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    (tmp_path / "speed.csv").write_text("t,speed,yaw_rate\n-1,20,0\n99,20,0\n")
    return path


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
def test_the_page_shows_a_watch_while_it_goes_on_and_stays_until_ctrl_c(source, tmp_path):
    args = [sys.executable, "-m", "nanopilot", "watch", str(source), "--speed", str(tmp_path / "speed.csv"), "--no-video", "--show",
            "--out", str(tmp_path / "out")]  # fmt: skip
    watch = subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    complaints: list[str] = []
    try:
        said = ""
        while "is shown on" not in said:
            said = watch.stdout.readline()
            assert said, watch.stderr.read()
        url = said.split(" is shown on ")[1].split()[0]
        with sync_api.sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            page = browser.new_page()
            page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
            page.on("pageerror", lambda e: complaints.append(str(e)))
            page.goto(url)
            sync_api.expect(page.locator("#speed")).to_have_text("72", timeout=PATIENCE * 1000)
            states = {json.loads(urllib.request.urlopen(f"{url}api/log", timeout=5).read())["state"]}
            colours = page.evaluate("new Set(document.getElementById('camera').getContext('2d').getImageData(0, 0, 400, 200).data).size")
            assert colours > 100  # a picture
            sync_api.expect(page.locator("#state")).to_have_text("recorded", timeout=PATIENCE * 1000)
            page.keyboard.press("End")
            sync_api.expect(page.locator("#clock")).to_have_text("0:14.9", timeout=PATIENCE * 1000)
            browser.close()
        assert complaints == [] and not states & {"whole"}  # a starved machine writes so slowly that it counts as cut off
        end, line = time.monotonic() + PATIENCE, ""
        while "stays until Ctrl-C" not in line and time.monotonic() < end:
            line = watch.stdout.readline()
        assert watch.poll() is None
    finally:
        os.killpg(watch.pid, signal.SIGINT)  # as Ctrl-C in a terminal
    out, err = watch.communicate(timeout=20)
    assert watch.returncode == 0 and "Traceback" not in out + err


def test_a_page_without_a_log_is_refused(source, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["watch", str(source), "--show", "--no-log", "--out", str(tmp_path / "out")])
    assert stop.value.code == 2 and "--show needs it" in capsys.readouterr().err
