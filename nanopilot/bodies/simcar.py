"""A simulated car: MetaDrive's world, or a town of SUMO's, and a camera in a process of their own, one step ahead of the pilot.

In: a SimCarConfig, then SafeCommands. Out: Observations, as from a real car; a judge may ask for `truth()`. Lock-step, in
this order: the world sends frames 0 and 1 before it has any command; command k, made from frame k, moves it from frame k + 1
to frame k + 2. So simulator and pilot work at the same time, a command takes effect one step after its frame plus the
time the pilot would take anyway, and the same commands give the same drive, bit for bit. No command: the world waits.
When either process ends the other one notices by the closed pipe, so no orphan stays behind.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import Any, Literal

from nanopilot.bodies.simcar_ecu import LOOK_FAR, MAX_WHEEL_ANGLE, WHEELBASE, Actuator, SensorConfig, Sensors, vehicle_model
from nanopilot.dynamics import wheel_angle_from_curvature
from nanopilot.geometry import model_camera, project
from nanopilot.messages import BodyStopped, CameraModel, Frame, Observation, Route, SafeCommand, Signal, Turn
from nanopilot.sim.metadrive import MetaDriveWorld, WorldConfig
from nanopilot.sim.sumo import TownConfig, TownWorld
from nanopilot.sim.truth import SimTruth

LOOK_BEFORE, LOOK_BEHIND = 40.0, 30.0  # m of a junction's entry: three seconds of who comes at 50 km/h, and the junction itself
START_TIMEOUT = 900.0  # s until the first observation: the OpenGL camera may have to build its assets first


@dataclass(frozen=True)
class SimCarConfig:
    world: WorldConfig | TownConfig = field(default_factory=WorldConfig)
    camera: Literal["cpu", "opengl"] = "cpu"
    appearance: int | None = None  # seed of light, weather and colours for the CPU camera; None: a clear day
    seconds: float | None = None  # the drive ends after this time
    cameras: tuple[CameraModel, ...] = (model_camera(),)
    far: tuple[CameraModel, ...] = ()  # longer lenses ahead: drawn only where we drive fast
    sides: tuple[CameraModel, ...] = ()  # not ahead: drawn in turns, one a step, and only where a driver looks there
    sensors: SensorConfig = field(default_factory=SensorConfig)


class SimCar:
    """The Body. Raises RuntimeError where the world can't be made, BodyStopped when the drive is over."""

    def __init__(self, config: SimCarConfig = SimCarConfig()) -> None:
        self.config = config
        self.cameras = config.cameras + config.far + config.sides
        self.vehicle = vehicle_model(config.world.step)
        self.last_info: dict[str, Any] = {}
        self._truth: SimTruth | None = None
        self._stopped = ""
        self._owed = 1  # observations to hand out before a command is due
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_world_process, args=(theirs, config), daemon=True, name="nanopilot-simcar")
        self._process.start()
        theirs.close()  # so that the child's end closes when the child does

    def observe(self) -> Observation:
        """The next observation. Raises BodyStopped with the reason at the drive's end, RuntimeError if a command is due first."""
        if self._stopped:
            raise BodyStopped(self._stopped)
        if self._owed == 0:
            raise RuntimeError("act() comes before the next observe(): the simulator waits for its command")
        self._owed -= 1
        try:
            if self._truth is None and not self._pipe.poll(START_TIMEOUT):
                self._stop(f"the simulator gave no frame within {START_TIMEOUT:.0f} s")
            observation, truth, info, reason = self._pipe.recv()
        except (EOFError, ConnectionResetError):
            self._stop("the simulator's process ended unexpectedly")
        if truth is not None:
            self._truth, self.last_info = truth, info
        if reason:
            self._stop(reason)
        frames = tuple(replace(f) for f in observation.frames)  # made anew, as pickling forgets that arrays are read-only
        return replace(observation, frames=frames)

    def act(self, command: SafeCommand) -> None:
        """Hand over the command for the observation just given. After the drive's end it does nothing."""
        self._owed = 1
        with suppress(OSError):  # the world has ended; the next observe() says why
            self._pipe.send(command)

    def truth(self) -> SimTruth | None:
        """The judge's: the exact state at the last observation, or at the drive's end. Not for pilots."""
        return self._truth

    def close(self) -> None:
        self._pipe.close()
        if self._truth is None:
            self._process.terminate()  # it is making its world still, and hears nothing of the pipe
        self._process.join(timeout=5.0)
        for end in (self._process.terminate, self._process.kill):
            if self._process.is_alive():
                end()
                self._process.join(timeout=5.0)
        self._stopped = self._stopped or "closed"

    def _stop(self, reason: str) -> None:
        self._stopped = reason
        raise BodyStopped(reason)


