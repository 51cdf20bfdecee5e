"""The simulated car: does it do what it is told, does it lie to the right degree, and does it end as it should."""

import hashlib
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from nanopilot.bodies.simcar import SimCar, SimCarConfig, _sense, looked_at
from nanopilot.bodies.simcar_ecu import Actuator, SensorConfig, Sensors, vehicle_model
from nanopilot.geometry import narrow_camera, rear_camera, side_camera
from nanopilot.messages import BodyStopped, Manoeuvre, Route, SafeCommand, Signal, Turn
from nanopilot.sim.metadrive import MetaDriveWorld, WorldConfig

EMPTY = WorldConfig(seed=5, map="S", traffic=0.0)
SMALL = SimCarConfig(world=EMPTY, seconds=1.0)


def command(acceleration=0.0, curvature=0.0):
    return SafeCommand(t=0.0, acceleration=acceleration, curvature=curvature, signal=Signal.OFF, engaged=True)


# ---- the car does what it is told (MetaDrive's physics is the reference)


@pytest.fixture(scope="module", params=[0.05, 0.025, 0.1])
def plain(request):
    """A flat world that never ends a drive."""
    config = WorldConfig(seed=5, map="S", traffic=0.0, step=request.param)
    world = MetaDriveWorld(config, {"out_of_road_done": False, "on_continuous_line_done": False})
    yield world
    world.close()


def drive(world, speed, acceleration, curvature, seconds):
    """Rows of (speed, acceleration, path curvature of the rear axle)."""
    world.reset()
    world.vehicle.set_velocity([speed, 0], in_local_frame=False)
    world._speed = speed
    actuator, rows = Actuator.of(world.env), []
    for _ in range(round(seconds / world.config.step)):
        x0, y0, yaw0 = world.pose
        wanted = (speed - world.speed) if acceleration is None else acceleration
        world.step(*actuator.drive(command(wanted, curvature), world.speed))
        x, y, yaw = world.pose
        rows.append((world.speed, world.acceleration, (yaw - yaw0) / max(math.hypot(x - x0, y - y0), 1e-6)))
    return np.array(rows)


@pytest.mark.parametrize("speed", [5.0, 15.0, 25.0])
@pytest.mark.parametrize("acceleration", [2.5, 0.3, 0.0, -0.3, -2.0, -6.0])
def test_acceleration_is_tracked_after_one_step(plain, speed, acceleration):
    rows = drive(plain, speed, acceleration, 0.0, 0.4)
    assert rows[1:, 1] == pytest.approx(acceleration, abs=0.3)


@pytest.mark.parametrize("speed, curvature", [(3.0, 0.1), (8.0, 0.04), (8.0, 0.09), (15.0, 0.012), (22.0, 0.006)])
def test_curvature_settles_within_three_per_cent_in_half_a_second(plain, speed, curvature):
    rows = drive(plain, speed, None, curvature, 1.0)
    assert rows[-3:, 2] == pytest.approx(curvature, rel=0.03)
    assert rows[round(0.5 / plain.config.step), 2] == pytest.approx(curvature, rel=0.1)


def test_it_stops_and_stands(plain):
    rows = drive(plain, 3.0, -3.0, 0.0, 3.0)
    assert np.abs(rows[-20:, 0]).max() < 0.03
    assert rows[:, 0].min() > -0.1  # braking doesn't throw it back


# ---- its sensors err as they say


def test_gps_errors_have_the_stated_size_and_memory():
    config, step = SensorConfig(), 0.1
    errors = []
    for seed in range(200):
        sensors = Sensors(config, step, seed)
        fixes = [sensors.gps(k * step, (100.0, -50.0, 0.5), 10.0) for k in range(301)]
        errors.append([(f.x - 100, f.y + 50, f.heading - 0.5) for f in fixes])
    e = np.array(errors)  # (seeds, times, 3)
    assert e[:, :, :2].std() == pytest.approx(math.hypot(2.0, 0.3), rel=0.1)
    assert np.degrees(e[:, :, 2].std()) == pytest.approx(3.0, rel=0.05)
    lag30 = (e[:, 0, :2] * e[:, 300, :2]).mean() / e[:, :, :2].var()
    assert lag30 == pytest.approx(math.exp(-30 / 60), abs=0.15)
    assert np.diff(e[:, :, 0], axis=1).std() == pytest.approx(math.hypot(0.3 * math.sqrt(2), 2 * math.sqrt(2 * 0.1 / 60)), rel=0.05)


