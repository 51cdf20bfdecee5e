"""Thinning glTF 2.0 models for a camera that draws on the CPU.

In: a .gltf file with its data inside and a budget of triangles. Out: the same file, thinned, its textures made small.
Method: vertex clustering (Rossignac & Borrel 1993, "Multi-resolution 3D approximations for rendering complex scenes") with
vertices placed by quadrics (Lindstrom 2000, "Out-of-core simplification of large polygonal models"); normals and texture
coordinates are taken from the old points. It leaves rigged models alone and knows no other format.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, Int64

Array = np.ndarray

TEXTURE_PX = 256  # side of a texture: at f = 256 px a car is 100 px wide at 5 m
TRIANGLES, UINT32 = 4, 5125  # glTF 2.0, 3.7.2.1 and 3.6.2.2
COMPONENT = {5120: np.int8, 5121: np.uint8, 5122: np.int16, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
WIDTH = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
HOLD = 1e-2  # pull of a cell's mean, a share of its planes' weight: enough to make the equations regular (guess)
MIN_TRIANGLES = 12  # of one part of a mesh: a box
DATA_URI = "data:application/octet-stream;base64,"


def cluster(points: Float32[Array, "n 3"], triangles: Int64[Array, "t 3"], budget: int) -> tuple[Int64[Array, " n"], Int64[Array, "k 3"]]:
    """(each point's cell, the triangles that keep three cells, as indices of points) for the finest grid that leaves at most
    `budget` triangles, or, where no grid leaves so few and any, for the coarsest that leaves any."""
    low, high = 1, 1024  # cells along the longest side
    scale = (points - points.min(0)) / max(np.ptp(points, axis=0).max(), 1e-9)  # (n, 3) in 0..1
    within, above = None, (np.arange(len(points)), triangles)
    while low <= high:
        cells = (low + high) // 2
        key = (np.minimum(scale * cells, cells - 1).astype(np.int64) * (1, 1025, 1025**2)).sum(-1)  # (n,)
        cell = np.unique(key, return_inverse=True)[1].reshape(-1)
        c = cell[triangles]  # (t, 3)
        alive = np.flatnonzero((c[:, 0] != c[:, 1]) & (c[:, 1] != c[:, 2]) & (c[:, 2] != c[:, 0]))
        alive = alive[np.unique(np.sort(c[alive], -1), axis=0, return_index=True)[1]]
        if len(alive) > budget:
            above, high = (cell, triangles[alive]), cells - 1
        else:
            within, low = (cell, triangles[alive]) if len(alive) else within, cells + 1
    return within or above


def settle(points: Float32[Array, "n 3"], triangles: Int64[Array, "t 3"], cell: Int64[Array, " n"]) -> Float32[Array, "m 3"]:
    """Where each cell's one vertex belongs: nearest in squares to the planes of all triangles that touch the cell (Lindstrom
    2000, "Out-of-core simplification of large polygonal models"), held a little to the mean of its points and within them."""
    corner = points[triangles].astype(float)  # (t, 3, 3)
    normal = np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])  # (t, 3), twice the area long
    normal /= np.sqrt(np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12))  # squares weigh by area
    count = np.bincount(cell)
    mean, low, high = np.zeros((len(count), 3)), np.full((len(count), 3), np.inf), np.full((len(count), 3), -np.inf)
    np.add.at(mean, cell, points / count[cell, None])
    np.minimum.at(low, cell, points)
    np.maximum.at(high, cell, points)
    a, b = np.zeros((len(count), 3, 3)), np.zeros((len(count), 3))
    for k in range(3):
        np.add.at(a, cell[triangles[:, k]], normal[:, :, None] * normal[:, None])
        np.add.at(b, cell[triangles[:, k]], normal * (normal * corner[:, 0]).sum(-1, keepdims=True))
    hold = HOLD * np.trace(a, axis1=1, axis2=2) + 1e-12  # (m,)
    a += hold[:, None, None] * np.eye(3)
    b += hold[:, None] * mean
    return np.clip(np.linalg.solve(a, b[..., None])[..., 0], low, high).astype(np.float32)  # (m, 3)


def thin(file: Path, budget: int, progress: Callable[[str], None]) -> None:
    """Rewrite a .gltf that keeps its data inside so that it has about `budget` triangles; a rigged one is left alone."""
    gltf = json.loads(file.read_text())
    buffers = gltf.get("buffers", [])
    primitives = [p for mesh in gltf["meshes"] for p in mesh["primitives"]]
    inside = len(buffers) == 1 and buffers[0].get("uri", "").startswith(DATA_URI)
    if "skins" in gltf or not inside or any(p.get("mode", TRIANGLES) != TRIANGLES or "indices" not in p for p in primitives):
        return
    data = base64.b64decode(buffers[0]["uri"].removeprefix(DATA_URI))
    before = sum(gltf["accessors"][p["indices"]]["count"] // 3 for p in primitives)
    if before <= budget:
        return
    old_views, old_accessors = gltf["bufferViews"], gltf["accessors"]
    views, accessors, blob = [], [], bytearray()

    def store(chunk: bytes) -> int:
        views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": len(chunk)})
        blob.extend(chunk + bytes(-len(chunk) % 4))  # glTF 2.0, 3.6.2.4: aligned to four bytes
        return len(views) - 1

    def add(array: np.ndarray, like: dict) -> int:
        facts = {"bufferView": store(array.tobytes()), "count": len(array), "min": array.min(0).tolist(), "max": array.max(0).tolist()}
        accessors.append({k: v for k, v in like.items() if k != "byteOffset"} | facts)
        return len(accessors) - 1

    for p in primitives:
        arrays = {name: _read(old_accessors[a], old_views, data) for name, a in p["attributes"].items()}
        triangles = _read(old_accessors[p["indices"]], old_views, data).reshape(-1, 3).astype(np.int64)
        cell, left = cluster(arrays["POSITION"], triangles, max(len(triangles) * budget // before, MIN_TRIANGLES))
        arrays["POSITION"] = settle(arrays["POSITION"], triangles, cell)[cell]
        side = np.argmax(np.concatenate([arrays["NORMAL"], -arrays["NORMAL"]], -1), -1)  # which of six ways it faces: edges stay sharp
        used = left.reshape(-1)
        _, kept, index = np.unique(cell[used] * 6 + side[used], return_index=True, return_inverse=True)
        p["attributes"] = {name: add(array[used[kept]], old_accessors[p["attributes"][name]]) for name, array in arrays.items()}
        p["indices"] = add(index.astype(np.uint32).reshape(-1, 1), {"componentType": UINT32, "type": "SCALAR"})
    for image in gltf.get("images", []):
        if "bufferView" in image:
            view = old_views[image["bufferView"]]
            image["bufferView"] = store(_small(data[view.get("byteOffset", 0) :][: view["byteLength"]], image["mimeType"]))
    gltf.pop("animations", None)  # their data went with the old buffer; MetaDrive plays none of a rigid model's
    gltf |= {"accessors": accessors, "bufferViews": views}
    gltf["buffers"] = [{"byteLength": len(blob), "uri": DATA_URI + base64.b64encode(blob).decode()}]
    file.write_text(json.dumps(gltf))
    progress(f"{file.parent.name}/{file.name}: {before} -> {sum(accessors[p['indices']]['count'] // 3 for p in primitives)} triangles")


def _small(picture: bytes, mime: str) -> bytes:
    """A PNG or JPEG of at most TEXTURE_PX a side."""
    pixels = cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_UNCHANGED)
    scale = TEXTURE_PX / max(pixels.shape[:2])
    if scale >= 1:
        return picture
    pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return cv2.imencode("." + mime.removeprefix("image/"), pixels)[1].tobytes()


def _read(accessor: dict, views: list[dict], data: bytes) -> np.ndarray:
    """(count, width) of an accessor's numbers."""
    view = views[accessor["bufferView"]]
    item = np.dtype((COMPONENT[accessor["componentType"]], WIDTH[accessor["type"]]))
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    shape = (accessor["count"], WIDTH[accessor["type"]])
    return np.ndarray(shape, item.base, data, start, (view.get("byteStride", item.itemsize), item.base.itemsize))
