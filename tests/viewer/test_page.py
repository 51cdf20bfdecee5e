"""The page in a real browser, Debian's Chromium: opened, scrubbed, played, jumped about in, followed live, on a phone, in the dark."""

import re
import shutil
import threading
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest
import viewer_logs

from nanopilot.log import Log, Step
from nanopilot.messages import (
    CarState,
    Frame,
    Kind,
    Message,
    Observation,
    OwnMotion,
    SceneClass,
    Track,
    Turn,
    Warning,
    WarningKind,
    WarningLevel,
    Warnings,
    World,
)
from nanopilot.viewer import follow
from nanopilot.viewer.index import Index
from nanopilot.viewer.server import Server

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install -e '.[dev]'")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: apt-get install chromium")
expect = sync_api.expect
PATIENCE = 15.0  # s for what a calm machine does at once
expect.set_options(timeout=PATIENCE * 1000)


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


class Serving:
    """A server over a log that may grow."""

    def __init__(self, path) -> None:
        self.index, self.stop = Index(path), threading.Event()
        while self.index.grow():
            pass
        self.server = Server("127.0.0.1", 0, self.index)
        work = ((self.server.serve_forever, (0.02,)), (follow, (self.index, self.stop)))
        self.threads = [threading.Thread(target=run, args=args, daemon=True) for run, args in work]
        for thread in self.threads:
            thread.start()

    def close(self) -> None:
        self.stop.set()
        self.server.shutdown()
        self.server.server_close()
        for thread in self.threads:
            thread.join()


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    serving = Serving(viewer_logs.write(tmp_path_factory.mktemp("log") / "drive.mcap"))
    yield serving.server.url
    serving.close()


@pytest.fixture
def open_page(browser):
    """Opens pages, and at the end fails the test for anything they complained of."""
    complaints, contexts = [], []

    def open_(url: str, width: int = 1280, height: int = 800, **how):
        contexts.append(browser.new_context(viewport={"width": width, "height": height}, **how))
        page = contexts[-1].new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: complaints.append(str(e)))
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def seconds(page) -> float:
    minutes, rest = page.inner_text("#clock").split(":")
    return 60 * int(minutes) + float(rest)


def test_a_drive_is_opened_scrubbed_and_its_events_are_jumped_to(drive, open_page):
    page = open_page(drive)
    expect(page.locator("#state")).to_have_text("recorded")
    expect(page.locator("#name")).to_have_text("drive.mcap")
    expect(page.locator("#length")).to_have_text(" / 0:05.9")
    expect(page.locator("#speed")).to_have_text("18")  # 5 m/s
    expect(page.locator("#limit")).to_have_text("50")
    expect(page.locator("#set")).to_have_text("set 50")
    expect(page.locator("#alerts p")).to_have_count(0)
    colours = page.evaluate("new Set(document.getElementById('camera').getContext('2d').getImageData(0, 0, 400, 200).data).size")
    assert colours > 100  # a picture, and no flat colour

    line = page.locator("#scrub").bounding_box()
    page.mouse.click(line["x"] + line["width"] / 2, line["y"] + 20)
    expect(page.locator("#clock")).to_have_text(re.compile(r"0:0(2\.9|3\.0)"))
    expect(page.locator("#speed")).to_have_text("29")  # 8 m/s
    expect(page.locator("#behaviour")).to_have_text("follow")
    expect(page.locator("#reason")).to_have_text("slower car ahead")
    expect(page.locator("#gap")).to_have_text("1.8 s")  # rear bumper at 17.75 m, our front at 3.6 m, 8 m/s

    page.get_by_role("button", name="forward collision").click()
    expect(page.locator("#clock")).to_have_text("0:02.0")
    expect(page.locator("#alerts p.warning")).to_have_text("forward collision: 1.9 s to the car ahead")
    page.get_by_role("button", name="emergency braking").click()
    expect(page.locator("#alerts p.critical")).to_have_text("emergency braking")
    expect(page.locator("#reason")).to_have_text("safety: emergency braking")
    assert "#t=4.00" in page.url
    page.reload()
    expect(page.locator("#clock")).to_have_text("0:04.0")

    page.get_by_role("button", name="Safety").click()
    expect(page.locator("#events button")).to_have_text(["0:04.0emergency braking"])


