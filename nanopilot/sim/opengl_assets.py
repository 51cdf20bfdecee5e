"""The models and textures MetaDrive's own camera draws with, put into a cache folder of ours.

In: a cache folder. Out: `<cache>/metadrive-assets-<version>/assets`, complete, or an AssetError that says what to do.
MetaDrive's wheel holds no assets; it fetches them into site-packages at first use. Here they are fetched into the cache
instead, and where that address is out of reach they are put together from an older MetaDrive wheel on the Python package
index (its car, pedestrian and sky files) and textures made here from noise. Either way the ground is made flat around the
roads and the models are thinned, for a CPU draws them. Nothing is written outside the cache. There is no bicycle in the
older wheel: without MetaDrive's own archive a MetaDrive Cyclist can't be drawn.
"""

from __future__ import annotations

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
from jaxtyping import UInt8

from nanopilot.sim.opengl_meshes import thin

Array = np.ndarray
Progress = Callable[[str], None]

RECIPE = 1  # counted up when what this file builds changes
OLD_WHEEL = "metadrive-simulator==0.3.0.1"  # the last release with assets inside
OLD_WHEEL_SHA256 = "04f10b014043a56ffa7780eb82239a65c1cec55887cb98010c86fbf98c0460bc"  # pip hash of the file on PyPI
CONNECT_TIMEOUT = 10.0  # s without an answer before MetaDrive's own address counts as out of reach (guess)
LOCK_TIMEOUT = 900.0  # s another process may take to build (measured: under two minutes, mostly download)
DISK_NEEDED = 600e6  # bytes: download, unpacked files and textures together (measured 300 MB, doubled)
BODY_TRIANGLES, WHEEL_TRIANGLES = 3500, 300  # a mesh file's budget: edges of 2 to 3 px for a car 10 m ahead at f = 256 px
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
        cache.mkdir(parents=True, exist_ok=True)
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


if __name__ == "__main__":
    print(prepare_assets(cache_folder()))
