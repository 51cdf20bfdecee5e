"""Frames a second of nanopilot's CPU camera, and of MetaDrive's own OpenGL camera in the same run where it can be made.

In: nothing but options. Out: one line a camera and size, and --json FILE. One thread; first frames (compilation, painting) are not timed.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from nanopilot.evaluate.suite import origin
from nanopilot.geometry import model_camera
from nanopilot.messages import CameraModel
from nanopilot.sim import demo
from nanopilot.sim.appearance import WEATHERS, Appearance
from nanopilot.sim.camera import CpuCamera

SPEED = 8.0  # m/s, kept on the MetaDrive map


def resized(camera: CameraModel, width: int, height: int) -> CameraModel:
    """The same view at another picture size (cropped or padded below if the shape differs)."""
    k = width / camera.width
    return replace(
        camera,
        width=width,
        height=height,
        fx=camera.fx * k,
        fy=camera.fy * k,
        cx=(camera.cx + 0.5) * k - 0.5,
        cy=(camera.cy + 0.5) * k - 0.5,
    )


def report(name: str, spent: list[tuple[float, float]], summary: dict[str, float]) -> str:
    """Frames a second by the clock and by the thread's own CPU time: they differ when the machine is busy with other things."""
    wall, cpu = np.array(spent).T
    summary |= {f"{name}_fps": 1 / wall.mean(), f"{name}_fps_by_cpu_time": 1 / cpu.mean(), f"{name}_p99_ms": np.percentile(wall, 99) * 1e3}
    return f"{1 / wall.mean():6.1f} frames/s (by CPU time {1 / cpu.mean():6.1f}), p99 {np.percentile(wall, 99) * 1e3:5.1f} ms"


def time_cpu(name: str, look: Appearance, width: int, height: int, frames: int, labels: bool, summary: dict[str, float]) -> str:
    """Along the demo road."""
    static = demo.static_scene(1)
    camera, lens = CpuCamera(static, look), resized(model_camera(), width, height)
    spent = []
    for n in range(-20, frames):
        s = 100.0 * max(n, 0) / frames
        x, y = demo.beside(s, -0.5 * demo.LANE)[0]
        scene = demo.scene(static, 0.05 * n)
        start, cpu = time.perf_counter(), time.thread_time()
        camera.render(scene, lens, (float(x), float(y), 0.0), labels=labels, speed=8.0)
        if n >= 0:
            spent.append((time.perf_counter() - start, time.thread_time() - cpu))
    return report(name, spent, summary)


def time_metadrive(look: Appearance, frames: int, summary: dict[str, float]) -> str:
    """The CPU camera, RGB only, on a MetaDrive drive with its own traffic; the world's step is not timed."""
    from nanopilot.sim.metadrive import MetaDriveWorld, WorldConfig  # optional here: it takes seconds to start

    world = MetaDriveWorld(WorldConfig(seed=1000))
    world.reset()
    camera, lens, spent = CpuCamera(world.static_scene(), look), model_camera(), []
    for n in range(-20, frames):
        world.step(0.0, 0.3 if world.speed < SPEED else 0.0)
        scene = world.scene()
        start, cpu = time.perf_counter(), time.thread_time()
        camera.render(scene, lens, world.pose, labels=False, speed=world.speed)
        if n >= 0:
            spent.append((time.perf_counter() - start, time.thread_time() - cpu))
    world.close()
    return f"{report('cpu_metadrive_map', spent, summary)}, {len(scene.actors)} actors and {len(world.static_scene().props)} props"


def time_opengl(frames: int, summary: dict[str, float]) -> str:
    """MetaDrive's own camera at 512x256, the picture only, on the same drive; says why where it can't be made."""
    try:
        from nanopilot.sim.metadrive import MetaDriveWorld, WorldConfig
        from nanopilot.sim.opengl import NoOpenGL, OpenGLCamera, missing_libraries, opengl_config
        from nanopilot.sim.opengl_assets import cache_folder, prepare_assets
    except ImportError as error:
        return f"not available: {error}"
    if missing_libraries():
        return f"not available: the system lacks {', '.join(missing_libraries())}"
    try:
        world = MetaDriveWorld(WorldConfig(seed=1000), opengl_config(prepare_assets(cache_folder())))
        camera = OpenGLCamera(world.env)
    except (NoOpenGL, OSError) as error:
        return f"not available: {error}"
    world.reset()
    spent = []
    for n in range(-3, frames):
        world.step(0.0, 0.3 if world.speed < SPEED else 0.0)
        start, cpu = time.perf_counter(), time.thread_time()
        camera.render(model_camera())
        if n >= 0:
            spent.append((time.perf_counter() - start, time.thread_time() - cpu))
    camera.close()
    world.close()
    return report("metadrive_opengl", spent, summary)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--opengl", action="store_true", help="time MetaDrive's own camera too")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    summary: dict[str, float] = {}
    static = demo.static_scene(1)
    print(f"scene: {len(demo.scene(static).actors)} actors, {len(static.props)} props")
    for width, height in ((512, 256), (256, 128), (640, 360), (960, 600)):
        for labels in (False, True):
            name = f"cpu_{width}x{height}{'_labels' if labels else ''}"
            print(f"{name:32s}", time_cpu(name, Appearance.clear_day(), width, height, options.frames, labels, summary))
    for weather in WEATHERS:
        look = Appearance.from_seed(3, weather=weather)
        print(f"{weather:32s}", time_cpu(f"cpu_{weather}", look, 512, 256, options.frames, False, summary))
    print(f"{'cpu_metadrive_map':32s}", time_metadrive(Appearance.clear_day(), options.frames, summary))
    if options.opengl:
        print(f"{'metadrive_opengl':32s}", time_opengl(40, summary))
    if options.json:
        options.json.write_text(json.dumps(origin("bench_camera") | {"summary": summary}, indent=1) + "\n")


if __name__ == "__main__":
    main()
