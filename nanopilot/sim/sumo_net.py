"""A town's road network: made by SUMO's netgenerate from a seed, or read from a file through its netconvert.

In: "grid", "spider" or "random" and a seed, or a .net.xml, OpenStreetMap (.osm) or OpenDRIVE (.xodr) file. Out: a `Net`: lanes, junctions
and connections as plain data, metres, y north. A made-up town has one lane a direction; half of its junctions have traffic lights, the
others stop signs, yield signs or right before left, by the seed. Sidewalks and crossings are SUMO's guesses. Right-hand traffic only.
It has no traffic and draws nothing. SUMO: Alvarez Lopez et al. 2018, "Microscopic Traffic Simulation using SUMO".
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import psutil
from jaxtyping import Float

Array = np.ndarray

TOWNS = {
    "grid": ["--grid", "--grid.number=5", "--grid.length=150"],
    "spider": ["--spider", "--spider.arm-number=6", "--spider.circle-number=3", "--spider.space-radius=140", "--spider.omit-center=true"],
    "random": ["--rand", "--rand.iterations=30", "--rand.min-distance=110", "--rand.max-distance=200", "--rand.min-angle=60"],
}
FORMATS = {".osm": "--osm-files", ".xodr": "--opendrive-files", ".xml": "--sumo-net-file", ".gz": "--sumo-net-file"}
LANE_WIDTH = 3.5  # m
CORNER = 8.0  # m, radius of the kerb: German RASt 06 has 8 to 10 m where lorries turn
SIDEWALK = 2.5  # m, RASt 06
JUNCTIONS = ("traffic_light", "traffic_light", "traffic_light", "priority_stop", "allway_stop", "priority")  # as often as they stand here
LIMITS = (30, 50, 50)  # km/h, by street
KPH = 1 / 3.6
TIMEOUT = 300.0  # s, of SUMO's tools
FOLDER = "nanopilot-town-"  # and the process that made it


class TownError(ValueError):
    """No town can be made of what was given."""


@dataclass(frozen=True)
class NetLane:
    """One lane for vehicles; index 0 is the rightmost, as in SUMO."""

    id: str
    edge: str
    index: int
    width: float
    speed: float  # m/s, its limit
    shape: Float[Array, "n 2"]


@dataclass(frozen=True)
class NetLink:
    """A way through a junction: from a lane's end to another lane's start."""

    source: str  # lane ids
    target: str
    shape: Float[Array, "n 2"]
    width: float
    turn: str  # SUMO's: s straight, l left, r right, L and R half, t back
    light: str  # id of the traffic light, '' for none
    light_index: int
    right_of_way: str  # SUMO's state: M goes first, m or = yields, s stops, w all-way stop, o a light
    internal: tuple[str, ...]  # SUMO's lanes inside the junction


@dataclass(frozen=True)
class Net:
    lanes: dict[str, NetLane]
    links: tuple[NetLink, ...]
    edges: dict[str, tuple[str, str]]  # road id -> its junctions, from and to
    junctions: dict[str, Float[Array, "n 2"]]  # outlines
    walks: tuple[tuple[Float[Array, "n 2"], float], ...]  # sidewalks: middle line, width
    walk_areas: tuple[Float[Array, "n 2"], ...]
    crossings: tuple[tuple[Float[Array, "n 2"], float], ...]


def tool(name: str) -> str:
    """SUMO's program of that name. Raises TownError when it isn't installed."""
    try:
        import sumo
    except ModuleNotFoundError as error:
        raise TownError("towns need SUMO: pip install 'nanopilot[town]'") from error
    return str(Path(sumo.SUMO_HOME) / "bin" / name)


def _run(name: str, *options: str) -> None:
    done = subprocess.run([tool(name), *options], capture_output=True, text=True, timeout=TIMEOUT)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.startswith("Error")]
        raise TownError(f"{name}: {(lines or done.stderr.splitlines() or ['failed'])[0]}")


def check(town: str) -> None:
    """Raises TownError for an unknown name or a missing file."""
    if town in TOWNS:
        return
    if Path(town).suffix not in FORMATS:
        raise TownError(f"unknown town {town!r}: {', '.join(TOWNS)}, or a file ending in .net.xml, .osm or .xodr")
    if not Path(town).is_file():
        raise TownError(f"no such file: {town}")


def make_net(town: str, seed: int, folder: Path) -> Path:
    """The .net.xml of a town, in `folder`. Raises TownError for an unknown name, a missing file or one netconvert can't read."""
    out = folder / "town.net.xml"
    common = ["--sidewalks.guess", "--crossings.guess", f"--default.sidewalk-width={SIDEWALK}", "--no-turnarounds", "--no-warnings",
              "--junctions.corner-detail=6", f"--output-file={out}"]  # fmt: skip
    if town in TOWNS:
        plain = folder / "plain"
        _run("netgenerate", *TOWNS[town], f"--seed={seed}", f"--default.lanewidth={LANE_WIDTH}", f"--plain-output-prefix={plain}",
             "--no-turnarounds", "--no-warnings")  # fmt: skip
        _decide(plain, np.random.default_rng([seed, 0x70E]))
        _run("netconvert", f"--node-files={plain}.nod.xml", f"--edge-files={plain}.edg.xml", f"--default.junctions.radius={CORNER}",
             "--tls.default-type=static", "--tls.yellow.time=3", "--tls.cycle.time=50", *common)  # fmt: skip
        return out
    check(town)
    path = Path(town)
    if path.suffix in (".xml", ".gz"):
        return path
    guesses = ["--geometry.remove", "--ramps.guess", "--junctions.join", "--tls.guess-signals", "--tls.discard-simple", "--tls.join",
               f"--default.junctions.radius={CORNER / 2}"]  # fmt: skip
    _run("netconvert", FORMATS[path.suffix], str(path), "--keep-edges.components=1", "--keep-edges.by-vclass=passenger", *guesses, *common)
    return out


