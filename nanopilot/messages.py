"""Every message that passes between stages, and the Body protocol. Imports nothing of ours.

Units are SI. Vehicle frame: origin on the ground below the rear axle's centre, x forward, y left, z up,
left turn positive (ISO 8855). Map frame: local east-north-up metres. Image frame: pixels, u right, v down,
(0, 0) the centre of the top-left pixel. `t` is the body's own clock in seconds: the time the light fell on
the sensor, never the time somebody read it. A `_std` is one standard deviation.

A message checks itself once, when it is made, and is immutable after: arrays are made read-only.
Longer than other files, as every message stands here: what one stage may say to another is read in one place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite
from typing import Protocol

import numpy as np
from jaxtyping import Float, Float32, UInt8

Array = np.ndarray


class Message:
    """Base of all messages: freezes arrays and refuses a non-finite time or number."""

    def __post_init__(self) -> None:
        for name, value in list(vars(self).items()):
            if isinstance(value, np.ndarray):
                if value.dtype.kind == "f" and not np.isfinite(value).all():
                    raise ValueError(f"{type(self).__name__}.{name} holds a non-finite number")
                if value.flags.writeable:
                    value = value.view()
                    value.flags.writeable = False
                    object.__setattr__(self, name, value)
            elif isinstance(value, float) and not isfinite(value):
                raise ValueError(f"{type(self).__name__}.{name} is {value}")


def require(condition: bool, message: str) -> None:
    """Raise ValueError(message) unless the condition holds."""
    if not condition:
        raise ValueError(message)


# --------------------------------------------------------------------------- what a body knows and senses


@dataclass(frozen=True)
class CameraModel(Message):
    """A pinhole camera and where it sits in the vehicle frame.

    Rotation is intrinsic yaw (left positive), then pitch (nose down positive), then roll (right side down
    positive); all zero looks along vehicle x with the horizon level.
    """

    name: str
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    x: float = 0.0
    y: float = 0.0
    z: float = 1.4
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.width > 0 and self.height > 0, f"camera {self.name}: empty image {self.width}x{self.height}")
        require(self.fx > 0 and self.fy > 0, f"camera {self.name}: focal length must be positive")


@dataclass(frozen=True)
class VehicleModel(Message):
    """What the pilot is told about its car (from the maker's data sheet, never from the simulator's state)."""

    wheelbase: float
    length: float
    width: float
    rear_overhang: float  # rear axle to rear bumper
    max_wheel_angle: float  # road wheel, rad
    max_acceleration: float
    max_deceleration: float  # positive
    actuator_delay: float  # s from command to the car's answer


@dataclass(frozen=True)
class Frame(Message):
    """One camera picture: `image` is (H, W, 3) uint8 RGB."""

    t: float
    camera: str
    image: UInt8[Array, "h w 3"]


@dataclass(frozen=True)
class CarState(Message):
    """What a car's own bus tells: wheel speed, yaw-rate sensor, steering, and the driver's pedals and wheel."""

    t: float
    speed: float  # wheel speed, m/s
    acceleration: float  # m/s²
    yaw_rate: float  # rad/s, left positive
    wheel_angle: float  # road-wheel angle, rad, left positive
    driver_brake: bool = False
    driver_gas: bool = False
    driver_steer: bool = False
    driver_cancel: bool = False
    speed_std: float = 0.05
    yaw_rate_std: float = 0.005


@dataclass(frozen=True)
class GpsFix(Message):
    """Position in the map frame with receiver-like error (correlated over time; see the body that makes it)."""

    t: float
    x: float
    y: float
    std: float  # each axis
    heading: float  # course over ground, rad from map x, left positive
    heading_std: float


@dataclass(frozen=True)
class Reach(Message):
    """The middles of a walker's palms, left and right: where they are, or should be. Vehicle frame, z above the floor."""

    left: tuple[float, float, float]
    right: tuple[float, float, float]


@dataclass(frozen=True)
class WalkerState(Message):
    """What a humanoid's joint encoders and IMU tell. Place and yaw are dead reckoning from its start, and drift.

    Its vehicle frame: origin on the floor below the pelvis, x where the pelvis points, level.
    """

    t: float
    x: float
    y: float
    yaw: float
    roll: float
    pitch: float
    height: float  # pelvis above the floor
    vx: float  # forward, left, m/s
    vy: float
    yaw_rate: float
    camera: CameraModel  # the head camera as it stands now, in the vehicle frame
    joints: Float[Array, " n"]  # rad
    reach: Reach | None = None  # of a body with hands


