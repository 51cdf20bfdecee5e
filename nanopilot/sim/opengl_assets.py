"""The models and textures MetaDrive's own camera draws with, put into a cache folder of ours.

In: a cache folder. Out: `<cache>/metadrive-assets-<version>/assets`, complete, or an AssetError that says what to do.
MetaDrive's wheel holds no assets; it fetches them into site-packages at first use. Here they are fetched into the cache
instead, and where that address is out of reach they are put together from an older MetaDrive wheel on the Python package
index (its car, pedestrian and sky files) and textures made here from noise. Either way the ground is made flat around the
roads and meshes are thinned by vertex clustering (Rossignac & Borrel 1993, "Multi-resolution 3D approximations for
rendering complex scenes"), for a CPU draws them. Nothing is written outside the cache. It draws nothing itself.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path

import cv2
import filelock
import numpy as np
from jaxtyping import Float32, Int64, UInt8

Array = np.ndarray
Progress = Callable[[str], None]

RECIPE = 1  # counted up when what this file builds changes
OLD_WHEEL = "metadrive-simulator==0.3.0.1"  # the last release with assets inside
OLD_WHEEL_SHA256 = "04f10b014043a56ffa7780eb82239a65c1cec55887cb98010c86fbf98c0460bc"  # pip hash of the file on PyPI
CONNECT_TIMEOUT = 10.0  # s without an answer before MetaDrive's own address counts as out of reach (guess)
LOCK_TIMEOUT = 900.0  # s another process may take to build (measured: under two minutes, mostly download)
DISK_NEEDED = 600e6  # bytes: download, unpacked files and textures together (measured 300 MB, doubled)
BODY_TRIANGLES, WHEEL_TRIANGLES = 3500, 300  # a mesh file's budget: edges of 2 to 3 px for a car 10 m ahead at f = 256 px
TEXTURE_PX = 256  # side of a car's textures: a car is 100 px wide at 5 m
CARS = ("ferra", "lada", "beetle", "130", "truck")  # one folder each; the old wheel keeps them under models/vehicle
REQUIRED = (  # the files MetaDrive 0.4.3 opens for a procedural map with traffic and objects
    *(f"models/{car}/{part}.gltf" for car in CARS for part in ("vehicle", "right_tire_front", "right_tire_back")),
    *(f"models/{m}" for m in ("skybox.bam", "box.bam", "pedestrian/scene.gltf", "traffic_cone/scene.gltf", "barrier/scene.gltf")),
    *(f"models/{m}" for m in ("warning/warning.gltf", "tollgate/booth.gltf", "tollgate/gate.gltf", "traffic_light/green.gltf")),
    *(f"textures/{t}" for t in ("skybox.jpg", "sidewalk/color.png", "sidewalk/normal.png", "terrain/heightfield.png")),
    *(f"textures/{t}" for t in ("grass1/GroundGrassGreen002_COL_1K.jpg", "grass1/GroundGrassGreen002_NRM_1K.jpg")),
    *(f"textures/rock/brown_mud_leaves_01_{t}_1k.png" for t in ("diff", "nor_gl", "rough")),
    *(f"textures/asphalt/{t}_2k.png" for t in ("diff", "normal", "rough")),
    "textures/grass2/grass_path_2_rough_1k.png",
    "version.txt",
)


class AssetError(RuntimeError):
    """The assets can't be had. `args[0]` says why, and what to do, in words for people."""


def cache_folder() -> Path:
    """The user's cache folder for nanopilot (XDG base directory specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nanopilot"


def _package() -> Path:
    import metadrive

    return Path(metadrive.__file__).parent


def assets_folder(cache: Path) -> Path:
    """Where `prepare_assets` puts the assets of the installed MetaDrive; it exists only when they are complete."""
    from metadrive.version import VERSION

    return cache / f"metadrive-assets-{VERSION}-{RECIPE}" / "assets"


def prepare_assets(cache: Path, progress: Progress = print) -> Path:
    """The assets' folder, built first if needed (once per machine). Raises AssetError. Safe to call from several processes."""
    done = assets_folder(cache)
    if done.exists():
        return done
    work = done.parent.with_suffix(done.parent.suffix + ".part")  # kept after a failure: the next call goes on from it
    try:
        work.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{work}.lock", timeout=LOCK_TIMEOUT):
            if not done.exists():
                _build(work, progress)
                os.replace(work, done.parent)
    except filelock.Timeout as e:
        raise AssetError(f"another process has been building {done.parent} for {LOCK_TIMEOUT:.0f} s") from e
    except OSError as e:
        raise AssetError(f"can't build MetaDrive's assets in {cache}: {e}") from e
    return done


