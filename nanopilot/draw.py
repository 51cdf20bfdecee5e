"""What was seen and planned, drawn: the camera picture with its overlay, and the world from above.

In: one step's messages, any of which may be missing. Out: an RGB picture (H, W, 3) uint8. Everything in metres is
projected by the camera model, so a line that lies beside the paint shows an error of the pilot, not of the drawing.
Colours: green the plan, cyan the own lane's lines, blue the next lanes', orange others, red what limits us or
what safety changed. It holds no state and reads no files.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from nanopilot.geometry import image_from_vehicle
from nanopilot.messages import (
    CameraModel,
    CarState,
    Detection,
    Percept,
    Plan,
    SafeCommand,
    Track,
    Turn,
    WarningLevel,
    Warnings,
    World,
    speed_known,
)

Array = np.ndarray
Colour = tuple[int, int, int]

GREEN, CYAN, BLUE, ORANGE, RED = (70, 220, 120), (60, 220, 240), (90, 130, 250), (255, 170, 50), (255, 70, 60)
WHITE, GREY, DARK, GROUND = (245, 245, 245), (150, 155, 160), (16, 18, 22), (34, 37, 43)
LEVEL_COLOURS = {WarningLevel.INFO: (150, 190, 230), WarningLevel.EARLY: (250, 220, 90), WarningLevel.MEDIUM: (255, 170, 50),
                 WarningLevel.LATE: (255, 90, 80)}  # fmt: skip
FONT = cv2.FONT_HERSHEY_DUPLEX
SCALE = 2  # of the camera picture, where it is less than
BIG = 800  # px wide
CAR_WIDTH, CAR_LENGTH, REAR_OVERHANG = 1.9, 4.6, 1.0  # m: the own car in the pictures only
NEAR = 0.5  # m of depth: nothing nearer can be projected
AHEAD, BEHIND, ASIDE = 62.0, 12.0, 18.0  # m shown from above
KPH = 3.6
SUBPIXEL = 4  # fractional bits of OpenCV's drawing
TURNS = {Turn.STRAIGHT: "straight on", Turn.LEFT: "turn left", Turn.RIGHT: "turn right", Turn.KEEP_LEFT: "keep left",
         Turn.KEEP_RIGHT: "keep right", Turn.ROUNDABOUT: "roundabout", Turn.ARRIVE: "arrive"}  # fmt: skip


def step(
    image: UInt8[Array, "h w 3"],
    camera: CameraModel,
    car: CarState,
    percept: Percept | None = None,
    world: World | None = None,
    plan: Plan | None = None,
    safe: SafeCommand | None = None,
    warnings: Warnings | None = None,
    scale: int = SCALE,
) -> UInt8[Array, "h2 w2 3"]:
    """The whole picture of one step: (scale h, scale w + scale h / 2, 3)."""
    seen = overlay(image, camera, percept, world, plan, warnings, scale)
    height = seen.shape[0]
    above = birds_eye(world, plan, percept, height // 2, height)
    canvas = np.hstack([seen, above])
    _status(canvas, seen.shape[1], car, world, plan, safe)
    if warnings is not None:
        _banners(canvas, seen.shape[1], warnings)
    return canvas


def overlay(
    image: UInt8[Array, "h w 3"],
    camera: CameraModel,
    percept: Percept | None,
    world: World | None = None,
    plan: Plan | None = None,
    warnings: Warnings | None = None,
    scale: int = SCALE,
) -> UInt8[Array, "h2 w2 3"]:
    """The camera picture, `scale` times as large, with lines, plan, boxes."""
    out = image.copy() if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    big = _scaled(camera, scale)
    if plan is not None and len(plan.xy) > 1:
        _ribbon(out, big, plan)
    if percept is None:
        return out
    for line in percept.lanes:
        if line.probability > 0.5 and len(line.image_points) > 1:
            _polyline(out, (line.image_points + 0.5) * scale - 0.5, CYAN if abs(line.side) == 1 else BLUE, 3)
    if percept.path is not None:
        points, depth = image_from_vehicle(big, _ground(percept.path.points))
        for u, v in points[depth > NEAR]:
            cv2.circle(out, _pixel(u, v), 3 << SUBPIXEL, WHITE, -1, cv2.LINE_AA, SUBPIXEL)
    for thing in percept.objects:
        track = _track_of(thing, world)
        leads = track is not None and plan is not None and track.id == plan.lead_id
        warned = track is not None and track.id in {w.track_id for w in (warnings.active if warnings else ())}
        told = track if warnings is None or not warnings.off else None  # without an own speed theirs is not known either
        _box(out, thing, told, RED if leads or warned else ORANGE, scale)
    return out


def scale_for(image: UInt8[Array, "h w 3"]) -> int:
    """How many times as large a picture is drawn: a small one is doubled."""
    return SCALE if image.shape[1] < BIG else 1


def birds_eye(
    world: World | None, plan: Plan | None, percept: Percept | None = None, width: int = 256, height: int = 512
) -> UInt8[Array, "height width 3"]:
    """The world from above, x up the picture; range rings every 20 m."""
    out = np.full((height, width, 3), GROUND, np.uint8)
    scale = height / (AHEAD + BEHIND)

    def pixels(xy: Float[Array, "n 2"]) -> Float[Array, "n 2"]:
        return np.stack([width / 2 - xy[:, 1] * scale, (AHEAD - xy[:, 0]) * scale], -1)

    origin = pixels(np.zeros((1, 2)))[0]
    for ring in (20, 40, 60):
        cv2.circle(out, _pixel(*origin), round(ring * scale * 2**SUBPIXEL), (52, 56, 64), 1, cv2.LINE_AA, SUBPIXEL)
        _text(out, f"{ring}", (width - 26, int(origin[1] - ring * scale)), GREY, 0.4)
    if world is not None:
        if len(world.route_line) > 1:
            _polyline(out, pixels(world.route_line), (110, 90, 140), 5)
        for curve, colour in ((world.left, CYAN), (world.right, CYAN), (world.path, WHITE)):
            if curve is not None and len(curve.points) > 1:
                _polyline(out, pixels(curve.points), colour, 1 if curve is world.path else 2)
    if plan is not None and len(plan.xy) > 1:
        _polyline(out, pixels(plan.xy), GREEN, 3)
    if world is not None:
        for track in world.tracks:
            leads = plan is not None and track.id == plan.lead_id
            red, green, blue = (int(c * (0.45 + 0.55 * track.probability)) for c in (RED if leads else ORANGE))
            faded = (red, green, blue)
            _rectangle(out, pixels, track.x, track.y, track.yaw, track.length, track.width, faded)
            ahead = np.array([[track.x, track.y], [track.x + track.vx, track.y + track.vy]])  # one second of motion
            _polyline(out, pixels(ahead), faded, 1)
    elif percept is not None:
        for thing in percept.objects:
            x, y = map(float, thing.position)
            _rectangle(out, pixels, x, y, thing.yaw, thing.length, thing.width, ORANGE)
    _rectangle(out, pixels, CAR_LENGTH / 2 - REAR_OVERHANG, 0.0, 0.0, CAR_LENGTH, CAR_WIDTH, GREEN)
    return out


# --------------------------------------------------------------------------- parts


def _status(canvas: Array, width: int, car: CarState, world: World | None, plan: Plan | None, safe: SafeCommand | None) -> None:
    """Speed and limit, what it does and why, the next turn, and what safety changed."""
    shade = canvas[:64, :width]
    shade[:] = shade // 3 + np.array(DARK, np.uint8) // 2
    speed = f"{car.speed * KPH:.0f}" if speed_known(car) else "--"
    _text(canvas, speed, (18, 46), WHITE, 1.4)
    _text(canvas, "km/h", (92 if len(speed) < 3 else 112, 46), GREY, 0.55)
    if world is not None and safe is not None:
        _text(canvas, f"limit {world.speed_limit * KPH:.0f}", (92, 24), GREY, 0.5)
    if plan is not None:
        _text(canvas, plan.behaviour.replace("_", " "), (176, 30), GREEN, 0.75)
        if plan.reason != plan.behaviour.replace("_", " "):
            _text(canvas, plan.reason[:60], (176, 54), GREY, 0.5)
    if world is not None and len(world.route_line):
        _text(canvas, TURNS[world.next_turn], (width - 250, 30), WHITE, 0.65)
        left = f"in {max(0.0, world.next_turn_distance):.0f} m, {max(0.0, world.goal_distance):.0f} m to go"
        _text(canvas, left, (width - 250, 54), GREY, 0.5)
    height = canvas.shape[0]
    if safe is not None:
        _wheel(canvas, (width - 46, height - 46), car.wheel_angle)
    if safe is not None and safe.reasons:
        _text(canvas, "safety: " + ", ".join(safe.reasons)[:90], (18, height - 16), RED, 0.55)
    if safe is not None and not safe.engaged:
        _text(canvas, "not engaged", (18, height - 42), RED, 0.7)


def _ribbon(out: Array, camera: CameraModel, plan: Plan) -> None:
    """The plan's strip of road, as wide as the car, brighter where it drives faster."""
    normal = np.stack([-np.sin(plan.yaw), np.cos(plan.yaw)], -1) * CAR_WIDTH / 2
    left, depth_l = image_from_vehicle(camera, _ground(plan.xy + normal))
    right, depth_r = image_from_vehicle(camera, _ground(plan.xy - normal))
    keep = (depth_l > NEAR) & (depth_r > NEAR)
    if keep.sum() < 2:
        return
    polygon = np.concatenate([left[keep], right[keep][::-1]])
    layer = out.copy()
    cv2.fillPoly(layer, [_fixed(polygon)], GREEN, cv2.LINE_AA, SUBPIXEL)
    cv2.addWeighted(layer, 0.35, out, 0.65, 0.0, out)


