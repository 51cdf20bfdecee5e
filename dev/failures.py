"""Writes docs/results/failures.md: every failed drive of result files: seed, what happened, where, and a small map of its end.

In: reports of `nanopilot evaluate routes --json FILE --logs DIR`. Out: the page, and beside it failures/NAME.webp for each failed drive
whose log is still there: route (grey), way driven (blue), own lane's way on at the end (green), others (orange), us (red); the bar is 20 m.
The log itself is named, not copied. Run: python dev/failures.py docs/results/routes-pilot.json [more.json ...]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from nanopilot.log import LogError, read
from nanopilot.messages import Route
from nanopilot.sim.truth import SimTruth

Array = np.ndarray

FOLDER = Path(__file__).parent.parent / "docs" / "results"
SIDE, REACH = 360, 45.0  # px of a map, and m from its middle to its edge
QUALITY = 60  # of the WebP
ROUTE, DRIVEN, LANE, OTHER, OURS = (150, 150, 150), (60, 110, 230), (70, 190, 110), (240, 150, 40), (230, 50, 40)
LENGTH, WIDTH, CENTRE = 4.5, 1.85, 1.4166 - 0.2  # m, our car and its middle before the rear axle


def map_of(log: Path) -> UInt8[Array, "360 360 3"]:
    """The end of a drive from above, the map's x to the right. Raises LogError for what is no log of a drive."""
    truths, route = [], None
    for _, _, message in read(log, (SimTruth,)):
        if isinstance(message, SimTruth):
            truths.append(message)
        elif isinstance(message, Route):
            route = message
    if not truths:
        raise LogError(f"{log} holds no truth to draw")
    last = truths[-1]
    picture = np.full((SIDE, SIDE, 3), 250, np.uint8)

    def line(points: Float[Array, "n 2"], colour: tuple[int, int, int], thick: int) -> None:
        pixels = (np.asarray(points) - (last.x, last.y)) * (1, -1) * SIDE / (2 * REACH) + SIDE / 2
        cv2.polylines(picture, [np.round(pixels * 16).astype(np.int32)], False, colour, thick, cv2.LINE_AA, 4)

    def box(x: float, y: float, yaw: float, length: float, width: float, colour: tuple[int, int, int]) -> None:
        c, s = np.cos(yaw), np.sin(yaw)
        corners = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1), (1, 1)]) * (length / 2, width / 2)
        line(corners @ np.array([[c, s], [-s, c]]) + (x, y), colour, 2)

    if route is not None:
        line(route.points, ROUTE, 1)
    line(last.lane_path, LANE, 1)
    line(np.array([(t.x, t.y) for t in truths]), DRIVEN, 2)
    for a in last.actors:
        box(a.x, a.y, a.yaw, a.length, a.width, OTHER)
    box(last.x + CENTRE * np.cos(last.yaw), last.y + CENTRE * np.sin(last.yaw), last.yaw, LENGTH, WIDTH, OURS)
    line(np.array([(last.x - 40, last.y - 42), (last.x - 20, last.y - 42)]), (0, 0, 0), 2)
    return picture


def entry(row: dict, pictures: Path) -> str:
    """One failed drive as Markdown; its map is drawn if its log is there."""
    job = row["job"]
    where = f"{job['town']} town" if "town" in job else f"map {job['map']}"
    text = f"**{job['seed']}**, {where}: {row.get('error') or row.get('reason') or 'no reason was told'}"
    if "route_completion" in row:
        text += f"; {row['route_completion']:.0%} of the route, {row['distance']:.0f} m driven in {row['seconds']:.0f} s"
    if row.get("infractions"):
        text += "; " + ", ".join(f"{kind} {n}" for kind, n in row["infractions"].items())
    if "place" in row:
        text += f"; ended at x {row['place'][0]:.0f}, y {row['place'][1]:.0f} m"
    if row.get("log"):
        text += f"; log `{row['log']}`"
        try:
            picture = map_of(Path(row["log"]))
        except LogError as error:
            return f"- {text} (no map: {error})"
        name = f"{Path(row['log']).stem.replace(' ', '-')}.webp"
        pictures.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(pictures / name), picture[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, QUALITY])
        text += f"\n\n  ![the end of seed {job['seed']}]({pictures.name}/{name})"
    return f"- {text}"


def page(reports: list[Path], pictures: Path) -> str:
    """The whole page."""
    parts = ["# Failed drives\n\nMade by `python dev/failures.py` from the reports named."]
    parts += ["Why each one failed is said in dev/LOG.md, where it was looked into."]
    for path in reports:
        report = json.loads(path.read_text())
        failed = [row for row in report["rows"] if not row.get("success")]
        head = f"\n## {path.stem}: {len(failed)} of {len(report['rows'])} failed\n\n"
        head += f"`{report['command']}`  \n{report['date']}, commit {report['commit']}\n"
        parts += [head, *(entry(row, pictures) for row in failed)]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    if len(sys.argv) < 2 or not all(Path(name).is_file() for name in sys.argv[1:]):
        sys.exit("name the JSON reports of `nanopilot evaluate routes`")
    out = FOLDER / "failures.md"
    out.write_text(page([Path(name) for name in sys.argv[1:]], FOLDER / "failures"))
    print(out)
