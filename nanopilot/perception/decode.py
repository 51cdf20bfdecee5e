"""The network's output tensors -> Percept: image space lifted to metres by the camera's calibration. Numpy only.

In: the ten arrays named by heads.OUTPUTS (one frame, batch axis removed), the level camera they were seen through, and the picture, for
the paint's form and colour. Out: lane lines, path, objects, scene, road edges, free distance. The road is a plane. An object's bearing
comes from the column of its footprint's centre; its distance is told twice, by the network, which knows sizes, and by where the box
touches the road, and weighed by their doubts (Kalman's static case); people's boxes then reach down to
their `feet`. It keeps nothing between frames: filtering is the world stage's work.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from nanopilot.geometry import MODEL_FOCAL, camera_from_vehicle, looks_aside, road_from_image
from nanopilot.messages import CameraModel, Detection, Kind, LaneLine, PaintColour, PaintForm, PathProposal, Percept, RoadEdge, SceneClass
from nanopilot.perception import heads
from nanopilot.perception.feet import FeetConfig, on_their_feet
from nanopilot.perception.paint import paint
from nanopilot.perception.people import PeopleConfig, believed

Array = np.ndarray

SMALL, LARGE = 3.0, 5.0  # cells across and high between which a box comes to be read between cells (still pictures of tuning seed 2000)


@dataclass(frozen=True)
class Config:
    """Thresholds (chosen on the tuning seeds by nanopilot.evaluate.perception) and floors of the stated uncertainty."""

    line_row: float = 0.5  # least existence probability of a row that is kept
    line_rows: int = 4  # a line's probability is the mean of its this many surest rows, and it has at least as many
    line_std: float = 0.03  # m, floor of y_std: paint's own width and road unevenness
    score: float = 0.4  # least object score
    overlap: float = 0.55  # IoU above which the weaker of two boxes of one kind is dropped
    bearing_std: float = 0.006  # rad, floor: 1.5 px of 256
    aside_std: float = 0.5  # m: the footprint's centre is told sideways no better, near or far (measured on the tuning seeds)
    cut_margin: float = 0.25  # widths of a box from the picture's side within which that side cuts it: large boxes end 10 to 20 px short
    cut_overlap: float = 0.3  # the same as `overlap` of the weaker box if it is cut: one body beside us was told twice
    cut: tuple[float, float] = (1.0, 0.3)  # body lengths by which the centre of who is cut is told worse, across the ray and along it:
    # with less, parked cars drove off beside us, into our way (tuning towns 3001 to 3005)
    contact_rows: float = 2.0  # px of the model camera, std of where a box meets the road: tuning frames want 3, KITTI 1.5
    contact_share: float = 0.08  # of the distance, std: the road is no plane, pitch errs by a third of a degree (tuning frames); times the
    # zoom: through the narrow camera boxes end too high, by 2 to 21 % of the distance, another share every few metres (tuning seed 2000)
    contact_gate: float = 3.0  # standard deviations of both beyond which the contact is not believed (hidden foot, hill)
    edge_rows: int = 6  # least rows of a road edge
    edge_std: float = 0.1  # m, floor
    edge_near: float = 3.0  # m: nearer rows see too little of the road's width
    valid: float = 0.5  # least confidence of a usable picture
    roof: float = 120.0  # m, largest free distance
    feet: FeetConfig = FeetConfig()
    people: PeopleConfig = PeopleConfig()


@lru_cache(maxsize=8)
def _rays(camera: CameraModel) -> tuple[Array, Array]:
    """Of every lane row and column: the road's depth (n rows,) and of every scene row: the distance from the camera (rows, columns)."""
    row_points = road_from_image(camera, np.stack([np.full(len(heads.ROWS), camera.cx), heads.ROWS], -1))
    return row_points[:, 0] - camera.x, _scene_rays(camera)[1]


