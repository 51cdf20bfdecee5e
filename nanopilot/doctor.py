"""What this machine has and can do, in yes/no lines.

In: nothing. Out: an exit code: 0 when a default drive can run, else 1. What only the judge's OpenGL camera or training
needs may be missing. The timings are of this moment, on one core, with whatever else the machine does.
"""

from __future__ import annotations

import ctypes.util
import os
import platform
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import psutil
from rich.console import Console

PACKAGES = ("metadrive-simulator", "numpy", "numba", "openvino", "opencv-python-headless", "piqp", "mcap", "av")
CORES, MEMORY = 2, 1.5e9  # what the project promises to drive in
RUNS = 30
Check = tuple[bool, str]


def examine(quick: bool = False) -> int:
    """Print every check; the stages' speed too unless `quick`."""
    console = Console(highlight=False)
    needed = {"cores": cores, "memory": memory, "packages": packages, "cache folder": cache, "network weights": weights}
    optional = {"OpenGL, for --camera opengl": opengl, "torch, for training": torch}
    fine = fast = True
    for name, check in needed.items():
        fine &= _print(console, name, check, "no ")
    for name, check in optional.items():
        _print(console, name, check, "-- ")
    if not quick:
        for name, timing in {"camera": time_camera, "perception": time_perception, "world + planning + control": time_thinking}.items():
            fast &= _print(console, name, timing, "-- ")
    if not fast:
        console.print("slower than real time, now: the drive is the same, but takes longer")
    console.print("a default drive can run" if fine else "a default drive can't run: see the lines marked no")
    return 0 if fine else 1


def _print(console: Console, name: str, check: Callable[[], Check], otherwise: str) -> bool:
    try:
        good, text = check()
    except Exception as error:  # a check that breaks is a check that failed
        good, text = False, f"{type(error).__name__}: {error}"
    console.print(f"{'yes' if good else otherwise} {name}: {text}", markup=False, soft_wrap=True)
    return good


# --------------------------------------------------------------------------- what it has


def cores() -> Check:
    n = len(os.sched_getaffinity(0))
    return n >= CORES, f"{n} ({platform.machine()}, load {os.getloadavg()[0]:.1f}); {CORES} wanted"


def memory() -> Check:
    free = psutil.virtual_memory().available
    return free >= MEMORY, f"{free / 1e9:.1f} GB free; a drive takes up to {MEMORY / 1e9:.1f}"


def packages() -> Check:
    have = {}
    for name in PACKAGES:
        try:
            have[name] = version(name)
        except PackageNotFoundError:
            have[name] = "missing"
    text = ", ".join(f"{name} {v}" for name, v in have.items())
    return "missing" not in have.values(), f"Python {platform.python_version()}, {text}"


def cache() -> Check:
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nanopilot"
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".probe-{os.getpid()}"
    probe.write_bytes(b"x")
    probe.unlink()
    return True, f"{folder} can be written"


def weights() -> Check:
    from nanopilot.perception import Network

    network = Network()
    return True, str(getattr(network, "version", "loaded"))


def opengl() -> Check:
    missing = [name for name in ("EGL", "GL") if ctypes.util.find_library(name) is None]
    packages = "Debian: libegl1 libgl1 libgl1-mesa-dri"
    return not missing, f"lib{' and lib'.join(missing)} missing ({packages})" if missing else "libEGL and libGL found"


def torch() -> Check:
    try:
        return True, version("torch")
    except PackageNotFoundError:
        return False, "pip install 'nanopilot[train]'"


# --------------------------------------------------------------------------- what it can do


def _rate(call: Callable[[], object], wanted_ms: float) -> Check:
    call()  # compile and warm up
    took = []
    for _ in range(RUNS):
        start = perf_counter()
        call()
        took.append(perf_counter() - start)
    ms = 1e3 * float(np.median(took))
    return ms <= wanted_ms, f"{ms:.1f} ms, {1e3 / ms:.0f} a second; at most {wanted_ms:.0f} ms wanted"


def time_camera() -> Check:
    from nanopilot.geometry import model_camera
    from nanopilot.sim.appearance import Appearance
    from nanopilot.sim.camera import CpuCamera

    scene, pose = demo_scene()
    camera = CpuCamera(scene.static, Appearance.clear_day())
    return _rate(lambda: camera.render(scene, model_camera(), pose, labels=False), 20.0)


def time_perception() -> Check:
    from nanopilot.geometry import model_camera
    from nanopilot.messages import Frame
    from nanopilot.perception import Network

    network, camera = Network(), model_camera()
    frame = Frame(0.0, camera.name, np.random.default_rng(0).integers(0, 255, (camera.height, camera.width, 3), np.uint8))
    return _rate(lambda: network.perceive(frame, camera, None), 20.0)


def time_thinking() -> Check:
    from nanopilot import control, planning, world
    from nanopilot.messages import CarState, Observation, VehicleModel

    vehicle = VehicleModel(2.8, 4.6, 1.9, 1.0, 0.6, 3.0, 8.0, 0.1)
    states: list[Any] = [world.initial(world.Config()), planning.initial(planning.Config()), control.initial(control.Config())]
    clock = iter(np.arange(0.0, 60.0, 0.05))

    def think() -> None:
        t = float(next(clock))
        car = CarState(t, 8.0, 0.0, 0.0, 0.0)
        states[0], seen = world.step(states[0], Observation(t, (), car), None, world.Config())
        states[1], plan = planning.step(states[1], seen, vehicle, planning.Config())
        states[2], _ = control.step(states[2], plan, car, vehicle, control.Config())

    return _rate(think, 15.0)


def demo_scene():
    """A straight road with a car on it, and where the camera car stands."""
    from nanopilot.sim.scene import Actor, Marking, Scene, StaticScene, Surface

    road = Surface("road", np.array([[-20.0, -6], [200, -6], [200, 6], [-20, 6]]))
    lines = tuple(Marking(np.array([[-20.0, y], [200, y]]), dash=None if abs(y) > 4 else (3.0, 6.0)) for y in (-5.25, -1.75, 1.75, 5.25))
    cars = tuple(Actor(i, "car", 15.0 + 12 * i, (-3.5, 0.0, 3.5)[i % 3], 0.0, (4.6, 1.9, 1.5)) for i in range(10))
    return Scene(StaticScene((road,), lines), cars), (0.0, 0.0, 0.0)