def _decide(plain: Path, rng: np.random.Generator) -> None:
    """Junction kinds, main streets and limits, written into netgenerate's plain files."""
    nodes, edges = (ElementTree.parse(f"{plain}.{kind}.xml") for kind in ("nod", "edg"))
    place = {}
    degree: dict[str, int] = {}
    for edge in edges.iter("edge"):
        degree[edge.get("from")] = degree.get(edge.get("from"), 0) + 1
    for node in nodes.iter("node"):
        place[node.get("id")] = float(node.get("x")), float(node.get("y"))
        node.set("type", str(rng.choice(JUNCTIONS)) if degree.get(node.get("id"), 0) > 2 else "priority")
    drawn: dict[frozenset, int] = {}
    for edge in edges.iter("edge"):
        ends = edge.get("from"), edge.get("to")
        dx, dy = np.subtract(place[ends[1]], place[ends[0]])
        limit = drawn.setdefault(frozenset(ends), int(rng.choice(LIMITS)))
        edge.set("priority", "3" if abs(dx) > abs(dy) else "1")  # one way across is the main street
        edge.set("speed", f"{limit * KPH:.4f}")
    nodes.write(f"{plain}.nod.xml")
    edges.write(f"{plain}.edg.xml")


def _shape(text: str) -> Float[Array, "n 2"]:
    return np.array([[float(c) for c in point.split(",")[:2]] for point in text.split()])


def _vehicles(lane: ElementTree.Element) -> bool:
    allow, disallow = lane.get("allow"), lane.get("disallow", "")
    return "passenger" in allow.split() if allow is not None else "passenger" not in disallow.split() and disallow != "all"


def read_net(path: Path) -> Net:
    """Parse a .net.xml (or .net.xml.gz). Raises TownError for another kind of file, left-hand traffic, or one without roads."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            root = ElementTree.parse(file).getroot()
    except (ElementTree.ParseError, gzip.BadGzipFile) as error:
        raise TownError(f"{path} is no SUMO network: {error}") from error
    if root.tag != "net":
        raise TownError(f"{path} is no SUMO network: its root is <{root.tag}>")
    if root.get("lefthand") in ("true", "1"):
        raise TownError(f"{path} has left-hand traffic, which nanopilot can't drive")
    lanes, edges, walks, areas, crossings, inside = {}, {}, [], [], [], {}
    for edge in root.iter("edge"):
        function = edge.get("function", "normal")
        for lane in edge.iter("lane"):
            shape, width = _shape(lane.get("shape")), float(lane.get("width", 3.2))
            if function == "crossing":
                crossings.append((shape, width))
            elif function == "walkingarea":
                areas.append(shape)
            elif function == "internal":
                inside[lane.get("id")] = shape, width
            elif function != "normal":
                continue
            elif _vehicles(lane):
                lanes[lane.get("id")] = NetLane(
                    lane.get("id"), edge.get("id"), int(lane.get("index")), width, float(lane.get("speed")), shape
                )
                edges[edge.get("id")] = edge.get("from"), edge.get("to")
            elif "pedestrian" in lane.get("allow", ""):
                walks.append((shape, width))
    if not lanes:
        raise TownError(f"{path} has no road for cars")
    onward = {}  # of a lane inside a junction: the connection out of it
    for c in root.iter("connection"):
        if c.get("from").startswith(":"):
            onward[f"{c.get('from')}_{c.get('fromLane')}"] = c.get("via")
    links = []
    for c in root.iter("connection"):
        source, target, via = f"{c.get('from')}_{c.get('fromLane')}", f"{c.get('to')}_{c.get('toLane')}", c.get("via")
        if source not in lanes or target not in lanes:
            continue
        parts, names = [lanes[source].shape[-1:]], []
        while via in inside and via not in names:
            parts.append(inside[via][0])
            names.append(via)
            via = onward.get(via)
        shape = np.concatenate([*parts, lanes[target].shape[:1]])
        links.append(NetLink(source, target, shape, lanes[source].width, c.get("dir"), c.get("tl", ""), int(c.get("linkIndex", -1)),
                             c.get("state"), tuple(names)))  # fmt: skip
    junctions = {j.get("id"): _shape(j.get("shape")) for j in root.iter("junction") if j.get("type") != "internal" and j.get("shape")}
    return Net(lanes, tuple(links), edges, {k: v for k, v in junctions.items() if len(v) > 2}, tuple(walks), tuple(areas), tuple(crossings))


def town_net(town: str, seed: int) -> tuple[Net, Path, tempfile.TemporaryDirectory]:
    """The net, its file, and the folder it lives in until that is cleaned up."""
    _sweep()
    folder = tempfile.TemporaryDirectory(prefix=f"{FOLDER}{os.getpid()}-")
    try:
        path = make_net(town, seed, Path(folder.name))
        return read_net(path), path, folder
    except Exception:
        folder.cleanup()
        raise


def _sweep() -> None:
    """Remove the folders of towns whose process was killed before it could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*-*"):
        process = folder.name.removeprefix(FOLDER).partition("-")[0]
        if process.isdigit() and not psutil.pid_exists(int(process)):
            shutil.rmtree(folder, ignore_errors=True)