KEYS = [
    ("ArrowRight", "0:00.0"), ("ArrowRight", "0:00.1"), ("ArrowLeft", "0:00.0"), ("Shift+ArrowRight", "0:05.0"), ("n", "0:05.0"),
    ("p", "0:04.0"), ("p", "0:02.0"), ("End", "0:05.9"), ("Home", "0:00.0"),
]  # fmt: skip


def test_it_plays_to_the_end_faster_and_by_keys_alone(drive, open_page):
    page = open_page(drive)
    expect(page.locator("#speed")).to_have_text("18")
    for key, shown in KEYS:
        page.keyboard.press(key)
        expect(page.locator("#clock")).to_have_text(shown)
    for _ in range(3):
        page.keyboard.press("+")
    expect(page.locator("#rate")).to_have_value("8")
    page.evaluate("""() => { window.said = []; const alerts = document.getElementById("alerts");
        new MutationObserver(() => said.push(alerts.textContent)).observe(alerts, { childList: true }); }""")
    start = time.monotonic()
    page.keyboard.press(" ")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Pause")
    expect(page.locator("#clock")).to_have_text("0:05.9")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
    assert 0.7 < time.monotonic() - start < PATIENCE
    said = page.evaluate("said.join()")
    assert "forward collision: 1.9 s to the car ahead" in said and "emergency braking" in said
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("play or pause")
    classes = [name.replace("_", " ") for name in SceneClass.NAMES]
    expect(page.locator("#classes li")).to_have_text(classes[1:])  # "other" is not coloured
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    for key, button in (("m", "#sound"), ("s", "#scene")):
        page.keyboard.press(key)
        expect(page.locator(button)).to_have_attribute("aria-pressed", "true")


def test_it_fits_a_phone_and_is_dark_in_the_dark(drive, open_page):
    def paper(page) -> int:
        expect(page.locator("#speed")).to_have_text("18")
        return sum(map(int, re.findall(r"\d+", page.evaluate("getComputedStyle(document.body).backgroundColor"))))

    phone = open_page(drive, 390, 844, color_scheme="dark", device_scale_factor=2)
    assert paper(phone) < 100
    assert phone.evaluate("document.documentElement.scrollWidth") <= 390
    boxes = {button.get_attribute("id"): button.bounding_box() for button in phone.locator("button:visible").all()}
    assert {name: box for name, box in boxes.items() if box["width"] < 34 or box["height"] < 28} == {}  # what a thumb hits
    assert paper(open_page(drive, color_scheme="light")) > 600
    unnamed = """[...document.querySelectorAll("button, select, input, canvas:not([aria-hidden])")]
        .filter((e) => !(e.innerText || e.ariaLabel || e.labels?.length)).map((e) => e.id)"""
    assert phone.evaluate(unnamed) == []


@dataclass(frozen=True)
class Motion(Message):
    t: float
    speed: float
    speed_std: float
    source: str


@dataclass(frozen=True)
class Calibration(Message):
    t: float
    progress: float
    valid: bool


def test_a_log_that_holds_little_shows_what_it_holds(tmp_path, open_page, request):
    with Log(tmp_path / "clip.mcap") as clip, Log(tmp_path / "bus.mcap") as bus:
        for k in range(20):
            clip.write("/camera/front", Frame(k / 10, "front", viewer_logs.picture(k)))
            clip.write("/motion", Motion(k / 10, 0.0, 100.0, "none"))
            clip.write("/calibration", Calibration(k / 10, 0.4, False))
            bus.write("/car", CarState(k / 10, 10.0, 0.0, 0.0, 0.0))
        clip.write("/warning", viewer_logs.Danger(1.0, "headway", "late", "<b>0.4 s</b>"))
    shown = {}
    for name in ("clip", "bus"):
        serving = Serving(tmp_path / f"{name}.mcap")
        request.addfinalizer(serving.close)
        page = open_page(f"{serving.server.url}#t=1")
        expect(page.locator("#clock")).to_have_text("0:01.0")
        shown[name] = page
    expect(shown["clip"].locator("#alerts p.critical")).to_have_text("headway: <b>0.4 s</b>")  # words of a log are never markup
    expect(shown["clip"].locator("#speed")).to_have_text("–")
    expect(shown["clip"].locator("#behaviour")).to_have_text("finding the camera, 40 %")
    expect(shown["bus"].locator("#speed")).to_have_text("36")
    expect(shown["bus"].locator("#camera")).to_have_attribute("aria-label", "No picture at this moment")