def _world_process(pipe: Connection, config: SimCarConfig) -> None:
    """The child: make the world, then answer every command with the next instant until the drive or the parent ends."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # Ctrl-C is the parent's: its closed pipe ends us. Panda3D undoes SIG_IGN
    signal.signal(signal.SIGTERM, _ended)
    world: MetaDriveWorld | TownWorld | None = None
    try:
        world, draw = _make(config)
        sensors = Sensors(config.sensors, config.world.step, config.world.seed)
        move, route = _mover(world), world.route()
        pipe.send((_sense(world, draw, sensors, 0.0, config, route, first=True), world.truth(), _plain(world.info), ""))
        command: SafeCommand | None = None  # until the first one arrives
        last = float("inf") if config.seconds is None else config.seconds
        while True:
            wheel_angle = move(command)
            reason = world.stopped or ("time is up" if world.t > last - config.world.step / 2 else "")
            shown = Signal.OFF if command is None else command.signal
            observation = None if reason else _sense(world, draw, sensors, wheel_angle, config, route, shown)
            route = (observation and observation.route) or route
            pipe.send((observation, world.truth(), _plain(world.info), reason))
            if reason:
                break
            command = pipe.recv()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass  # the parent has gone
    except Exception as error:  # whatever went wrong, the parent shall say it and not wait
        text = f"the simulator failed: {type(error).__name__}: {error}"
        pipe.send((None, None, {"traceback": traceback.format_exc()}, text))
    finally:
        if world is not None:
            world.close()


def _ended(number: int, frame: Any) -> None:
    """Told to end: leave by the ways that remove folders and end other processes."""
    raise SystemExit(128 + number)


def _mover(world: MetaDriveWorld | TownWorld) -> Callable[[SafeCommand | None], float]:
    """A function that moves the world on by one step under a command (None: nothing is asked) and gives the wheels' angle, rad."""
    if isinstance(world, TownWorld):

        def drive(command: SafeCommand | None) -> float:
            world.drive(*((0.0, 0.0) if command is None else (command.acceleration, command.curvature)))
            return wheel_angle_from_curvature(world.motion.curvature, WHEELBASE)

        return drive
    actuator = Actuator.of(world.env)

    def step(command: SafeCommand | None) -> float:
        steer, throttle = (0.0, 0.0) if command is None else actuator.drive(command, world.speed)
        world.step(steer, throttle)
        return steer * MAX_WHEEL_ANGLE

    return step


def _make(config: SimCarConfig) -> tuple[MetaDriveWorld | TownWorld, Any]:
    """The world, reset, and a function (camera) -> RGB of what that camera on the car sees now."""
    if config.camera == "opengl":
        if isinstance(config.world, TownConfig):
            raise ValueError("towns are drawn by the camera 'cpu' only")
        from nanopilot.sim.opengl import OpenGLCamera, opengl_config
        from nanopilot.sim.opengl_assets import cache_folder, prepare_assets

        judged = MetaDriveWorld(config.world, opengl_config(prepare_assets(cache_folder())))
        judge = OpenGLCamera(judged.env)
        judged.reset()
        return judged, lambda camera: judge.render(camera, judged.pose)
    from nanopilot.sim.appearance import Appearance
    from nanopilot.sim.camera import CpuCamera

    world: Any = TownWorld(config.world) if isinstance(config.world, TownConfig) else MetaDriveWorld(config.world)
    world.reset()
    look = Appearance.clear_day() if config.appearance is None else Appearance.from_seed(config.appearance)
    cpu = CpuCamera(world.static_scene(), look)
    return world, lambda camera: cpu.render(world.scene(), camera, world.pose, labels=False, speed=world.speed).rgb


def _sense(
    world: MetaDriveWorld | TownWorld, draw: Any, sensors: Sensors, wheel_angle: float, config: SimCarConfig, route: Route,
    shown: Signal = Signal.OFF, first: bool = False,
) -> Observation:  # fmt: skip
    car = sensors.car(world.t, world.speed, world.acceleration, world.yaw_rate, wheel_angle)
    gps = sensors.gps(world.t, world.pose, world.speed)  # after the car's: their noise comes from one stream
    new_route = world.reroute(gps) if isinstance(world, TownWorld) and not first else None
    sides = looked_at(config.sides, _near_junction(route, *world.pose[:2]), shown) if config.sides else ()
    turn = round(world.t / config.world.step) % max(len(sides), 1)
    far = config.far if world.speed > LOOK_FAR else ()
    return Observation(
        t=world.t,
        frames=tuple(Frame(world.t, camera.name, draw(camera)) for camera in config.cameras + far + sides[turn : turn + 1]),
        car=car,
        gps=gps,
        route=route if first else new_route,
    )


def looked_at(sides: tuple[CameraModel, ...], junction: bool, shown: Signal) -> tuple[CameraModel, ...]:
    """Which cameras are wanted: to both sides at a junction; elsewhere, while the turn signal shows, to its side and behind."""
    wanted = ("left", "right") if junction else (shown.value, "rear") if shown in (Signal.LEFT, Signal.RIGHT) else ()
    return tuple(camera for camera in sides if camera.name in wanted)


def _near_junction(route: Route, x: float, y: float) -> bool:
    """Whether ways meet here."""
    s, _ = project(route.points, x, y)
    return any(-LOOK_BEFORE < s - m.s < LOOK_BEHIND for m in route.manoeuvres if m.turn != Turn.ARRIVE)


def _plain(info: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in info.items() if isinstance(value, (bool, int, float, str))}