def _banners(canvas: Array, width: int, warnings: Warnings) -> None:
    """A bar for each warning, the most urgent on top, and one line for what is off."""
    order = list(WarningLevel)
    for k, w in enumerate(sorted(warnings.active, key=lambda w: -order.index(w.level))):
        side = {-1: " left", 1: " right"}.get(w.side, "")
        text = f"{w.kind.replace('_', ' ')}{side}: {w.reason}"
        y, colour = 74 + 30 * k, LEVEL_COLOURS[w.level]
        (wide, _), _ = cv2.getTextSize(text, FONT, 0.6, 1)
        cv2.rectangle(canvas, (18, y), (min(18 + wide + 20, width), y + 26), colour, -1)
        cv2.putText(canvas, text, (28, y + 19), FONT, 0.6, DARK, 1, cv2.LINE_AA)
    if warnings.off:
        text = "off: " + ", ".join(kind.replace("_", " ") for kind in warnings.off)
        _text(canvas, text, (18, canvas.shape[0] - 16), GREY, 0.45)


def _box(out: Array, thing: Detection, track: Track | None, colour: Colour, scale: int) -> None:
    u0, v0, u1, v1 = ((np.asarray(thing.box) + 0.5) * scale - 0.5).tolist()
    cv2.rectangle(out, _pixel(u0, v0), _pixel(u1, v1), colour, 2, cv2.LINE_AA, SUBPIXEL)
    label = f"{thing.distance:.0f} m"
    if track is not None:
        label += f" {np.hypot(track.vx, track.vy) * KPH:.0f} km/h"
    _text(out, label, (int(u0), max(78, int(v0) - 6)), colour, 0.5)