class Turn(StrEnum):
    """What a navigation device says."""

    STRAIGHT = "straight"
    LEFT = "left"
    RIGHT = "right"
    KEEP_LEFT = "keep_left"
    KEEP_RIGHT = "keep_right"
    ROUNDABOUT = "roundabout"
    ARRIVE = "arrive"


@dataclass(frozen=True)
class Manoeuvre(Message):
    turn: Turn
    s: float  # where it starts, metres along the route line


@dataclass(frozen=True)
class Route(Message):
    """A navigation device's answer: a coarse line in the map frame (road centres, not lanes) and turn instructions."""

    points: Float[Array, "n 2"]
    manoeuvres: tuple[Manoeuvre, ...]
    speed_limit: float  # m/s

    def __post_init__(self) -> None:
        super().__post_init__()
        require(len(self.points) >= 2, "a route needs two points")
        require(self.speed_limit > 0, "a route needs a positive speed limit")


@dataclass(frozen=True)
class Observation(Message):
    """All a body senses at one instant. `frames[0]` is the front camera. The route comes once, and again when it changes."""

    t: float
    frames: tuple[Frame, ...]
    car: CarState
    gps: GpsFix | None = None
    route: Route | None = None
    walker: WalkerState | None = None  # of a body with legs


# --------------------------------------------------------------------------- perception


class Kind(StrEnum):
    VEHICLE = "vehicle"
    PERSON = "person"
    CYCLIST = "cyclist"


class SceneClass:
    """Per-pixel classes, in the order of the network's scene head and of the label files; IGNORE in a Percept is "not sure"."""

    NAMES = (
        "other", "road", "marking", "pavement", "vehicle", "person", "cyclist", "sign_or_light", "nature", "building", "sky",
        "pole", "fence",
    )  # fmt: skip
    OTHER, ROAD, MARKING, PAVEMENT, VEHICLE, PERSON, CYCLIST, SIGN, NATURE, BUILDING, SKY, POLE, FENCE = range(13)
    IGNORE = 255


class RoomClass:
    """Per-pixel classes indoors; in a Percept of a walker `scene` holds these."""

    NAMES = ("other", "floor", "obstacle", "box", "table", "person", "robot")
    OTHER, FLOOR, OBSTACLE, BOX, TABLE, PERSON, ROBOT = range(7)


class PaintForm(StrEnum):
    SOLID = "solid"
    DASHED = "dashed"
    UNKNOWN = "unknown"


class PaintColour(StrEnum):
    WHITE = "white"
    YELLOW = "yellow"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class LaneLine(Message):
    """One seen lane line. `side` counts from the car: -1 own left, +1 own right; -2 the far line of the next lane on
    the left, +2 on the right, for lanes of our own direction only: its probability is that lane's."""

    side: int
    probability: float
    image_points: Float32[Array, "n 2"]  # (u, v)
    points: Float32[Array, "n 2"]  # (x, y) on the road, vehicle frame, x ascending
    y_std: Float32[Array, " n"]
    form: PaintForm = PaintForm.UNKNOWN
    colour: PaintColour = PaintColour.UNKNOWN


@dataclass(frozen=True)
class RoadEdge(Message):
    """Where the road ends to the left (side -1) or right (+1): kerb, verge, or whatever stands on it."""

    side: int
    image_points: Float32[Array, "n 2"]  # (u, v)
    points: Float32[Array, "n 2"]  # (x, y) on the road, vehicle frame, x ascending
    y_std: Float32[Array, " n"]


class Light(StrEnum):
    """A traffic light's state; OFF is also one whose lamp can't be told."""

    RED = "red"
    YELLOW = "yellow"
    GREEN = "green"
    OFF = "off"


@dataclass(frozen=True)
class TrafficLight(Message):
    box: Float32[Array, "4"]  # u0 v0 u1 v1
    state: Light
    probability: float


@dataclass(frozen=True)
class TrafficSign(Message):
    box: Float32[Array, "4"]  # u0 v0 u1 v1
    name: str  # one of perception.signals.SIGNS
    probability: float
    speed_limit: float  # m/s; 0 where it is none


PATH_ARC = np.array([0, 2, 4, 6, 8, 10, 12, 15, 18, 21, 25, 30, 35, 40, 50, 60], float)  # m along a path, from abeam of the rear axle
ROUTE_ARC = np.arange(0, 64, 4, dtype=float)  # m along the route line, from the point nearest to us: 16 points


@dataclass(frozen=True)
class PathProposal(Message):
    """Where the own lane's centre goes along the route: points at PATH_ARC, vehicle frame."""

    points: Float32[Array, "n 2"]
    std: Float32[Array, " n"]  # across the path


