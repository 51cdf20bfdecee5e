"""Frames a second of nanopilot's CPU camera, and of MetaDrive's own OpenGL camera in the same run where it can be made.

In: nothing but options. Out: one line a camera and size. One thread; first frames (compilation, painting) are not timed.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace

import cv2
import numpy as np

from nanopilot.geometry import model_camera
from nanopilot.messages import CameraModel
from nanopilot.sim import demo
from nanopilot.sim.appearance import WEATHERS, Appearance
from nanopilot.sim.camera import CpuCamera


def resized(camera: CameraModel, width: int, height: int) -> CameraModel:
    """The same view at another picture size (cropped or padded below if the shape differs)."""
    k = width / camera.width
    return replace(camera, width=width, height=height, fx=camera.fx * k, fy=camera.fy * k, cx=(camera.cx + 0.5) * k - 0.5, cy=(camera.cy + 0.5) * k - 0.5)


def time_cpu(look: Appearance, width: int, height: int, frames: int, labels: bool) -> tuple[float, float]:
    """(frames a second, milliseconds of the slowest hundredth) on a drive along the demo road."""
    static = demo.static_scene(1)
    camera, lens = CpuCamera(static, look), resized(model_camera(), width, height)
    spent = []
    for n in range(-20, frames):
        s = 100.0 * max(n, 0) / frames
        x, y = demo.beside(s, -0.5 * demo.LANE)[0]
        scene = demo.scene(static, 0.05 * n)
        start = time.perf_counter()
        camera.render(scene, lens, (float(x), float(y), 0.0), labels=labels, speed=8.0)
        if n >= 0:
            spent.append(time.perf_counter() - start)
    return frames / sum(spent), float(np.percentile(spent, 99)) * 1e3


def time_opengl(width: int, height: int, frames: int) -> float | None:
    """Frames a second of MetaDrive's own camera (env.step included), or None where it can't be made."""
    try:
        from nanopilot.sim.opengl import bench  # noqa: PLC0415  # optional: needs MetaDrive's assets and a GL driver
    except ImportError as error:
        print(f"OpenGL camera: not available ({error})")
        return None
    return bench(width, height, frames)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=200)
    parser.add_argument("--opengl", action="store_true", help="time MetaDrive's own camera too")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    static = demo.static_scene(1)
    print(f"scene: {len(demo.scene(static).actors)} actors, {len(static.props)} props")
    for width, height in ((512, 256), (256, 128), (640, 360), (960, 600)):
        for labels in (False, True):
            rate, worst = time_cpu(Appearance.clear_day(), width, height, options.frames, labels)
            print(f"cpu {width}x{height} {'RGB and labels' if labels else 'RGB':14s} {rate:6.1f} frames/s, p99 {worst:5.1f} ms")
    for weather in WEATHERS:
        rate, worst = time_cpu(Appearance.from_seed(3, weather=weather), 512, 256, options.frames, False)
        print(f"cpu 512x256 {weather:9s} {rate:6.1f} frames/s, p99 {worst:5.1f} ms")
    if options.opengl and (rate_gl := time_opengl(512, 256, 40)):
        print(f"opengl 512x256 {rate_gl:6.1f} frames/s")


if __name__ == "__main__":
    main()
