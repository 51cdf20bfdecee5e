"""What a training frame is, in memory and on disk, whoever made it: our camera's drawings or a labelled real picture.

One `Label` per frame, arrays of fixed shape, pixels of the 512x256 model camera, metres in the vehicle frame. A head that a source
cannot label is marked in `known` and takes no part in the losses. On disk a shard is two files:
  <name>.jpgs   all pictures' JPEG bytes, one after another
  <name>.npz    `offset` (n + 1,) int64 into the .jpgs, and each Label field stacked to (n, ...)
The .npz is written last and renamed into place, so a shard that has one is whole.
Fields: scene (64, 128) uint8 SceneClass, or ANY_ROAD, NOT_ROAD where a set knows no more, 255 ignored · lane_u (4, 39) float32, the
column of line heads.SIDES[k] at heads.ROWS, NaN where there is none · path (16, 2) float32 at PATH_ARC · route (33,) float32, see
heads.route_vector · objects (40, 13) float32, OBJECT_FIELDS, rows of NaN after the last · usable: 1 a road picture, 0 not · known (5,)
bool, in the order of HEADS · junction: bool, own lane unpainted here, for metrics · turn: rad, largest heading change over the path's
first 25 m, for metrics.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from nanopilot.geometry import image_from_vehicle
from nanopilot.messages import CameraModel, SceneClass
from nanopilot.perception import heads

Array = np.ndarray

HEADS = ("scene", "lanes", "path", "objects", "confidence")
OBJECT_FIELDS = ("kind", "u0", "v0", "u1", "v1", "foot_u", "x", "y", "yaw", "bearing", "length", "width", "ignore")
MAX_OBJECTS = 40
JPEG_QUALITY = 93
NEAR = 1.0  # m of depth: nearer points are behind or beside the lens
NOT_ROAD, ANY_ROAD = 253, 254  # scene codes: anything but road and marking; one of the two
THIN = (
    SceneClass.MARKING,
    SceneClass.PERSON,
    SceneClass.CYCLIST,
    SceneClass.SIGN,
    SceneClass.POLE,
)  # classes that keep a cell with less than half of it
THIN_SHARE = 0.35


@dataclass(frozen=True)
class Label:
    """See the head of this file."""

    scene: UInt8[Array, "64 128"]
    lane_u: Float32[Array, "4 39"]
    path: Float32[Array, "16 2"]
    route: Float32[Array, "33"]
    objects: Float32[Array, "40 13"]
    usable: float
    known: Bool[Array, "5"]
    junction: bool
    turn: float


FIELDS = tuple(f.name for f in fields(Label))


def scene_label(semantic: UInt8[Array, "256 512"]) -> UInt8[Array, "64 128"]:
    """The class of each 4x4 cell: the most frequent one, but a thin thing wins with a third of the cell."""
    s = heads.SCENE_STRIDE
    h, w = heads.SCENE_SHAPE
    cells = semantic.reshape(h, s, w, s).transpose(0, 2, 1, 3).reshape(h, w, s * s)
    codes = np.unique(semantic)
    share = np.stack([(cells == code).mean(-1, dtype=np.float32) for code in codes])  # (k, h, w)
    thin = np.isin(codes, THIN)[:, None, None] & (share >= THIN_SHARE)
    return codes[np.where(thin, 2.0, share).argmax(0)].astype(np.uint8)


def lane_row_columns(lines: Sequence[Float[Array, "m 2"]], camera: CameraModel) -> Float32[Array, " rows"]:
    """u at each of heads.ROWS of a line given as painted stretches on the road (vehicle frame, near to far); NaN where there is none."""
    out = np.full(len(heads.ROWS), np.nan, np.float32)
    highest = np.inf  # only what climbs in the picture counts: a line that turns back is seen as its nearer part
    for line in lines:
        pixels, depth = image_from_vehicle(camera, np.column_stack([line, np.zeros(len(line))]))
        for (u0, v0), (u1, v1), d0, d1 in zip(pixels, pixels[1:], depth, depth[1:], strict=False):
            if min(d0, d1) < NEAR or v1 >= min(v0, highest):
                continue
            rows = np.flatnonzero((min(v0, highest) >= heads.ROWS) & (v1 < heads.ROWS))
            u = u0 + (u1 - u0) * (v0 - heads.ROWS[rows]) / (v0 - v1)
            inside = (u >= 0) & (u <= camera.width - 1)
            out[rows[inside]] = u[inside]
            highest = v1
    return out


class ShardWriter:
    """Collects frames and writes them as one shard."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.jpegs: list[bytes] = []
        self.labels: list[Label] = []

    def add(self, image: UInt8[Array, "256 512 3"], label: Label) -> None:
        ok, data = cv2.imencode(".jpg", image[..., ::-1], (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
        if not ok:
            raise ValueError(f"OpenCV could not encode a picture of shape {image.shape}, {image.dtype}")
        self.jpegs.append(data.tobytes())
        self.labels.append(label)

    def close(self, **extra: Array) -> None:
        """Write both files; only then does the shard exist. `extra` are further arrays, a row a frame, that `Frames` leaves alone."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.with_suffix(".jpgs").write_bytes(b"".join(self.jpegs))
        offset = np.concatenate([[0], np.cumsum([len(j) for j in self.jpegs])])
        stacked = {name: np.stack([np.asarray(getattr(label, name)) for label in self.labels]) for name in FIELDS}
        part = self.path.with_suffix(".part.npz")
        np.savez_compressed(part, allow_pickle=False, offset=offset, **stacked, **extra)
        part.rename(self.path.with_suffix(".npz"))


class Frames:
    """All frames of a folder's shards: labels in memory, pictures mapped from disk and decoded when asked for."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(p for p in folder.glob("*.npz") if not p.name.endswith(".part.npz"))
        if not paths:
            raise FileNotFoundError(f"no shards in {folder}; draw some with: python -m nanopilot.train.frames --out {folder.parent}")
        shards = [dict(np.load(p)) for p in paths]
        self.label = {name: np.concatenate([s[name] for s in shards]) for name in FIELDS}
        self._maps = [np.memmap(p.with_suffix(".jpgs"), np.uint8, "r") for p in paths]
        self._at = [(k, s["offset"][i], s["offset"][i + 1]) for k, s in enumerate(shards) for i in range(len(s["offset"]) - 1)]

        self._first = np.concatenate([[0], np.cumsum([len(s["offset"]) - 1 for s in shards])])

    def __len__(self) -> int:
        return len(self._at)

    def shard(self, i: int) -> tuple[int, int]:
        """Which shard (by name, ascending) frame `i` is in, and its place there."""
        shard = self._at[i][0]
        return shard, i - self._first[shard]

    def image(self, i: int) -> UInt8[Array, "256 512 3"]:
        shard, start, end = self._at[i]
        return np.ascontiguousarray(cv2.imdecode(self._maps[shard][start:end], cv2.IMREAD_COLOR)[..., ::-1])
