"""A drive through a town: which roads, what the navigation device says of them, and who else is about.

In: a network, its map, a seed. Out: a random way of at least the length asked for, its `messages.Route`, SUMO's route file for the traffic.
Instructions stand at every junction, where its stop line is; the line runs along the middle of our own side, a point every 10 m.
Where only some lanes lead on, "keep left" or "keep right" comes before. The first way is at random: nobody is in a hurry here; who has
left it gets the shortest one from where he is to the same end (Dijkstra 1959).
"""

from __future__ import annotations

import heapq
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float

from nanopilot.geometry import resample
from nanopilot.messages import Manoeuvre, Route, Turn
from nanopilot.sim.lanemap import Lane, Road
from nanopilot.sim.routes import POINT_SPACING, road_line
from nanopilot.sim.sumo_map import STOP_SETBACK, TownMap
from nanopilot.sim.sumo_net import Net, TownError

Array = np.ndarray

START, END = 25.0, 15.0  # m into the first road, and before the last one's end
ARRIVAL = 5.0  # m of a new way, at least
KEEP_BEFORE = 20.0  # m before a junction by which the lane must be right
TURNS = {"s": Turn.STRAIGHT, "l": Turn.LEFT, "L": Turn.LEFT, "r": Turn.RIGHT, "R": Turn.RIGHT, "t": Turn.LEFT}
SHORTEST = 200.0  # m: no drive is worth it below
TRIES = 300
#         kind: SUMO's class, share, length, width, height (m), top speed (m/s)
TRAFFIC = {
    "car": ("passenger", 0.50, 4.4, 1.8, 1.45, 50.0), "suv": ("passenger", 0.22, 4.6, 1.9, 1.75, 50.0),
    "van": ("delivery", 0.10, 5.2, 2.0, 2.2, 40.0),
    "truck": ("truck", 0.06, 8.0, 2.5, 3.5, 25.0), "bus": ("bus", 0.04, 12.0, 2.5, 3.2, 23.0),
    "cyclist": ("bicycle", 0.08, 1.8, 0.6, 1.8, 5.5),
}  # fmt: skip
TRIP = 90.0  # s a trip lasts about (guess): so many vehicles are about as start in this time


def _roads(net: Net) -> tuple[dict[str, list[str]], dict[str, float]]:
    """(which edges each leads on to, how long each is, m)."""
    onward: dict[str, list[str]] = {edge: [] for edge in net.edges}
    for link in net.links:
        source, target = net.lanes[link.source].edge, net.lanes[link.target].edge
        if target not in onward[source] and link.turn != "t":
            onward[source].append(target)
    return onward, {lane.edge: float(np.hypot(*np.diff(lane.shape, axis=0).T).sum()) for lane in net.lanes.values()}


def _reached(onward: dict[str, list[str]], start: str) -> list[str]:
    """The edges that some way leads to from `start`, itself not among them."""
    found, left = {start}, [start]
    while left:
        fresh = [edge for edge in onward[left.pop()] if edge not in found]
        found.update(fresh)
        left += fresh
    return sorted(found - {start})


def new_way(net: Net, town: TownMap, x: float, y: float, heading: float, goal: str) -> tuple[list[str], float]:
    """Edges of the shortest way from a place to the end of edge `goal`, and how far into the first it begins, m. Raises TownError."""
    lane, s, _ = town.lane_map.locate(x, y, heading)
    first, start = (lane.road[1], 0.0) if lane.road[1] else (lane.road[0], s)  # in a junction: the road it leads into
    onward, size = _roads(net)
    open_ways = [(0.0, [first])]
    done: set[str] = set()
    while open_ways:
        length, way = heapq.heappop(open_ways)
        if way[-1] == goal and start + ARRIVAL < length + size[goal] - END:
            return way, start
        if way[-1] not in done:
            done.add(way[-1])
            for edge in onward[way[-1]]:
                heapq.heappush(open_ways, (length + size[way[-1]], [*way, edge]))
    raise TownError("no way leads there from here")


def random_roads(net: Net, length: float, rng: np.random.Generator) -> list[str]:
    """Edges, each reached from the last, together at least `length` m long; the longest found where the town has none so long."""
    onward, size = _roads(net)
    edges, best, reached = sorted(net.edges), [], 0.0
    for _ in range(TRIES):
        walk = [edges[int(rng.integers(len(edges)))]]
        total = size[walk[0]] - START - END
        while total < length and onward[walk[-1]]:
            fresh = [e for e in onward[walk[-1]] if e not in walk]
            if not fresh:
                break
            walk.append(fresh[int(rng.integers(len(fresh)))])
            total += size[walk[-1]]
        if total > reached and size[walk[0]] > START + 10 and size[walk[-1]] > END + 10:
            best, reached = walk, total
            if reached >= length:
                break
    if reached < SHORTEST:
        raise TownError(f"this town has no way for cars of {SHORTEST:.0f} m in it")
    return best


