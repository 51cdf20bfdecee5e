"""The table of standard manoeuvres: each a Case with its trial, its tolerance and what passing means. Numbers: FMVSS 127 (2024), Euro
NCAP AEB and Lane Support (2023, departures 2026), UN R152 and R157, ISO 15622; all but FMVSS second-hand (read in public copies).

In: nothing. Out: cases. Longitudinal procedures begin START s before contact at the initial closing speed. Targets are drawn as the
camera's own car, person and cyclist, with the procedures' sizes. Left out: crossing and turning cars, night but for own low beam,
cyclists and children of other poses, and anything on a curve.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from math import asin, cos, pi

from nanopilot.evaluate.track import FRONT, LEAD_IN, OUTER_Y, OWN_Y, Driver, G, Trial, nobody
from nanopilot.messages import Signal
from nanopilot.sim.scene import Actor

KPH = 1 / 3.6
START, START_FMVSS = 4.0, 5.0  # s of time to collision
WIDTH = 1.8  # m, our car's
CAR, PARKED = (4.023, 1.712, 1.45), (4.4, 1.8, 1.45)  # m; Euro NCAP's global vehicle target
ADULT, CHILD, BICYCLE = (0.6, 0.5, 1.8), (0.45, 0.4, 1.15), (1.89, 0.5, 1.86)
GROUPS = ("fmvss127", "ccr", "vru", "lane", "r152", "r157", "iso15622")
WALK = 5 * KPH

Actors = Callable[[float], tuple[Actor, ...]]


@dataclass(frozen=True)
class Case:
    """One cell. `row` and `column` place it in its scenario's grid. `criterion`: 'contact', 'impact' (limit in m/s), 'warning'
    (no contact, and warned with more than `limit` s left), 'quiet' (braking below `limit` m/s²), 'line' or 'edge' (m, never below),
    'drive' (no contact, and within ISO 15622)."""

    group: str
    scenario: str
    row: str
    column: str
    trial: Trial
    criterion: str = "contact"
    limit: float = 0.0
    bands: tuple[float, ...] = ()  # m/s of impact for a score of 1, 0.75, 0.5, 0.25
    begins: float = LEAD_IN  # s, from where the tolerances hold
    avoidable: bool = True  # R157: False where a careful driver couldn't avoid it

    @property
    def name(self) -> str:
        return f"{self.group}/{self.scenario}/{self.row}/{self.column}"


def kph(value: float) -> str:
    return f"{value:g}"


def rear(speed: float, other: float, overlap: float = 1.0, start: float = START, driver: Driver = Driver()) -> Trial:
    """A car stands or goes ahead; overlap negative: it is to our right. Speeds in km/h."""
    closing, hit = (speed - other) * KPH, LEAD_IN + start
    aside = 0.0 if abs(overlap) == 1 else (WIDTH / 2 + CAR[1] / 2 - abs(overlap) * WIDTH) * (1 if overlap > 0 else -1)
    first = FRONT + closing * hit + CAR[0] / 2

    def actors(t: float) -> tuple[Actor, ...]:
        return (Actor(1, "car", first + other * KPH * t, OUTER_Y + aside, 0.0, CAR, other * KPH),)

    return Trial(speed * KPH, hit + (3.0 if other == 0 else 6.0), actors, driver)


def braking(speed: float, headway: float, deceleration: float) -> Trial:
    """The car ahead, as fast as we, brakes after 1.5 s of the procedure; it reaches its deceleration in 0.5 s."""
    v, begins, ramp = speed * KPH, LEAD_IN + 1.5, 0.5

    def state(t: float) -> tuple[float, float]:
        s = max(t - begins, 0.0)
        early = min(s, ramp)
        lost = deceleration * early**2 / (2 * ramp) + deceleration * max(s - ramp, 0.0)
        if lost < v:
            way = deceleration * early**3 / (6 * ramp)
            late = max(s - ramp, 0.0)
            return v * t - way - deceleration * ramp / 2 * late - deceleration * late**2 / 2, v - lost
        stop = ramp + (v - deceleration * ramp / 2) / deceleration
        return state(begins + stop - 1e-9)[0], 0.0

    def actors(t: float) -> tuple[Actor, ...]:
        x, now = state(t)
        return (Actor(1, "car", FRONT + headway + CAR[0] / 2 + x, OUTER_Y, 0.0, CAR, now, begins < t),)

    return Trial(v, begins + v / deceleration + 5.0, actors)


def crossing(kind: str, speed: float, walk: float, left: bool, share: float, away: float, size=ADULT, hidden: bool = False) -> Trial:
    """Somebody crosses and would be hit at `share` of our width, from the side he comes from, START s after the beginning."""
    v, hit, way = speed * KPH, LEAD_IN + START, 1 if left else -1  # way: the side he comes from
    at = OUTER_Y + way * WIDTH * (0.5 - share)
    x = FRONT + v * hit + size[1] / 2
    parked: tuple[Actor, ...] = ()
    if hidden:  # two cars at the roadside, 1 m beside us; he comes out before the nearer one's front
        y = OUTER_Y - WIDTH / 2 - 1.0 - PARKED[1] / 2
        parked = tuple(Actor(10 + k, "car", x - 1.0 - PARKED[0] / 2 - k * (PARKED[0] + 1.0), y, 0.0, PARKED) for k in range(2))

    def actors(t: float) -> tuple[Actor, ...]:
        left_to_go = min((hit - t) * walk, away)
        moving = (hit - t) * walk < away
        return (Actor(1, kind, x, at + way * left_to_go, -way * pi / 2, size, walk if moving else 0.0), *parked)

    return Trial(v, hit + 3.0, actors)


def along(kind: str, speed: float, other: float, share: float, size=ADULT, driver: Driver = Driver(), night: bool = False) -> Trial:
    """Somebody stands, or goes our way, before `share` of our width from the near side. `other` in m/s."""
    closing, hit = speed * KPH - other, LEAD_IN + START
    y, first = OUTER_Y - WIDTH / 2 + share * WIDTH, FRONT + closing * hit + size[0] / 2

    def actors(t: float) -> tuple[Actor, ...]:
        return (Actor(1, kind, first + other * t, y, 0.0, size, other),)

    return Trial(speed * KPH, hit + (3.0 if other < 2 else 6.0), actors, driver, night=night)


def departure(speed: float, rate: float, side: int, edge_line: bool = True) -> Trial:
    """Euro NCAP's path: straight, an arc of R 600, 1200 or 2400 m, then straight at `rate` m/s; hands off from there. Side 1: right."""
    v = speed * KPH
    radius = 600.0 if speed < 70 else 1200.0 if speed < 100 else 2400.0
    angle = asin(rate / v)
    until = LEAD_IN + radius * angle / v
    y = OUTER_Y if side > 0 else OWN_Y

    def heading(t: float) -> float:
        return -side * min(max((t - LEAD_IN) * v / radius, 0.0), angle)

    # 1 s of straight departure before the line where the lane is wide enough for it
    room = (3.5 - WIDTH) / 2 - (0.275 if side > 0 and edge_line else 0.0 if side > 0 else 0.06)
    arc = radius * (1 - cos(angle))
    offset = min(max(room - arc - max(rate, 0.2), -0.6), 0.5)
    crosses = until + (room - arc - offset) / rate
    return Trial(v, crosses + 3.0, nobody, Driver(heading=heading, hands_off=until + 0.05), y, offset=-side * offset, edge_line=edge_line)


