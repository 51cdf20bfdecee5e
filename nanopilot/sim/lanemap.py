"""A neutral lane graph: where the lanes lie, what is painted on their borders, and how they go on.

In: a simulator's road network (`from_metadrive` reads MetaDrive's). Out: `LaneMap`, which answers two questions: which lane is
a pose in (`locate`), and where does that lane go from here (`path`), with the lines beside it. Lanes are polylines in the
map frame, sampled about every metre. Successors come from geometry: a lane that begins where this one ends, pointing
the same way. A lane that ends without one goes over into its neighbour (an acceleration lane does).
It holds no traffic, no right of way and no height.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from jaxtyping import Float, Int, UInt8

from nanopilot.geometry import wrap

Array = np.ndarray
Road = tuple[str, str]

SPACING = 1.0  # m between samples of a lane
JOIN_DISTANCE, JOIN_ANGLE = 1.0, 0.35  # m, rad: a successor begins within this of the lane's end (MetaDrive's own joints: below 1 mm)
MERGE_BEFORE, MERGE_AFTER = 15.0, 10.0  # m before and after a lane's end over which a path moves to the neighbour (guess)
HEADING_WEIGHT = 3.0  # m a radian of heading error counts in `locate` (guess)


class Paint(IntEnum):
    """What is painted on a border here. ABSENT: there is no such lane, hence no border."""

    NONE, BROKEN, SOLID, ABSENT = range(4)


@dataclass(frozen=True)
class Lane:
    """One lane of one road. `left` and `right` are neighbours of the same direction, `index` 0 is leftmost."""

    id: int
    road: Road
    index: int
    centre: Float[Array, "n 2"]
    heading: Float[Array, " n"]
    arc: Float[Array, " n"]
    width: float
    left: int | None
    right: int | None
    left_paint: UInt8[Array, " n"]  # Paint per sample
    right_paint: UInt8[Array, " n"]
    left_colour: str  # 'white' or 'yellow'
    right_colour: str
    left_sample: Int[Array, " n"]  # the left neighbour's sample abeam of each of ours, -1 where it has none
    right_sample: Int[Array, " n"]
    successors: tuple[int, ...] = ()

    @property
    def length(self) -> float:
        return float(self.arc[-1])

    @property
    def left_line(self) -> str:
        """'none', 'broken' or 'solid': the paint of most of the border."""
        return Paint(np.bincount(self.left_paint).argmax()).name.lower()

    @property
    def right_line(self) -> str:
        return Paint(np.bincount(self.right_paint).argmax()).name.lower()


@dataclass(frozen=True)
class Border:
    """One border along a path: points abeam of the path's, the Paint at each, and whether it is yellow."""

    points: Float[Array, "n 2"]
    paint: UInt8[Array, " n"]
    yellow: Array  # (n,) bool

    def stretches(self) -> list[Float[Array, "m 2"]]:
        """The painted stretches, each a polyline."""
        painted = (self.paint == Paint.BROKEN) | (self.paint == Paint.SOLID)
        cuts = np.flatnonzero(np.diff(painted)) + 1
        return [p for p, on in zip(np.split(self.points, cuts), np.split(painted, cuts), strict=True) if on[0] and len(p) > 1]


@dataclass(frozen=True)
class LanePath:
    """A way on from a place in a lane: centre points every SPACING metres, the lane of each, and the four borders.

    `borders` has the keys of `messages.LaneLine.side`: -1 own left, 1 own right, -2 the left neighbour's left, 2 the
    right neighbour's right.
    """

    centre: Float[Array, "n 2"]
    lanes: Int[Array, " n"]
    borders: dict[int, Border]


Choose = Callable[[tuple[Lane, ...]], Lane]


def along(roads: Iterable[Road]) -> Choose:
    """Choose the successor on the given roads; where none is, the one that bends least."""
    wanted = set(roads)

    def choose(options: tuple[Lane, ...]) -> Lane:
        on_route = [lane for lane in options if lane.road in wanted]
        return min(on_route or options, key=lambda lane: abs(wrap(lane.heading[-1] - lane.heading[0])))

    return choose


def at_random(rng: np.random.Generator) -> Choose:
    """Choose any successor."""
    return lambda options: options[int(rng.integers(len(options)))]


