"""The arrow: observe -> perceive -> world -> assist, plan -> control -> safety -> act, once per observation.

In: a body. Out: a record of every message of each step, with the time each stage took. The only file that
knows every stage. Eyes that fail leave the pilot blind: it goes on from memory, and the driver is asked to take over.
Any other stage that raises takes the command away for that step, and safety, which is asked whatever happened before
it, brings the car to a stop. The fault's text stays in the record. The guardian of `assist` is heard by safety whether the
pilot is engaged or the driver drives. It keeps no log and draws nothing: who iterates over `drive` does.
Every body goes through this one loop: the stages are the car's unless others of the same shape are handed in (`Stages`), as the
humanoid's are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

from nanopilot import assist, control, planning, safety, world
from nanopilot.assist import guardian
from nanopilot.messages import Body, BodyStopped, Command, Guard, Observation, Percept, Plan, RssVerdict, SafeCommand, Warnings, World
from nanopilot.perception import Network, around, lamps, plausible
from nanopilot.safety import rss


@dataclass(frozen=True)
class Stages:
    """What is between eyes and body: modules with `initial` and `step`, the world's with `expected` too."""

    world: Any = world
    assist: Any = assist
    guardian: Any = guardian
    planning: Any = planning
    control: Any = control
    safety: Any = safety
    second_opinion: Any = rss


@dataclass(frozen=True)
class PilotConfig:
    """The stages and every stage's own configuration, kept beside the stage's code; those here are the car's."""

    stages: Stages = Stages()
    weights: Path | None = None  # None: the committed weights
    engaged: bool = True  # False: the driver drives, and only the guardian acts
    lamps: bool = False  # look for lights and signs by their colours in all front cameras
    plausible: plausible.Config = field(default_factory=plausible.Config)
    world: Any = field(default_factory=world.Config)
    assist: Any = field(default_factory=assist.Config)
    guardian: Any = field(default_factory=guardian.Config)
    planning: Any = field(default_factory=planning.Config)
    control: Any = field(default_factory=control.Config)
    safety: Any = field(default_factory=safety.Config)
    rss: Any = field(default_factory=rss.RssConfig)


@dataclass(frozen=True)
class Record:
    """One step. A message is None where its stage did not answer; `seconds` is each stage's time on this machine."""

    observation: Observation
    percept: Percept | None
    world: World | None
    plan: Plan | None
    command: Command | None
    safe: SafeCommand
    fault: str
    seconds: dict[str, float]
    rss: RssVerdict | None = None
    guard: Guard | None = None
    warnings: Warnings | None = None


class Pilot:
    """Drives a body. `perceive` may be replaced by any function of the same shape."""

    def __init__(self, body: Body, config: PilotConfig = PilotConfig(), perceive=None) -> None:
        self.body, self.config = body, config
        self.perceive = perceive or Network(config.weights).perceive
        self.roadside = lamps.Roadside() if config.lamps else None
        self.beside = around.Around(body.cameras)
        self.stopped = ""  # why the body gave no more observations

    def drive(self) -> Iterator[Record]:
        """Yield a record per observation until the body stops; `self.stopped` then says why."""
        c, s, vehicle, mounted = self.config, self.config.stages, self.body.vehicle, self.body.cameras[0]
        world_state, plan_state = s.world.initial(c.world), s.planning.initial(c.planning)
        control_state, safety_state = s.control.initial(c.control), s.safety.initial(c.safety, engaged=c.engaged)
        assist_state, guard_state = s.assist.initial(), s.guardian.initial()
        plausible_state, rss_state = plausible.State(), s.second_opinion.initial(c.rss)
        route_line, camera = None, mounted
        while True:
            try:
                observation = self.body.observe()
            except BodyStopped as stop:
                self.stopped = str(stop)
                return
            percept = seen = plan = command = verdict = guard = warnings = None
            fault, clock = "", Stopwatch()
            try:
                path = s.world.expected(world_state, observation, c.world)
                for frame in observation.frames[:1]:
                    percept = self.perceive(frame, camera, route_line, path)
                    plausible_state, fault = plausible.step(plausible_state, frame, percept, observation.car.speed, c.plausible)
                if percept is not None:
                    percept = self.beside(percept, observation.frames, self.perceive)
                if percept is not None and self.roadside is not None:
                    percept = self.roadside(percept, observation.frames, self.body.cameras)
            except Exception as error:
                fault = f"{type(error).__name__}: {error}"
            if fault:
                percept = None
            clock.lap("perception")
            try:
                world_state, seen = s.world.step(world_state, observation, percept, c.world)
                route_line = seen.route_line if len(seen.route_line) else None
                camera = replace(mounted, yaw=mounted.yaw + seen.camera_yaw) if seen.camera_yaw else mounted
                clock.lap("world")
                assist_state, warnings = s.assist.step(assist_state, seen, percept, observation.car, camera, vehicle, c.assist)
                guard_state, guard = s.guardian.step(guard_state, assist_state, seen, percept, observation.car, vehicle, c.guardian)
                clock.lap("assist")
                plan_state, plan = s.planning.step(plan_state, seen, vehicle, c.planning)
                clock.lap("planning")
                control_state, command = s.control.step(control_state, plan, observation.car, vehicle, c.control)
                clock.lap("control")
                rss_state, verdict = s.second_opinion.step(rss_state, seen, vehicle, c.rss)
            except Exception as error:  # whatever a stage did wrong, the answer is the same: no command, safe stop
                fault = f"{type(error).__name__}: {error}"
            concern = fault or (seen.concern if seen is not None else "")
            car, t = observation.car, observation.t
            safety_state, safe = s.safety.step(safety_state, command, car, t, c.safety, False, concern, verdict, guard)
            clock.lap("safety")
            self.body.act(safe)
            yield Record(observation, percept, seen, plan, command, safe, fault, clock.seconds, verdict, guard, warnings)


class Stopwatch:
    """Seconds between laps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = perf_counter()

    def lap(self, name: str) -> None:
        now = perf_counter()
        self.seconds[name] = now - self._last
        self._last = now