def test_gps_comes_ten_times_a_second_and_standing_wheels_say_zero():
    sensors = Sensors(SensorConfig(), 0.05, 0)
    assert [sensors.gps(0.05 * k, (0, 0, 0), 5.0) is not None for k in range(6)] == [True, False] * 3
    assert sensors.car(0.0, 0.0, 0.0, 0.0, 0.0).speed == 0.0


# ---- lock-step


def run(config, steps=12):
    """A digest of every frame and state of a short drive."""
    car, digest = SimCar(config), hashlib.sha256()
    for k in range(steps):
        o = car.observe()
        digest.update(o.frames[0].image.tobytes())
        digest.update(repr((o.t, o.car, o.gps, car.truth().x, car.truth().actors)).encode())
        car.act(command(2.0, 0.01 * math.sin(k)))
    car.close()
    return digest.hexdigest()


def test_the_same_seed_and_commands_give_the_same_drive_bit_for_bit(monkeypatch):
    config = SimCarConfig(world=WorldConfig(seed=1001, map="3", traffic=0.2), appearance=3)
    digests = set()
    for hash_seed in ("1", "2"):  # MetaDrive keeps some things in sets
        monkeypatch.setenv("PYTHONHASHSEED", hash_seed)
        digests.add(run(config))
    assert len(digests) == 1


def test_a_command_acts_one_step_after_the_frame_that_follows_its_own():
    car = SimCar(SMALL)
    speeds = []
    for _ in range(6):
        o = car.observe()
        speeds.append(car.truth().speed)
        car.act(command(2.0 if o.t > 0.149 else 0.0))  # from frame 3 on
    car.close()
    assert max(map(abs, speeds[:5])) < 0.05 and speeds[5] == pytest.approx(speeds[4] + 0.1, abs=0.02)


def test_first_observation_has_the_route_and_frames_are_read_only():
    with_route = SimCar(SMALL)
    first = with_route.observe()
    assert first.route is not None and first.frames[0].image.shape == (256, 512, 3) and not first.frames[0].image.flags.writeable
    with_route.act(command())
    assert with_route.observe().route is None
    with pytest.raises(RuntimeError, match="act"):
        with_route.observe()
    with_route.close()


def test_it_stops_when_the_time_is_up_and_close_may_be_called_twice():
    car = SimCar(SMALL)
    with pytest.raises(BodyStopped, match="time is up"):
        for _ in range(100):
            car.observe()
            car.act(command(1.0))
    assert car.truth().t == pytest.approx(1.0)
    car.close()
    car.close()
    with pytest.raises(BodyStopped):
        car.observe()


def test_a_simulator_that_dies_is_noticed_at_once():
    car = SimCar(SMALL)
    car.observe()
    os.kill(car._process.pid, signal.SIGKILL)
    car.act(command())
    began = time.monotonic()
    with pytest.raises(BodyStopped, match="unexpectedly"):
        for _ in range(3):
            car.observe()
            car.act(command())
    assert time.monotonic() - began < 1.0
    car.close()


def test_ctrl_c_never_reaches_the_simulator_wherever_it_is_in_its_step():
    car = SimCar(replace(SMALL, seconds=0.5))
    with pytest.raises(BodyStopped, match="time is up"):
        for _ in range(11):
            car.observe()
            car.act(command(1.0))
            for _ in range(2000):  # Panda3D handles SIGINT by itself for a small part of every step
                os.kill(car._process.pid, signal.SIGINT)
                time.sleep(1e-5)
    car.close()


def test_a_car_without_a_camera_is_a_car():
    car = SimCar(SimCarConfig(world=EMPTY, cameras=()))
    assert car.observe().frames == ()
    car.close()


