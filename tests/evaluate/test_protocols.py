"""The procedures against closed forms; that an invalid run is never a passed one; a few runs in closed loop."""

from dataclasses import replace
from math import asin, cos, radians

import numpy as np
import pytest

from nanopilot.evaluate import assessor, protocols
from nanopilot.evaluate.procedures import GROUPS, KPH, Case, braking, careful, cases, crossing, departure, rear
from nanopilot.evaluate.protocols import Step, iso_15622, judge, onset, select, summary
from nanopilot.evaluate.suite import Report
from nanopilot.evaluate.track import EDGE, FRONT, HZ, LEAD_IN, OUTER_Y, Instant, TrackBody, Trial, between, outline
from nanopilot.log import steps as log_steps
from nanopilot.messages import BodyStopped, GuardStage, Mode, SafeCommand

FULL = list(GuardStage).index(GuardStage.FULL)
BY_NAME = {c.name: c for c in cases()}


# ------------------------------------------------------------------------- where the targets are


def gap(trial: Trial, t: float, k: int = 0) -> float:
    """Between bumpers, of a car that holds its speed."""
    a = trial.actors(t)[k]
    return a.x - a.size[0] / 2 - trial.speed * t - FRONT


@pytest.mark.parametrize("start", [4.0, 5.0])
def test_a_rear_procedure_begins_at_its_time_to_collision(start):
    trial = rear(50, 20, start=start)
    assert gap(trial, LEAD_IN) == pytest.approx(start * 30 * KPH)
    assert gap(trial, LEAD_IN + start) == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("overlap", [1.0, 0.75, -0.5])
def test_overlap_is_the_share_of_our_width_that_would_be_hit(overlap):
    a = rear(50, 0, overlap).actors(0.0)[0]
    ours, theirs = np.array([-0.9, 0.9]), np.array([-a.size[1] / 2, a.size[1] / 2]) + a.y - OUTER_Y
    shared = min(ours[1], theirs[1]) - max(ours[0], theirs[0])
    assert shared == pytest.approx(min(abs(overlap) * 1.8, a.size[1]))
    assert abs(overlap) == 1 or (a.y > OUTER_Y) == (overlap > 0)


@pytest.mark.parametrize("deceleration", [2.0, 6.0])
def test_a_braking_lead_stands_after_the_textbook_distance(deceleration):
    trial = braking(50, 12, deceleration)
    v, end = 50 * KPH, trial.actors(trial.seconds)[0]
    begins = LEAD_IN + 1.5
    assert gap(trial, begins) == pytest.approx(12.0)
    way = end.x - trial.actors(begins)[0].x
    # half a second of ramp is a quarter of a second of delay, less (a t²)/24 that it brakes in it
    assert way == pytest.approx(v * 0.25 + v * v / (2 * deceleration), abs=deceleration * 0.25 / 12) and end.speed == 0.0
    for t in np.arange(begins, trial.seconds - 0.1, 0.2):
        a, b = trial.actors(t)[0], trial.actors(t + 1e-4)[0]
        assert (b.x - a.x) / 1e-4 == pytest.approx(a.speed, abs=1e-2)


@pytest.mark.parametrize(("left", "share"), [(False, 0.25), (False, 0.75), (True, 0.5)])
def test_who_crosses_is_hit_at_his_share_of_our_width(left, share):
    trial = crossing("person", 40, 5 * KPH, left, share, 4.0)
    a = trial.actors(LEAD_IN + 4.0)[0]
    near_side = OUTER_Y + (0.9 if left else -0.9)
    assert abs(a.y - near_side) == pytest.approx(share * 1.8)
    assert a.x - a.size[1] / 2 == pytest.approx(FRONT + 40 * KPH * (LEAD_IN + 4.0))
    first = trial.actors(0.0)[0]
    assert abs(first.y - a.y) == pytest.approx(4.0) and first.speed == 0.0