@lru_cache(maxsize=8)
def _scene_rays(camera: CameraModel) -> tuple[Array, Array]:
    """Of every scene row: the road's depth (rows,), NaN above the horizon; of every cell: its distance (rows, columns)."""
    h, w = camera.height // heads.SCENE_STRIDE, camera.width // heads.SCENE_STRIDE
    v, u = np.mgrid[0:h, 0:w] * heads.SCENE_STRIDE + (heads.SCENE_STRIDE - 1) / 2
    ground = road_from_image(camera, np.stack([u.ravel(), v.ravel()], -1)) - (camera.x, camera.y)
    return ground[:, 0].reshape(h, w)[:, w // 2], np.hypot(*ground.T).reshape(h, w)


Rows = Float32[Array, "4 39"]


def lane_lines(
    u: Rows, exists: Rows, std: Rows, camera: CameraModel, config: Config, image: UInt8[Array, "h w 3"] | None = None
) -> tuple[LaneLine, ...]:
    """Row-wise columns -> lines on the road, near to far, with their paint if the picture is given."""
    depth, _ = _rays(camera)
    lines = []
    for k, side in enumerate(heads.SIDES):
        seen = (exists[k] > config.line_row) & (depth > 0)
        if seen.sum() < config.line_rows:
            continue
        rows = np.flatnonzero(seen)[::-1]  # nearest first
        pixels = np.stack([u[k, rows], heads.ROWS[rows]], -1)
        y_std = np.hypot(std[k, rows] * depth[rows] / camera.fx, config.line_std)
        surest = np.sort(exists[k, rows])[-config.line_rows :]
        form, colour = (PaintForm.UNKNOWN, PaintColour.UNKNOWN) if image is None else paint(image, pixels[::-1])
        lines.append(
            LaneLine(
                side=side,
                probability=float(surest.mean()),
                image_points=pixels.astype(np.float32),
                points=road_from_image(camera, pixels).astype(np.float32),
                y_std=y_std.astype(np.float32),
                form=form,
                colour=colour,
            )
        )
    return tuple(lines)


def _suppress(boxes: Float32[Array, "n 4"], overlap: Float[Array, " n"]) -> Bool[Array, " n"]:
    """Greedy non-maximum suppression; boxes come by falling score, `overlap` is what each may share with a surer one."""
    keep = np.ones(len(boxes), bool)
    area = np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(1)
    for i in range(len(boxes)):
        if keep[i]:
            size = np.minimum(boxes[i, 2:], boxes[i + 1 :, 2:]) - np.maximum(boxes[i, :2], boxes[i + 1 :, :2])
            shared = np.maximum(size, 0).prod(1)
            keep[i + 1 :] &= shared / (area[i] + area[i + 1 :] - shared + 1e-6) < overlap[i + 1 :]
    return keep


def at_centre(box: Float32[Array, "11 h w"], row: Int[Array, " n"], column: Int[Array, " n"]) -> Float32[Array, "11 n"]:
    """Boxes of these cells, large ones read between the four cells around their own centres, still relative to these cells.

    A cell is taught who has his centre in it or, being large, near it, so what it says jumps where a centre moves on. A small box is left
    as it is: the cells around its centre were taught the background, and would have it farther away.
    """
    raw = box[:, row, column]
    peak = np.stack([row, column])
    last = np.array(box.shape[1:])[:, None] - 1
    inside = np.clip((raw[[3, 2]] - raw[[1, 0]]) / 2, -1.0, 1.0)  # (row, column) of the centre, from the cell's; it is trusted no farther
    centre = np.clip(peak + inside, 0, last)
    low = np.minimum(centre.astype(int), np.maximum(last - 1, 0))
    share, out = centre - low, np.zeros_like(raw)
    for step in ((0, 0), (0, 1), (1, 0), (1, 1)):
        cell = np.minimum(low + np.array(step)[:, None], last)
        weight = np.prod(np.where(np.array(step)[:, None], share, 1 - share), axis=0)
        there, (down, right) = box[:, cell[0], cell[1]].copy(), cell - peak
        there[[1, 3]] += np.stack([-down, down])
        there[[0, 2, heads.FOOT_U]] += np.stack([-right, right, right])
        out += weight * there
    size = np.minimum(raw[0] + raw[2], raw[1] + raw[3])
    smooth = np.clip((size - SMALL) / (LARGE - SMALL), 0.0, 1.0)
    return (raw + smooth * (out - raw)).astype(np.float32)


def objects(outputs: dict[str, Array], camera: CameraModel, config: Config) -> tuple[Detection, ...]:
    """Peaks of the heat maps -> detections on the road, surest first. People from `people.least` on: whether they are, `believed` says."""
    found = []
    rotation, _ = camera_from_vehicle(camera)
    zoom = camera.fx / MODEL_FOCAL  # what a longer lens shows as large as the model camera is so much farther away
    heat: Float32[Array, "3 h w"] = outputs["heat"]
    for k, kind in enumerate(heads.KINDS):
        box: Float32[Array, "11 h w"] = outputs["box" if kind == Kind.VEHICLE else "people"]
        row, column = np.nonzero(heat[k] > (config.score if kind == Kind.VEHICLE else min(config.score, config.people.least)))
        if not len(row):
            continue
        order = np.argsort(-heat[k, row, column])
        row, column = row[order], column[order]
        raw = at_centre(box, row, column)
        centre = np.stack([column, row]) * heads.GRID_STRIDE + (heads.GRID_STRIDE - 1) / 2
        sides = np.concatenate([centre - heads.GRID_STRIDE * raw[:2], centre + heads.GRID_STRIDE * raw[2:4]]).T.astype(np.float32)  # (n, 4)
        margin = np.maximum(config.cut_margin * (sides[:, 2] - sides[:, 0]), heads.GRID_STRIDE)
        beyond = (sides[:, 0] < margin) | (sides[:, 2] > camera.width - margin)
        keep = _suppress(sides, np.where(beyond, config.cut_overlap, config.overlap))
        foot = centre[0] + heads.GRID_STRIDE * raw[heads.FOOT_U]
        ray = np.stack([(foot - camera.cx) / camera.fx, np.zeros(len(foot)), np.ones(len(foot))], -1) @ rotation  # vehicle axes
        bearing = np.arctan2(ray[:, 1], ray[:, 0])
        aside = np.arctan2(foot - camera.cx, MODEL_FOCAL)  # the bearing it would have in the model camera, for which distances are learnt
        turned = np.arctan2(raw[heads.SIN], raw[heads.COS])
        yaw = bearing + turned
        depth_of_body = (np.abs(np.cos(turned)) * np.exp(raw[9]) + np.abs(np.sin(turned)) * np.exp(raw[10])) / 2
        middle = np.exp(raw[4])  # of the footprint; it is the near end that a longer lens brings nearer
        distance = (zoom * middle - (zoom - 1) * np.minimum(depth_of_body, middle)) * np.cos(aside) / np.cos(bearing - camera.yaw)
        spread = distance * np.exp(raw[5]) * np.sqrt(2.0)  # Laplace scale of the logarithm -> standard deviation
        distance, spread = with_contact(distance, spread, foot, sides[:, 3], depth_of_body, camera, config)
        across, along = (share * beyond * np.exp(raw[9]) for share in config.cut)
        aside_std, spread = np.hypot(config.aside_std, across), np.hypot(spread, along)
        for i in np.flatnonzero(keep):
            found.append(
                Detection(
                    kind=kind,
                    score=float(heat[k, row[i], column[i]]),
                    box=sides[i],
                    position=np.array(
                        [camera.x + distance[i] * np.cos(bearing[i]), camera.y + distance[i] * np.sin(bearing[i])], np.float32
                    ),
                    yaw=float((yaw[i] + np.pi) % (2 * np.pi) - np.pi),
                    length=float(np.exp(raw[9, i])),
                    width=float(np.exp(raw[10, i])),
                    distance=float(distance[i]),
                    distance_std=float(spread[i]),
                    bearing_std=float(np.hypot(config.bearing_std, aside_std[i] / distance[i])),
                )
            )
    return tuple(sorted(found, key=lambda d: -d.score))


def with_contact(
    distance: Array, spread: Array, foot: Array, bottom: Array, half_depth: Array, camera: CameraModel, config: Config
) -> tuple[Array, Array]:
    """Distances and their std, corrected by where each box's bottom row (px) meets the road, half a body before the footprint's centre."""
    ground = road_from_image(camera, np.stack([foot, bottom], -1).astype(float)) - (camera.x, camera.y)
    contact = np.hypot(ground[:, 0], ground[:, 1])
    row = contact**2 / (camera.fy * camera.z) * config.contact_rows * camera.fy / MODEL_FOCAL
    doubt = np.hypot(row, config.contact_share * max(camera.fx / MODEL_FOCAL, 1.0) * contact)
    told = contact + half_depth
    cut = bottom >= camera.height - heads.GRID_STRIDE  # its foot may be below the picture
    near = np.abs(told - distance) < config.contact_gate * np.hypot(doubt, spread)  # False for NaN
    gain = np.where(near & ~cut, spread**2 / (spread**2 + doubt**2), 0.0)
    return distance + gain * np.where(near, told - distance, 0.0), spread * np.sqrt(1 - gain)


def road_edges(scene: UInt8[Array, "h w"], camera: CameraModel, config: Config) -> tuple[RoadEdge, ...]:
    """Where the road right ahead of us ends to each side, row by row from near to far; cells of the picture's own edge are none."""
    depth, _ = _scene_rays(camera)
    drivable = (scene == SceneClass.ROAD) | (scene == SceneClass.MARKING)
    last = scene.shape[1] - 1
    middle = int(np.clip(round(camera.cx / heads.SCENE_STRIDE), 0, last))
    found: dict[int, list[tuple[int, int]]] = {-1: [], 1: []}
    for row in range(len(scene) - 1, -1, -1):
        if not np.isfinite(depth[row]) or not drivable[row, middle]:
            break  # the horizon, or something stands before us
        cells = drivable[row].tobytes()  # searched as text: several times faster than as an array
        low = cells.rfind(b"\0", 0, middle) + 1
        high = end - 1 if (end := cells.find(b"\0", middle)) >= 0 else last
        if low > 0:
            found[-1].append((low, row))
        if high < last:
            found[1].append((high, row))
        middle = (low + high) // 2
    edges = []
    for side, ends in found.items():
        border = np.array(ends, float).reshape(-1, 2) + ((side + 1) / 2, 0.5)  # in cells: the outer side of the last drivable one
        pixels = heads.SCENE_STRIDE * border - 0.5
        points = road_from_image(camera, pixels) if len(pixels) else pixels
        keep = np.isfinite(points).all(1) & (points[:, 0] - camera.x > config.edge_near) & (points[:, 0] < config.roof)
        if keep.sum() >= config.edge_rows:
            points, pixels = points[keep], pixels[keep]
            std = np.hypot(heads.SCENE_STRIDE / 2 * (points[:, 0] - camera.x) / camera.fx, config.edge_std)
            edges.append(RoadEdge(side, pixels.astype(np.float32), points.astype(np.float32), std.astype(np.float32)))
    return tuple(edges)


def free_distance(scene: UInt8[Array, "h w"], camera: CameraModel, config: Config) -> Float32[Array, " w"]:
    """From the bottom of each column up to the first cell that is not road: its distance on the ground."""
    _, ground = _rays(camera)
    free = ((scene == SceneClass.ROAD) | (scene == SceneClass.MARKING))[::-1]  # nearest first
    blocked = ~free
    first = np.where(blocked.any(0), blocked.argmax(0), len(scene) - 1)
    reach = np.nan_to_num(ground[::-1], nan=config.roof)[np.maximum(first - 1, 0), np.arange(scene.shape[1])]
    return np.where(first == 0, 0.0, np.minimum(reach, config.roof)).astype(np.float32)


def decode(
    outputs: dict[str, Array], t: float, camera: CameraModel, name: str, config: Config, image: UInt8[Array, "h w 3"] | None = None
) -> Percept:
    """All heads of one frame. An unusable picture (low confidence, or a non-finite output) says nothing but that.

    `camera` is the model camera the network saw through, `image` what it saw, `name` the camera the frame came from.
    """
    finite = all(np.isfinite(a).all() for a in outputs.values() if a.dtype.kind == "f")
    confidence = float(outputs["confidence"]) if finite else 0.0
    scene = outputs["scene"]
    if confidence < config.valid:
        blind = np.zeros(scene.shape[1], np.float32)
        return Percept(t, name, (), None, (), scene, blind, confidence, valid=False)
    found, doubtful = believed(objects(outputs, camera, config), scene, config.score, config.people)
    found, doubtful = (on_their_feet(part, scene, camera, config.feet) for part in (found, doubtful))
    if looks_aside(camera):  # lanes, path and free road are told of the way ahead alone
        blind = np.zeros(scene.shape[1], np.float32)
        return Percept(t, name, (), None, found, scene, blind, confidence, valid=True, doubtful=doubtful)
    return Percept(
        t=t,
        camera=name,
        lanes=lane_lines(outputs["lane_u"], outputs["lane_exists"], outputs["lane_scale"], camera, config, image),
        path=PathProposal((outputs["path"] * (camera.fx / MODEL_FOCAL, 1.0)).astype(np.float32), outputs["path_std"]),
        objects=found,
        scene=scene,
        free_distance=free_distance(scene, camera, config),
        confidence=confidence,
        valid=True,
        edges=road_edges(scene, camera, config),
        doubtful=doubtful,
    )