def cut_in(speed: float, other: float, ttc: float, engaged: bool = True) -> Trial:
    """A slower car comes over from the lane to our left at 1 m/s; `ttc` at the moment its flank enters our lane."""
    v, o, begins, rate = speed * KPH, other * KPH, LEAD_IN + 2.0, 1.0
    enters = begins + (1.75 - CAR[1] / 2) / rate
    first = FRONT + (v - o) * (enters + ttc) + CAR[0] / 2

    def actors(t: float) -> tuple[Actor, ...]:
        moved = min(max(t - begins, 0.0) * rate, 3.5)
        turning = 0.0 < moved < 3.5
        yaw = -asin(rate / o) if turning else 0.0
        return (Actor(1, "car", first + o * t, OWN_Y - moved, yaw, CAR, o, False, Signal.RIGHT if moved < 3.5 else "off"),)

    return Trial(v, enters + ttc + 6.0, actors, engaged=engaged)


def careful(speed: float, other: float, ttc: float) -> bool:
    """R157: whether a cut-in must be avoided: TTC at lane intrusion above v_rel / (2 · 6 m/s²) + 0.35 s."""
    return ttc > (speed - other) * KPH / 12.0 + 0.35


def parked_pair(speed: float, apart: float = 4.5) -> Trial:
    """FMVSS 127's false activation: drives between two parked cars."""
    x = FRONT + speed * KPH * (LEAD_IN + START)
    cars = tuple(Actor(k, "car", x, OUTER_Y + side * (apart / 2 + PARKED[1] / 2), 0.0, PARKED) for k, side in ((1, -1), (2, 1)))
    return Trial(speed * KPH, LEAD_IN + START + 1.5, lambda t: cars)


