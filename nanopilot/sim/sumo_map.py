"""A town's lanes and looks, from its network: the LaneMap a judge needs and the StaticScene a camera draws.

In: a `sumo_net.Net` and a seed. Out: the LaneMap (lanes between junctions, and every way through them), the StaticScene, and what stands
where: `Approach`, a lane's end with its stop line and what rules it. Paint as on the roads the network learnt: yellow between
the directions, white at the edges. Lights stand on the right at the stop line and again across the junction, 200 mm lamps
in a housing whose middle is 3.1 m up (RiLSA: 2.1 m clear below). Houses, parked cars, lamps and trees are by the seed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from nanopilot.geometry import child_from_parent, resample
from nanopilot.sim.ground import ribbon
from nanopilot.sim.lanemap import Lane, LaneMap, Paint, abeam
from nanopilot.sim.scene import Actor, Marking, Prop, StaticScene, Surface
from nanopilot.sim.scenery import scatter_props
from nanopilot.sim.sumo_net import Net, NetLink

Array = np.ndarray

SPACING = 1.0  # m
KPH = 1 / 3.6
ASPHALT_MARGIN = 0.25  # m beside the outermost line's middle (guess)
DASH = (3.0, 6.0)  # m, lane lines in towns (RMS part 1)
STOP_LINE, STOP_SETBACK = 0.5, 0.6  # m wide (RMS), and its middle before the lane's end
YIELD_DASH = (0.5, 0.25)  # m, RMS part 1
POST_ASIDE = 0.7  # m from the lane's edge to a sign's or light's post (RASt: at least 0.5)
SIGN_BEFORE = 1.5  # m before the stop line
LIMIT_AFTER = 12.0  # m into a road, its limit's sign
LIGHT_SIZE, SIGN_SIZE = (0.4, 0.4, 3.6), (0.8, 0.8, 2.6)
HOUSE_GAP, HOUSE_SETBACK, CORNER_FREE = (1.5, 9.0), (2.5, 6.0), 9.0  # m between houses, behind the pavement, and from a road's ends
NEIGHBOURS = 45.0  # m, along x and y together: farther houses can't touch
PARKED_STREETS, PARKED_GAP, PARKED_FREE = (
    0.35,
    (1.0, 14.0),
    25.0,
)  # share of road sides with parked cars; m between them, and from junctions
PARKED_ID = 1_000_000  # ids of parked cars begin here
PARKED_KINDS = (("car", (4.4, 1.8, 1.45)), ("suv", (4.6, 1.9, 1.75)), ("van", (5.2, 2.0, 2.2)))
RULES = {"s": "stop", "w": "stop", "m": "yield", "=": "yield"}  # SUMO's right of way -> the sign


@dataclass(frozen=True)
class Approach:
    """Where a lane meets a junction: the line to stop at, and what is said there."""

    lane: int  # id in the LaneMap
    stop: Float[Array, "2"]  # the stop line's middle
    heading: float
    rule: str  # 'light', 'stop', 'yield', ''
    light: str  # SUMO's traffic light
    light_id: int  # key into Scene.lights
    posts: tuple[tuple[float, float, float], ...]  # x, y, yaw of its lights, or of its sign


@dataclass(frozen=True)
class TownMap:
    lane_map: LaneMap
    static: StaticScene
    approaches: dict[int, Approach]  # lane id -> what waits at its end
    parked: tuple[Actor, ...]
    limits: tuple[float, ...]  # m/s, of each lane
    links: dict[int, NetLink]  # lane id of a way through a junction -> the net's link
    lane_ids: dict[str, int]  # SUMO's lane id -> ours


def town_map(net: Net, seed: int) -> TownMap:
    """Everything that stays, the same for the same net and seed."""
    lane_map, links, lane_ids = _lane_map(net)
    approaches = _approaches(net, lane_map, links, lane_ids)
    limits = [0.0] * len(lane_map.lanes)
    for name, k in lane_ids.items():
        limits[k] = net.lanes[name].speed
    for k, link in links.items():
        limits[k] = net.lanes[link.source].speed
    surfaces, markings = _surfaces(net, lane_map, links), _markings(lane_map, links, approaches)
    signs = _signs(net, lane_map, links, approaches, lane_ids)
    rng = np.random.default_rng([seed, 0x7043])
    houses, parked = _street_sides(net, rng)
    bare = StaticScene(surfaces, markings)
    built = replace(bare, surfaces=surfaces + tuple(Surface("pavement", _outline(h)) for h in houses))
    green = tuple(p for p in scatter_props(built, seed) if p.kind in ("tree", "bush", "lamp"))
    static = replace(bare, props=signs + houses + green)
    return TownMap(lane_map, static, approaches, parked, tuple(limits), links, lane_ids)


def _lane_map(net: Net) -> tuple[LaneMap, dict[int, NetLink], dict[str, int]]:
    names = sorted(net.lanes, key=lambda n: (net.lanes[n].edge, -net.lanes[n].index))  # leftmost first
    lane_ids = {name: k for k, name in enumerate(names)}
    by_edge: dict[str, list[str]] = {}
    for name in names:
        by_edge.setdefault(net.lanes[name].edge, []).append(name)
    back = {ends: edge for edge, ends in net.edges.items()}
    after: dict[int, list[int]] = {}
    links = {len(names) + k: link for k, link in enumerate(net.links)}
    for k, link in links.items():
        after.setdefault(lane_ids[link.source], []).append(k)
    lanes = []
    for name in names:
        lane, group = net.lanes[name], by_edge[net.lanes[name].edge]
        i, centre = group.index(name), _dense(net.lanes[name].shape)
        left = lane_ids[group[i - 1]] if i else None
        right = lane_ids[group[i + 1]] if i + 1 < len(group) else None
        two_way = net.edges[lane.edge][::-1] in back
        beside = [None if j is None else _dense(net.lanes[names[j]].shape) for j in (left, right)]
        lanes.append(_lane(lane_ids[name], (lane.edge, ""), i, centre, lane.width, (left, right), beside,
                           (Paint.SOLID if left is None else Paint.BROKEN, Paint.SOLID if right is None else Paint.BROKEN),
                           "yellow" if left is None and two_way else "white", tuple(after.get(lane_ids[name], ()))))  # fmt: skip
    for k, link in links.items():
        road = (net.lanes[link.source].edge, net.lanes[link.target].edge)
        lanes.append(_lane(k, road, 0, _dense(link.shape), link.width, (None, None), [None, None], (Paint.NONE, Paint.NONE), "white",
                           (lane_ids[link.target],)))  # fmt: skip
    return LaneMap(tuple(lanes)), links, lane_ids


def _dense(shape: Float[Array, "n 2"]) -> Float[Array, "m 2"]:
    step = np.hypot(*np.diff(shape, axis=0).T)
    shape = shape[np.concatenate([[True], step > 1e-6])]
    if len(shape) < 2:
        shape = np.array([shape[0], shape[0] + (0.05, 0.0)])
    length = float(np.hypot(*np.diff(shape, axis=0).T).sum())
    return resample(shape, np.linspace(0.0, length, max(3, int(np.ceil(length / SPACING)) + 1)))


def _lane(k: int, road, index: int, centre: Array, width: float, neighbours, beside, paint, colour: str, successors) -> Lane:
    n = len(centre)
    direction = np.gradient(centre, axis=0)
    reach = 1.5 * width
    sides = [np.full(n, -1) if other is None else abeam(centre, other, reach) for other in beside]
    return Lane(
        id=k, road=road, index=index, centre=centre, heading=np.unwrap(np.arctan2(direction[:, 1], direction[:, 0])),
        arc=np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(centre, axis=0).T))]), width=width, left=neighbours[0], right=neighbours[1],
        left_paint=np.full(n, paint[0], np.uint8), right_paint=np.full(n, paint[1], np.uint8), left_colour=colour, right_colour="white",
        left_sample=sides[0], right_sample=sides[1], successors=successors,
    )  # fmt: skip


def _approaches(net: Net, lane_map: LaneMap, links: dict[int, NetLink], lane_ids: dict[str, int]) -> dict[int, Approach]:
    out: dict[int, Approach] = {}
    for name, k in lane_ids.items():
        lane = lane_map.lanes[k]
        ways = [links[j] for j in lane.successors]
        if not ways:
            continue
        heading = float(lane.heading[-1])
        ahead, right = np.array([np.cos(heading), np.sin(heading)]), np.array([np.sin(heading), -np.cos(heading)])
        stop = lane.centre[-1] - STOP_SETBACK * ahead
        lit = next((w for w in ways if w.light), None)
        rule, posts = "", ()
        if lit is not None:
            rule = "light"
            straight = next((w for w in ways if w.turn == "s"), lit)
            rightmost = net.lanes[name].index == min(other.index for other in net.lanes.values() if other.edge == net.lanes[name].edge)
            near = lane.centre[-1] + (lane.width / 2 + POST_ASIDE) * right + 0.6 * ahead
            far_lane = lane_map.lanes[lane_ids[straight.target]]
            far_right = np.array([np.sin(far_lane.heading[0]), -np.cos(far_lane.heading[0])])
            far = far_lane.centre[0] + (far_lane.width / 2 + POST_ASIDE) * far_right
            places = ([near] if rightmost else []) + ([far] if straight.turn == "s" else [])
            posts = tuple((float(p[0]), float(p[1]), heading + np.pi) for p in places)
        else:
            strictest = [RULES.get(w.right_of_way, "") for w in ways]
            rule = next((r for r in ("stop", "yield") if r in strictest), "")
            if rule and lane.right is None:
                x, y = stop - SIGN_BEFORE * ahead + (lane.width / 2 + POST_ASIDE) * right
                posts = ((float(x), float(y), heading + np.pi),)
            if not any(w.right_of_way == "M" for w in _rivals(net, name)) and rule == "yield":
                rule, posts = "", ()  # right before left: no sign
        out[k] = Approach(k, stop, heading, rule, lit.light if lit else "", k, posts)
    return out


def _rivals(net: Net, lane: str) -> list[NetLink]:
    """The ways straight on through the junction that a lane leads to."""
    junction = net.edges[net.lanes[lane].edge][1]
    return [w for w in net.links if net.edges[net.lanes[w.source].edge][1] == junction and w.turn == "s"]


def _surfaces(net: Net, lane_map: LaneMap, links: dict[int, NetLink]) -> tuple[Surface, ...]:
    out = [Surface("junction", outline) for outline in net.junctions.values()]
    out += [Surface("pavement", area) for area in net.walk_areas if len(area) > 2]
    out += [Surface("pavement", ribbon(middle, width)) for middle, width in net.walks]
    out += [Surface("road", ribbon(lane.centre, lane.width + 2 * ASPHALT_MARGIN)) for lane in lane_map.lanes]
    out += [Surface("crossing", ribbon(middle, width)) for middle, width in net.crossings if len(middle) > 1]
    return tuple(out)


def _markings(lane_map: LaneMap, links: dict[int, NetLink], approaches: dict[int, Approach]) -> tuple[Marking, ...]:
    out = []
    for lane in lane_map.lanes:
        if lane.id in links:
            continue
        normal = np.stack([-np.sin(lane.heading), np.cos(lane.heading)], -1)
        left, right = (lane.centre + side * lane.width / 2 * normal for side in (1, -1))
        if lane.left is None:
            inset = -0.1 if lane.left_colour == "yellow" else 0.0  # each direction paints its half of a double line
            out.append(Marking(left + inset * normal, 0.12, lane.left_colour))
        out.append(Marking(right, 0.12, "white", None if lane.right is None else DASH))
        approach = approaches.get(lane.id)
        if approach is not None and approach.rule:
            across = normal[-1] * (lane.width / 2 - 0.1)
            line = np.array([approach.stop - across, approach.stop + across])
            out.append(Marking(line, STOP_LINE, "white", YIELD_DASH if approach.rule == "yield" else None))
    return tuple(out)


def _signs(
    net: Net, lane_map: LaneMap, links: dict[int, NetLink], approaches: dict[int, Approach], lane_ids: dict[str, int]
) -> tuple[Prop, ...]:
    out = []
    for a in approaches.values():
        if a.rule == "light":
            out += [Prop("light", x, y, yaw, LIGHT_SIZE, id=a.light_id) for x, y, yaw in a.posts]
        else:
            out += [Prop("sign", x, y, yaw, SIGN_SIZE, {"stop": "stop_word"}.get(a.rule, a.rule)) for x, y, yaw in a.posts]
    for name, k in lane_ids.items():
        lane = lane_map.lanes[k]
        if lane.right is None and lane.length > 2 * LIMIT_AFTER:
            j = int(np.searchsorted(lane.arc, LIMIT_AFTER))
            h = float(lane.heading[j])
            x, y = lane.centre[j] + (lane.width / 2 + POST_ASIDE) * np.array([np.sin(h), -np.cos(h)])
            limit = int(np.clip(round(net.lanes[name].speed / KPH / 10) * 10, 20, 130))
            out.append(Prop("sign", float(x), float(y), h + np.pi, SIGN_SIZE, f"speed_{limit}"))
    return tuple(out)


def _outline(p: Prop) -> Float[Array, "4 2"]:
    c, s = np.cos(p.yaw), np.sin(p.yaw)
    half = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)]) * np.array(p.size[:2]) / 2
    return half @ np.array([[c, s], [-s, c]]) + (p.x, p.y)


def _street_sides(net: Net, rng: np.random.Generator) -> tuple[tuple[Prop, ...], tuple[Actor, ...]]:
    """Rows of houses behind the pavements, and cars parked on them, out of the lane."""
    roads = [_dense(lane.shape) for lane in net.lanes.values()] + [_dense(middle) for middle, _ in net.walks]
    keep_free = np.concatenate([*roads, *(_dense(link.shape) for link in net.links)])
    houses: list[Prop] = []
    parked: list[Actor] = []
    for middle, width in net.walks:
        line = _dense(middle)
        length = float(np.hypot(*np.diff(line, axis=0).T).sum())
        s = CORNER_FREE
        while True:
            front, deep, tall = rng.uniform(9, 20), rng.uniform(8, 13), rng.random() < 0.4
            height = rng.uniform(10, 19) if tall else rng.uniform(6, 9.5)
            setback, gap = rng.uniform(*HOUSE_SETBACK), rng.uniform(*HOUSE_GAP)
            if s + front + CORNER_FREE > length:
                break
            (x, y), yaw = _beside(line, s + front / 2, width / 2 + setback + deep / 2)
            house = Prop("building", x, y, yaw, (float(front), float(deep), float(height)))
            near = [h for h in houses if abs(h.x - x) + abs(h.y - y) < NEIGHBOURS]
            close = keep_free[np.abs(keep_free - (x, y)).sum(1) < NEIGHBOURS]
            if not _touches(house, close, 1.0) and not any(
                _touches(house, _outline(h), 0.5) or _touches(h, _outline(house), 0.5) for h in near
            ):
                houses.append(house)
            s += front + gap
        if rng.random() < PARKED_STREETS:
            s = PARKED_FREE
            while s < length - PARKED_FREE:
                kind, size = PARKED_KINDS[int(rng.integers(len(PARKED_KINDS)))]
                (x, y), yaw = _beside(line, s, 0.1)
                parked.append(Actor(PARKED_ID + len(parked), kind, x, y, yaw + float(rng.normal(0, 0.02)), size))
                s += size[0] + rng.uniform(*PARKED_GAP)
    return tuple(houses), tuple(parked)


def _beside(line: Float[Array, "n 2"], s: float, right: float) -> tuple[tuple[float, float], float]:
    a, b = resample(line, np.array([s - 1.0, s + 1.0]))
    yaw = float(np.arctan2(*(b - a)[::-1]))
    x, y = (a + b) / 2 + right * np.array([np.sin(yaw), -np.cos(yaw)])
    return (float(x), float(y)), yaw


def _touches(house: Prop, points: Float[Array, "n 2"], clear: float) -> bool:
    """Whether a point lies within `clear` metres of a house's outline."""
    local = child_from_parent(points, house.x, house.y, house.yaw)
    return bool((np.abs(local) < np.array(house.size[:2]) / 2 + clear).all(-1).any())