def _build(work: Path, progress: Progress) -> None:
    work.mkdir(exist_ok=True)
    free = shutil.disk_usage(work).free
    if free < DISK_NEEDED:
        raise AssetError(f"{work.parent} has {free / 1e6:.0f} MB free; MetaDrive's assets need {DISK_NEEDED / 1e6:.0f} MB")
    assets = work / "assets"
    shutil.rmtree(assets, ignore_errors=True)
    if not _fetch(work, assets, progress):
        _unpack_old_wheel(work, assets, progress)
        progress("making textures")
        make_textures(assets / "textures")
        _version_file(assets)
    make_ground(assets / "textures/terrain/heightfield.png")
    for file in sorted((assets / "models").glob("*/*.gltf")):
        thin(file, WHEEL_TRIANGLES if "tire" in file.name else BODY_TRIANGLES, progress)
    shutil.copytree(_package() / "shaders", work / "shaders", dirs_exist_ok=True)  # MetaDrive opens them as <assets>/../shaders
    missing = [f for f in REQUIRED if not (assets / f).exists()]
    if missing:
        raise AssetError(f"MetaDrive's assets came without {', '.join(missing)}")
    for spent in (*work.glob("*.whl"), *work.glob("*.zip"), *work.glob("*.txt")):
        spent.unlink()


def _version_file(assets: Path) -> None:
    from metadrive.version import VERSION

    (assets / "version.txt").write_text(f"{VERSION}\n")


def _fetch(work: Path, assets: Path, progress: Progress) -> bool:
    """MetaDrive's own archive, from its own address; False where that can't be reached."""
    from metadrive.pull_asset import ASSET_URL

    progress(f"fetching {ASSET_URL}")
    archive = work / "assets.zip"
    try:
        with urllib.request.urlopen(ASSET_URL, timeout=CONNECT_TIMEOUT) as source, archive.open("wb") as sink:
            shutil.copyfileobj(source, sink)
        with zipfile.ZipFile(archive) as z:
            z.extractall(work, [n for n in z.namelist() if n.startswith("assets/")])
    except (urllib.error.URLError, TimeoutError, ConnectionError, zipfile.BadZipFile) as e:
        progress(f"out of reach ({e}); building from {OLD_WHEEL} instead")
        return False
    return assets.exists()


def _unpack_old_wheel(work: Path, assets: Path, progress: Progress) -> None:
    """The old release's assets folder, its cars moved to where the new one looks. pip checks the pinned hash."""
    wheels = list(work.glob("*.whl"))
    if not wheels:
        progress(f"downloading {OLD_WHEEL} (62 MB)")
        wanted = work / "wanted.txt"
        wanted.write_text(f"{OLD_WHEEL} --hash=sha256:{OLD_WHEEL_SHA256}\n")
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--require-hashes", "--timeout", "20", "--retries", "1"]
        pip = subprocess.run([*command, "-q", "-d", work, "-r", wanted], capture_output=True, text=True)  # moved into place whole
        if pip.returncode:
            raise AssetError(f"can't download {OLD_WHEEL} for MetaDrive's camera: {pip.stderr.strip()[-500:]}")
        wheels = list(work.glob("*.whl"))
    progress("unpacking models")
    inside = "metadrive/assets/"
    with zipfile.ZipFile(wheels[0]) as z:
        for name in z.namelist():
            if name.startswith((inside + "models/", inside + "textures/")) and not name.endswith("/"):
                target = assets / name.removeprefix(inside).replace("models/vehicle/", "models/")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(z.read(name))