def following(speed: float, other: float, gap: float) -> Trial:
    """A car ahead at another constant speed; the pilot follows."""

    def actors(t: float) -> tuple[Actor, ...]:
        return (Actor(1, "car", FRONT + gap + CAR[0] / 2 + other * KPH * t, OUTER_Y, 0.0, CAR, other * KPH),)

    return Trial(speed * KPH, 14.0, actors, engaged=True)


def move_off() -> Trial:
    """Stands behind a car that moves off at 1.5 m/s² after 4 s."""

    def actors(t: float) -> tuple[Actor, ...]:
        s = max(t - 4.0, 0.0)
        return (
            Actor(
                1, "car", FRONT + 4.0 + CAR[0] / 2 + 0.75 * min(s, 6.0) ** 2 + 9.0 * max(s - 6.0, 0.0), OUTER_Y, 0.0, CAR, 1.5 * min(s, 6.0)
            ),
        )

    return Trial(0.0, 14.0, actors, engaged=True, limit=50 * KPH)


CCRS_BANDS = {50: (5, 15, 30, 40), 45: (5, 15, 25, 35), 40: (5, 15, 25, 35), 35: (5, 15, 25), 30: (5, 15, 25), 25: (5, 15)}
CCRM_BANDS = {80: (5, 20, 35, 50), 75: (5, 15, 30, 45), 70: (5, 15, 30, 40), 65: (5, 15, 25, 35), 60: (5, 15, 25, 35), 55: (5, 15, 25),
              50: (5, 15, 25), 45: (5, 15), 40: (5, 15), 35: (5,), 30: (5,)}  # fmt: skip
SCORES = {0: (0.0,), 1: (1.0,), 2: (1.0, 0.5), 3: (1.0, 0.75, 0.5), 4: (1.0, 0.75, 0.5, 0.25)}
OVERLAPS = {"-50 %": -0.5, "-75 %": -0.75, "100 %": 1.0, "75 %": 0.75, "50 %": 0.5}
R152_CAR = {20: 0, 30: 0, 40: 0, 45: 15, 50: 25, 55: 30, 60: 35}
R152_PERSON = {20: 0, 30: 0, 35: 20, 40: 25, 45: 30, 50: 35, 55: 40, 60: 45}
SLOW_BRAKE = Driver(braking=4.0)  # Euro NCAP's driver after a warning
FMVSS_BRAKE = Driver(braking=0.4 * G, reaction=1.0)


@lru_cache(maxsize=1)
def cases() -> tuple[Case, ...]:
    """Every cell, in the order of the tables."""
    return (*_fmvss(), *_ccr(), *_vru(), *_lane(), *_r152(), *_r157(), *_iso())


