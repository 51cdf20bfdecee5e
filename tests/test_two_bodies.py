"""One pilot, two bodies: the very same loop drives a car and walks a humanoid."""

import inspect

import numpy as np
import pytest

from nanopilot import pilot
from nanopilot.geometry import model_camera
from nanopilot.messages import BodyStopped, CarState, Frame, Mode, Observation, Percept, VehicleModel
from nanopilot.sim import humanoid
from nanopilot.viewer.index import Index


class Car:
    """Rolls straight on at 10 m/s for a second."""

    cameras = (model_camera(),)
    vehicle = VehicleModel(2.5, 4.5, 1.8, 0.9, 0.7, 2.7, 8.0, 0.1)

    def __init__(self):
        self.k, self.done = -1, []

    def observe(self):
        self.k += 1
        if self.k > 20:
            raise BodyStopped("the end")
        image = np.full((64, 64, 3), 100 + self.k, np.uint8)
        return Observation(0.05 * self.k, (Frame(0.05 * self.k, "front", image),), CarState(0.05 * self.k, 10.0, 0.0, 0.0, 0.0))

    def act(self, command):
        self.done.append(command)

    def close(self):
        pass


def road(frame, camera, route_line, path):
    return Percept(frame.t, camera.name, (), None, (), np.zeros((1, 1), np.uint8), np.zeros(1, np.float32), 1.0, True)


def test_the_loop_names_no_body():
    text = inspect.getsource(pilot.Pilot.drive).lower()
    assert not any(word in text for word in ("humanoid", "walker", "simcar", "isinstance"))


@pytest.mark.drive
@pytest.mark.skipif(not humanoid.available(), reason=humanoid.INSTALL)
def test_both_bodies_go_through_the_same_loop(tmp_path):
    from nanopilot.evaluate import robot

    car = Car()
    driven = list(pilot.Pilot(car, perceive=road).drive())
    assert len(car.done) == 21 and all(r.safe.mode == Mode.ENGAGED and r.safe.walk is None for r in driven)

    walked = []

    def watch(record, body):
        walked.append(record)
        return np.zeros((8, 8, 3), np.uint8) if record.observation.frames else None

    row = robot.run(robot.RobotConfig("walk", 0, oracle=True, seconds=11.0), tmp_path / "robot.mcap", watch)
    index = Index(tmp_path / "robot.mcap")
    while index.grow():
        pass
    assert index.cameras == ["/camera/head", "/outside"] and index.picture(5.0, "/outside")
    assert {type(r) for r in driven + walked} == {pilot.Record}
    assert not row["faults"] and not row["fell"] and not row["touched"] and row["distance"] > 1.0
    assert all(r.safe.mode == Mode.ENGAGED and r.safe.walk is not None for r in walked)


@pytest.mark.drive
@pytest.mark.skipif(not humanoid.available(), reason=humanoid.INSTALL)
def test_a_humanoid_without_eyes_stands_still():
    from nanopilot.bodies.humanoid import Humanoid, HumanoidConfig
    from nanopilot.evaluate import robot
    from nanopilot.planning import walker as planning

    def broken(*_):
        raise RuntimeError("no light")

    body = Humanoid(HumanoidConfig(seconds=3.0))
    config = pilot.PilotConfig(
        stages=robot.STAGES, world=robot.world.Config(), planning=planning.Config(settles=0.0), control=robot.control.Config(),
        safety=robot.safety.Config(), rss=robot.keep_out.Config(),
    )  # fmt: skip
    records = list(pilot.Pilot(body, config, broken).drive())
    truth = body.truth()
    body.close()
    assert not truth.fallen and np.hypot(truth.x, truth.y) < 0.3
    assert records[-1].safe.mode == Mode.TAKEOVER and records[-1].safe.walk.vx == 0.0
