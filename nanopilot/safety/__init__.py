"""The one door: Command + CarState -> SafeCommand with reasons. Nothing else may make a SafeCommand.

In: what control wants (or None), the car's bus (or None), the time; also a request to engage, a concern of the pilot, the second
opinion of `rss`, and what the guardian asks for, which is heard whoever drives. Out: what the body may do, who drives (`modes`),
and what the driver is told. Denied by default: inputs that can't be trusted (`inputs`) take permission away, and what is let through
stays inside the envelope (`limits`). The driver always wins; of the guardian he is rid by cancelling, and of its steering by his own.
It imports only `messages` and the standard library, so that it shares no fault with what it checks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from nanopilot.messages import Alert, CarState, Command, Guard, GuardStage, Mode, RssVerdict, SafeCommand, Signal
from nanopilot.safety import follow, inputs, limits
from nanopilot.safety.follow import FollowConfig, Followed
from nanopilot.safety.inputs import InputConfig, Judged, Seen
from nanopilot.safety.limits import LimitConfig
from nanopilot.safety.modes import ACTUATING, STOPPING, TABLE, Event

__all__ = ["Config", "Mode", "State", "initial", "step"]


@dataclass(frozen=True)
class Config:
    inputs: InputConfig = field(default_factory=InputConfig)
    limits: LimitConfig = field(default_factory=LimitConfig)
    follow: FollowConfig = field(default_factory=FollowConfig)
    forgiven: float = 0.25  # s of denied inputs, or of concern, that pass without consequence, guess
    urgent: float = 4.0  # s after which a takeover request becomes urgent, UN R157 (second-hand)
    unanswered: float = 10.0  # s after which the minimum risk manoeuvre begins, UN R157
    stop_deceleration: float = 4.0  # m/s² of that manoeuvre, and while the driver is asked: the most UN R157 allows, every metre is blind
    standing: float = 0.1  # m/s
    rss_brake: bool = False  # the second opinion brakes; off: ordinary following is nearer than its defaults allow
    rss_patience: float = 1.0  # s of danger before it does


@dataclass(frozen=True)
class State:
    """What was last let through, and how long things have lasted."""

    mode: Mode = Mode.OFF
    seen: Seen = Seen()
    acceleration: float = 0.0
    curvature: float = 0.0
    followed: Followed = Followed()  # the last good plan, and where on it we are
    excess: float = 0.0  # s of the car doing far too much so far
    denied: float = 0.0  # s of denied inputs so far
    concerned: float = 0.0  # s of concern so far
    requested: float = 0.0  # s of takeover request so far
    engage: bool = False  # the request of the last step: a button held down is no fresh one


def initial(config: Config = Config(), engaged: bool = False) -> State:
    """Off, unless the caller says that somebody has engaged it."""
    return State(Mode.ENGAGED if engaged else Mode.OFF)


def step(
    state: State,
    command: Command | None,
    car: CarState | None,
    t_now: float,
    config: Config = Config(),
    engage: bool = False,
    concern: str = "",
    rss: RssVerdict | None = None,
    guard: Guard | None = None,
) -> tuple[State, SafeCommand]:
    """Judge one command. Raises nothing on any value.

    `guard` is the guardian's: it brakes below whoever drives, up to the limit of an emergency, and steers where nobody else does.
    `engage` is heard when it is new, all inputs are good and no driver acts. `concern` is why the pilot can't see; while it lasts
    the car brakes along its plan and the driver is asked.
    """
    driving = state.mode in ACTUATING
    seen, judged = inputs.judge(state.seen, command, car, t_now, driving, state.acceleration, config.inputs)
    dt, refusal = judged.dt, judged.refusal
    doing_too_much = driving and not judged.car and inputs.excessive(car, config.limits, config.inputs)
    excess = state.excess + dt if doing_too_much else 0.0
    denied = state.denied + dt if refusal else 0.0
    concerned = state.concerned + dt if concern else 0.0

    followed = follow.moved(state.followed, seen.speed, judged.yaw_rate, dt)
    planned = not (judged.clock or judged.command or judged.car)  # a plan that was made from a bad bus is a bad plan
    if planned:
        followed = Followed(command.arc)

    driver = _driver(car) if car is not None else ""
    event = _event(state, car, judged, engage and not state.engage, excess, denied, concerned, driver, config)
    mode = TABLE[state.mode, event]
    requested = state.requested + dt if mode == state.mode == Mode.TAKEOVER else 0.0
    told = refusal or (concern if concerned > config.forgiven else "")
    reasons, acceleration, curvature, signal = _reasons(mode, driver, told), 0.0, 0.0, Signal.OFF
    if mode in ACTUATING:
        wanted, signal = -config.stop_deceleration, Signal.HAZARD
        turn = follow.curvature(followed, seen.speed, state.curvature, config.follow)
        if mode == Mode.ENGAGED:
            wanted, turn, signal = command.acceleration, command.curvature, command.signal
        elif planned:  # the plan may know the lane, and brake harder
            wanted, turn = min(wanted, command.acceleration), command.curvature
        if config.rss_brake and rss is not None and rss.danger > config.rss_patience and rss.acceleration < wanted:
            wanted = rss.acceleration
            reasons.append(f"too near track {rss.track_id}")
        bus = None if judged.car else car
        stop = mode != Mode.ENGAGED
        acceleration = limits.longitudinal(wanted, state.acceleration, bus, seen.speed, dt, stop, reasons, config.limits)
        curvature = limits.lateral(turn, state.curvature, bus, seen.speed, dt, reasons, config.limits)
    elif mode == Mode.FAILED:
        signal = Signal.HAZARD
    heard = _heard(guard, mode, judged, car, seen.t, config)
    brakes = heard and guard.acceleration < min(acceleration, 0.0)  # 0 asks for nothing
    steers = heard and guard.curvature is not None and mode not in ACTUATING and not car.driver_steer
    if brakes:
        acceleration = max(guard.acceleration, -config.limits.emergency_deceleration)
        reasons.append(f"guardian: {guard.reason}")
    if steers:
        curvature = limits.lateral(guard.curvature, state.curvature, car, seen.speed, dt, reasons, config.limits)
        reasons.append(f"guardian: {guard.reason}")
    kept = curvature if mode in ACTUATING or steers else _own_curvature(car, judged, config)
    after = State(
        mode=mode,
        seen=seen,
        acceleration=acceleration,
        curvature=kept,
        followed=followed,
        excess=excess,
        denied=denied,
        concerned=concerned,
        requested=requested,
        engage=engage,
    )
    t = t_now if inputs.finite(t_now) else max(seen.t, 0.0)
    alert = _alert(mode, requested, config)
    precharge = heard and guard.stage != GuardStage.NONE and guard.stage != GuardStage.WARNING
    left = followed.arc[int(followed.driven) :]
    return after, SafeCommand(
        t, acceleration, curvature, signal, mode in ACTUATING, tuple(reasons), mode, alert, seen.speed, left, brakes, steers, precharge
    )


def _heard(guard: Guard | None, mode: Mode, judged: Judged, car: CarState | None, t: float, config: Config) -> bool:
    """Whether the guardian may act: it is of now, clock and bus are good, the car obeys, and the driver has not cancelled."""
    if guard is None or mode == Mode.FAILED or judged.clock or judged.car or car.driver_cancel:
        return False
    asked = (guard.acceleration,) if guard.curvature is None else (guard.acceleration, guard.curvature)
    return inputs.finite(guard.t, *asked) and 0.0 <= t - guard.t + config.inputs.future <= config.inputs.max_age


def _event(
    state: State,
    car: CarState | None,
    judged: Judged,
    request: bool,
    excess: float,
    denied: float,
    concerned: float,
    driver: str,
    config: Config,
) -> Event:
    """The strongest of what this step brought."""
    if excess > config.inputs.excess_time:
        return Event.FAILURE
    if driver:
        return Event.CANCEL if driver == CANCEL else Event.DRIVER
    if state.mode in STOPPING and not judged.car and abs(car.speed) <= config.standing and not (request and not judged.refusal):
        return Event.STOPPED
    if judged.refusal:
        return Event.LOST if denied > config.forgiven else Event.BAD
    if state.mode == Mode.TAKEOVER and state.requested > config.unanswered:
        return Event.UNANSWERED
    if concerned > config.forgiven:
        return Event.CONCERN
    return Event.ENGAGE if request else Event.GOOD


CANCEL = "driver: cancel"


def _driver(car: CarState) -> str:
    """What the driver does that takes the car from us; a car state of any age counts."""
    acts = {"brake": car.driver_brake, "gas": car.driver_gas, "steering": car.driver_steer, "cancel": car.driver_cancel}
    return "driver: " + ", ".join(name for name, active in acts.items() if active) if any(acts.values()) else ""


def _reasons(mode: Mode, driver: str, told: str) -> list[str]:
    if mode == Mode.FAILED:
        return ["failed: start anew"]
    if driver:
        return [driver]
    if mode in STOPPING:
        return [told or "stopped: engage again"]
    return [told] if told else []


def _alert(mode: Mode, requested: float, config: Config) -> Alert:
    """UN R157: a request that escalates."""
    if mode == Mode.TAKEOVER and requested <= config.urgent:
        return Alert.TAKEOVER
    return Alert.URGENT if mode in (Mode.TAKEOVER, Mode.MINIMUM_RISK, Mode.STANDSTILL, Mode.FAILED) else Alert.NONE


def _own_curvature(car: CarState | None, judged: Judged, config: Config) -> float:
    """Where steering would begin if it were engaged now: the arc the car is on."""
    if judged.car or car.speed <= config.limits.measured_speed:
        return 0.0
    return limits.measured_curvature(car)