def _fmvss() -> list[Case]:
    g, out = "fmvss127", []
    for v in range(10, 81, 10):
        out.append(Case(g, "stopped lead", "no braking by the driver", kph(v), rear(v, 0, start=START_FMVSS)))
    for v in range(70, 101, 10):
        out.append(Case(g, "stopped lead", "driver brakes after the warning", kph(v), rear(v, 0, start=START_FMVSS, driver=FMVSS_BRAKE)))
    out += [Case(g, "slower lead, 20 km/h", "no braking by the driver", kph(v), rear(v, 20, start=START_FMVSS)) for v in range(40, 81, 10)]
    for v in (50, 80):
        for share in (0.3, 0.5):
            out += [Case(g, "braking lead", f"{v} km/h, {share} g", f"{h} m", braking(v, h, share * G)) for h in (12, 40)]
    for name, walk, left, share, away, hidden, top, size in (
        ("from the right, 25 %", WALK, False, 0.25, 4.0, False, 60, ADULT),
        ("from the right, 50 %", WALK, False, 0.5, 4.0, False, 60, ADULT),
        ("from the left, 50 %, 8 km/h", 8 * KPH, True, 0.5, 6.0, False, 60, ADULT),
        ("child from behind parked cars", WALK, False, 0.5, 4.0, True, 50, CHILD),
    ):  # fmt: skip
        out += [Case(g, "pedestrian crosses", name, kph(v), crossing("person", v, walk, left, share, away, size, hidden))
                for v in range(10, top + 1, 10)]  # fmt: skip
    for night in (False, True):
        light = "own low beam" if night else "day"
        stands, walks = (10, 20, 30, 40, 50, 55), (10, 20, 30, 40, 50, 60, 65)
        out += [
            Case(g, "pedestrian in the lane", f"stands, 25 %, {light}", kph(v), along("person", v, 0.0, 0.25, night=night)) for v in stands
        ]
        out += [
            Case(g, "pedestrian in the lane", f"walks along, 25 %, {light}", kph(v), along("person", v, WALK, 0.25, night=night))
            for v in walks
        ]
    plate = Trial(80 * KPH, LEAD_IN + START + 1.5, plate=FRONT + 80 * KPH * (LEAD_IN + START))
    out.append(Case(g, "false activation", "steel plate", "80", plate, "quiet", 0.25 * G))
    out.append(Case(g, "false activation", "between two parked cars", "80", parked_pair(80), "quiet", 0.25 * G))
    return out


def _ccr() -> list[Case]:
    g, out = "ccr", []
    for row, overlap in OVERLAPS.items():
        out += [Case(g, "CCRs AEB", row, kph(v), rear(v, 0, overlap), "score", 0.0, _bands(CCRS_BANDS, v)) for v in range(10, 51, 5)]
    for row, overlap in OVERLAPS.items():
        out += [
            Case(g, "CCRm AEB, target 20 km/h", row, kph(v), rear(v, 20, overlap), "score", 0.0, _bands(CCRM_BANDS, v))
            for v in range(30, 81, 5)
        ]
    out += [Case(g, "CCRs FCW", "100 %", kph(v), rear(v, 0, driver=SLOW_BRAKE), "warning", 1.2) for v in range(55, 81, 5)]
    for d in (2, 6):
        out += [Case(g, "CCRb, 50 km/h", f"{d} m/s²", f"{h} m", braking(50, h, d), "score", 0.0, _bands(CCRS_BANDS, 50)) for h in (12, 40)]
    out += [Case(g, "CCRb 2026, 4 m/s², headway 1 s", "100 %", kph(v), braking(v, v * KPH, 4.0)) for v in range(30, 81, 10)]
    return out


def _bands(table: dict[int, tuple[int, ...]], speed: int) -> tuple[float, ...]:
    return tuple(b * KPH for b in table.get(speed, ()))