def test_a_watch_shows_who_is_warned_of_and_the_limit_that_was_read(tmp_path, open_page, request):
    far = Track(3, Kind.VEHICLE, 60.0, 0.0, 0.0, 20.0, 0.0, 0.0, 0.0, 0.3, 0.3, 4.5, 1.8, 3.0, 0.0, 0.9)  # beyond the path that is seen
    near = replace(far, id=4, x=-1.0, y=3.0)
    lane = (viewer_logs.curve(0), viewer_logs.curve(1.75), viewer_logs.curve(-1.75), 3.5, 0.1, 0.1)
    with Log(tmp_path / "watch.mcap") as out:
        for k in range(20):
            t = k / 10
            beside = Warning(t, WarningKind.BLIND_SPOT, WarningLevel.INFO, 1.2, 0.1, 3.0, "m", "a vehicle beside us", 1, near.id)
            behind = Warning(t, WarningKind.HEADWAY, WarningLevel.INFO, 2.7, 0.1, 2.5, "s", "2.7 s behind", 0, far.id)
            said = "a vehicle comes into our way from the left, 24 m ahead"
            came = Warning(t, WarningKind.CUT_IN, WarningLevel.INFO, 1.1, 0.4, 0.5, "m/s", said, -1, 5)
            active = (beside, behind, came) if t >= 1.5 else (beside, behind)
            world = World(t, 20.0, 0.0, 0.0, *lane, (near, far), np.zeros((0, 2)), 1.0, Turn.STRAIGHT, 0.0, 0.0, 0.0, 1.0, 0.0)
            motion = OwnMotion(t, 20.0, 0.3, 0.0, 0.02, "gpx")
            observation = Observation(t, (Frame(t, "front", viewer_logs.picture(k)),), CarState(t, 20.0, 0.0, 0.0, 0.0))
            out.write_step(observation, Step(t, {}), world=world, motion=motion, warnings=Warnings(t, active, (), (), 50 / 3.6))
    serving = Serving(tmp_path / "watch.mcap")
    request.addfinalizer(serving.close)
    page = open_page(f"{serving.server.url}#t=1")
    expect(page.locator("#limit")).to_have_text("50")
    expect(page.locator("#gap")).to_have_text("2.7 s")
    expect(page.locator("#gap-note")).to_have_text("vehicle at 54 m")
    expect(page.locator("#behaviour")).to_have_text("watching")
    expect(page.locator("#reason")).to_have_text("speed from: gpx")
    expect(page.locator("#set")).to_have_text("")  # nobody tells a watch what the driver wants
    page.get_by_role("button", name="cut in").click()
    expect(page.locator("#clock")).to_have_text("0:01.5")
    expect(page.locator("#alerts")).to_contain_text(f"cut in left: {said}")


def test_a_drive_is_followed_while_it_is_written_and_begun_anew(tmp_path, open_page, request):
    path = tmp_path / "live.mcap"
    with Log(path) as out:
        for k in range(120):
            viewer_logs.add(out, k)
        serving = Serving(path)
        request.addfinalizer(serving.close)
        page = open_page(serving.server.url)
        expect(page.locator("#state")).to_have_text("live")
        assert serving.index.summary()["times"][-1] < 5.9  # the rest is not on the disk yet
        first, start = seconds(page), time.monotonic()
        for k in range(120, 200):
            viewer_logs.add(out, k)
        expect(page.locator("#play")).to_have_attribute("aria-label", "Pause")
        while (now := seconds(page)) < first + 1.5:
            assert time.monotonic() < start + PATIENCE, f"stands at {now} s"
            page.wait_for_timeout(50)
    expect(page.locator("#state")).to_have_text("recorded")
    page.keyboard.press("End")
    expect(page.locator("#clock")).to_have_text("0:09.9")
    expect(page.locator("#play")).to_have_attribute("aria-label", "Play")
    viewer_logs.write(path, 2)
    expect(page.locator("#length")).to_have_text(" / 0:01.9")
