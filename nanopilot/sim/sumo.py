"""The simulated town: SUMO moves everybody else, our own model moves our car, and they react to one another.

In: a TownConfig, then accelerations and curvatures. Out: what `MetaDriveWorld` gives: StaticScene, Scene, SimTruth, Route. SUMO runs
inside this process (libsumo: one town per process); each step our car is set down in it where the kinematic bicycle of `dynamics` has
gone. Nothing bounces: who touches anything has ended the drive. Infractions are those of CARLA's leaderboard 1.0 and are judged here, from
the truth. Not judged: who was at fault, right before left, and yielding as such (only what comes of not yielding).
"""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.spatial import cKDTree

from nanopilot import dynamics
from nanopilot.geometry import child_from_parent, project, wrap
from nanopilot.messages import GpsFix, Kind, Light, Route
from nanopilot.sim.lanemap import along
from nanopilot.sim.scene import Actor, Scene, StaticScene
from nanopilot.sim.sumo_map import Approach, town_map
from nanopilot.sim.sumo_net import TownError, check, town_net
from nanopilot.sim.sumo_routes import START, TRAFFIC, lane_way, make_route, new_way, random_roads, write_traffic
from nanopilot.sim.truth import SimTruth, TrueActor, TrueSignal

Array = np.ndarray

# CARLA leaderboard 1.0's penalties; the driving score is the completion times the product of all that happened
PENALTIES = {"person": 0.50, "vehicle": 0.60, "static": 0.65, "red light": 0.70, "stop sign": 0.80}
ARRIVED = 10.0  # m from the route's end: CARLA's RouteCompletionTest
DEVIATION = 30.0  # m from the route: CARLA's InRouteTest ends there
ASTRAY, ASTRAY_FIXES = 15.0, 5  # m from its line, by so many fixes of the receiver running (0.5 s): navigation finds a new way (guess)
BLOCKED = 180.0  # s standing: CARLA's ActorBlockedTest
STOPPED = 0.1  # m/s: CARLA's RunningStopTest
STOP_ZONE = 8.0  # m before the line in which one must have stopped, guess
WARM_UP = 60.0  # s of traffic before we come
CLEARED = 30.0  # m of road ahead and behind where we begin, without others
NEAR = 150.0  # m within which others are seen and judged
PATH_LENGTH = 60.0  # m of lane_path
LANE_SLACK = 0.5  # m beside a lane that is still asphalt
WHEELBASE, LENGTH, WIDTH, REAR_OVERHANG = 1.05234 + 1.4166, 4.515, 1.852, 4.515 / 2 - 1.4166  # m, the car of the other world
MAX_CURVATURE = math.tan(math.radians(40.0)) / WHEELBASE
LAG = dynamics.Lag(acceleration=0.0, curvature=0.09)  # s, the other world's car: measured there
GRIP, ENGINE, BRAKES = 8.0, 2.73, 8.0  # m/s²: a good dry road, the weakest engine
PEOPLE_PER_CAR = 0.5
PERSON = (0.6, 0.6, 1.75)  # m
STATES = {"r": "red", "R": "red", "u": "red", "y": "yellow", "Y": "yellow", "g": "green", "G": "green", "s": "green"}
LIMIT = 50 / 3.6  # m/s, a town's where no sign says otherwise


@dataclass(frozen=True)
class TownConfig:
    """`town` is grid, spider, random or a file; raises ValueError saying what is allowed."""

    seed: int = 0
    town: str = "grid"
    traffic: float = 0.1  # 0.1 is a vehicle every 200 m of lane
    length: float = 1000.0  # m of route, at least
    seconds: float = 600.0  # traffic starts for so long
    step: float = 0.05  # s
    speed_limit: float = LIMIT

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**31:
            raise ValueError(f"seed {self.seed} is out of range: 0 to {2**31 - 1}")
        if not 0.0 <= self.traffic <= 1.0:
            raise ValueError(f"traffic {self.traffic} must be from 0 to 1")
        if not 0.01 <= self.step <= 0.1:
            raise ValueError(f"step {self.step} s must be from 0.01 to 0.1 s")
        check(self.town)