@pytest.mark.parametrize(("speed", "rate"), [(70, 0.5), (60, 0.3), (100, 0.7)])
def test_a_departure_follows_euro_ncaps_arc(speed, rate):
    """D1 = R (1 - cos(asin(v_lat / v))); the sheet's own check: 70 km/h and 0.5 m/s give 0.397 m."""
    trial, v = departure(speed, rate, 1), speed * KPH
    radius = {60: 600, 70: 1200, 100: 2400}[speed]
    d1 = radius * (1 - cos(asin(rate / v)))
    assert speed != 70 or d1 == pytest.approx(0.397, abs=0.001)
    t = np.arange(LEAD_IN, trial.driver.hands_off, 1e-3)
    moved = np.cumsum([v * np.sin(trial.driver.heading(x)) for x in t]) * 1e-3
    assert -moved[-1] == pytest.approx(d1, abs=rate * 0.06)
    assert v * np.sin(-trial.driver.heading(trial.seconds)) == pytest.approx(rate)


def test_a_careful_driver_by_r157s_formula():
    """60 against 20 km/h: v_rel / 12 + 0.35 = 1.276 s."""
    assert careful(60, 20, 1.28) and not careful(60, 20, 1.27)


def test_rectangles_apart_touching_and_turned():
    a = outline(0, 0, 0, 4, 2)
    assert between(a, outline(5, 0, 0, 4, 2)) == pytest.approx(1.0)
    assert between(a, outline(5, 5, 0, 4, 2)) == pytest.approx(np.hypot(1, 3))
    assert between(a, outline(3.9, 0, 0, 4, 2)) == 0.0
    corner = outline(2 + 1 + 0.5, 0, radians(45), np.sqrt(2), np.sqrt(2))  # a square on its corner, its corner 1 m before us
    assert between(a, corner) == pytest.approx(0.5)


def test_every_cell_has_its_own_name_and_place():
    names = [c.name for c in cases()]
    assert len(set(names)) == len(names) and {c.group for c in cases()} == set(GROUPS)
    for c in cases():
        assert all(abs(a.y - OUTER_Y) < 30 for t in (0.0, c.trial.seconds) for a in c.trial.actors(t))


def test_only_and_coarse_choose_and_refuse():
    assert {c.group for c in select("lane,r152")} == {"lane", "r152"}
    assert [c.column for c in select("CCRs AEB/100")] == [str(v) for v in range(10, 51, 5)]
    assert [c.column for c in select("CCRs AEB/100", coarse=True)] == ["10", "20", "30", "40", "50"]
    with pytest.raises(ValueError, match="rating"):
        select("rating")


@pytest.mark.parametrize("text", ["ice", "", "1.0,", "0", "nan", "-1"])
def test_a_friction_that_is_none_is_refused(text):
    assert protocols.parse_frictions("1.0,0.6") == (1.0, 0.6)
    with pytest.raises(ValueError, match="friction"):
        protocols.parse_frictions(text)


# ------------------------------------------------------------------------- the car, and the judge


def drive(case: Case, command=lambda t: {}, friction: float = 1.0, disturb=None):
    """Run a case with a function in place of the pilot: t -> fields of the SafeCommand, and 'stage'."""
    body, steps = TrackBody(case.trial, 1, friction=friction, eyes=False), []
    while True:
        try:
            o = body.observe()
        except BodyStopped:
            return body, steps
        what = {"acceleration": 0.0, "curvature": 0.0, "brakes": False, "steers": False} | command(o.t)
        stage = what.pop("stage", FULL if what["brakes"] else 0)
        steps.append(Step(stage, what["brakes"], what["steers"], ""))
        if stage and body.warned == float("inf"):
            body.warned = o.t
        body.act(forged(o.t, what))
        if disturb is not None:
            disturb(body)


def forged(t, what):
    """Not of the safety stage: a stand-in for it, so that the track can be tested alone."""
    safe = object.__new__(SafeCommand)
    plain = {"t": t, "signal": "off", "engaged": False, "reasons": (), "mode": Mode.READY, "speed": 0.0, "arc": (), "precharge": False}
    for name, value in (plain | what).items():
        object.__setattr__(safe, name, value)
    return safe