def _track_of(thing: Detection, world: World | None) -> Track | None:
    """The track this detection belongs to: the nearest of its kind within 3 m."""
    tracks = [t for t in (world.tracks if world else ()) if t.kind == thing.kind]
    near = [(np.hypot(t.x - thing.position[0], t.y - thing.position[1]), t) for t in tracks]
    distance, track = min(near, key=lambda pair: pair[0], default=(np.inf, None))
    return track if distance < 3.0 else None


def _rectangle(out: Array, pixels, x: float, y: float, yaw: float, length: float, width: float, colour: Colour) -> None:
    c, s = np.cos(yaw), np.sin(yaw)
    corners = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)]) * (length / 2, width / 2)
    cv2.fillPoly(out, [_fixed(pixels(corners @ np.array([[c, s], [-s, c]]) + (x, y)))], colour, cv2.LINE_AA, SUBPIXEL)


def _wheel(out: Array, centre: tuple[int, int], angle: float, ratio: float = 15.0) -> None:
    """A steering wheel turned by `ratio` times the road wheel's angle."""
    cv2.circle(out, centre, 30, WHITE, 3, cv2.LINE_AA)
    for spoke in (np.pi / 2, -np.pi / 6, np.pi * 7 / 6):
        turned = spoke - angle * ratio
        cv2.line(out, centre, (int(centre[0] + 29 * np.cos(turned)), int(centre[1] + 29 * np.sin(turned))), WHITE, 3, cv2.LINE_AA)


def _scaled(camera: CameraModel, k: int) -> CameraModel:
    cx, cy = (camera.cx + 0.5) * k - 0.5, (camera.cy + 0.5) * k - 0.5
    return replace(camera, width=camera.width * k, height=camera.height * k, fx=camera.fx * k, fy=camera.fy * k, cx=cx, cy=cy)


def _ground(xy: Float[Array, "n 2"]) -> Float[Array, "n 3"]:
    return np.column_stack([xy, np.zeros(len(xy))])


def _fixed(points: Float[Array, "n 2"]) -> Array:
    return np.clip(np.round(points * 2**SUBPIXEL), -(2**20), 2**20).astype(np.int32)


def _pixel(u: float, v: float) -> tuple[int, int]:
    return round(u * 2**SUBPIXEL), round(v * 2**SUBPIXEL)


def _polyline(out: Array, points: Float[Array, "n 2"], colour: Colour, thickness: int) -> None:
    cv2.polylines(out, [_fixed(np.asarray(points))], False, colour, thickness, cv2.LINE_AA, SUBPIXEL)


def _text(out: Array, text: str, at: tuple[int, int], colour: Colour, size: float) -> None:
    cv2.putText(out, text, (at[0] + 1, at[1] + 1), FONT, size, DARK, 1, cv2.LINE_AA)  # a shadow, to be read on anything
    cv2.putText(out, text, at, FONT, size, colour, 1, cv2.LINE_AA)
