"""MetaDrive's ramps: can anybody get by their paint, and, if wished, ramps laid as they were meant.

In: lanes of a route and the continuous lines of its map (`passable`), or MetaDrive's block classes (`laid_along_the_road`).
MetaDrive 0.4.3 lays the taper where an acceleration lane ends or an exit lane begins along map x, whatever way the road points
(`create_extension`); an exit lane then starts at its wrong end. On a turned road their continuous lines lie across our lanes, and
touching one ends a drive. Maps are driven as MetaDrive ships them unless asked otherwise; what `passable` refuses no driver can
finish. It looks at paint only, at no traffic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import shapely
from jaxtyping import Float

from nanopilot.sim.lanemap import Lane, LaneMap, Road

Array = np.ndarray

HALF_WIDTH = 0.815 + 0.25 / 2  # m, half of MetaDrive's DefaultVehicle
SEAM = 0.3  # m by which lanes are widened so that neighbours and successors meet


def passable(lane_map: LaneMap, roads: Iterable[Road], continuous: list[Float[Array, "n 2"]]) -> bool:
    """Whether the car's middle has a way from the first to the last of `roads`, in their lanes, with neither side over such a line."""
    on_route = [[lane for lane in lane_map.lanes if lane.road == road] for road in roads]
    ground = shapely.union_all([_strip(lane) for lanes in on_route for lane in lanes])
    paint = shapely.union_all([shapely.LineString(line).buffer(HALF_WIDTH) for line in continuous if len(line) > 1])
    free = ground.difference(paint)
    parts = getattr(free, "geoms", [free])
    starts, goals = ([shapely.Point(lane.centre[at]) for lane in lanes] for lanes, at in ((on_route[0], 0), (on_route[-1], -1)))
    return any(any(part.dwithin(p, SEAM) for p in starts) and any(part.dwithin(p, SEAM) for p in goals) for part in parts)


def _strip(lane: Lane) -> Any:
    return shapely.LineString(lane.centre).buffer(lane.width / 2 + SEAM, cap_style="square")


@contextmanager
def laid_along_the_road(wanted: bool) -> Iterator[None]:
    """While maps are made: tapers in the direction of the lane they belong to. Where roads lead along map x nothing changes."""
    from metadrive.component.lane.extension_lane import ExtendingLane, ExtensionDirection
    from metadrive.component.pgblock.ramp import InRampOnStraight, OutRampOnStraight
    from metadrive.constants import PGLineType

    def taper(self: Any, start: Float[Array, " 2"], lane: Any, length: float, way: ExtensionDirection) -> ExtendingLane:
        lines = [PGLineType.NONE, PGLineType.CONTINUOUS]
        return ExtendingLane(way, start, start + length * lane.direction, self.lane_width, lines, False, 20, 0)  # as create_extension

    def ending(self: Any, lane: Any, length: float) -> ExtendingLane:
        return taper(self, lane.end, lane, length, ExtensionDirection.SHRINK)

    def beginning(self: Any, lane: Any, length: float) -> ExtendingLane:
        return taper(self, lane.position(0, self.lane_width), lane, length, ExtensionDirection.EXTEND)

    shipped = InRampOnStraight._get_merge_part, OutRampOnStraight._get_merge_part
    if wanted:
        InRampOnStraight._get_merge_part, OutRampOnStraight._get_merge_part = ending, beginning
    try:
        yield
    finally:
        InRampOnStraight._get_merge_part, OutRampOnStraight._get_merge_part = shipped
