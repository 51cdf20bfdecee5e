"""Warnings: the world and what the frame shows -> what the driver should know, pilot engaged or not.

In: a World, its frame's Percept (or None: blind), own motion, camera and car. Out: Warnings. Each warning is
a pure function in a file of its own with its limits and their sources; this file only calls them. Those that need the own
speed are silent while it is unknown: `off` says which and why. Nothing here is a certified system: limits are
second-hand where the files say so. It doesn't brake (`guardian` does), and knows no turn signal: a lane change by intent is warned of.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nanopilot.assist import blind_spot as blind_spot_
from nanopilot.assist import camera as camera_
from nanopilot.assist import closing as closing_
from nanopilot.assist import cut_in as cut_in_
from nanopilot.assist import forward, in_path, lane, roadside, standstill, vulnerable
from nanopilot.assist.blind_spot import BlindSpotConfig, BlindSpotState
from nanopilot.assist.camera import CameraConfig
from nanopilot.assist.closing import Closing, ClosingConfig, Growths
from nanopilot.assist.cut_in import CutInConfig, CutInState
from nanopilot.assist.forward import ForwardConfig, HeadwayConfig, HeadwayState
from nanopilot.assist.in_path import PathConfig
from nanopilot.assist.lane import LaneConfig, LaneState
from nanopilot.assist.latch import Latch
from nanopilot.assist.roadside import LightConfig, SpeedConfig, SpeedState
from nanopilot.assist.standstill import StandstillConfig, StandstillState
from nanopilot.assist.vulnerable import VulnerableConfig
from nanopilot.messages import (
    Calibration,
    CameraModel,
    CarState,
    Kind,
    Percept,
    VehicleModel,
    Warning,
    WarningKind,
    WarningLevel,
    Warnings,
    World,
    speed_known,
)

SPEED_GATED = (WarningKind.HEADWAY, WarningKind.LANE_DEPARTURE, WarningKind.OVER_SPEED, WarningKind.RED_LIGHT, WarningKind.LEAD_LEFT,
               WarningKind.GREEN_LIGHT)  # fmt: skip
SEEN = 0.5  # s: how who was seen before that comes closer is not plotted


@dataclass(frozen=True)
class Config:
    path: PathConfig = field(default_factory=PathConfig)
    closing: ClosingConfig = ClosingConfig(on_foot=1.0)  # far off, people are told to be as far as a second ago: as if they ran ahead of us
    forward: ForwardConfig = field(default_factory=ForwardConfig)
    headway: HeadwayConfig = field(default_factory=HeadwayConfig)
    lane: LaneConfig = field(default_factory=LaneConfig)
    vulnerable: VulnerableConfig = field(default_factory=VulnerableConfig)
    speed: SpeedConfig = field(default_factory=SpeedConfig)
    light: LightConfig = field(default_factory=LightConfig)
    standstill: StandstillConfig = field(default_factory=StandstillConfig)
    blind_spot: BlindSpotConfig = field(default_factory=BlindSpotConfig)
    cut_in: CutInConfig = field(default_factory=CutInConfig)
    camera: CameraConfig = field(default_factory=CameraConfig)


@dataclass(frozen=True)
class State:
    growths: Growths = field(default_factory=closing_.nobody)
    lead: int = -1
    how: Closing | None = None  # of the closest in path while it is seen, for who plots it
    forward: Latch = Latch()
    headway: HeadwayState = HeadwayState()
    lane: LaneState = LaneState()
    vulnerable: Latch = Latch()
    speed: SpeedState = SpeedState()
    light: Latch = Latch()
    standstill: StandstillState = StandstillState()
    blind_spot: BlindSpotState = BlindSpotState()
    cut_in: CutInState = CutInState()
    camera: Latch = Latch()
    active: tuple[Warning, ...] = ()  # of the last step


def initial() -> State:
    """Nothing seen yet."""
    return State()


def off(car: CarState) -> dict[WarningKind, str]:
    """Warnings that can't be given now, and why."""
    return {} if speed_known(car) else dict.fromkeys(SPEED_GATED, "own speed is unknown")


def step(
    state: State,
    world: World,
    percept: Percept | None,
    car: CarState,
    camera: CameraModel,
    vehicle: VehicleModel,
    config: Config,
    calibration: Calibration | None = None,
) -> tuple[State, Warnings]:
    """All warnings at `world.t`. `percept`'s boxes must be in `camera`'s pixels."""
    t, c = world.t, config
    growths = closing_.grown(state.growths, world, percept, camera, c.closing)
    paths = in_path.own_paths(world, car, c.path)
    lead = in_path.closest_in_path(world, paths, vehicle, state.lead, c.path)
    how = None if lead is None else closing_.closing(lead, growths.get(lead.id), world, vehicle, c.closing)
    others = [
        (track, closing_.closing(track, growths.get(track.id), world, vehicle, c.closing))
        for track in world.tracks
        if track.kind != Kind.VEHICLE and in_path.usable(track, c.path)
    ]
    forward_state, collision = forward.forward_collision(state.forward, t, lead, how, car, c.forward)
    headway_state, gap = forward.headway(state.headway, t, lead, how, car, c.headway)
    lane_state, departures = lane.lane_departure(state.lane, world, car, vehicle, c.lane)
    vulnerable_state, people = vulnerable.vulnerable_collision(state.vulnerable, t, others, paths, car, vehicle, c.vulnerable)
    speed_state, over = roadside.over_speed(state.speed, t, percept, car, c.speed)
    sign = roadside.speed_limit(speed_state, t, c.speed)
    light_state, red = roadside.red_light(state.light, t, percept, camera, car, c.light)
    standstill_state, chimes = standstill.has_left(state.standstill, t, lead, percept, car, c.standstill)
    blind_state, beside = blind_spot_.blind_spot(state.blind_spot, world, percept, lane_state, vehicle, c.blind_spot)
    cut_in_state, comes_in = cut_in_.cut_in(state.cut_in, world, lead, paths, vehicle, c.cut_in)
    camera_state, blocked = camera_.blocked(state.camera, world, percept, c.camera)
    uncalibrated = camera_.not_calibrated(calibration)
    all_of_them = (collision, people, *departures, *beside, red, gap, comes_in, over, sign, *chimes, blocked, uncalibrated)
    active = tuple(w for w in all_of_them if w is not None)
    warnings = Warnings(t, active, begun(state.active, active), tuple(off(car)), speed_state.limit)
    shown = how if lead is not None and lead.unseen <= SEEN else None
    state = State(growths, -1 if lead is None else lead.id, shown, forward_state, headway_state, lane_state, vulnerable_state, speed_state,
                  light_state, standstill_state, blind_state, cut_in_state, camera_state, active)  # fmt: skip
    return state, warnings


def is_event(warning: Warning) -> bool:
    """Whether it belongs in a list of events: a shown headway and the calibration's progress are states, not events."""
    return warning.level != WarningLevel.INFO or warning.kind in (WarningKind.SPEED_LIMIT, WarningKind.CUT_IN)


def begun(last: tuple[Warning, ...], now: tuple[Warning, ...]) -> tuple[Warning, ...]:
    """Those that are new, or more urgent than before: what an event list and a chime want."""
    order = list(WarningLevel)
    before = {(w.kind, w.side): order.index(w.level) for w in last}
    return tuple(w for w in now if order.index(w.level) > before.get((w.kind, w.side), -1))