# --------------------------------------------------------------------------- textures, seeded: the same on every machine


def _noise(rng: np.random.Generator, size: int, bgr: tuple[float, float, float], contrast: float) -> UInt8[Array, "s s 3"]:
    """Grey noise of four scales about one colour, without a seam when tiled; `contrast` is in grey levels at each scale."""
    grey = np.zeros((size, size))
    for cells in (8, 32, 128, 512):
        cell = size // cells
        tile = np.pad(rng.standard_normal((cells, cells)), 2, mode="wrap")
        wide = cv2.resize(tile, None, fx=cell, fy=cell, interpolation=cv2.INTER_CUBIC)
        grey += wide[2 * cell : 2 * cell + size, 2 * cell : 2 * cell + size]
    return np.clip(np.asarray(bgr) + contrast * grey[..., None], 0, 255).astype(np.uint8)  # (size, size, 3)


def make_textures(folder: Path) -> None:
    """The ground textures the old release lacks: grass, rock, asphalt; flat normals, matt roughness. Colours are guesses by eye."""
    rng = np.random.default_rng(0)
    flat = np.full((64, 64, 3), (255, 128, 128), np.uint8)  # BGR of the normal (0, 0, 1)
    matt = np.full((64, 64), 225, np.uint8)
    for name, image in {
        "grass1/GroundGrassGreen002_COL_1K.jpg": _noise(rng, 1024, (40, 110, 70), 6),
        "grass1/GroundGrassGreen002_NRM_1K.jpg": flat,
        "grass2/grass_path_2_rough_1k.png": matt,
        "rock/brown_mud_leaves_01_diff_1k.png": _noise(rng, 1024, (60, 80, 100), 6),
        "rock/brown_mud_leaves_01_nor_gl_1k.png": flat,
        "rock/brown_mud_leaves_01_rough_1k.png": matt,
        "asphalt/diff_2k.png": _noise(rng, 2048, (78, 78, 78), 4),  # 2048: MetaDrive paints its crossing stripes into a copy
        "asphalt/normal_2k.png": flat,
        "asphalt/rough_2k.png": matt,
    }.items():
        _write_image(folder / name, image)


def make_ground(file: Path) -> None:
    """MetaDrive's 16-bit height field of 2048 m, flat for 600 m around the map's centre, hills beyond: roads lie in the plane z = 0
    however coarsely the terrain is drawn."""
    size, level, flat, hills = 4096, 2055, 600.0, 5000.0  # px; MetaDrive's zero height; m; steps of 1/65536 of its height scale
    rng = np.random.default_rng(1)
    wave = cv2.resize(np.abs(rng.standard_normal((24, 24))), (size, size), interpolation=cv2.INTER_CUBIC)
    metres = np.abs(np.arange(size) - size / 2) * 2048 / size
    rise = np.clip((np.maximum(metres[:, None], metres[None]) - flat) / 400, 0, 1)  # 400 m from plain to full height
    _write_image(file, np.clip(level + hills * rise * wave, level, 30000).astype(np.uint16))


def _write_image(file: Path, image: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(file), image):
        raise OSError(f"can't write {file}")


# --------------------------------------------------------------------------- thinning meshes (glTF 2.0)

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


def thin(file: Path, budget: int, progress: Progress) -> None:
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
    return cv2.imencode("." + mime.removeprefix("image/"), cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))[1].tobytes()


def _read(accessor: dict, views: list[dict], data: bytes) -> np.ndarray:
    """(count, width) of an accessor's numbers."""
    view = views[accessor["bufferView"]]
    item = np.dtype((COMPONENT[accessor["componentType"]], WIDTH[accessor["type"]]))
    start = view.get("byteOffset", 0) + accessor.get("byteOffset", 0)
    shape = (accessor["count"], WIDTH[accessor["type"]])
    return np.ndarray(shape, item.base, data, start, (view.get("byteStride", item.itemsize), item.base.itemsize))


if __name__ == "__main__":
    print(prepare_assets(cache_folder()))