def brake_from(t0):
    return lambda t: {"acceleration": -8.0, "brakes": True} if t >= t0 else {}


CCRS = BY_NAME["ccr/CCRs AEB/100 %/50"]


def test_nobody_brakes_and_the_row_says_so():
    body, steps = drive(CCRS)
    row = judge(CCRS, body, steps)
    assert row["status"] == "failed" and row["contact"] and row["impact"] / KPH == pytest.approx(50.4, abs=0.2) and row["score"] == 0.0
    assert body.trace[-1].t == pytest.approx(LEAD_IN + 4.0, abs=0.1)


def test_who_brakes_in_time_passes_and_the_way_is_the_textbooks():
    body, steps = drive(CCRS, brake_from(LEAD_IN + 1.0))
    row = judge(CCRS, body, steps)
    assert row["status"] == "passed" and row["invalid"] == [] and row["score"] == 1.0 and row["most_braking"] == pytest.approx(8.0)
    v = body.trace[round((LEAD_IN + 1.0) * HZ)].speed
    way = body.trace[-1].x - body.trace[round((LEAD_IN + 1.0) * HZ)].x
    assert way == pytest.approx(v * v / 16 + v * (0.15 + 0.12), abs=0.4)  # dead time and lag
    assert row["onset"] == pytest.approx(LEAD_IN + 1.0 + 0.15, abs=0.11)


def test_friction_is_the_most_that_brakes_give():
    body, _ = drive(CCRS, brake_from(LEAD_IN), friction=0.6)
    assert min(i.acceleration for i in body.trace) == pytest.approx(-0.6 * 9.81, abs=0.01)
    begun = body.trace[round(LEAD_IN * HZ)]
    way = body.trace[-1].x - begun.x
    assert way == pytest.approx(begun.speed**2 / (2 * 0.6 * 9.81) + begun.speed * (0.15 + 0.12), abs=0.4)  # dead time and lag


@pytest.mark.parametrize("late", [3.0, 3.2, 3.4, 3.7])
def test_scores_by_euro_ncaps_bands(late):
    row = judge(CCRS, *drive(CCRS, brake_from(LEAD_IN + late)))
    bands = [(5, 1.0), (15, 0.75), (30, 0.5), (40, 0.25), (99, 0.0)]
    assert row["score"] == next(s for b, s in bands if row["impact"] / KPH < b) and row["contact"]
    assert row["status"] == ("passed" if row["score"] == 1.0 else "failed")


@pytest.mark.parametrize(
    ("what", "disturb"),
    [
        ("speed off", lambda b: setattr(b, "motion", b.motion._replace(speed=14.6))),
        ("beside the path", lambda b: setattr(b, "motion", b.motion._replace(y=OUTER_Y + 0.2))),
        ("yaw rate", lambda b: setattr(b, "motion", b.motion._replace(curvature=0.003, y=OUTER_Y))),
    ],
)
def test_a_run_outside_the_tolerances_is_invalid_though_it_stopped(what, disturb):
    body, steps = drive(CCRS, brake_from(LEAD_IN + 1.0), disturb=lambda b: disturb(b) if b.t < LEAD_IN + 0.6 else None)
    row = judge(CCRS, body, steps)
    assert row["status"] == "invalid" and any(what in w for w in row["invalid"])
    counted = summary([row | {"job": {"case": CCRS.name, "friction": 1.0}}])
    assert counted["passed_fraction"] == 0.0 and counted["invalid"] == 1


def test_a_target_that_lies_about_its_speed_makes_a_run_invalid():
    def lies(t):
        return tuple(replace(a, speed=3.0, x=a.x + 2.0 * t) for a in CCRS.trial.actors(t))

    case = replace(CCRS, trial=replace(CCRS.trial, actors=lies))
    assert "target 1" in judge(case, *drive(case, brake_from(LEAD_IN + 1.0)))["invalid"][0]


