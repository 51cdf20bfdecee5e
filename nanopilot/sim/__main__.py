"""Draw the demo place to PNG files: `python -m nanopilot.sim [DIR]`, one picture per weather and view."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2

from nanopilot.geometry import model_camera
from nanopilot.sim import demo
from nanopilot.sim.appearance import WEATHERS, Appearance
from nanopilot.sim.camera import CpuCamera

VIEWS = {"straight": 2.0, "junction": 96.0, "curve": 172.0}  # m along the demo road


def main(directory: Path) -> None:
    """Write <weather>_<view>.png into `directory`, which is made if need be."""
    directory.mkdir(parents=True, exist_ok=True)
    static = demo.static_scene(1)
    scene = demo.scene(static)
    for weather in WEATHERS:
        look = Appearance.clear_day() if weather == "clear" else Appearance.from_seed(3, weather=weather)
        camera = CpuCamera(static, look)
        for view, s in VIEWS.items():
            x, y = demo.beside(s, -0.5 * demo.LANE)[0]
            picture = camera.render(scene, model_camera(), (x, y, float(demo.centre(s)[1][0])), speed=8.0)
            cv2.imwrite(str(directory / f"{weather}_{view}.png"), cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2BGR))


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "demo"))