def test_a_killed_parent_leaves_no_orphan():
    program = """
import time
from nanopilot.bodies.simcar import SimCar, SimCarConfig
from nanopilot.sim.metadrive import WorldConfig
if __name__ == "__main__":
    car = SimCar(SimCarConfig(world=WorldConfig(seed=5, map="S", traffic=0.0)))
    car.observe()
    print(car._process.pid, flush=True)
    time.sleep(60)
"""
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 30  # under load it takes some
    while time.monotonic() < deadline and _alive(child):
        time.sleep(0.05)
    assert not _alive(child)


def _alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_data_sheet_matches_metadrives_car(plain):
    world, sheet = plain, vehicle_model(0.05)
    world.reset()
    v = world.vehicle
    assert sheet.wheelbase == pytest.approx(v.FRONT_WHEELBASE + v.REAR_WHEELBASE)
    assert (sheet.length, sheet.width) == (v.LENGTH, v.WIDTH)
    assert sheet.rear_overhang == pytest.approx(v.LENGTH / 2 - v.REAR_WHEELBASE)
    assert math.degrees(sheet.max_wheel_angle) == pytest.approx(v.max_steering)
    assert sheet.max_acceleration <= 4 * v.config["max_engine_force"] / v.body.getMass()


# ---- it looks aside where ways meet


@pytest.mark.parametrize(
    ("junction", "shown", "names"),
    [
        (False, Signal.OFF, []),
        (True, Signal.OFF, ["left", "right"]),
        (True, Signal.LEFT, ["left", "right"]),
        (False, Signal.LEFT, ["left", "rear"]),
        (False, Signal.RIGHT, ["right", "rear"]),
        (False, Signal.HAZARD, []),
    ],
)
def test_it_looks_where_a_driver_looks(junction, shown, names):
    sides = (side_camera("left"), side_camera("right"), rear_camera())
    assert [c.name for c in looked_at(sides, junction, shown)] == names


@pytest.mark.parametrize("speed, names", [(3.0, ["front"]), (7.0, ["front", "narrow"])])
def test_a_longer_lens_looks_ahead_where_we_drive_fast(speed, names):
    config, route = SimCarConfig(world=EMPTY, far=(narrow_camera(),)), Route(np.array([[0.0, 0.0], [300.0, 0.0]]), (), 14.0)
    world = SimpleNamespace(t=0.0, speed=speed, acceleration=0.0, yaw_rate=0.0, pose=(9.0, 1.0, 0.0))
    picture = np.zeros((256, 512, 3), np.uint8)
    seen = _sense(world, lambda camera: picture, Sensors(config.sensors, EMPTY.step, 0), 0.0, config, route)
    assert [frame.camera for frame in seen.frames] == names


def test_side_cameras_take_turns_and_only_near_junctions():
    route = Route(np.array([[0.0, 0.0], [300.0, 0.0]]), (Manoeuvre(Turn.STRAIGHT, 100.0), Manoeuvre(Turn.ARRIVE, 300.0)), 14.0)
    config = SimCarConfig(world=EMPTY, sides=(side_camera("left"), side_camera("right")))
    picture = np.zeros((256, 512, 3), np.uint8)

    def cameras(x: float, step: int) -> list[str]:
        world = SimpleNamespace(t=step * EMPTY.step, speed=5.0, acceleration=0.0, yaw_rate=0.0, pose=(x, 1.0, 0.0))
        seen = _sense(world, lambda camera: picture, Sensors(config.sensors, EMPTY.step, 0), 0.0, config, route)
        return [frame.camera for frame in seen.frames]

    assert cameras(50.0, 1) == cameras(140.0, 2) == cameras(290.0, 3) == ["front"]
    assert [cameras(x, k) for x, k in ((70.0, 4), (99.0, 5), (125.0, 6))] == [["front", "left"], ["front", "right"], ["front", "left"]]
    car = SimCar(replace(config, seconds=0.1))
    assert [c.name for c in car.cameras] == ["front", "left", "right"] and [f.camera for f in car.observe().frames] == ["front"]
    car.close()
