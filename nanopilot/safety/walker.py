"""A humanoid's one door: Command with a Walk and perhaps a Reach -> SafeCommand with reasons. A body with legs takes nothing else.

In: what control wants (or None), what the body tells, the time, a concern of the pilot, and the second opinion of `keep_out`. Out: the
velocity allowed. Denied by default: a command that is missing, old or not finite, a blind robot, or one that leans, stands still, as far
as the limits of change let it. Limits are guesses for an indoor robot that walks among people (ISO 13482 asks for them, and names none).
Palms stay where arms can't hit the robot, move slowly, and stay where they are while anything is wrong: what is held is not dropped. How
hard they may press is the body's limit, which feels them. It imports only `messages` and the standard library. It can't keep a falling
robot up.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import dist, inf, isfinite

from nanopilot.messages import Alert, CarState, Command, Guard, Mode, Reach, RssVerdict, SafeCommand, Signal, Walk


@dataclass(frozen=True)
class Config:
    forward: float = 0.65  # m/s
    backward: float = 0.3  # m/s
    sideways: float = 0.3  # m/s
    turn: float = 0.9  # rad/s
    change: float = 1.0  # m/s² faster; slower is always allowed at once
    turn_change: float = 4.0  # rad/s²
    max_age: float = 0.25  # s of a command
    forgiven: float = 0.25  # s of concern that pass without consequence
    measured: float = 1.0  # m/s and rad/s that what the body does may exceed its command by, for `failing` s
    failing: float = 1.0  # s
    max_gap: float = 0.5  # s between two steps
    hand_low: tuple[float, float, float] = (0.12, -0.45, 0.6)  # m, palms' corner of the vehicle frame
    hand_high: tuple[float, float, float] = (0.55, 0.45, 1.25)
    apart: float = 0.12  # m at least between palms
    hand_speed: float = 0.35  # m/s
    rest: tuple[float, float, float] = (0.25, 0.2, 0.8)  # m, of the left palm before the first reach (measured on the standing model)


@dataclass(frozen=True)
class State:
    mode: Mode = Mode.OFF
    t: float = -inf
    walk: Walk = Walk(0.0, 0.0, 0.0)
    concerned: float = 0.0  # s
    excess: float = 0.0  # s
    reach: Reach | None = None


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
    near: RssVerdict | None = None,
    guard: Guard | None = None,
) -> tuple[State, SafeCommand]:
    """Judge one command. Raises nothing on any value. A `guard` is a car's: there is none here."""
    dt = t_now - state.t if isfinite(t_now) and state.t > -inf else 0.1
    refusal = _refusal(command, car, t_now, dt, config)
    dt = min(max(dt, 0.0), config.max_gap) if isfinite(dt) else 0.0
    concerned = state.concerned + dt if concern else 0.0
    excess = state.excess + dt if _too_much(state.walk, car, config) else 0.0
    mode = state.mode
    if mode != Mode.FAILED:
        mode = Mode.ENGAGED if mode != Mode.OFF or engage else Mode.OFF
    if excess > config.failing:
        mode = Mode.FAILED
    reasons: list[str] = []
    wanted = Walk(0.0, 0.0, 0.0)
    if mode == Mode.FAILED:
        reasons.append("failed: start anew")
    elif mode == Mode.ENGAGED and refusal:
        reasons.append(refusal)
        mode = Mode.TAKEOVER
    elif mode == Mode.ENGAGED and concerned > config.forgiven:
        reasons.append(concern)
        mode = Mode.TAKEOVER
    elif mode == Mode.ENGAGED:
        wanted = _kept_out(command.walk, near, reasons)
    walk = _limited(wanted, state.walk, dt, reasons, config)
    wished = command.reach if command is not None and mode == Mode.ENGAGED else None
    reach = _held(wished, state.reach, dt, reasons, config)
    t = t_now if isfinite(t_now) else max(state.t, 0.0)
    engaged = mode in (Mode.ENGAGED, Mode.TAKEOVER)
    alert = Alert.NONE if mode in (Mode.ENGAGED, Mode.OFF) else Alert.TAKEOVER
    safe = SafeCommand(t, 0.0, 0.0, Signal.OFF, engaged, tuple(reasons), mode, alert, walk.vx, walk=walk if engaged else None, reach=reach)
    return State(mode, t, walk if engaged else Walk(0.0, 0.0, 0.0), concerned, excess, reach), safe