@dataclass(frozen=True)
class LaneMap:
    lanes: tuple[Lane, ...]
    _samples: tuple[Array, Array, Array] = field(init=False, repr=False)  # all lanes' samples: xy, heading, lane id

    def __post_init__(self) -> None:
        xy = np.concatenate([lane.centre for lane in self.lanes])
        heading = np.concatenate([lane.heading for lane in self.lanes])
        ids = np.repeat([lane.id for lane in self.lanes], [len(lane.centre) for lane in self.lanes])
        object.__setattr__(self, "_samples", (xy, heading, ids))

    def locate(self, x: float, y: float, yaw: float, roads: Iterable[Road] | None = None) -> tuple[Lane, float, float]:
        """(lane, s, d) of a pose: the nearest lane that points our way, arc length, offset (left positive).

        With `roads`, lanes of other roads count only when no lane of those roads is within a lane's width.
        """
        xy, heading, ids = self._samples
        turn = np.abs((heading - yaw + np.pi) % (2 * np.pi) - np.pi)
        cost = np.hypot(*(xy - (x, y)).T) + HEADING_WEIGHT * turn + np.where(turn > np.pi / 2, 1e3, 0.0)
        best = int(np.argmin(cost))
        if roads is not None:
            wanted = set(roads)
            on_route = np.isin(ids, [lane.id for lane in self.lanes if lane.road in wanted])
            routed = int(np.argmin(np.where(on_route, cost, np.inf)))
            if on_route.any() and np.hypot(*(xy[routed] - (x, y))) < self.lanes[ids[routed]].width:
                best = routed
        lane = self.lanes[ids[best]]
        k = best - int(np.searchsorted(ids, lane.id))
        dx, dy = (x, y) - lane.centre[k]
        c, s = np.cos(lane.heading[k]), np.sin(lane.heading[k])
        return lane, float(np.clip(lane.arc[k] + c * dx + s * dy, 0, lane.length)), float(c * dy - s * dx)

    def path(self, lane: Lane, s: float, length: float, choose: Choose) -> LanePath:
        """The way on from arc length `s` of `lane` over `length` metres; past a dead end it goes straight on, unpainted."""
        runs, merges = self._runs(lane, s, length, choose)
        base = np.concatenate([part.centre[k:] for part, k in runs])
        starts = np.cumsum([0] + [len(part.centre) - k for part, k in runs])
        step = np.hypot(*np.diff(base, axis=0).T)
        joints = [int(starts[m]) for m in merges]  # first points in a neighbour
        across = []
        for m, j in zip(merges, joints, strict=True):
            heading = runs[m][0].heading[runs[m][1]]
            ahead = np.array([np.cos(heading), np.sin(heading)])
            step[j - 1] = max(ahead @ (base[j] - base[j - 1]), SPACING / 10)
            across.append(base[j] - base[j - 1] - step[j - 1] * ahead)
        arc = np.concatenate([[0.0], np.cumsum(step)]) + lane.arc[runs[0][1]] - s  # 0 is abeam of s
        shift = np.zeros_like(base)
        for j, sideways in zip(joints, across, strict=True):
            t = np.clip((arc - max(arc[j] - MERGE_BEFORE, 0.0)) / (MERGE_BEFORE + MERGE_AFTER), 0, 1)
            done = t * t * (3 - 2 * t)
            shift += np.where(np.arange(len(arc)) < j, done, done - 1)[:, None] * sideways
        at = np.arange(0.0, length + SPACING / 2, SPACING)
        near = np.clip(np.searchsorted(arc, at - SPACING / 2), 0, len(arc) - 1)
        beyond = np.maximum(at - arc[-1], 0.0)
        last = runs[-1][0].heading[-1]
        ahead = beyond[:, None] * (np.cos(last), np.sin(last))

        def sample(points: Array) -> Array:
            return np.stack([np.interp(at, arc, points[:, j]) for j in (0, 1)], -1) + ahead  # (n, 2)

        ids = np.concatenate([np.full(len(part.centre) - k, part.id) for part, k in runs])
        borders = {side: self._border(side, runs, base, sample, near, beyond > 0) for side in (-2, -1, 1, 2)}
        return LanePath(sample(base + shift), ids[near], borders)

    def _runs(self, lane: Lane, s: float, length: float, choose: Choose) -> tuple[list[tuple[Lane, int]], list[int]]:
        """([(lane, first sample)], which of them begin with a merge) from just before `s` until `length` is covered."""
        k = int(np.clip(np.searchsorted(lane.arc, s, side="right") - 1, 0, len(lane.arc) - 2))
        runs, merges = [(lane, k)], []
        covered = lane.length - s
        while covered < length:
            if lane.successors:
                lane, k = choose(tuple(self.lanes[i] for i in lane.successors)), 1
            else:
                beside = [(lane.left, lane.left_sample[-1]), (lane.right, lane.right_sample[-1])]
                options = [(self.lanes[i], int(j) + 1) for i, j in beside if i is not None and j >= 0]
                options = [(other, j) for other, j in options if j < len(other.centre) and (other.successors or j + 1 < len(other.centre))]
                if not options:
                    break
                lane, k = options[0]
                merges.append(len(runs))
            runs.append((lane, k))
            covered += lane.length - lane.arc[k - 1]
        return runs, merges

    def _border(
        self, side: int, runs: list[tuple[Lane, int]], base: Array, sample: Callable[[Array], Array], near: Array, end: Array
    ) -> Border:
        name = "left" if side < 0 else "right"
        across, paint, yellow = [], [], []
        for lane, k in runs:
            n = len(lane.centre) - k
            offset, here, colour = np.full(n, lane.width / 2), getattr(lane, f"{name}_paint")[k:], getattr(lane, f"{name}_colour")
            if abs(side) == 2:
                neighbour, sample_there = getattr(lane, name), getattr(lane, f"{name}_sample")[k:]
                other = lane if neighbour is None else self.lanes[neighbour]
                exists = sample_there >= 0
                here = np.where(exists, getattr(other, f"{name}_paint")[np.maximum(sample_there, 0)] if exists.any() else 0, Paint.ABSENT)
                offset, colour = offset + other.width, getattr(other, f"{name}_colour")
            normal = np.stack([-np.sin(lane.heading[k:]), np.cos(lane.heading[k:])], -1)
            across.append(-np.sign(side) * offset[:, None] * normal)
            paint.append(here)
            yellow.append(np.full(n, colour == "yellow"))
        painted = np.where(end, Paint.NONE if abs(side) == 1 else Paint.ABSENT, np.concatenate(paint)[near])
        return Border(sample(base + np.concatenate(across)), painted.astype(np.uint8), np.concatenate(yellow)[near])