def lane_way(town: TownMap, edges: list[str]) -> tuple[list[Lane], list[Road]]:
    """A lane for every road and every junction of the way, changing lanes only where nothing else leads on; and the roads themselves."""
    lanes = town.lane_map.lanes
    roads: list[Road] = [(edges[0], "")]
    for a, b in pairwise(edges):
        roads += [(a, b), (b, "")]
    by_road: dict[Road, list[Lane]] = {}
    for lane in lanes:
        by_road.setdefault(lane.road, []).append(lane)
    way: list[Lane] = []
    here = by_road[roads[0]][-1]
    for road, onward in zip(roads[::2], [*roads[1::2], None], strict=True):
        leads = [lane for lane in by_road[road] if onward is None or any(lanes[k].road == onward for k in lane.successors)]
        here = min(leads, key=lambda lane: abs(lane.index - here.index)) if here.road == road else leads[-1]
        way.append(here)
        if onward is not None:
            link = next(lanes[k] for k in here.successors if lanes[k].road == onward)
            way.append(link)
            here = lanes[link.successors[0]]
    return way, roads


def make_route(town: TownMap, way: list[Lane], speed_limit: float, start: float = START) -> tuple[Route, Float[Array, "n 2"]]:
    """What the navigation device says, and the exact line along the lanes of the way from `start` m in to END."""
    by_road: dict[Road, list[Lane]] = {}
    for lane in town.lane_map.lanes:
        by_road.setdefault(lane.road, []).append(lane)
    parts = [road_line(by_road[lane.road]) if lane.road[1] == "" else lane.centre for lane in way]
    length = [float(np.hypot(*np.diff(p, axis=0).T).sum()) for p in parts]
    at = np.concatenate([[0.0], np.cumsum(length)]) - start
    manoeuvres = []
    arrives: Lane | None = None  # the lane in which we come into the road
    for k, lane in enumerate(way):
        if lane.road[1]:
            manoeuvres.append(Manoeuvre(TURNS[town.links[lane.id].turn], float(at[k]) - STOP_SETBACK))
            arrives = town.lane_map.lanes[lane.successors[0]]
        elif arrives is not None and arrives.index != lane.index and k + 1 < len(way):
            side = Turn.KEEP_LEFT if lane.index < arrives.index else Turn.KEEP_RIGHT
            manoeuvres.append(Manoeuvre(side, float(max(at[k + 1] - KEEP_BEFORE, at[k] + 1.0))))
    total = float(at[-1]) - END
    manoeuvres.append(Manoeuvre(Turn.ARRIVE, total))
    line = _joined(parts)
    count = max(2, round(total / POINT_SPACING) + 1)
    points = resample(line, np.linspace(start, start + total, count))
    exact = _joined([lane.centre for lane in way])
    exact_length = float(np.hypot(*np.diff(exact, axis=0).T).sum())
    return Route(points, tuple(manoeuvres), speed_limit), resample(exact, np.arange(start, exact_length - END, 0.5))


def _joined(parts: list[Array]) -> Float[Array, "n 2"]:
    line = np.concatenate(parts)
    return line[np.concatenate([[True], np.hypot(*np.diff(line, axis=0).T) > 1e-3])]


def write_traffic(net: Net, path: Path, vehicles: int, people: int, seconds: float, rng: np.random.Generator) -> None:
    """SUMO's route file: about `vehicles` on the road at a time and `people` walking, starting all through `seconds`.

    Vehicles go only where a way leads: SUMO drives others to where none goes on, and they stand there, in everybody's way.
    """
    onward, _ = _roads(net)
    edges, reached = sorted(net.edges), {a: _reached(onward, a) for a in net.edges}
    ways = [a for a in edges if reached[a]]
    kinds, shares = list(TRAFFIC), np.array([row[1] for row in TRAFFIC.values()])
    rows = [
        f'<vType id="{kind}" vClass="{c}" length="{length}" width="{width}" height="{height}" maxSpeed="{top}" minGap="2.0"/>'
        for kind, (c, _, length, width, height, top) in TRAFFIC.items()
    ]
    starts = [(float(t), "trip") for t in np.sort(rng.uniform(0, seconds, int(vehicles * seconds / TRIP)))]
    starts += [(float(t), "walk") for t in np.sort(rng.uniform(0, seconds, int(people * seconds / TRIP)))]
    for k, (t, what) in enumerate(sorted(starts)):
        a = str(rng.choice(ways if what == "trip" else edges))
        b = str(rng.choice(reached[a] if what == "trip" else edges))
        kind = str(rng.choice(kinds, p=shares / shares.sum()))
        if what == "trip":
            rows.append(f'<trip id="{k}" type="{kind}" depart="{t:.2f}" from="{a}" to="{b}" departPos="random_free" departSpeed="max"/>')
        else:
            rows.append(f'<person id="p{k}" depart="{t:.2f}" departPos="random"><walk from="{a}" to="{b}"/></person>')
    path.write_text("<routes>\n" + "\n".join(rows) + "\n</routes>\n")
