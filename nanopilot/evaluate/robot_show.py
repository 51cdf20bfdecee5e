"""A humanoid's task as a film and a log, and on the terminal: outside view, head view with what the network saw, the map.

In: a RobotConfig and a folder. Out: robot.mcap and robot.mp4 in it. The outside view is the simulator's; nothing of it goes to the pilot.
It is drawn while the robot walks; the film's picture goes into the log too, as /outside: the page's second camera. Time for it is not in
the real-time factor of suites.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from rich.console import Console

from nanopilot.bodies.humanoid import Humanoid
from nanopilot.evaluate.robot import RobotConfig, run
from nanopilot.geometry import parent_from_child
from nanopilot.messages import Percept, Room, RoomClass
from nanopilot.pilot import Record
from nanopilot.sim import humanoid
from nanopilot.video import Film

Array = np.ndarray

COLOURS = np.array([(40, 40, 40), (70, 220, 120), (255, 170, 50), (255, 70, 60), (90, 130, 250), (250, 220, 90), (150, 155, 160)], np.uint8)
SIDE, TALL = 480, 360  # px of the outside view; head view and map share its height


class Filmer:
    """Watches a run and adds a picture to the film for each camera picture."""

    def __init__(self, film: Film) -> None:
        self.film, self.renderer = film, None
        self.path: list[tuple[float, float]] = []

    def __call__(self, record: Record, body: Humanoid) -> UInt8[Array, "h w 3"] | None:
        if not record.observation.frames:
            return None
        mujoco = humanoid.require()
        if self.renderer is None:
            self.renderer = mujoco.Renderer(body.built.model, TALL, SIDE)
        camera = mujoco.MjvCamera()
        x, y = body.data.qpos[:2]
        camera.lookat[:] = (x + 0.8, y, 0.6)
        camera.distance, camera.azimuth, camera.elevation = 4.6, 25.0, -42.0
        outside = humanoid.render(self.renderer, body.data, camera)
        head = over(record.observation.frames[0].image, record.percept)
        page = self._page(outside, head, record)
        self.film.add(record.observation.t, page)
        return page

    def _page(self, outside: Array, head: Array, record: Record) -> UInt8[Array, "h w 3"]:
        half = cv2.resize(head, (SIDE // 2 + 80, TALL - 120))
        plan, world, safe = record.plan, record.world, record.safe
        text = np.full((120, half.shape[1], 3), 22, np.uint8)
        lines = [
            f"{record.observation.t:5.1f} s  {plan.reason if plan else 'no plan'}",
            f"speed {world.speed:4.2f} m/s  {len(world.tracks)} people" if world else "no world",
            ", ".join(safe.reasons) or "safety: nothing to change",
            record.fault,
        ]
        for k, line in enumerate(lines):
            cv2.putText(text, line, (10, 26 + 26 * k), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (235, 235, 235), 1, cv2.LINE_AA)
        page = [outside, np.concatenate([half, text])]
        if world is not None and world.room is not None:
            self.path.append((world.room.x, world.room.y))
            page.append(drawn(record, self.path, TALL))
        return np.concatenate(page, 1)

    def close(self) -> None:
        if self.renderer is not None:
            self.renderer.close()


def over(image: UInt8[Array, "h w 3"], percept: Percept | None) -> UInt8[Array, "h w 3"]:
    """The head's picture with the classes over it."""
    if percept is None:
        return image
    scene = cv2.resize(percept.scene, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    shown = (scene != RoomClass.OTHER)[..., None]
    return np.where(shown, (0.6 * image + 0.4 * COLOURS[scene]).astype(np.uint8), image)


def drawn(record: Record, path: list[tuple[float, float]], size: int) -> UInt8[Array, "h w 3"]:
    """The map from above, x to the right: free light, things dark, the way walked, the plan, people, the goal."""
    world = record.world
    room = world.room
    grey = np.where(room.occupancy == Room.UNKNOWN, 70, 235 - 2.1 * room.occupancy.astype(float)).clip(0, 255).astype(np.uint8)
    scale = size / grey.shape[0]
    picture = cv2.resize(np.repeat(grey[..., None], 3, 2), None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)

    def pixel(points: Any) -> Array:
        return np.round((np.asarray(points, float).reshape(-1, 2) - room.origin) / room.cell * scale).astype(np.int32)

    pose = (room.x, room.y, room.yaw)
    cv2.polylines(picture, [pixel(path)], False, (90, 130, 250), 1, cv2.LINE_AA)
    if record.plan is not None:
        cv2.polylines(picture, [pixel(parent_from_child(record.plan.xy, *pose))], False, (70, 220, 120), 2, cv2.LINE_AA)
    for track in world.tracks:
        at = pixel(parent_from_child(np.array([track.x, track.y]), *pose))[0]
        cv2.circle(picture, tuple(int(v) for v in at), 5, (250, 200, 60), -1, cv2.LINE_AA)
    if len(world.route_line):
        goal = pixel(parent_from_child(world.route_line[-1], *pose))[0]
        cv2.circle(picture, tuple(int(v) for v in goal), 6, (255, 70, 60), 2, cv2.LINE_AA)
    nose = pixel([parent_from_child(np.array([0.0, 0.0]), *pose), parent_from_child(np.array([0.5, 0.0]), *pose)])
    cv2.arrowedLine(picture, tuple(int(v) for v in nose[0]), tuple(int(v) for v in nose[1]), (60, 220, 240), 2, cv2.LINE_AA, tipLength=0.4)
    return picture[::-1].copy()


def show(c: RobotConfig, out: Path, begin: Callable[[Path], None] | None = None) -> int:
    """Run, write log and film, print the row; `begin` hears of the log before it is written. Returns 0 where the task was done."""
    out.mkdir(parents=True, exist_ok=True)
    if begin is not None:
        begin(out / "robot.mcap")
    console = Console()
    with Film(out / "robot.mp4") as film:
        filmer = Filmer(film)
        row: dict[str, Any] = run(c, out / "robot.mcap", filmer)
        filmer.close()
    ending = "done" if row["success"] else "not done"
    console.print(f"{c.task}, seed {c.seed}: {ending} ({row['reason']}) after {row['seconds']:.1f} s and {row['distance']:.1f} m")
    if "placement_error" in row:
        console.print(f"lifted: {row['lifted']}; on the table: {row['placed']}, {row['placement_error']:.2f} m from where it was meant")
    console.print(f"fell: {row['fell']}; touched: {', '.join(row['contacts']) or 'nothing'}; place off by {row['drift']:.2f} m at the end")
    console.print(f"{out / 'robot.mcap'}\n{out / 'robot.mp4'}", highlight=False)
    return 0 if row["success"] else 1