def test_braking_before_the_procedure_begins_is_a_failure_and_a_warning_before_it_counts_for_nothing():
    row = judge(CCRS, *drive(CCRS, brake_from(0.5)))
    assert row["status"] == "failed" and "braked 1.00 s before the procedure" in row["why"][0]
    early = lambda t: {"stage": 1} if t < LEAD_IN - 0.2 else brake_from(LEAD_IN + 1.0)(t)  # noqa: E731  a sentence is enough
    row = judge(CCRS, *drive(CCRS, early))
    assert row["status"] == "passed" and row["warned"] == pytest.approx(LEAD_IN + 1.0) and row["warned_in_lead_in"]
    row = judge(CCRS, *drive(CCRS, brake_from(LEAD_IN + 1.0)))
    assert not row["warned_in_lead_in"]
    edge = BY_NAME["lane/road edge without a line/0.2 m/s/90"]
    row = judge(edge, *drive(edge, lambda t: {"steers": True, "curvature": 1e-4} if 1.0 < t < 1.3 else {}))
    assert row["status"] == "failed" and "steered" in row["why"][0]


def test_a_pilot_whose_stage_fails_has_failed_whatever_else():
    body, steps = drive(CCRS, brake_from(LEAD_IN + 1.0))
    row = judge(CCRS, body, [replace(steps[0], fault="ValueError: x"), *steps[1:]])
    assert row["status"] == "failed" and "ValueError" in row["why"][0]


def test_braking_for_nothing_fails_a_false_activation():
    case = BY_NAME["fmvss127/false activation/between two parked cars/80"]
    assert judge(case, *drive(case))["status"] == "passed"
    row = judge(case, *drive(case, lambda t: {"acceleration": -4.0, "brakes": True} if 3.0 < t < 3.6 else {}))
    assert row["status"] == "failed" and "for nothing" in row["why"][0]


def test_a_warning_too_late_and_one_in_time():
    case = BY_NAME["ccr/CCRs FCW/100 %/60"]
    late = judge(case, *drive(case, lambda t: {"stage": 1} if t > LEAD_IN + 3.0 else {}))
    good = judge(case, *drive(case, lambda t: {"stage": 1} if t > LEAD_IN + 0.1 else {}))
    assert late["status"] == "failed" and any("s before" in w for w in late["why"])
    assert (
        good["status"] == "passed" and good["ttc"] == pytest.approx(3.9, abs=0.1) and good["most_braking"] == pytest.approx(4.0, abs=0.05)
    )


def test_r152_wants_a_warning_0_8_s_before_the_brake():
    case = BY_NAME["r152/car stands/impact speed/30"]
    row = judge(case, *drive(case, brake_from(LEAD_IN + 1.5)))
    assert row["status"] == "failed" and "warned only 0.00 s" in row["why"][0]


def test_a_drift_unhindered_leaves_lane_and_road():
    for name, key in (("lane/solid line, right/0.5 m/s/70", "least_line"), ("lane/road edge without a line/0.5 m/s/70", "least_edge")):
        body, steps = drive(BY_NAME[name])
        row = judge(BY_NAME[name], body, steps)
        assert row["status"] == "failed" and row[key] < -0.5 and row["invalid"] == []
    assert EDGE == 7.0


def test_too_hard_steering_fails_r79():
    case = BY_NAME["lane/solid line, right/0.5 m/s/70"]
    v = case.trial.speed
    row = judge(case, *drive(case, lambda t: {"steers": True, "curvature": 4.0 / v**2} if 4.0 < t < 4.6 else {}))
    assert any("R79" in w for w in row["why"]) and row["most_lateral_acceleration"] > 3.0


def instants(speeds, along=50.0):
    a = np.gradient(speeds) * HZ
    return [Instant(k / HZ, 0, 0, 0, v, x, 0, 9.0, 0, 1, 1, 1, along) for k, (v, x) in enumerate(zip(speeds, a, strict=True))]