@dataclass(frozen=True)
class Detection(Message):
    """One object in one frame; position, yaw and size are those of its footprint, vehicle frame."""

    kind: Kind
    score: float
    box: Float32[Array, "4"]  # u0 v0 u1 v1, the visible part
    position: Float32[Array, "2"]  # footprint's centre
    yaw: float  # where its nose points, rad from vehicle x
    length: float
    width: float
    distance: float  # from the camera to `position`, on the ground
    distance_std: float
    bearing_std: float  # rad


@dataclass(frozen=True)
class Thing(Message):
    """A box or a table that a walker may use: the middle of its front's foot, and where that front looks; vehicle frame."""

    kind: str  # box or table
    colour: str  # its name
    x: float
    y: float
    z: float  # of what it is taken to stand on
    yaw: float
    width: float  # of the front as far as seen, m
    weight: float  # how good a look at it was, 1/m² of distance; over time, the sum of what was seen
    unseen: float = 0.0  # s


@dataclass(frozen=True)
class SideView(Message):
    """Who is beside us, by a camera that looks aside. `box` is in its picture, all else as ever in the vehicle frame."""

    camera: str
    yaw: float  # where it looks, rad, left positive
    since: float  # s from its last picture to this one
    objects: tuple[Detection, ...]


@dataclass(frozen=True)
class Percept(Message):
    """What one frame shows. `scene` is (h, w) SceneClass indices at the network's own, smaller, resolution."""

    t: float
    camera: str
    lanes: tuple[LaneLine, ...]
    path: PathProposal | None
    objects: tuple[Detection, ...]
    scene: UInt8[Array, "h w"]
    free_distance: Float32[Array, " w"]  # drivable distance per scene column, m
    confidence: float
    valid: bool
    edges: tuple[RoadEdge, ...] = ()
    signs: tuple[TrafficSign, ...] = ()
    lights: tuple[TrafficLight, ...] = ()
    things: tuple[Thing, ...] = ()  # indoors
    sides: tuple[SideView, ...] = ()  # of the same moment, where a body has cameras that look aside and used them
    doubtful: tuple[Detection, ...] = ()  # people scored too low to be told, though enough to go on with whom one knows


# --------------------------------------------------------------------------- world


@dataclass(frozen=True)
class Curve(Message):
    """A line on the road, vehicle frame, at ascending arc lengths, with the standard deviation across it."""

    points: Float[Array, "n 2"]
    std: Float[Array, " n"]
    probability: float


@dataclass(frozen=True)
class Track(Message):
    """One object over time, vehicle frame now; velocity is over ground, in the vehicle frame's axes."""

    id: int
    kind: Kind
    x: float  # footprint's centre
    y: float
    yaw: float
    vx: float
    vy: float
    acceleration: float  # along its own velocity
    yaw_rate: float
    position_std: float
    velocity_std: float
    length: float
    width: float
    age: float  # s since first seen
    unseen: float  # s since last seen
    probability: float


@dataclass(frozen=True)
class RoadSignal(Message):
    """What rules the route's next junction, or our speed: `kind` is 'light', 'stop', 'yield' or 'limit'."""

    kind: str
    state: Light  # of a light; OFF for signs
    distance: float  # from the rear axle to the junction, along the route, m; 0 for a limit
    distance_std: float
    speed_limit: float  # m/s, of a limit; else 0
    probability: float
    unseen: float  # s


@dataclass(frozen=True)
class Room(Message):
    """What a walker knows of the floor around it, in the frame of its start, and where it is in it."""

    x: float
    y: float
    yaw: float
    origin: Float[Array, "2"]  # of the grid's corner [0, 0]
    cell: float  # m
    occupancy: UInt8[Array, "h w"]  # percent, row along y; UNKNOWN where nothing was seen

    UNKNOWN = 255


@dataclass(frozen=True)
class World(Message):
    """The road, the others and ourselves, now."""

    t: float
    speed: float
    yaw_rate: float
    acceleration: float
    path: Curve | None  # centre of the own lane along the route
    left: Curve | None  # own lane's lines
    right: Curve | None
    lane_width: float
    lane_left: float  # probability that a lane of our direction exists there
    lane_right: float
    tracks: tuple[Track, ...]
    route_line: Float[Array, "n 2"]  # at ROUTE_ARC, vehicle frame, moved over to our lane where that is known; (0, 2) without a route
    route_std: float  # of that line across, m
    next_turn: Turn
    next_turn_distance: float
    goal_distance: float
    speed_limit: float
    localisation_std: float
    blind: float  # s since the last valid percept
    camera_yaw: float = 0.0  # rad to the left by which the front camera was found to look past where calibration says
    concern: str = ""  # why the driver should take over, as far as eyes and world can tell
    signals: tuple[RoadSignal, ...] = ()
    room: Room | None = None  # of a body with legs
    things: tuple[Thing, ...] = ()  # indoors
    reach: Reach | None = None  # where the palms are, of a body with hands