class TownWorld:
    """One drive in a town. Raises TownError where none can be made."""

    def __init__(self, config: TownConfig) -> None:
        try:
            import libsumo
        except ModuleNotFoundError as error:
            raise TownError("towns need SUMO: pip install 'nanopilot[town]'") from error
        self.config, self.sumo = config, libsumo
        self.net, self.net_path, self._folder = town_net(config.town, config.seed)
        self.map = town_map(self.net, config.seed)
        self.lane_map = self.map.lane_map
        self.info: dict[str, Any] = {}

    def reset(self) -> None:
        """Everybody at his start, ours beside its route's."""
        c, rng = self.config, np.random.default_rng([self.config.seed, 0x7057])
        edges = random_roads(self.net, c.length, rng)
        self._told: float = 0.0  # m along the route where navigation believes us
        self._astray: int = 0  # fixes running that were off it
        self._follow(edges, START)
        self._start_traffic(edges, rng)
        a, b = self.line[0], self.line[2]
        yaw = math.atan2(*(b - a)[::-1])
        back = LENGTH / 2 - REAR_OVERHANG
        self.motion = dynamics.Motion(float(a[0]) - back * math.cos(yaw), float(a[1]) - back * math.sin(yaw), yaw)
        self.t, self._steps, self.acceleration, self.yaw_rate = 0.0, 0, 0.0, 0.0
        self._standing, self.wrong_way, self._before, self.reroutes = 0.0, 0.0, 0.0, 0
        self._ids: dict[str, int] = {}
        self.infractions: list[str] = []
        self.stopped = ""
        samples = self.lane_map._samples
        self._tree = cKDTree(samples[0])
        self._half = np.array([self.lane_map.lanes[i].width / 2 for i in samples[2]])
        solid = [p for p in self.map.static.props if p.kind in ("building", "tree", "lamp", "light", "sign")]
        self._things = np.array([(p.x, p.y, p.yaw, *(p.size[:2] if p.kind == "building" else (0.2, 0.2))) for p in solid]).reshape(-1, 5)
        self._place()
        self._look()

    def drive(self, acceleration: float, curvature: float) -> None:
        """Advance by one step with an acceleration, m/s², and a curvature of the rear axle's path, 1/m, as far as the car can."""
        speed = self.motion.speed
        bend = min(MAX_CURVATURE, GRIP / max(speed, 1.0) ** 2)
        before = self.motion
        asked = min(max(acceleration, -BRAKES), ENGINE), min(max(curvature, -bend), bend)
        self.motion = dynamics.step(before, *asked, self.config.step, LAG)
        self.acceleration = (self.motion.speed - speed) / self.config.step
        self.yaw_rate = wrap(self.motion.yaw - before.yaw) / self.config.step
        self._place()
        self.sumo.simulationStep()
        self._steps += 1
        self.t = self._steps * self.config.step
        self._look()
        self._judge(math.hypot(self.motion.x - before.x, self.motion.y - before.y))

    def close(self) -> None:
        if self.sumo.isLoaded():
            self.sumo.close()
        self._folder.cleanup()

    @property
    def pose(self) -> tuple[float, float, float]:
        return self.motion.x, self.motion.y, self.motion.yaw

    @property
    def speed(self) -> float:
        return self.motion.speed

    def route(self) -> Route:
        """The navigation device's answer; exact, a body's receiver isn't."""
        return self._route

    def reroute(self, fix: GpsFix | None) -> Route | None:
        """Navigation's new answer once its receiver says that we have left the way; None while all is well, or no way leads on."""
        if fix is None:
            return None
        near = np.abs(self._route_arc - self._told) < 40.0
        s, d = project(self._route.points[near], fix.x, fix.y)
        self._told = float(self._route_arc[near][0] + s)
        self._astray = self._astray + 1 if abs(d) > ASTRAY else 0
        if self._astray < ASTRAY_FIXES:
            return None
        try:
            edges, start = new_way(self.net, self.map, fix.x, fix.y, fix.heading, self.way[-1].road[0])
        except TownError:
            return None
        self._before += self._s
        self.reroutes += 1
        self._follow(edges, start)
        return self._route

    def static_scene(self) -> StaticScene:
        return self.map.static

    def scene(self) -> Scene:
        """Everybody near, and the lights, now."""
        x, y, _ = self.pose
        parked = tuple(a for a in self.map.parked if abs(a.x - x) + abs(a.y - y) < NEAR)
        return Scene(self.map.static, parked + self._actors, self.lights(), self.t)

    def lights(self) -> dict[int, str]:
        """What each approach's lights show."""
        states = {name: self.sumo.trafficlight.getRedYellowGreenState(name) for name in self._tls}
        return {a.light_id: _state(states[a.light][index]) for a, index in self._lit}

    def truth(self) -> SimTruth:
        x, y, yaw = self.pose
        cx, cy = self._centre()
        lane, s, _ = self.lane_map.locate(x, y, yaw, self.roads)
        path = self.lane_map.path(lane, s, PATH_LENGTH, along(self.roads)).centre
        heading = math.atan2(*(path[2] - path[0])[::-1])
        offset = project(path, cx, cy)[1]
        parked = tuple(a for a in self.map.parked if abs(a.x - x) + abs(a.y - y) < NEAR)
        return SimTruth(
            t=self.t, x=x, y=y, yaw=yaw, speed=self.speed, lane_offset=offset, lane_width=lane.width,
            lane_heading_error=wrap(yaw - heading),
            lane_index=lane.index, lane_count=1 + max(o.index for o in self.lane_map.lanes if o.road == lane.road),
            wheels_in_lane=abs(offset) + WIDTH / 2 <= lane.width / 2, lane_path=path,
            actors=tuple(TrueActor(a.id, _kind(a).value, a.x, a.y, a.yaw, a.speed, *a.size) for a in (*parked, *self._actors)),
            route_completion=1.0 if self.stopped == "arrived" else min((self._before + self._s) / (self._before + self._arc[-1]), 1.0),
            crash_vehicle="vehicle" in self.infractions, crash_object="static" in self.infractions,
            crash_person="person" in self.infractions,
            out_of_road=self.stopped.startswith("out of road"), arrived=self.stopped == "arrived", signals=self._signals(),
            limit=self.map.limits[lane.id], infractions=tuple(self.infractions), wrong_way=self.wrong_way,
            reroutes=self.reroutes,
        )  # fmt: skip

    def _follow(self, edges: list[str], start: float) -> None:
        """Take a way as the one to go, from `start` m into its first road."""
        self.way, self.roads = lane_way(self.map, edges)
        self._route, self.line = make_route(self.map, self.way, self.config.speed_limit, start)
        self._arc, self._route_arc = (
            np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))]) for line in (self.line, self._route.points)
        )
        self._s, self._off = 0.0, 0.0
        self._told, self._astray = 0.0, 0
        stops = [self.map.approaches.get(lane.id) for lane in self.way[:-1:2]]
        self._stops = [(project(self.line, *a.stop)[0], a, self.way[2 * k + 1].id) for k, a in enumerate(stops) if a is not None]
        self._slowest: dict[int, float] = {}
        self._crossed = {k for k, (stop, *_) in enumerate(self._stops) if stop < LENGTH / 2}  # a line behind us already

    # ------------------------------------------------------------------ SUMO

    def _start_traffic(self, edges: list[str], rng: np.random.Generator) -> None:
        c, routes = self.config, Path(self._folder.name) / "town.rou.xml"
        lane_metres = sum(lane.length for lane in self.lane_map.lanes if lane.road[1] == "")
        vehicles = c.traffic / 0.1 * lane_metres / 200.0
        write_traffic(self.net, routes, int(vehicles), int(PEOPLE_PER_CAR * vehicles), WARM_UP + c.seconds, rng)
        sumo = self.sumo
        if sumo.isLoaded():
            sumo.close()
        sumo.start(["sumo", "-n", str(self.net_path), "-r", str(routes), "--step-length", str(c.step),
                    "--seed", str(c.seed), "--no-step-log",
                    "--no-warnings", "--duration-log.disable", "--time-to-teleport", "120", "--collision.action", "none",
                    "--ignore-route-errors", "--default.speeddev", "0.1"])  # fmt: skip
        for _ in range(round(WARM_UP / c.step)):
            sumo.simulationStep()
        sumo.vehicletype.copy("car", "ours")
        sumo.vehicletype.setLength("ours", LENGTH)
        sumo.vehicletype.setWidth("ours", WIDTH)
        a = self.line[0]
        for name in sumo.vehicle.getIDList():
            if math.dist(sumo.vehicle.getPosition(name), a) < CLEARED:
                sumo.vehicle.remove(name)
        sumo.route.add("ours", edges)
        sumo.vehicle.add("ours", "ours", typeID="ours", departPos="25", departSpeed="0", departLane="best")
        sumo.vehicle.setSpeedMode("ours", 0)
        sumo.vehicle.setLaneChangeMode("ours", 0)
        self._tls = sumo.trafficlight.getIDList()
        self._lit: list[tuple[Approach, int]] = []
        for approach in self.map.approaches.values():
            if approach.rule == "light":
                links = [self.map.links[k] for k in self.lane_map.lanes[approach.lane].successors]
                straight = next((w for w in links if w.turn == "s" and w.light), next(w for w in links if w.light))
                self._lit.append((approach, straight.light_index))

    def _centre(self) -> tuple[float, float]:
        x, y, yaw = self.pose
        ahead = LENGTH / 2 - REAR_OVERHANG
        return x + ahead * math.cos(yaw), y + ahead * math.sin(yaw)

    def _place(self) -> None:
        x, y, yaw = self.pose
        nose = LENGTH - REAR_OVERHANG
        at = x + nose * math.cos(yaw), y + nose * math.sin(yaw)
        with suppress(self.sumo.TraCIException):  # SUMO has taken us out at our route's end; the others no longer see us
            self.sumo.vehicle.moveToXY("ours", "", -1, *at, 90.0 - math.degrees(yaw), 2)

    def _look(self) -> None:
        """Everybody near as Actors."""
        sumo, (x, y, _) = self.sumo, self.pose
        out = []
        for name in sorted(sumo.vehicle.getIDList(), key=_order):
            if name == "ours":
                continue
            px, py = sumo.vehicle.getPosition(name)
            if abs(px - x) + abs(py - y) > NEAR:
                continue
            kind = sumo.vehicle.getTypeID(name)
            yaw, size = math.radians(90.0 - sumo.vehicle.getAngle(name)), TRAFFIC[kind][2:5]
            lamps = sumo.vehicle.getSignals(name)
            blink = "right" if lamps & 1 else "left" if lamps & 2 else "off"
            middle = px - size[0] / 2 * math.cos(yaw), py - size[0] / 2 * math.sin(yaw)  # SUMO gives the front bumper
            out.append(Actor(self._id(name), kind, *middle, wrap(yaw), size, sumo.vehicle.getSpeed(name), bool(lamps & 8), blink))
        for name in sorted(sumo.person.getIDList(), key=_order):
            px, py = sumo.person.getPosition(name)
            if abs(px - x) + abs(py - y) < NEAR:
                yaw = wrap(math.radians(90.0 - sumo.person.getAngle(name)))
                out.append(Actor(self._id(name), "person", px, py, yaw, PERSON, sumo.person.getSpeed(name)))
        self._actors = tuple(out)

    def _id(self, name: str) -> int:
        return self._ids.setdefault(name, len(self._ids))

    # ------------------------------------------------------------------ the judge

    def _signals(self) -> tuple[TrueSignal, ...]:
        for s, a, link in self._stops:
            if s + LENGTH / 2 > self._s:  # not yet past by a car's length
                distance = s - self._s + LENGTH / 2 - REAR_OVERHANG
                kind = a.rule or "none"
                posts = np.array([p[:2] for p in a.posts]).reshape(-1, 2)
                return (TrueSignal(kind, self._link_state(link).value if a.rule == "light" else "", float(distance), posts),)
        return ()

    def _link_state(self, lane: int) -> Light:
        link = self.map.links[lane]
        return Light(_state(self.sumo.trafficlight.getRedYellowGreenState(link.light)[link.light_index])) if link.light else Light.OFF

    def _judge(self, travelled: float) -> None:
        cx, cy = self._centre()
        near = np.abs(self._arc - self._s) < 40.0
        s, d = project(self.line[near], cx, cy)
        self._s, self._off = float(self._arc[near][0] + s), abs(d)
        nose = self._s + LENGTH / 2
        for k, (stop, a, link) in enumerate(self._stops):
            if k in self._crossed:
                continue
            if nose > stop - STOP_ZONE:
                self._slowest[k] = min(self._slowest.get(k, np.inf), self.speed)
            if nose > stop:
                self._crossed.add(k)
                if a.rule == "light" and self._link_state(link) == Light.RED:
                    self.infractions.append("red light")
                if a.rule == "stop" and self._slowest.get(k, np.inf) > STOPPED:
                    self.infractions.append("stop sign")
        self._standing = self._standing + self.config.step if self.speed < STOPPED else 0.0
        lane, _, offset = self.lane_map.locate(cx, cy, self.motion.yaw)
        if abs(offset) > lane.width / 2 and not self._in_junction(cx, cy):
            self.wrong_way += travelled
        if hit := self._touched():
            self.infractions.append(hit[0])
            self.stopped = hit[1]
        elif self._off_road(cx, cy):
            self.stopped = "out of road: off the asphalt"
        elif self._off > DEVIATION:
            self.stopped = f"off the route by {DEVIATION:.0f} m"
        elif self._standing > BLOCKED:
            self.stopped = f"blocked for {BLOCKED:.0f} s"
        elif self._arc[-1] - self._s < ARRIVED:
            self.stopped = "arrived"

    def _in_junction(self, x: float, y: float) -> bool:
        outlines = (o for o in self.net.junctions.values() if np.abs(o.mean(0) - (x, y)).max() < 40.0)
        return any(cv2.pointPolygonTest(o.astype(np.float32), (x, y), False) >= 0 for o in outlines)

    def _off_road(self, x: float, y: float) -> bool:
        distance, k = self._tree.query((x, y))
        return bool(distance > self._half[k] + LANE_SLACK and not self._in_junction(x, y))

    def _touched(self) -> tuple[str, str] | None:
        """(penalty, words) of what our outline touches."""
        cx, cy = self._centre()
        ours = np.array([[cx, cy, self.motion.yaw, LENGTH, WIDTH]])
        moving = "" if self.speed > STOPPED else ", while we stood"
        for a in (*self._actors, *self.map.parked):
            if math.hypot(a.x - cx, a.y - cy) < (LENGTH + a.size[0]) / 2 + 1.0:
                size = (0.4, 0.4) if a.kind == "person" else a.size[:2]
                if _overlap(ours[0], np.array([a.x, a.y, a.yaw, *size])):
                    if a.kind == "person":
                        return "person", f"hit a person{moving}"
                    return "vehicle", f"crashed into a {a.kind}{moving}"
        close = np.hypot(*(self._things[:, :2] - (cx, cy)).T) < 20.0
        if any(_overlap(ours[0], thing) for thing in self._things[close]):
            return "static", "crashed into an object"
        return None


def _state(character: str) -> str:
    return STATES.get(character, "off")


def _order(name: str) -> tuple[int, str]:
    return len(name), name


def _kind(a: Actor) -> Kind:
    return {"person": Kind.PERSON, "cyclist": Kind.CYCLIST}.get(a.kind, Kind.VEHICLE)


def _overlap(a: Array, b: Array) -> bool:
    """Whether two rectangles (x, y, yaw, length, width) overlap: the separating axis theorem."""
    for p, q in ((a, b), (b, a)):
        c, s = np.cos(q[2]), np.sin(q[2])
        corners = np.array([(i, j) for i in (-0.5, 0.5) for j in (-0.5, 0.5)]) * q[3:5]
        corners = corners @ np.array([[c, s], [-s, c]]) + q[:2]
        local = child_from_parent(corners, p[0], p[1], p[2])
        if ((local.min(0) > p[3:5] / 2) | (local.max(0) < -p[3:5] / 2)).any():
            return False
    return True
