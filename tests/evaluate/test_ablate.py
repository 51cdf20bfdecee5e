"""Ablations take away what they say, and nothing else; every one has its line in the table."""

from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from nanopilot import planning
from nanopilot.bodies.simcar_ecu import vehicle_model
from nanopilot.evaluate import ablate
from nanopilot.evaluate.drive import DriveConfig, body_config
from nanopilot.messages import PATH_ARC, Curve, Kind, Track, Turn, World
from nanopilot.pilot import PilotConfig

CAR = vehicle_model(0.05)


def world(*tracks: Track) -> World:
    path = Curve(np.stack([PATH_ARC, 0 * PATH_ARC], -1), np.full(len(PATH_ARC), 0.1), 1.0)
    return World(
        t=0.0, speed=8.0, yaw_rate=0.0, acceleration=0.0, path=path, left=None, right=None, lane_width=3.5, lane_left=0.0, lane_right=0.0,
        tracks=tracks, route_line=np.zeros((0, 2)), route_std=1.0, next_turn=Turn.STRAIGHT, next_turn_distance=500.0, goal_distance=500.0,
        speed_limit=14.0, localisation_std=1.0, blind=0.0,
    )  # fmt: skip


def test_without_prediction_nobody_comes_from_the_side_until_he_is_there():
    crosses = Track(1, Kind.VEHICLE, 24.0, -14.0, np.pi / 2, 0.0, 7.0, 0.0, 0.0, 0.1, 0.1, 4.4, 1.8, 1.0, 0.0, 1.0)
    stands = replace(crosses, y=0.0, vy=0.0)
    config = PilotConfig()
    for pilot, answer in ((config, "yield to 1"), (ablate.without(config, ("prediction",)), "keep lane")):
        stage = pilot.stages.planning
        assert stage.step(stage.initial(pilot.planning), world(crosses), CAR, pilot.planning)[1].reason == answer
        assert stage.step(stage.initial(pilot.planning), world(stands), CAR, pilot.planning)[1].lead_id == 1
    assert ablate.without(config, ("memory",)).stages.planning is planning


def test_without_memory_the_network_hears_nothing_of_the_path():
    heard = []
    ablate.forgetful(lambda *args: heard.append(args))("frame", "camera", "route", "path")
    assert heard == [("frame", "camera", "route", None)]


def test_one_camera_only_leaves_the_front_one():
    pytest.importorskip("libsumo")
    parts = ((), ("narrow camera",), ("narrow camera", "side cameras"))
    bodies = [body_config(DriveConfig(3, town="grid", without=without)) for without in parts]
    names = [[c.name for c in body.cameras + body.sides] for body in bodies]
    assert names == [["front", "narrow", "left", "right", "rear"], ["front", "left", "right", "rear"], ["front"]]


def test_what_nobody_can_do_without_is_refused():
    with pytest.raises(ValueError, match="not without wheels"):
        DriveConfig(3, without=("wheels",))


def fake(job):
    gained = 0.25 * (job.get("truth") == ["objects"])
    return {"success": job["seed"] == 1, "route_completion": 0.5 + gained}


@pytest.mark.parametrize(("where", "lines"), [("town", 10), ("metadrive", 7)])
def test_every_ablation_has_its_line_and_is_not_run_again(tmp_path, where, lines):
    names = ("success",), ("route_completion",)
    jobs = [{"seed": 1}, {"seed": 2}]
    report = ablate.evaluate(where, fake, names, jobs, 1, tmp_path / "a.json")
    assert len(report.rows) == 2 * lines and len(report.summary["ablations"]) == lines
    assert report.summary["ablations"]["true road users"]["route_completion"] == 0.75
    assert report.summary["ablations"]["as it is"]["route_completion"] == 0.5
    console = Console(record=True, width=120)
    console.print(ablate.table(report))
    text = console.export_text()
    assert "true road users" in text and "0.750" in text
    kept = (tmp_path / "a.rows.jsonl").read_text()
    ablate.evaluate(where, fake, names, jobs, 1, tmp_path / "a.json")
    assert (tmp_path / "a.rows.jsonl").read_text() == kept


def shaken(job):
    return {"success": not job.get("pushes"), "seconds": 10.0}


def test_the_humanoids_ablations_are_its_own():
    report = ablate.evaluate("robot walk", shaken, (("success",), ("seconds",)), [{"seed": 1, "task": "walk", "pushes": 0.0}], 1, None)
    lines = report.summary["ablations"]
    assert {name: line["success"] for name, line in lines.items()} == {name: float(name != "pushes of 0.5 m/s") for name in ablate.ROBOT}
    assert {tuple(sorted(row["job"])) for row in report.rows} >= {("ablation", "pushes", "seed", "task")}