# --------------------------------------------------------------------------- planning, control, safety


class Behaviour(StrEnum):
    KEEP_LANE = "keep_lane"
    FOLLOW = "follow"
    CHANGE_LEFT = "change_left"
    CHANGE_RIGHT = "change_right"
    YIELD = "yield"
    STOP = "stop"
    ARRIVED = "arrived"


class Signal(StrEnum):
    OFF = "off"
    LEFT = "left"
    RIGHT = "right"
    HAZARD = "hazard"


@dataclass(frozen=True)
class Plan(Message):
    """A trajectory from now: state at `times` after `t`, in the vehicle frame of `t`."""

    t: float
    behaviour: Behaviour
    reason: str  # a few words for people
    times: Float[Array, " n"]
    xy: Float[Array, "n 2"]
    yaw: Float[Array, " n"]
    speed: Float[Array, " n"]
    acceleration: Float[Array, " n"]
    curvature: Float[Array, " n"]
    lead_id: int = -1  # the track that limits us, if any
    signal: Signal = Signal.OFF
    reach: Reach | None = None  # None: the arms swing as the gait wants
    set_speed: float = 0.0  # m/s, that it would drive here were nobody in its way and the road straight; 0 none


@dataclass(frozen=True)
class Walk(Message):
    """A velocity over the floor, in a walker's vehicle frame."""

    vx: float
    vy: float
    yaw_rate: float


@dataclass(frozen=True)
class Command(Message):
    """What control wants of the car. Curvature is that of the rear axle's path, left positive."""

    t: float
    acceleration: float
    curvature: float
    signal: Signal = Signal.OFF
    arc: tuple[float, ...] = ()  # the plan's curvature each metre from here, to steer by if no command follows
    walk: Walk | None = None  # of a body with legs, in place of acceleration and curvature
    reach: Reach | None = None  # of a body with hands


class Mode(StrEnum):
    """Who drives, and how well; `safety.modes` has the table of what leads where."""

    OFF = "off"  # can't be engaged: something it needs is missing
    READY = "ready"  # the driver drives, a request would be heard
    ENGAGED = "engaged"
    OVERRIDDEN = "overridden"  # the driver acts
    TAKEOVER = "takeover requested"  # an input or the view is missing: the driver is asked, the car brakes, and goes on if it comes back
    MINIMUM_RISK = "minimum risk manoeuvre"  # nobody answered, or nothing is left to drive by: brake in the lane
    STANDSTILL = "standstill"  # of that manoeuvre: held until somebody acts
    FAILED = "failed"  # the car did not do as told: shut off until started anew


class Alert(StrEnum):
    """What the driver is told."""

    NONE = "none"
    TAKEOVER = "take over"
    URGENT = "take over now"


class GuardStage(StrEnum):
    """How far the guardian has gone; in this order."""

    NONE = "none"
    WARNING = "warning"
    PRECHARGE = "pre-charge"  # the brakes are made ready, nothing is felt
    PARTIAL = "partial braking"
    FULL = "full braking"


@dataclass(frozen=True)
class Guard(Message):
    """What the guardian asks for, whoever drives: at most this acceleration, and where a line is about to be left this curvature."""

    t: float
    stage: GuardStage = GuardStage.NONE
    acceleration: float = 0.0  # m/s², 0: no braking
    curvature: float | None = None  # 1/m, None: no steering
    reason: str = ""  # a few words for people
    track_id: int = -1


@dataclass(frozen=True)
class SafeCommand(Message):
    """What a body may do. Only `nanopilot.safety` makes one; `reasons` says what was changed and why.

    Not engaged, the car is the driver's: with `brakes` it slows down at least as `acceleration` says, with `steers` it takes `curvature`.
    """

    t: float
    acceleration: float
    curvature: float
    signal: Signal
    engaged: bool
    reasons: tuple[str, ...] = field(default=())
    mode: Mode = Mode.OFF
    alert: Alert = Alert.NONE
    speed: float = 0.0  # m/s, at t
    arc: tuple[float, ...] = ()  # curvature each metre from here: what `safety.watchdog` steers by when no command follows
    brakes: bool = False  # the guardian's
    steers: bool = False  # the guardian's
    precharge: bool = False  # brakes made ready
    walk: Walk | None = None  # of a body with legs
    reach: Reach | None = None  # of a body with hands


