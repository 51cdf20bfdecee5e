"""Dash-cam clips made by the simulator, each with what should be warned of and when: the truth that a watch is judged by.

In: a seed (light, colours, scenery, the camera's pitch). Out: clips; a body that shows one (pictures only: no own speed, an untold
pitch); and its Expectation: kind, side, and the earliest and latest time by the standard named beside it (second-hand, as in
nanopilot.assist). Road: two lanes each way, straight or with one bend; places are along it and beside its middle. The own car drives in the
lane beside the middle line by a formula, it doesn't react; after the warning it may drive through what it was warned of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import asin, cos, inf, radians, sin, sqrt, tan

import cv2
import numpy as np

from nanopilot.bodies.recording import PASSENGER_CAR, unknown
from nanopilot.geometry import child_from_parent, image_from_vehicle
from nanopilot.messages import BodyStopped, CameraModel, Frame, Observation, SafeCommand, WarningKind
from nanopilot.sim.appearance import Appearance
from nanopilot.sim.camera import CpuCamera
from nanopilot.sim.demo import SIZES
from nanopilot.sim.ground import ribbon
from nanopilot.sim.scene import Actor, Marking, Scene, StaticScene, Surface
from nanopilot.sim.scenery import scatter_props

LANE = 3.5  # m
EDGE = 2 * LANE  # m, half the road
OWN_Y = -0.5 * LANE  # the lane beside the middle line
LEAD_IN = 5.0  # s of plain driving, in which the camera's pitch is found
KPH = 1 / 3.6
PITCH_DEG = (0.2, 1.8)  # of the camera, not told; drawn by the seed
BEND = 100.0  # m along the road, where it bends in clips with a bend
VISIBLE = 90.0  # m: actors farther away are not drawn in bends
FRONT = PASSENGER_CAR.length - PASSENGER_CAR.rear_overhang
MARKET = 3.0  # s of time to collision: the market's forward collision warnings come no earlier
BICYCLE_FROM = 17.0  # m from our middle, Euro NCAP CBNA: who starts nearer has not moved yet when the latest warning is due
TOLD = 1.0  # s after flanks overlap within which a cut-in should be told, guess
VULNERABLE = 4.0  # s, where FMVSS 127's pedestrian tests start
G = 9.81

Actors = Callable[[float, float], tuple[Actor, ...]]  # (t, own x) -> who is there


@dataclass(frozen=True)
class Expectation:
    kinds: tuple[WarningKind, ...]  # the right one first; any of them will do
    earliest: float  # s
    latest: float
    source: str
    side: int = 0
    also: tuple[WarningKind, ...] = ()  # right as well, from the earliest time on


@dataclass(frozen=True)
class Patch:
    """A part of the road that looks different: what is there, dimmed to `gain`, and a grey level added."""

    x: tuple[float, float]  # m along the road
    y: tuple[float, float]  # m beside its middle
    gain: float
    grey: float = 0.0


@dataclass(frozen=True)
class Clip:
    name: str
    speed: float  # m/s, own
    seconds: float
    actors: Actors = lambda t, x: ()
    expected: Expectation | None = None  # None: silence
    lateral: Callable[[float], float] = lambda t: 0.0  # m left of the lane's centre
    weather: Appearance = Appearance(seed=3)
    curvature: float = 0.0  # 1/m, left positive, from BEND on
    patches: tuple[Patch, ...] = ()
    pitch: float = radians(1.0)
    scenery: int = 4


FORWARD = (WarningKind.FORWARD_COLLISION,)
PERSON, CYCLIST = WarningKind.PEDESTRIAN_COLLISION, WarningKind.CYCLIST_COLLISION
SOMEBODY = {"person": (PERSON, CYCLIST), "cyclist": (CYCLIST, PERSON)}  # one taken for the other is a warning still: rows say the kind told


def _lead(name: str, speed: float, lead_speed: float, latest: float, weather: Appearance = Appearance(seed=3)) -> Clip:
    """A slower or standing car ahead; the times to collision are those between bumpers."""
    closing, start = speed - lead_speed, 6.5  # s of time to collision when the lead-in ends
    hit = LEAD_IN + start

    def actors(t: float, x: float) -> tuple[Actor, ...]:
        gap = closing * (hit - t)
        return (_car(1, x + FRONT + gap + SIZES["car"][0] / 2, OWN_Y, lead_speed),)

    expected = Expectation(FORWARD, hit - MARKET, hit - latest, "NHTSA FCW confirmation")
    return Clip(name, speed, hit - 0.6, actors, expected, weather=weather)


def _braking(name: str, speed: float, gap: float, deceleration: float, latest: float) -> Clip:
    """The lead brakes; time to collision is gap / closing speed, as NHTSA defines it."""
    begins = LEAD_IN + 1.0
    stop = speed / deceleration

    def distance(t: float) -> float:
        d = min(max(t - begins, 0.0), stop)
        return gap - deceleration * d * d / 2 - (speed * (t - begins - stop) if t > begins + stop else 0.0)

    def at(ttc: float) -> float:
        """When the time to collision falls to `ttc`: gap - a s²/2 = a s ttc."""
        return begins - ttc + sqrt(ttc * ttc + 2 * gap / deceleration)

    def actors(t: float, x: float) -> tuple[Actor, ...]:
        now = max(0.0, speed - deceleration * max(t - begins, 0.0))
        return (replace(_car(1, x + FRONT + distance(t) + SIZES["car"][0] / 2, OWN_Y, now), braking=t > begins),)

    expected = Expectation(FORWARD, begins, at(latest), "NHTSA FCW confirmation")
    return Clip(name, speed, at(0.8), actors, expected)


def _departure(side: int, rate: float, speed: float = 72 * KPH) -> Clip:
    """Euro NCAP's departure path: an arc until the lateral speed is reached, then straight; ISO 17361's zone."""
    radius = 1200.0 if speed >= 70 * KPH and rate < 0.8 else 600.0  # a faster drift would not reach its rate before the line
    angle = asin(rate / speed)
    arc_s, arc_d = radius * angle / speed, radius * (1 - cos(angle))
    inside = LANE / 2 - PASSENGER_CAR.width / 2 - 0.06  # m from the wheel to the line's inner edge, driving in the middle

    def drift(t: float) -> float:
        s = max(t - LEAD_IN, 0.0)
        d = s * s * speed * speed / (2 * radius) if s < arc_s else arc_d + rate * (s - arc_s)
        return -side * d

    def when(distance: float) -> float:
        d = inside - distance
        return LEAD_IN + (arc_s + (d - arc_d) / rate if d > arc_d else sqrt(2 * radius * d) / speed)

    line = min(max(1.5 * rate, 0.75), 1.5)
    earliest = LEAD_IN if line >= inside else when(line)
    expected = Expectation((WarningKind.LANE_DEPARTURE,), earliest, when(-0.3), "ISO 17361", side)
    name = f"drifts {'left' if side < 0 else 'right'} at {rate:.1f} m/s"
    return Clip(name, speed, when(-0.3) + 0.5, expected=expected, lateral=drift)


def _crossing(name: str, kind: str, speed: float, walk: float, from_left: bool, weather: Appearance = Appearance(seed=3)) -> Clip:
    """Somebody crosses and is hit in the middle of our front."""
    hit = LEAD_IN + 5.0
    start = BICYCLE_FROM if kind == "cyclist" else 6.5 if from_left else 4.5  # m beside our middle, where he stands until then
    sign = -1 if from_left else 1  # of his velocity along y

    def actors(t: float, x: float) -> tuple[Actor, ...]:
        away = max(hit - t, -5.0) * walk
        moving = away < start
        y = OWN_Y - sign * min(away, start)
        return (Actor(1, kind, hit * speed + FRONT, y, sign * np.pi / 2, SIZES[kind], walk if moving else 0.0),)

    expected = Expectation(SOMEBODY[kind], hit - VULNERABLE, hit - 0.8 - speed / 10, "UN R152, FMVSS 127")
    return Clip(name, speed, hit - 0.3, actors, expected, weather=weather)


def _along(name: str, kind: str, speed: float, other: float) -> Clip:
    hit, closing = LEAD_IN + 6.0, speed - other

    def actors(t: float, x: float) -> tuple[Actor, ...]:
        return (Actor(1, kind, x + FRONT + closing * (hit - t) + SIZES[kind][0] / 2, OWN_Y, 0.0, SIZES[kind], other),)

    kinds = (*SOMEBODY[kind], *FORWARD)
    return Clip(name, speed, hit - 0.5, actors, Expectation(kinds, hit - VULNERABLE, hit - 0.8 - closing / 10, "UN R152, FMVSS 127"))


def _headway(name: str, speed: float) -> Clip:
    """Creeps up on a car from 1.1 s to 0.45 s behind it."""
    rate = 0.08  # s of headway a second
    start = LEAD_IN

    def behind(t: float) -> float:
        return max(1.1 - rate * max(t - start, 0.0), 0.45)

    def actors(t: float, x: float) -> tuple[Actor, ...]:
        return (_car(1, x + FRONT + behind(t) * speed + SIZES["car"][0] / 2, OWN_Y, speed * (1 - rate if t > start else 1)),)

    red, slack = 0.6, 0.12  # s; a fifth early or late
    expected = Expectation((WarningKind.HEADWAY,), start + (1.1 - red - slack) / rate, start + (1.1 - red + slack) / rate, "market's 0.6 s")
    return Clip(name, speed, start + 8.5, actors, expected)


def _cut_in(name: str, speed: float, other: float) -> Clip:
    """A car of the lane to the right comes into ours: a slower one 2.2 s of time to collision ahead when it is there, else 18 m ahead."""
    begins, takes, closing = LEAD_IN + 2.0, 2.5, speed - other
    there = begins + takes
    slower = closing > 0
    gap = 2.2 * closing if slower else 18.0

    def actors(t: float, x: float) -> tuple[Actor, ...]:
        over = min(max((t - begins) / takes, 0.0), 1.0)
        yaw = float(np.arctan2(LANE / takes, other)) if 0 < over < 1 else 0.0
        here = _car(1, x + FRONT + gap + closing * (there - t) + SIZES["car"][0] / 2, OWN_Y - LANE * (1 - over), other)
        return (replace(here, yaw=yaw, signal="left" if begins - 1 < t < there else "off"),)

    touches = begins + takes * (1 - (PASSENGER_CAR.width + SIZES["car"][1]) / 2 / LANE)  # flanks overlap from here on
    cut_in = (WarningKind.CUT_IN,)
    if slower:
        expected = Expectation(FORWARD, touches, there + 2.2 - 1.2, "Euro NCAP's latest warning", also=cut_in)
    else:
        expected = Expectation(cut_in, begins, touches + TOLD, "none: our own", side=1)
    return Clip(name, speed, there + (1.6 if slower else 3.0), actors, expected)


def _car(number: int, x: float, y: float, speed: float, oncoming: bool = False) -> Actor:
    return Actor(number, "car", x, y, np.pi if oncoming else 0.0, SIZES["car"], speed)


def clips(seed: int = 0) -> tuple[Clip, ...]:
    """The table. Names are sentences about the own car or who is before it. Seeds below 100 are for tuning, others for figures."""
    if seed == 0:
        return _table()
    rng = np.random.default_rng([seed, 0xC11])

    def drawn(clip: Clip) -> Clip:
        number = int(rng.integers(1 << 30))
        weather = clip.weather
        if weather.weather == "clear":  # dusk and night stay what their names say
            weather = Appearance.from_seed(number, weather=str(rng.choice(("clear", "overcast"))))
        pitch = radians(float(rng.uniform(*PITCH_DEG)))
        return replace(clip, weather=replace(weather, seed=number), pitch=pitch, scenery=number)

    return tuple(drawn(clip) for clip in _table())


def _table() -> tuple[Clip, ...]:
    fast, town = 72 * KPH, 40 * KPH
    night = Appearance(seed=5, weather="dusk", sun=(0.25, 0.22, 0.2), ambient=(0.25, 0.26, 0.3))
    wet = replace(Appearance.from_seed(9, weather="night"), wet=0.8, rain=0.4)
    plates = (Patch((150.0, 154.0), (-LANE + 0.4, -0.4), 0.35, 70.0), Patch((230.0, 232.5), (-LANE - 1.0, 1.0), 0.35, 70.0))
    shadow = (Patch((140.0, 152.0), (-EDGE, EDGE), 0.35), Patch((220.0, 226.0), (-EDGE, EDGE), 0.35))
    parked = tuple(_car(k, 30.0 * k, -EDGE - 1.3, 0.0) for k in range(1, 14))
    oncoming = tuple(range(1, 12))
    return (
        _lead("a car stands ahead, 72 km/h", fast, 0.0, 2.1),
        _lead("a car stands ahead, 50 km/h", 50 * KPH, 0.0, 2.1),
        _lead("a car ahead drives 32 km/h, we 72", fast, 32 * KPH, 2.0),
        _lead("a car ahead drives 32 km/h, we 72, dull evening", fast, 32 * KPH, 2.0, night),
        _lead("a car ahead drives 32 km/h, we 72, wet night", fast, 32 * KPH, 2.0, wet),
        _cut_in("a car at 50 km/h cuts in, we 72", fast, 50 * KPH),
        _braking("a car 30 m ahead brakes with 0.3 g, 72 km/h", fast, 30.0, 0.3 * G, 2.4),
        _braking("a car 40 m ahead brakes with 0.5 g, 72 km/h", fast, 40.0, 0.5 * G, 2.0),
        *(_departure(side, rate) for side in (-1, 1) for rate in (0.1, 0.2, 0.4, 0.6, 1.0)),
        _crossing("a person crosses from the right, 40 km/h", "person", town, 5 * KPH, False),
        _crossing("a person crosses from the left, 40 km/h", "person", town, 8 * KPH, True),
        _crossing("a cyclist crosses from the right, 40 km/h", "cyclist", town, 15 * KPH, False),
        _along("a cyclist rides ahead at 15 km/h, we 50", "cyclist", 50 * KPH, 15 * KPH),
        _along("a person walks ahead at 5 km/h, we 40", "person", town, 5 * KPH),
        _headway("creeps up on a car, 72 km/h", fast),
        Clip("an empty road, 72 km/h", fast, 14.0),
        Clip("an empty road, 72 km/h, wet night", fast, 14.0, weather=wet),
        Clip("drives round a bend of 400 m to the left, cars come towards us, 72 km/h", fast, 14.0,
             lambda t, x: tuple(_car(k, 55.0 * k - 18 * t, 0.5 * LANE, 18.0, True) for k in oncoming), curvature=1 / 400),
        Clip("drives round a bend of 400 m to the right, cars are parked, 72 km/h", fast, 14.0, lambda t, x: parked, curvature=-1 / 400),
        Clip("steel plates lie on the road, 72 km/h", fast, 14.0, patches=plates),
        Clip("the shadows of bridges lie across the road, 72 km/h", fast, 14.0, patches=shadow),
        Clip("cars are parked beside the road, 50 km/h", 50 * KPH, 14.0, lambda t, x: parked),
        Clip("cars come towards us in the next lane, 72 km/h", fast, 14.0,
             lambda t, x: tuple(_car(k, 55.0 * k - 18 * t, 0.5 * LANE, 18.0, True) for k in oncoming)),
        Clip("overtakes a slower car in the lane to the right, 72 km/h", fast, 14.0,
             lambda t, x: (_car(1, 90.0 + 12 * t, OWN_Y - LANE, 12.0), _car(2, 160 + 12 * t, OWN_Y - LANE, 12.0))),
        Clip("follows a car at two seconds, 72 km/h", fast, 14.0, lambda t, x: (_car(1, x + FRONT + 42.2, OWN_Y, fast),)),
        Clip("people walk on the pavement, 40 km/h", town, 14.0,
             lambda t, x: tuple(Actor(k, "person", 25.0 * k + 1.3 * t, -EDGE - 1.8, 0.0, SIZES["person"], 1.3) for k in range(1, 9))),
        _cut_in("a car at 80 km/h cuts in, we 72", fast, 80 * KPH),
    )  # fmt: skip


def placed(x: float, y: float, curvature: float) -> tuple[float, float, float]:
    """(x, y, heading) on the ground of a place `x` along the road and `y` left of its middle."""
    s = max(x - BEND, 0.0) if curvature else 0.0
    angle = curvature * s
    along, aside = (BEND + sin(angle) / curvature, (1 - cos(angle)) / curvature) if s else (x, 0.0)
    return along - y * sin(angle), aside + y * cos(angle), angle


def road(curvature: float = 0.0, seed: int = 4, length: float = 520.0, edge_line: bool = True) -> StaticScene:
    """The middle line at y = 0, yellow; `seed` is that of what stands beside the road, `edge_line` whether its left edge is painted."""
    ends = np.array([-60.0, length]) if not curvature else np.append(np.arange(-60.0, length, 4.0), length)

    def beside(offset: float) -> np.ndarray:
        return np.array([placed(float(x), offset, curvature)[:2] for x in ends])

    markings = [Marking(beside(0.0), 0.12, "yellow")]
    markings += [Marking(beside(d), 0.15, "white") for d in (-EDGE + 0.2, EDGE - 0.2)[0 if edge_line else 1 :]]
    markings += [Marking(beside(d), 0.12, "white", (3.0, 6.0)) for d in (-LANE, LANE)]
    surfaces = (Surface("pavement", ribbon(beside(0.0), 2 * EDGE + 6)), Surface("road", ribbon(beside(0.0), 2 * EDGE)))
    static = StaticScene(surfaces, tuple(markings))
    return replace(static, props=scatter_props(static, seed))


class ClipBody:
    """A Body that shows a clip to whoever observes, at `hz`; `static` is `road` of its bend and scenery."""

    def __init__(self, clip: Clip, static: StaticScene, hz: float, width: int = 640, fov_deg: float = 100.0) -> None:
        height = width * 9 // 16
        focal = width / 2 / tan(radians(fov_deg) / 2)
        self.true = CameraModel("front", width, height, focal, focal, (width - 1) / 2, (height - 1) / 2, x=1.3, z=1.4, pitch=clip.pitch)
        self.cameras: tuple[CameraModel, ...] = (replace(self.true, pitch=0.0),)
        self.vehicle, self.clip, self.hz = PASSENGER_CAR, clip, hz
        self.static, self.camera = static, CpuCamera(static, clip.weather)
        self.step = 0

    def observe(self) -> Observation:
        t = self.step / self.hz
        clip = self.clip
        if t > clip.seconds:
            raise BodyStopped("the clip has ended")
        self.step += 1
        x = clip.speed * t
        rate = (clip.lateral(t + 0.01) - clip.lateral(t - 0.01)) / 0.02
        px, py, heading = placed(x, OWN_Y + clip.lateral(t), clip.curvature)
        pose = (px, py, heading + float(np.arctan2(rate, clip.speed)))
        scene = Scene(self.static, tuple(self._actor(a) for a in clip.actors(t, x) if abs(a.x - x) < VISIBLE or not clip.curvature), {}, t)
        image = self.camera.render(scene, self.true, pose, labels=False, speed=clip.speed).rgb
        for patch in clip.patches:
            image = self._patched(image, patch, pose)
        return Observation(t, (Frame(t, "front", image),), unknown(t))

    def _actor(self, a: Actor) -> Actor:
        x, y, heading = placed(a.x, a.y, self.clip.curvature)
        return replace(a, x=x, y=y, yaw=a.yaw + heading)

    def _patched(self, image: np.ndarray, patch: Patch, pose: tuple[float, float, float]) -> np.ndarray:
        """The picture with the patch drawn onto the road, where it lies wholly before the lens."""
        (x0, x1), (y0, y1) = patch.x, patch.y
        x0 = max(x0, pose[0] + self.true.x + 0.6)
        if x0 >= x1 or x0 - pose[0] > VISIBLE:
            return image
        ground = child_from_parent(np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)]), *pose)
        pixels, depth = image_from_vehicle(self.true, np.column_stack([ground, np.zeros(4)]))
        if (depth < 0.3).any():
            return image
        mask = np.zeros(image.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.clip(np.round(pixels * 16), -(2**24), 2**24).astype(np.int32)], 255, cv2.LINE_AA, 4)
        share = mask[..., None].astype(np.float32) / 255
        new = np.clip(image * np.float32(patch.gain) + np.float32(patch.grey), 0, 255)
        return np.round(image + share * (new - image)).astype(np.uint8)

    def act(self, command: SafeCommand) -> None:
        """Nothing: the clip goes on as it does."""

    def close(self) -> None:
        """Nothing to let go of."""


def judged(expected: Expectation, t: float | None) -> float:
    """Seconds by which a warning at `t` misses its window: negative too early, positive too late, inf never came."""
    if t is None:
        return inf
    return min(0.0, t - expected.earliest) + max(0.0, t - expected.latest)