def _refusal(command: Command | None, car: CarState | None, t_now: float, dt: float, config: Config) -> str:
    if not isfinite(t_now) or dt < 0.0:
        return "clock"
    if car is None or not abs(t_now - car.t) <= config.max_age:
        return "no word of the body"
    if command is None or command.walk is None:
        return "no command"
    if not 0.0 <= t_now - command.t <= config.max_age:
        return "command too old"
    hands = () if command.reach is None else (*command.reach.left, *command.reach.right)
    if not all(isfinite(v) for v in (command.walk.vx, command.walk.vy, command.walk.yaw_rate, *hands)):
        return "command not finite"
    return ""


def _too_much(walk: Walk, car: CarState | None, config: Config) -> bool:
    if car is None:
        return False
    return not (abs(car.speed) <= abs(walk.vx) + config.measured and abs(car.yaw_rate) <= abs(walk.yaw_rate) + config.measured)


def _kept_out(walk: Walk, near: RssVerdict | None, reasons: list[str]) -> Walk:
    """No step forward towards what `keep_out` has too near."""
    if near is not None and near.distance < near.safe_distance and walk.vx > 0.0:
        reasons.append("too near")
        return Walk(0.0, walk.vy, walk.yaw_rate)
    return walk


def _held(wished: Reach | None, last: Reach | None, dt: float, reasons: list[str], config: Config) -> Reach | None:
    """Where palms may be: as wished within the limits; without a wish where they were. Once hands reach, they do not go limp."""
    if wished is None:
        return last
    x, y, z = config.rest
    before = ((x, y, z), (x, -y, z)) if last is None else (last.left, last.right)
    wanted = [
        [_within(v, low, high, "reach limited", reasons) for v, low, high in zip(palm, config.hand_low, config.hand_high, strict=True)]
        for palm in (wished.left, wished.right)
    ]
    if wanted[0][1] - wanted[1][1] < config.apart:
        reasons.append("palms kept apart")
        middle = (wanted[0][1] + wanted[1][1]) / 2
        wanted[0][1], wanted[1][1] = middle + config.apart / 2, middle - config.apart / 2
    farthest = max(dist(a, b) for a, b in zip(wanted, before, strict=True))
    share = min(1.0, config.hand_speed * dt / farthest) if farthest > 0.0 else 1.0
    if share < 1.0:
        reasons.append("hands slowed")
    left, right = (
        (b[0] + share * (a[0] - b[0]), b[1] + share * (a[1] - b[1]), b[2] + share * (a[2] - b[2]))
        for a, b in zip(wanted, before, strict=True)
    )
    return Reach(left, right)


def _limited(wanted: Walk, last: Walk, dt: float, reasons: list[str], config: Config) -> Walk:
    vx = _within(wanted.vx, -config.backward, config.forward, "speed limited", reasons)
    vy = _within(wanted.vy, -config.sideways, config.sideways, "speed limited", reasons)
    turn = _within(wanted.yaw_rate, -config.turn, config.turn, "turn limited", reasons)
    vx = _eased(vx, last.vx, config.change * dt, reasons)
    vy = _eased(vy, last.vy, config.change * dt, reasons)
    step = config.turn_change * dt
    return Walk(vx, vy, _within(turn, last.yaw_rate - step, last.yaw_rate + step, "change of turn limited", reasons))


def _eased(wanted: float, last: float, step: float, reasons: list[str]) -> float:
    """Faster by `step` at most; slower at once."""
    if abs(wanted) <= abs(last) and wanted * last >= 0.0:
        return wanted
    base = last if wanted * last > 0.0 else 0.0
    return _within(wanted, base - step, base + step, "change of speed limited", reasons)


def _within(value: float, low: float, high: float, reason: str, reasons: list[str]) -> float:
    if low <= value <= high:
        return value
    if reason not in reasons:
        reasons.append(reason)
    return min(max(value, low), high)
