"""Own speed as somebody else recorded it: a table, a GPS track, or what a car answered on its diagnosis socket.

In: a file, told apart by how it begins: CSV (t in s, speed in m/s, perhaps yaw_rate in rad/s), GPX (speeds where it has them, else from
positions), NMEA 0183 (RMC sentences), or `candump -L` of OBD-II's vehicle speed. Out: a SpeedTable. A CSV's t counts from the video's first
picture; of the others the first entry is t = 0, and `later` says at which second of the video that was. Between entries far apart, and
outside, speed is unknown. Sources: GPX 1.1 and Garmin's TrackPointExtension; NMEA 0183; SAE J1979 mode 1, PID 0x0D (all second-hand).
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from itertools import pairwise
from math import asin, cos, hypot, inf, radians, sin
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from nanopilot.bodies.sources import SourceError
from nanopilot.messages import UNKNOWN_SPEED_STD, CarState

KPH, KNOT = 1 / 3.6, 1852 / 3600  # m/s
EARTH = 6_371_000.0  # m, mean radius
SPEED_STD = 0.3  # m/s, guess: a GPS receiver's, or one step of OBD-II's whole km/h
POSITION_SPEED_STD = 0.7  # m/s, guess: of two positions a second apart
YAW_RATE_STD = 0.02  # rad/s, guess
UNKNOWN_YAW_RATE_STD = 0.1  # rad/s
LONGEST = 3.0  # s between entries of a track, guess: tunnels and lost answers are longer
OBD_SPEED = re.compile(r"\((\d+\.\d+)\)\s+\S+\s+(?:7E[89A-F]|18DAF1[0-9A-F]{2})#03410D([0-9A-F]{2})", re.IGNORECASE)

Rows = list[tuple[float, float]]  # (t, speed)


@dataclass(frozen=True)
class SpeedTable:
    """Own speed over time: t ascending (s), speed (m/s), yaw rate (rad/s) or None."""

    source: str  # as OwnMotion's
    t: np.ndarray
    speed: np.ndarray
    yaw_rate: np.ndarray | None = None
    speed_std: float = SPEED_STD
    longest: float = inf  # s between entries, over which nothing is known

    def at(self, t: float) -> CarState:
        """Interpolated; unknown outside the table and in its gaps."""
        k = int(np.searchsorted(self.t, t))
        if not self.t[0] <= t <= self.t[-1] or (self.t[k] > t and self.t[k] - self.t[k - 1] > self.longest):
            return unknown(t)
        speed = float(np.interp(t, self.t, self.speed))
        yaw_rate = 0.0 if self.yaw_rate is None else float(np.interp(t, self.t, self.yaw_rate))
        std = UNKNOWN_YAW_RATE_STD if self.yaw_rate is None else YAW_RATE_STD
        return CarState(t, speed, 0.0, yaw_rate, 0.0, speed_std=self.speed_std, yaw_rate_std=std)


def unknown(t: float) -> CarState:
    """Nobody told."""
    return CarState(t, 0.0, 0.0, 0.0, 0.0, speed_std=UNKNOWN_SPEED_STD, yaw_rate_std=UNKNOWN_YAW_RATE_STD)


def read_speeds(path: Path, later: float = 0.0) -> SpeedTable:
    """The file's speeds, `later` s after the video's first picture. Raises SourceError for what is none of these."""
    try:
        text = path.read_text(encoding="utf-8-sig").lstrip()
    except UnicodeDecodeError as error:
        raise SourceError(f"{path} is no table: {error}") from error
    match text[:1]:
        case "<":
            return _track(path, "gpx", *_gpx(path, text), later)
        case "$" | "!":
            return _track(path, "nmea", _nmea(text), SPEED_STD, later)
        case "(":
            rows = [(float(m[1]), int(m[2], 16) * KPH) for m in OBD_SPEED.finditer(text)]
            return _track(path, "can", rows, SPEED_STD, later)
    return _csv(path, text, later)


def _csv(path: Path, text: str, later: float) -> SpeedTable:
    try:
        rows = list(csv.DictReader(text.splitlines(), skipinitialspace=True))
        if not rows or not {"t", "speed"} <= set(rows[0]):
            raise SourceError(f"{path} needs a header with t and speed (s, m/s), perhaps yaw_rate (rad/s), and rows")
        names = [n for n in ("t", "speed", "yaw_rate") if n in rows[0]]
        columns = {n: np.array([float(r[n]) for r in rows]) for n in names}
    except (TypeError, csv.Error) as error:
        raise SourceError(f"{path} is no table: {error}") from error
    except ValueError as error:
        raise error if isinstance(error, SourceError) else SourceError(f"{path}: {error}") from error
    if not all(np.isfinite(c).all() for c in columns.values()) or (np.diff(columns["t"]) <= 0).any():
        raise SourceError(f"{path}: every number must be finite and t must rise from row to row")
    return SpeedTable("csv", columns["t"] + later, columns["speed"], columns.get("yaw_rate"))


def _track(path: Path, source: str, rows: Rows, std: float, later: float) -> SpeedTable:
    """Without what goes back in time, from the first entry on."""
    kept: Rows = []
    for t, speed in rows:
        if np.isfinite(speed) and (not kept or t > kept[-1][0]):
            kept.append((t, speed))
    if len(kept) < 2:
        raise SourceError(f"{path} holds no speeds over time ({source})")
    t, speed = np.array(kept).T
    return SpeedTable(source, t - t[0] + later, speed, speed_std=std, longest=LONGEST)


def _gpx(path: Path, text: str) -> tuple[Rows, float]:
    """Rows and std."""
    points = []
    try:
        for point in (e for e in ElementTree.fromstring(text).iter() if _tag(e) == "trkpt"):
            told = {_tag(e): e.text or "" for e in point.iter()}
            speed = float(told["speed"]) if "speed" in told else None
            points.append((datetime.fromisoformat(told["time"]).timestamp(), float(point.attrib["lat"]), float(point.attrib["lon"]), speed))
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise SourceError(f"{path} is no GPX track with times: {error}") from error
    if any(speed is not None for *_, speed in points):
        return [(t, speed) for t, _, _, speed in points if speed is not None], SPEED_STD
    steps = [(a, b) for a, b in pairwise(points) if 0 < b[0] - a[0] <= LONGEST]
    return [((a[0] + b[0]) / 2, _way(a[1:3], b[1:3]) / (b[0] - a[0])) for a, b in steps], POSITION_SPEED_STD


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _way(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Metres between two (latitude, longitude) in degrees (haversine)."""
    (p, m), (q, n) = ((radians(lat), radians(lon)) for lat, lon in (a, b))
    return 2 * EARTH * asin(min(1.0, hypot(sin((q - p) / 2), sin((n - m) / 2) * (cos(p) * cos(q)) ** 0.5)))


def _nmea(text: str) -> Rows:
    rows = []
    for line in text.splitlines():
        body, _, check = line.strip().removeprefix("$").partition("*")
        fields = body.split(",")
        whole = not check or check.upper() == f"{reduce(int.__xor__, body.encode(), 0):02X}"
        if whole and len(fields) > 9 and fields[0].endswith("RMC") and fields[2] == "A":
            try:
                day = datetime.strptime(f"{fields[9]}{fields[1][:6]}+0000", "%d%m%y%H%M%S%z").timestamp()
                rows.append((day + float(f"0{fields[1][6:]}"), float(fields[7]) * KNOT))
            except ValueError:
                continue  # a torn line
    return rows