def _vru() -> list[Case]:
    g, out, speeds = "vru", [], range(10, 61, 5)
    for name, walk, left, share, away, size, hidden in (
        ("CPFA-50, 8 km/h", 8 * KPH, True, 0.5, 6.0, ADULT, False),
        ("CPNA-25, 5 km/h", WALK, False, 0.25, 4.0, ADULT, False),
        ("CPNA-75, 5 km/h", WALK, False, 0.75, 4.0, ADULT, False),
        ("CPNCO-50, child 5 km/h", WALK, False, 0.5, 4.0, CHILD, True),
    ):
        out += [Case(g, "pedestrian crosses", name, kph(v), crossing("person", v, walk, left, share, away, size, hidden)) for v in speeds]
    out += [
        Case(g, "bicycle crosses", "CBNA-50, 15 km/h", kph(v), crossing("cyclist", v, 15 * KPH, False, 0.5, 17.0, BICYCLE)) for v in speeds
    ]
    out += [Case(g, "goes along", "CPLA-50, walks 5 km/h", kph(v), along("person", v, WALK, 0.5)) for v in range(20, 61, 5)]
    out += [Case(g, "goes along", "CBLA-50, rides 15 km/h", kph(v), along("cyclist", v, 15 * KPH, 0.5, BICYCLE)) for v in range(25, 61, 5)]
    out += [
        Case(g, "warning", "CPLA-25, walks 5 km/h", kph(v), along("person", v, WALK, 0.25, driver=SLOW_BRAKE), "warning", 1.7)
        for v in range(50, 81, 5)
    ]
    out += [
        Case(g, "warning", "CBLA-25, rides 20 km/h", kph(v), along("cyclist", v, 20 * KPH, 0.25, BICYCLE, SLOW_BRAKE), "warning", 1.7)
        for v in range(50, 81, 5)
    ]
    return out


def _lane() -> list[Case]:
    rates, speeds, out = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7), range(50, 101, 10), []
    for r in rates:
        out += [
            Case("lane", "road edge without a line", f"{r} m/s", kph(v), departure(v, r, 1, edge_line=False), "edge", -0.1) for v in speeds
        ]
    for r in rates:
        out += [Case("lane", "solid line, right", f"{r} m/s", kph(v), departure(v, r, 1), "line", -0.3) for v in speeds]
    for r in rates:
        out += [Case("lane", "solid line, left", f"{r} m/s", kph(v), departure(v, r, -1), "line", -0.3) for v in speeds]
    return out


def _r152() -> list[Case]:
    out = [Case("r152", "car stands", "impact speed", kph(v), rear(v, 0), "impact", limit * KPH) for v, limit in R152_CAR.items()]
    out += [Case("r152", "car goes 20 km/h", "impact speed", kph(v), rear(v, 20), "impact", 0.0) for v in (30, 40, 50, 60)]
    out += [Case("r152", "pedestrian crosses from the right, 5 km/h", "impact speed", kph(v), crossing("person", v, WALK, False, 0.5, 4.0),
                 "impact", limit * KPH) for v, limit in R152_PERSON.items()]  # fmt: skip
    return out


PILOT = 45  # km/h: beyond the 60 m it sees the pilot allows for a bend, and so stays below 50 by itself


def _r157() -> list[Case]:
    out = []
    for other in (15, 25, 35):
        for ttc in (0.8, 1.2, 1.6, 2.0, 3.0):
            trial, row = cut_in(PILOT, other, ttc), f"other {other} km/h"
            avoidable = careful(PILOT, other, ttc)
            out.append(Case("r157", "cut-in at 45 km/h, pilot engaged", row, f"{ttc} s", trial, avoidable=avoidable))
    return out


def _iso() -> list[Case]:
    g = "iso15622"
    stop = replace(rear(PILOT, 0, start=6.0), engaged=True)
    slows = replace(braking(PILOT, 25, 2.5), engaged=True)
    return [
        Case(g, "following, pilot engaged", "other 35 km/h, we 45", "60 m", following(PILOT, 35, 60), "drive"),
        Case(g, "following, pilot engaged", "other 20 km/h, we 30", "40 m", following(30, 20, 40), "drive"),
        Case(g, "stopping, pilot engaged", "other stands, we 45", "6 s", stop, "drive"),
        Case(g, "stopping, pilot engaged", "other brakes 2.5 m/s², we 45", "25 m", slows, "drive"),
        Case(g, "moving off, pilot engaged", "behind a car", "4 m", move_off(), "drive"),
        Case(g, "cut-in, pilot engaged", "other 35 km/h, we 45", "4 s", cut_in(PILOT, 35, 4.0), "drive"),
    ]