def abeam(points: Float[Array, "n 2"], other: Float[Array, "m 2"], reach: float) -> Int[Array, " n"]:
    """The sample of `other` abeam of each of `points`, -1 where `other` isn't within `reach` (it has ended or not begun)."""
    distance = np.hypot(*(points[:, None] - other[None]).transpose(2, 0, 1))  # (n, m)
    best = distance.argmin(1)
    return np.where(distance.min(1) < reach, best, -1)


def connect(lanes: list[Lane]) -> LaneMap:
    """Give every lane its successors, by geometry."""
    start = np.array([lane.centre[0] for lane in lanes])
    heading = np.array([lane.heading[0] for lane in lanes])
    out = []
    for lane in lanes:
        gap = np.hypot(*(start - lane.centre[-1]).T)
        turn = np.abs((heading - lane.heading[-1] + np.pi) % (2 * np.pi) - np.pi)
        after = np.flatnonzero((gap < JOIN_DISTANCE) & (turn < JOIN_ANGLE))
        out.append(_replace(lane, successors=tuple(int(i) for i in after if i != lane.id)))
    return LaneMap(tuple(out))


def _replace(lane: Lane, **changes) -> Lane:
    return Lane(**{**lane.__dict__, **changes})


def from_metadrive(road_network) -> LaneMap:
    """MetaDrive's node road network, decoration left out. The left border of lane i + 1 is lane i's right one, as MetaDrive paints it."""
    roads = [((a, b), lanes) for a, ends in road_network.graph.items() for b, lanes in ends.items() if a != "decoration"]
    first_id = np.cumsum([0] + [len(lanes) for _, lanes in roads])
    out: list[Lane] = []
    for (road, group), first in zip(roads, first_id, strict=False):
        centres = [_polyline(lane) for lane in group]
        for i, (lane, centre) in enumerate(zip(group, centres, strict=True)):
            n, width = len(centre), float(lane.width)
            edges = np.gradient(centre, axis=0)
            arc = np.linspace(0.0, float(lane.length), n)
            reach = 1.25 * width
            left = abeam(centre, centres[i - 1], reach) if i > 0 else np.full(n, -1)
            right = abeam(centre, centres[i + 1], reach) if i + 1 < len(group) else np.full(n, -1)
            beside = group[i + 1] if i + 1 < len(group) else None
            edge = paint_of((beside or lane).line_types[0 if beside else 1])
            right_paint = np.where(right >= 0, edge, Paint.NONE) if beside else np.full(n, edge)
            out.append(
                Lane(
                    id=int(first) + i,
                    road=road,
                    index=i,
                    centre=centre,
                    heading=np.unwrap(np.arctan2(edges[:, 1], edges[:, 0])),
                    arc=arc,
                    width=width,
                    left=int(first) + i - 1 if i > 0 else None,
                    right=int(first) + i + 1 if beside else None,
                    left_paint=np.full(n, paint_of(lane.line_types[0]), np.uint8),
                    right_paint=right_paint.astype(np.uint8),
                    left_colour=colour_of(lane.line_colors[0]),
                    right_colour=colour_of(beside.line_colors[0] if beside else lane.line_colors[1]),
                    left_sample=left,
                    right_sample=right,
                )
            )
    return connect(out)


def _polyline(lane) -> Float[Array, "n 2"]:
    n = max(3, int(np.ceil(lane.length / SPACING)) + 1)
    return np.array([lane.position(s, 0.0) for s in np.linspace(0.0, lane.length, n)], float)


def paint_of(line_type: str) -> Paint:
    """The paint of one of MetaDrive's line types."""
    if "BROKEN" in line_type:
        return Paint.BROKEN
    return Paint.NONE if line_type == "UNKNOWN_LINE" else Paint.SOLID  # kerb and guard rail have a solid line too


def colour_of(rgba: tuple[float, ...]) -> str:
    """MetaDrive has two line colours."""
    return "yellow" if rgba[2] < 0.5 else "white"
