"""How right a Percept is, against a frame's label: numbers per frame, pooled into a table.

In: Percepts and labels (perception.labels). Out: `Score`, then `summary()`: path error across at several distances, split into lane and
junction; lane-line error and F1; vehicle recall and precision at IoU 0.5 and distance error; scene mIoU; confidence accuracy.
Every figure comes with its count; medians and 95th percentiles are over frames (or lines, or objects), not over maps.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from nanopilot.geometry import model_camera
from nanopilot.messages import PATH_ARC, Detection, Kind, Percept, SceneClass
from nanopilot.perception import heads
from nanopilot.perception.labels import OBJECT_FIELDS

Array = np.ndarray

PATH_DISTANCES = (4.0, 10.0, 21.0, 40.0)  # m, of PATH_ARC
LINE_DISTANCES = (10.0, 20.0, 30.0)  # m ahead of the rear axle
LINE_TOLERANCE = 0.25  # m: a line within it at 10 m is a hit
IOU = 0.5
NEAR = 40.0  # m
AT = {name: k for k, name in enumerate(OBJECT_FIELDS)}
CAMERA = model_camera()
DEPTH = CAMERA.z * CAMERA.fy / (heads.ROWS - CAMERA.cy)  # m, of the road at each lane row


def across(points: Array, truth: Array) -> Array:
    """Signed distance across the true path, left positive, of each point from its like, (16,)."""
    step = np.diff(truth, axis=0)
    step = np.concatenate([step, step[-1:]])
    step = step / np.maximum(np.linalg.norm(step, axis=1, keepdims=True), 1e-6)
    error = points - truth
    return step[:, 0] * error[:, 1] - step[:, 1] * error[:, 0]


def overlaps(a: Array, b: Array) -> Array:
    """IoU of every box of a (n, 4) with every box of b (m, 4)."""
    size = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    shared = np.maximum(size, 0).prod(-1)
    area = [(x[:, 2:] - x[:, :2]).prod(1) for x in (a, b)]
    return shared / np.maximum(area[0][:, None] + area[1][None] - shared, 1e-6)


def matched(percept: Percept, truth: Array, kind: Kind) -> tuple[Array, list[tuple[Detection, int | None]]]:
    """(the true rows of a kind; each detection of it, surest first, with the row it fits best, or None where none is left)."""
    real = truth[truth[:, AT["kind"]] == heads.KINDS.index(kind)]
    found = [d for d in percept.objects if d.kind is kind]
    iou = overlaps(np.array([d.box for d in found], np.float32).reshape(-1, 4), real[:, AT["u0"] : AT["v1"] + 1])
    taken, pairs = np.zeros(len(real), bool), list[tuple[Detection, int | None]]()
    for i, d in enumerate(found):
        j = int(np.argmax(np.where(taken, -1, iou[i]))) if len(real) else -1
        fits = j >= 0 and not taken[j] and iou[i, j] >= IOU
        taken[j if fits else slice(0)] = True
        pairs.append((d, j if fits else None))
    return real, pairs


@dataclass
class Score:
    """Grows frame by frame; `summary` reads it at any time."""

    path: list[tuple[Array, Array, bool, bool]] = field(default_factory=list)  # error (16,), stated std (16,), junction, bend
    lines: dict[float, list[float]] = field(default_factory=lambda: {d: [] for d in LINE_DISTANCES})
    line_hits: Array = field(default_factory=lambda: np.zeros((len(heads.SIDES), 3), int))  # found and right, found, there
    vehicles: list[tuple[float, float, float]] = field(default_factory=list)  # true distance, distance error, stated std
    bearings: list[float] = field(default_factory=list)
    yaws: list[float] = field(default_factory=list)
    found: Array = field(default_factory=lambda: np.zeros((2, 2), int))  # [within 40 m, farther], [there, found]
    claims: Array = field(default_factory=lambda: np.zeros(2, int))  # claimed vehicles, right ones
    people: Array = field(default_factory=lambda: np.zeros((2, 4), int))  # [persons, cyclists], [there and found to 40 m, claimed, right]
    confusion: Array = field(default_factory=lambda: np.zeros((len(SceneClass.NAMES), len(SceneClass.NAMES) + 1), np.int64))  # + not sure
    usable: Array = field(default_factory=lambda: np.zeros((2, 2), int))  # [unusable, usable], [said invalid, said valid]

    @staticmethod
    def pooled(scores: list[Score]) -> Score:
        """All frames of several scores as one; a score given twice counts twice."""
        out = Score()
        for s in scores:
            out.path += s.path
            out.vehicles += s.vehicles
            out.bearings += s.bearings
            out.yaws += s.yaws
            for distance, errors in s.lines.items():
                out.lines[distance] += errors
            for name in ("line_hits", "found", "claims", "people", "confusion", "usable"):
                setattr(out, name, getattr(out, name) + getattr(s, name))
        return out

    def add(self, percept: Percept, label: dict[str, Array]) -> None:
        """Judge one frame whose every head is labelled."""
        self.usable[int(label["usable"] > 0.5), int(percept.valid)] += 1
        if label["usable"] < 0.5 or not percept.valid or percept.path is None:
            return
        path = label["path"].astype(float)
        self.path.append((across(percept.path.points, path), percept.path.std, bool(label["junction"]), float(label["turn"]) > 0.17))
        self._lines(percept, label["lane_u"])
        objects = label["objects"][np.isfinite(label["objects"][:, 0])]
        self._vehicles(percept, objects)
        self._people(percept, objects)
        n = len(SceneClass.NAMES)
        pairs = (n + 1) * label["scene"].ravel().astype(int) + np.minimum(percept.scene.ravel(), n)
        self.confusion += np.bincount(pairs, minlength=n * (n + 1)).reshape(n, n + 1)

    def _lines(self, percept: Percept, truth: Array) -> None:
        at = _row(LINE_DISTANCES[0])
        for k, side in enumerate(heads.SIDES):
            line = next((line for line in percept.lanes if line.side == side), None)
            u = np.full(len(heads.ROWS), np.nan)
            if line is not None:
                rows = np.searchsorted(heads.ROWS, line.image_points[:, 1])
                u[rows] = line.image_points[:, 0]
            error = (u - truth[k]) * DEPTH / CAMERA.fx
            for distance in LINE_DISTANCES:
                e = error[_row(distance)]
                if np.isfinite(e):
                    self.lines[distance].append(float(e))
            found, there = np.isfinite(u[at]), np.isfinite(truth[k, at])
            self.line_hits[k] += (bool(found and there and abs(error[at]) < LINE_TOLERANCE), bool(found), bool(there))

    def _vehicles(self, percept: Percept, truth: Array) -> None:
        real, pairs = matched(percept, truth, Kind.VEHICLE)
        for car, j in pairs:
            if j is None:
                self.claims += (1, 0)
            elif not real[j, AT["ignore"]] > 0:
                self.claims += (1, 1)
                x, y = real[j, AT["x"]], real[j, AT["y"]]
                distance = float(np.hypot(x - CAMERA.x, y))
                self.vehicles.append((distance, car.distance - distance, car.distance_std))
                self.bearings.append(float(abs(np.arctan2(car.position[1], car.position[0] - CAMERA.x) - np.arctan2(y, x - CAMERA.x))))
                self.yaws.append(float(abs((car.yaw - real[j, AT["yaw"]] + np.pi) % (2 * np.pi) - np.pi)))
        taken = {j for _, j in pairs}
        for j in np.flatnonzero(real[:, AT["ignore"]] == 0).tolist():
            self.found[int(_away(real[j]) > NEAR)] += (1, int(j in taken))

    def _people(self, percept: Percept, truth: Array) -> None:
        for k, kind in enumerate((Kind.PERSON, Kind.CYCLIST)):
            real, pairs = matched(percept, truth, kind)
            meant = real[:, AT["ignore"]] == 0
            taken = {j for _, j in pairs if j is not None}
            near = [j for j in np.flatnonzero(meant).tolist() if _away(real[j]) <= NEAR]
            claims = [j for _, j in pairs if j is None or meant[j]]
            self.people[k] += (len(near), len(taken & set(near)), len(claims), len([j for j in claims if j is not None]))

    def summary(self) -> dict[str, float]:
        """Flat name -> figure; NaN where nothing was there to measure."""
        out: dict[str, float] = {"frames": float(self.usable.sum())}
        for name, wanted in (("lane", False), ("junction", True)):
            error = np.array([np.abs(e) for e, _, junction, _ in self.path if junction == wanted]).reshape(-1, len(PATH_ARC))
            out[f"path_{name}_n"] = float(len(error))
            for d in PATH_DISTANCES:
                column = error[:, int(np.argmin(np.abs(PATH_ARC - d)))]
                out[f"path_{name}_{d:.0f}m_median"] = _quantile(column, 0.5)
                out[f"path_{name}_{d:.0f}m_p95"] = _quantile(column, 0.95)
        bend = np.array([np.abs(e) for e, *_, turning in self.path if turning]).reshape(-1, len(PATH_ARC))
        out["path_bend_n"], out["path_bend_10m_median"] = float(len(bend)), _quantile(bend[:, 5], 0.5)
        if self.path:
            z = np.array([np.abs(e) / s for e, s, *_ in self.path])
            out["path_within_1std"] = float((z[:, 1:11] < 1).mean())  # Laplace: 0.76
        for d, errors in self.lines.items():
            out[f"line_{d:.0f}m_median"], out[f"line_{d:.0f}m_p95"] = _quantile(np.abs(errors), 0.5), _quantile(np.abs(errors), 0.95)
        for k, side in enumerate(heads.SIDES):
            right, found, there = self.line_hits[k]
            out[f"line_f1_{side:+d}"] = float(2 * right / max(found + there, 1))
        for k, name in enumerate(("40m", "80m")):
            out[f"vehicle_recall_{name}"] = float(self.found[k, 1] / max(self.found[k, 0], 1))
            out[f"vehicle_n_{name}"] = float(self.found[k, 0])
        out["vehicle_precision"] = float(self.claims[1] / max(self.claims[0], 1))
        for name, (there, found, claimed, right) in zip(("person", "cyclist"), self.people.tolist(), strict=True):
            out[f"{name}_recall_40m"], out[f"{name}_n_40m"] = found / max(there, 1), float(there)
            out[f"{name}_precision"] = right / max(claimed, 1)
        cars = np.array(self.vehicles).reshape(-1, 3)
        out["vehicle_distance_error_share"] = _quantile(np.abs(cars[:, 1]) / np.maximum(cars[:, 0], 1), 0.5)
        out["vehicle_distance_within_1std"] = float((np.abs(cars[:, 1]) < cars[:, 2]).mean()) if len(cars) else float("nan")
        out["vehicle_bearing_error_median"] = _quantile(self.bearings, 0.5)
        out["vehicle_bearing_error_p95"] = _quantile(self.bearings, 0.95)
        out["vehicle_yaw_error_median"] = _quantile(self.yaws, 0.5)
        union = self.confusion.sum(0)[:-1] + self.confusion.sum(1) - np.diag(self.confusion)
        seen = self.confusion.sum(1) > 0
        iou = np.diag(self.confusion) / np.maximum(union, 1)
        out["scene_miou"] = float(iou[seen].mean()) if seen.any() else float("nan")
        out["scene_iou_road"] = float(iou[SceneClass.ROAD])
        out["scene_iou_marking"] = float(iou[SceneClass.MARKING])
        for k, name in enumerate(("unusable", "usable")):
            out[f"{name}_recall"] = float(self.usable[k, k] / self.usable[k].sum()) if self.usable[k].any() else float("nan")
        return out


def _away(row: Array) -> float:
    """Metres from the rear axle to a true object."""
    return float(np.hypot(row[AT["x"]], row[AT["y"]]))


def _row(distance: float) -> int:
    """The lane row that lies nearest to a distance ahead of the rear axle."""
    return int(np.argmin(np.abs(DEPTH - (distance - CAMERA.x))))


def _quantile(values: Array | list[float], q: float) -> float:
    return float(np.quantile(values, q)) if len(values) else float("nan")
