"""The guardian: does somebody have to brake now, or steer back, because nobody else does? Pilot engaged or not.

In: the world, what `assist.step` has found of it (growth of boxes, distances to the lines), the frame's percept, the car. Out: a Guard.
Braking: for each track the time left until braking with `full` must begin so that it still ends `margin` before it, or more before who
brakes himself, which the one we watch is taken to go on with; the stages are times left. A stage needs the track to be surely closing
and, by its own uncertainty, probably in our way when we get there; an acceleration begun is kept until the danger is over. Sources: UN
R152 and Euro NCAP AEB for what is asked (second-hand); Brännström, Coelingh & Sjöberg 2010 for deciding by what braking can still avoid.
Steering back: `keeping`. It knows no turn signal and no kick-down: the cancel button ends it. Who crosses on wheels other than a
bicycle's is judged as if it went along.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import erf, exp, hypot, inf, sqrt

from nanopilot.assist import State as AssistState
from nanopilot.assist import in_path, keeping
from nanopilot.assist.closing import Closing, ClosingConfig, closing
from nanopilot.assist.in_path import PathConfig, beside, own_paths
from nanopilot.assist.keeping import KeepingConfig, KeepingState
from nanopilot.assist.latch import Latch, latched
from nanopilot.messages import CarState, Guard, GuardStage, Kind, Percept, Track, VehicleModel, World, speed_known

KINDS = tuple(Kind)
STAGES = tuple(GuardStage)
HORIZON = 8.0  # s that somebody's slowing down is thought on
PRECHARGE, PARTIAL, FULL = (STAGES.index(s) for s in (GuardStage.PRECHARGE, GuardStage.PARTIAL, GuardStage.FULL))


@dataclass(frozen=True)
class Config:
    """Numbers are guesses unless said otherwise."""

    left: tuple[float, float, float, float] = (1.5, 0.8, 0.3, 0.1)  # s until the last moment: warning, pre-charge, partial, full
    told: float = 0.8  # s of warning of a vehicle before partial braking, UN R152 (second-hand); full braking waits for nothing
    release: float = 0.4  # s more until a stage that is shown ends
    full: float = 7.5  # m/s² that are counted on; a dry road gives 8
    partial: float = 4.0  # m/s²
    asked: float = 8.0  # m/s² of full braking
    response: float = 0.25  # s from a frame to deceleration: frame, filter, brakes
    margin: float = 1.0  # m that should be left at the end; distances are told half a metre too large
    margin_slowing: float = 3.0  # m more behind who brakes, for his speed and braking are known to 1 m/s and 2 m/s² only
    least_speed: float = 8 / 3.6  # m/s; UN R152 asks from 10 km/h
    likely: tuple[float, float, float, float] = (0.4, 0.5, 0.55, 0.6)  # probability of being in our way that a stage needs
    arc_times: tuple[float, float] = (1.0, 2.5)  # s of time to collision: up to there only the arc we drive counts, from there half
    edge: float = 0.1  # m that somebody may be beside our flank and still be hit
    path_std: float = 0.15  # m of our own path, here, and
    path_angle: float = 0.01  # rad of its direction
    sure: float = 2.0  # standard deviations by which the closing rate must be above zero
    least_age: tuple[float, float, float] = (0.4, 0.2, 0.2)  # s of a track of a vehicle, a person, a cyclist: people step out near us
    least_probability: tuple[float, float, float] = (0.5, 0.38, 0.38)  # of a vehicle, a person, a cyclist: people are told less surely
    unseen: float = 0.3  # s since a track was seen, to begin anything
    braking: float = 1.0  # m/s² of the other; less is taken for noise
    goes_on: float = 2.0  # s, time constant with which the braking of whom we watch fades from memory: few let go within a second
    over: float = 0.3  # m/s of closing speed at which the danger is over
    beyond: float = 0.4  # m more beside us until somebody has left our way
    confirm: float = 0.05  # s
    hold: float = 0.6  # s that a track may be lost while we brake for it
    stand: float = 1.5  # s the brake is held at standstill
    standing: float = 0.15  # m/s
    blind: float = 0.3  # s without a picture after which nothing is begun
    path: PathConfig = PathConfig(least_age=0.2)
    closing: ClosingConfig = field(default_factory=ClosingConfig)
    keeping: KeepingConfig = field(default_factory=KeepingConfig)


@dataclass(frozen=True)
class Threat:
    """One track: how long until braking must begin, and how surely it is in our way."""

    track: Track
    how: Closing
    left: float  # s
    likely: float


@dataclass(frozen=True)
class State:
    latch: Latch = Latch()
    target: int = -1  # the track we brake for
    warned: float = inf  # when the stage last rose from none; inf: there is none
    stands: float = inf  # when we came to a stand braking; inf: not
    keeping: KeepingState = KeepingState()
    reason: str = ""
    slows: float = 0.0  # m/s² by which the target has braked, fading
    t: float = 0.0


def initial() -> State:
    """Nothing is watched yet."""
    return State()


def step(
    state: State, assist: AssistState, world: World, percept: Percept | None, car: CarState, vehicle: VehicleModel, config: Config
) -> tuple[State, Guard]:
    """What the guardian asks for at `world.t`. With an own speed that is unknown it asks for nothing."""
    t, c = world.t, config
    if not speed_known(car):
        return State(), Guard(t)
    slows = state.slows * exp(-max(t - state.t, 0.0) / c.goes_on)
    threats = _threats(assist, world, car, vehicle, c, {state.target: slows})
    wanted, worst = 0, None
    for threat in threats:
        level = stage(threat, state.latch.level if threat.track.id == state.target else 0, c)
        if worst is None or (level, -threat.left) > (wanted, -worst.left):
            wanted, worst = level, threat
    begin = car.speed >= c.least_speed and world.blind <= c.blind
    shown = state.latch.level
    if not begin:
        wanted = min(wanted, shown)
    if wanted == PARTIAL and shown < PARTIAL and worst.track.kind == Kind.VEHICLE and t - state.warned < c.told:
        wanted = PRECHARGE
    ours = next((x for x in threats if x.track.id == state.target), None)
    if shown >= PARTIAL and ours is not None and (car.speed < c.least_speed or not over(ours, own_paths(world, car, c.path), vehicle, c)):
        wanted = max(wanted, shown)  # braking that has begun is carried through, and from walking pace on to standstill
    stands = inf
    if shown >= PARTIAL and car.speed < c.standing:
        stands = min(state.stands, t)
        wanted = shown if t - stands < c.stand else 0
    lost = ours is None and shown >= PARTIAL
    latch = latched(state.latch, t, wanted, c.confirm, 0.0 if shown >= PARTIAL and not lost else c.hold)
    if latch.level == 0:
        target, reason = -1, ""
    elif worst is not None and wanted and (worst.track.id == state.target or state.target == -1 or wanted > shown or ours is None):
        target = worst.track.id
        reason = f"{worst.track.kind} {worst.how.gap:.0f} m ahead, {max(worst.left, 0.0):.1f} s until full braking must begin"
    else:
        target, reason = state.target, state.reason
    kept, curvature, why = keeping.step(state.keeping, assist.lane, world, percept, car, vehicle, c.keeping)
    braking = {PARTIAL: -c.partial, FULL: -c.asked}.get(latch.level, 0.0)
    guard = Guard(t, STAGES[latch.level], braking, curvature, reason or why, target)
    braked = next((-x.track.acceleration for x in threats if x.track.id == target), 0.0)
    slows = max(braked, slows if target == state.target else 0.0)
    return State(latch, target, min(state.warned, t) if latch.level else inf, stands, kept, reason, slows, t), guard


def _threats(
    assist: AssistState, world: World, car: CarState, vehicle: VehicleModel, config: Config, slowed: dict[int, float]
) -> list[Threat]:
    """Of each track; `slowed` tells by which deceleration, at least, those are taken to slow down."""
    paths = own_paths(world, car, config.path)
    threats = []
    for track in world.tracks:
        kind = KINDS.index(track.kind)
        known = track.age >= config.least_age[kind] and track.probability >= config.least_probability[kind]
        if known and in_path.usable(track, config.path):
            how = closing(track, assist.growths.get(track.id), world, vehicle, config.closing)
            likely = likelihood(track, how, paths, vehicle, config)
            slows = max(-track.acceleration, slowed.get(track.id, 0.0))
            threats.append(Threat(track, how, time_left(how, track, world.speed, config, slows), likely))
    return threats


def stage(threat: Threat, shown: int, config: Config) -> int:
    """The stage this track asks for; stages up to `shown` end later than they begin."""
    if threat.how.rate <= config.sure * threat.how.rate_std or (threat.track.unseen > config.unseen and shown == 0):
        return 0
    wanted = 0
    for k, (left, likely) in enumerate(zip(config.left, config.likely, strict=True), start=1):
        if threat.left <= left + (config.release if k <= shown else 0.0) and threat.likely >= likely:
            wanted = k
    return wanted


def time_left(how: Closing, track: Track, own: float, config: Config, slows: float) -> float:
    """Seconds until braking with `full` must begin to end `margin` before the track, which goes on slowing down by `slows` m/s².

    inf when it isn't closing, or not within HORIZON; negative when it is too late, by how long at this closing speed.
    """
    if how.speed <= 0:
        return inf
    other = max(own - how.speed, 0.0)
    slows = slows if track.vx > 1.0 and slows > config.braking else 0.0

    margin = config.margin + (config.margin_slowing if slows else 0.0)

    def spare(t: float) -> float:
        """Metres left over when braking begins in `t` s."""
        s = min(t, other / slows) if slows else t
        gap, speed = how.gap + (other - slows * s / 2) * s - own * t, other - slows * s
        return gap - margin - (own - speed) * config.response - braking_distance(own, speed, slows, config.full)

    if not slows or spare(0.0) < 0:
        return spare(0.0) / how.speed
    low, high = 0.0, HORIZON
    if spare(high) > 0:
        return inf
    while high - low > 0.01:
        middle = (low + high) / 2
        low, high = (middle, high) if spare(middle) > 0 else (low, middle)
    return low


def braking_distance(own: float, other: float, slows: float, full: float) -> float:
    """Metres by which the gap shrinks when `own` brakes with `full` from now on and `other` slows down with `slows`."""
    if slows > 0 and other / slows < own / full:  # it stands first
        return own**2 / (2 * full) - other**2 / (2 * slows)
    return (own - other) ** 2 / (2 * (full - min(slows, full - 0.5))) if own > other else 0.0


def likelihood(track: Track, how: Closing, paths: tuple, vehicle: VehicleModel, config: Config) -> float:
    """Probability of being in our way, over the lane's path and the arc we drive now: the nearer in time, the more the arc counts.

    The lane's path may lead around who stands in it, and a driver who does nothing goes on along his arc.
    """
    lane, arc = (in_our_way(track, how, *beside(track, path), vehicle, config) for path in (paths[0], paths[-1]))
    near, far = config.arc_times
    trust = 1.0 - 0.5 * min(max((how.ttc - near) / (far - near), 0.0), 1.0)
    return arc**trust * lane ** (1.0 - trust)


def in_our_way(track: Track, how: Closing, d: float, half: float, vehicle: VehicleModel, config: Config) -> float:
    """Probability that the track, `d` beside our path now, is before our front when we get there at constant speeds."""
    when = min(how.ttc, 4.0)
    if track.kind == Kind.VEHICLE:
        half = track.width / 2  # its yaw is too uncertain to make it wider
    across = track.vy if track.kind != Kind.VEHICLE or abs(track.vy) > 2 * track.velocity_std else 0.0
    moving = track.velocity_std if across else 0.0
    std = sqrt(config.path_std**2 + (config.path_angle * track.x) ** 2 + track.position_std**2 / 2 + (moving * min(when, 1.5)) ** 2 / 2)
    there, reach = d + across * when, vehicle.width / 2 + half + config.edge
    return (erf((reach - there) / std / sqrt(2)) - erf((-reach - there) / std / sqrt(2))) / 2


def over(threat: Threat, paths, vehicle: VehicleModel, config: Config) -> bool:
    """Whether the danger we brake for is over: no longer closing, or out of our way and not coming back into it."""
    track, how = threat.track, threat.how
    if how.speed <= config.over and hypot(track.vx, track.vy) > config.over:
        return True
    for path in paths:
        d, half = beside(track, path)
        half = track.width / 2 if track.kind == Kind.VEHICLE else half
        outside = abs(d) - half - vehicle.width / 2 - config.beyond
        if outside <= 0 or d * track.vy < -0.3 * abs(d):  # in our way, or coming back with 0.3 m/s or more
            return False
    return True