def test_iso_15622_by_hand():
    t = np.arange(0, 6, 1 / HZ)
    assert iso_15622(instants(20 - 1.5 * t)) == []
    assert any("braked" in w for w in iso_15622(instants(30 - 4.5 * t)))
    assert any("sped up" in w for w in iso_15622(instants(20 + 3.0 * t)))
    assert any("behind at the end" in w for w in iso_15622(instants(np.full(60, 20.0), along=10.0)))


def test_who_does_not_move_off_fails():
    case = BY_NAME["iso15622/moving off, pilot engaged/behind a car/4 m"]
    still = judge(case, *drive(case, lambda t: {"engaged": True, "acceleration": 0.0}))
    moves = judge(case, *drive(case, lambda t: {"engaged": True, "acceleration": 0.6 if t > 4.5 else 0.0}))
    assert still["status"] == "failed" and still["why"] == ["did not move off"]
    assert moves["status"] == "passed", moves["why"]


def test_onset_is_where_deceleration_crossed_0_3():
    steps = [0.0, -0.2, -0.5, -0.9, -1.5, -3.0]
    trace = [Instant(k / HZ, 0, 0, 0, 9, a, 0, 9, 0, 1, 1, 1, 9) for k, a in enumerate(steps)]
    assert onset(trace) == pytest.approx(2 / HZ) and onset(trace[:2]) is None


def test_the_page_shows_every_state_and_says_it_is_no_rating(tmp_path):
    rows = []
    for name, t in (("ccr/CCRs AEB/100 %/50", 1.0), ("ccr/CCRs AEB/100 %/45", 9.0)):
        body, steps = drive(BY_NAME[name], brake_from(LEAD_IN + t))
        job = {"seed": 1, "case": name, "engaged": False, "friction": 1.0, "folder": str(tmp_path / "p.runs")}
        file = protocols.file_of(tmp_path / "p.runs", job)
        file.parent.mkdir(exist_ok=True)
        protocols.keep(file, body.trace, steps, {"warning": np.zeros((8, 8, 3), np.uint8)})
        rows.append({"job": job, **judge(BY_NAME[name], body, steps)})
    rows.append({"job": rows[0]["job"] | {"case": "lane/solid line, left/0.5 m/s/70"}, "error": "RuntimeError: <broken>"})
    report = Report("protocols", "0" * 40, "nanopilot", "today", {"cpu": "x"}, rows, summary(rows))
    text = assessor.write(report, tmp_path / "p.json").read_text()
    assert "not a rating" in text and "&lt;broken&gt;" in text and "<svg" in text and "data:image/jpeg" in text
    assert report.summary["passed_fraction"] == pytest.approx(1 / 3) and report.summary["errors"] == 1
    assert "http" not in text, "self-contained"


# ------------------------------------------------------------------------- with eyes


class Blind:
    """Eyes that fail."""

    def perceive(self, *_):
        raise ValueError("no eyes")


def test_a_run_that_did_not_pass_leaves_its_log_and_the_page_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr(protocols, "network", Blind)
    job = {"seed": 2000, "case": "ccr/CCRs AEB/100 %/10", "engaged": False, "friction": 1.0, "folder": str(tmp_path / "p.runs")}
    row = protocols.row(job)
    assert row["status"] == "failed"
    (log,) = (tmp_path / "p.runs").glob("*.mcap")
    assert sum(1 for _ in log_steps(log)) > 40
    rows = [row | {"job": job}]
    report = Report("protocols", "0" * 40, "nanopilot", "today", {"cpu": "x"}, rows, summary(rows))
    assert f"nanopilot view p.runs/{log.name}" in assessor.write(report, tmp_path / "p.json").read_text()


@pytest.mark.drive
@pytest.mark.parametrize("name", ["ccr/CCRs AEB/100 %/50", "fmvss127/false activation/between two parked cars/80"])
def test_the_guardian_alone_from_pictures(name, tmp_path):
    row = protocols.row({"seed": 2000, "case": name, "engaged": False, "friction": 1.0, "folder": str(tmp_path)})
    assert row["status"] == "passed", row["reason"]
    assert [f.suffix for f in tmp_path.iterdir()] == [".json"], "what passed needs no log"