@dataclass(frozen=True)
class RssVerdict(Message):
    """Responsibility-sensitive safety's second opinion: the track least far from danger, and the proper response."""

    t: float
    track_id: int = -1  # -1: nobody near
    distance: float = 0.0  # between bumpers along the path, m
    safe_distance: float = 0.0
    side_distance: float = 0.0  # between flanks across the path, m
    safe_side_distance: float = 0.0
    danger: float = 0.0  # s for which some track has been too near both ways
    acceleration: float = 0.0  # m/s², the most that the proper response allows; 0 where nothing is dangerous


# --------------------------------------------------------------------------- assist


class WarningKind(StrEnum):
    FORWARD_COLLISION = "forward_collision"
    URBAN_COLLISION = "urban_collision"  # the same at low speed
    HEADWAY = "headway"
    LANE_DEPARTURE = "lane_departure"
    PEDESTRIAN_COLLISION = "pedestrian_collision"
    CYCLIST_COLLISION = "cyclist_collision"
    SPEED_LIMIT = "speed_limit"
    OVER_SPEED = "over_speed"
    RED_LIGHT = "red_light"
    LEAD_LEFT = "lead_left"
    GREEN_LIGHT = "green_light"
    BLIND_SPOT = "blind_spot"
    CUT_IN = "cut_in"
    CAMERA_BLOCKED = "camera_blocked"
    NOT_CALIBRATED = "not_calibrated"
    CAMERA_MOVED = "camera_moved"


class WarningLevel(StrEnum):
    """How urgent; in this order."""

    INFO = "info"
    EARLY = "early"
    MEDIUM = "medium"
    LATE = "late"


@dataclass(frozen=True)
class Warning(Message):
    """What the driver should know now. `value` is what was compared with `limit`, both in `unit`."""

    t: float
    kind: WarningKind
    level: WarningLevel
    value: float
    value_std: float
    limit: float
    unit: str
    reason: str  # a few words for people
    side: int = 0  # -1 left, +1 right, as LaneLine.side
    track_id: int = -1


@dataclass(frozen=True)
class Warnings(Message):
    """All that hold at `t`, those of them that begin or rise now, and which kinds can't be given."""

    t: float
    active: tuple[Warning, ...]
    new: tuple[Warning, ...]
    off: tuple[WarningKind, ...]
    speed_limit: float = 0.0  # m/s, as signs said last; 0 none


SPEED_KNOWN_STD, SPEED_KNOWN_SHARE = 2.0, 0.12  # m/s and of the speed, guesses: an own speed less certain than both counts as unknown
UNKNOWN_SPEED_STD = 100.0  # m/s, what a source without an own speed says


@dataclass(frozen=True)
class OwnMotion(Message):
    """Own speed and yaw rate as `source` tells them; `speed_known` says whether it is certain enough to be used."""

    t: float
    speed: float
    speed_std: float
    yaw_rate: float
    yaw_rate_std: float
    source: str  # "video", "csv", "gpx", "nmea", "can", "log"


def speed_known(motion: CarState | OwnMotion) -> bool:
    """Whether the own speed is certain enough to be used."""
    return motion.speed_std < max(SPEED_KNOWN_STD, SPEED_KNOWN_SHARE * motion.speed)


@dataclass(frozen=True)
class Calibration(Message):
    """How the camera looks, as found while driving. Rotations as in CameraModel; `progress` 0 to 1, `valid` once it may be relied on."""

    t: float
    yaw: float
    pitch: float
    yaw_std: float
    pitch_std: float
    progress: float
    valid: bool
    moved: int = 0  # how often it was relied on and then found to be turned otherwise


# --------------------------------------------------------------------------- the body


class BodyStopped(Exception):
    """The body will give no more observations. `args[0]` says why in words for people."""


class Body(Protocol):
    """What the pilot lives in. Every body has the same three calls and two facts."""

    cameras: tuple[CameraModel, ...]
    vehicle: VehicleModel

    def observe(self) -> Observation:
        """Block until the next observation. Raises BodyStopped at the end of the drive or when the body died."""
        ...

    def act(self, command: SafeCommand) -> None:
        """Take the command for the observation just given. A body keeps its own watchdog: no command, safe stop."""
        ...

    def close(self) -> None:
        """Release everything; may be called twice."""
        ...
