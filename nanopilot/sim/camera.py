"""nanopilot's own CPU camera: a Scene seen by a CameraModel, as RGB, class, instance and depth from one pass.

In: a StaticScene and an Appearance once; a Scene, a CameraModel and the vehicle's pose each time. Out: `scene.Render`.
The same inputs give the same bytes: noise depends on (appearance.seed, scene.t) only. One thread, no GPU.
Not modelled: lens distortion, rolling shutter, mirrors, shadows on anything but the ground.
"""

from __future__ import annotations

import zlib

import cv2
import numpy as np

from nanopilot.geometry import camera_from_vehicle
from nanopilot.messages import CameraModel, SceneClass
from nanopilot.sim import raster
from nanopilot.sim.appearance import Appearance
from nanopilot.sim.ground import Ground
from nanopilot.sim.meshes import PALETTE
from nanopilot.sim.scene import Actor, Prop, Render, Scene, StaticScene
from nanopilot.sim.shapes import SIGNS, STEPS, library
from nanopilot.sim.sky import detail, paint_sky, patches

Array = np.ndarray
GROUND_RADIUS = 220.0  # m: ground farther away is drawn as grass
SHADOW_RADIUS = 90.0  # m
FAR_MESH = 45.0  # m: beyond it the coarse mesh
SMALLEST = 0.7  # px: what is smaller is left out
MAX_FACES = 60_000
BLINK_HZ = 1.5  # UN ECE R48: 90 ± 30 a minute
STRIDE = 1.5  # m of a full walking cycle (guess)
CONTACT, SHADOW = 60, 110  # darkness on the ground below an actor, and in the sun's shade (255: none)
LIFT = 4.0  # m, longest shadow a metre of height
MIN_BLUR = 0.15  # px: less is no blur

CAR_COLOURS = ((0.85, 0.86, 0.87), (0.06, 0.06, 0.07), (0.55, 0.57, 0.60), (0.28, 0.30, 0.33), (0.62, 0.05, 0.06), (0.08, 0.17, 0.45),
               (0.12, 0.28, 0.20), (0.75, 0.70, 0.58), (0.90, 0.55, 0.08), (0.35, 0.55, 0.72))  # fmt: skip
CLOTHES = ((0.70, 0.12, 0.12), (0.13, 0.25, 0.55), (0.85, 0.82, 0.75), (0.10, 0.10, 0.12), (0.20, 0.42, 0.25), (0.85, 0.65, 0.15),
           (0.45, 0.30, 0.50), (0.35, 0.36, 0.40))  # fmt: skip
WALLS = ((0.72, 0.66, 0.56), (0.58, 0.32, 0.25), (0.80, 0.78, 0.74), (0.62, 0.60, 0.58), (0.76, 0.58, 0.40), (0.50, 0.53, 0.58))
ROOFS = ((0.50, 0.22, 0.15), (0.30, 0.28, 0.28), (0.40, 0.25, 0.18))
VEHICLES = ("car", "suv", "van", "truck", "bus")
ACTOR_CLASS = {"person": SceneClass.PERSON, "cyclist": SceneClass.CYCLIST} | dict.fromkeys(VEHICLES, SceneClass.VEHICLE)
PROP_CLASS = {"building": SceneClass.BUILDING, "tree": SceneClass.NATURE, "bush": SceneClass.NATURE, "pole": SceneClass.POLE,
              "lamp": SceneClass.POLE, "sign": SceneClass.SIGN, "light": SceneClass.SIGN, "barrier": SceneClass.FENCE,
              "cone": SceneClass.OTHER, "kerb": SceneClass.PAVEMENT}  # fmt: skip
SHADOW_FORM = {"tree": "tree", "bush": "tree", "building": "box", "pole": "box", "lamp": "pole", "sign": "pole", "light": "pole",
               "barrier": "box", "cone": "pole", "kerb": "flat"}  # fmt: skip
LAMP_BIT = {"red": raster.RED, "yellow": raster.YELLOW, "green": raster.GREEN, "off": 0}
# columns of an instance row after x, y, cos, sin: size, primary, secondary (raster.draw)
COLUMNS = 13


def _hash(*parts: object) -> int:
    return zlib.crc32(repr(parts).encode())


def _shade(colour: tuple, number: int, spread: float = 0.12) -> tuple[float, ...]:
    gain = 1 + spread * ((number >> 8) % 256 / 127.5 - 1)
    return tuple(min(c * gain, 1.0) for c in colour)


class CpuCamera:
    """Draws one map under one appearance; any number of cameras and poses."""

    def __init__(self, static: StaticScene, appearance: Appearance) -> None:
        self.static, self.appearance = static, appearance
        self.library = library()
        self.ground = Ground(static, appearance)
        self.sky, self.detail = paint_sky(appearance).view(np.uint32).ravel(), detail()
        self.patches = patches(appearance.seed)
        self.fog = appearance.fog_curve()
        rows = [self._prop(p) for p in static.props]
        self.props = np.array([r[0] for r in rows], np.float64).reshape(-1, COLUMNS)
        self.prop_keys = np.array([r[1] for r in rows], np.int32).reshape(-1, 4)
        self.prop_far = np.array([r[2] for r in rows], np.int32)
        self.prop_shadow = np.array([r[3] for r in rows], np.int32)
        self.prop_light = {n: p.id for n, p in enumerate(static.props) if p.kind == "light"}
        self.face = np.empty((MAX_FACES, 9), np.float32)
        self.face_key = np.empty((MAX_FACES, 4), np.int32)
        self.noise = np.random.default_rng([appearance.seed, 5]).standard_normal(1 << 18).astype(np.float32)
        self.streaks = self._rain() if appearance.rain > 0 else np.empty((0, 1), np.uint8)
        self.buffers: dict[tuple[int, int], tuple[Array, ...]] = {}
        roughness = np.zeros(len(SceneClass.NAMES))
        roughness[[SceneClass.ROAD, SceneClass.MARKING, SceneClass.PAVEMENT, SceneClass.NATURE]] = (
            np.array([1.0, 0.5, 0.7, 2.6]) * appearance.grain
        )
        self.roughness = roughness

    def _prop(self, p: Prop) -> tuple[tuple, tuple, int, int]:
        """(instance row, key row, mesh when far, mesh of its shadow) of a prop. Raises ValueError for an unknown kind."""
        if p.kind not in PROP_CLASS:
            raise ValueError(f"unknown prop {p.kind!r}, known are {sorted(PROP_CLASS)}")
        number, kinds = _hash(self.appearance.seed, p.kind, round(p.x, 2), round(p.y, 2)), self.library.number
        primary, secondary, name = (0.5, 0.5, 0.5), (0.3, 0.3, 0.3), p.kind
        if p.kind in ("tree", "bush"):
            form = p.variant or ("round", "round", "conifer", "tall")[number % 4]
            name = f"tree_{form}" if p.kind == "tree" else "bush"
            leaf = np.array(self.appearance.grass) * ((0.55, 0.72, 0.62) if form == "conifer" else (0.78, 0.92, 0.7))
            primary = _shade(tuple(leaf), number, 0.3)
        elif p.kind == "building":
            form = p.variant or ("house" if p.size[2] < 10 else ("flat", "flat", "hall")[number % 3])
            name, primary, secondary = (
                f"building_{form}",
                _shade(WALLS[number % len(WALLS)], number),
                _shade(ROOFS[number % len(ROOFS)], number),
            )
        elif p.kind == "sign":
            known = p.variant in SIGNS or f"sign_{p.variant}" in kinds
            name = f"sign_{p.variant if known else SIGNS[number % len(SIGNS)]}"
        elif p.kind == "barrier":
            name = f"barrier_{p.variant or 'wall'}"
        if name not in kinds:
            raise ValueError(f"unknown variant {p.variant!r} of a {p.kind}")
        row = (p.x, p.y, np.cos(p.yaw), np.sin(p.yaw), *p.size, *primary, *secondary)
        mesh = kinds[name]
        state = raster.NIGHT if self.appearance.night > 0 else 0
        return row, (mesh, state, PROP_CLASS[p.kind], -1), kinds.get(f"{name}_far", mesh), kinds[f"shadow_{SHADOW_FORM[p.kind]}"]

    def _actor(self, a: Actor, t: float) -> tuple[tuple, tuple, int]:
        """(instance row, key row, mesh when far) of an actor. Raises ValueError for an unknown kind."""
        if a.kind not in ACTOR_CLASS:
            raise ValueError(f"unknown actor {a.kind!r}, known are {sorted(ACTOR_CLASS)}")
        number, kinds = _hash(self.appearance.seed, a.id), self.library.number
        if a.kind in VEHICLES:
            name, primary, secondary = a.kind, _shade(CAR_COLOURS[number % len(CAR_COLOURS)], number), (0.82, 0.82, 0.80)
        else:
            name = f"{a.kind}_{int(a.speed * t / STRIDE * STEPS + number) % STEPS if a.speed > 0.1 else 0}"
            primary, secondary = CLOTHES[number % len(CLOTHES)], _shade(CLOTHES[(number >> 4) % len(CLOTHES)], number)
        state = (raster.NIGHT if self.appearance.night > 0 else 0) | (raster.BRAKE if a.braking else 0)
        if int(t * 2 * BLINK_HZ) % 2 == 0:
            state |= {"left": raster.LEFT, "right": raster.RIGHT, "hazard": raster.LEFT | raster.RIGHT}.get(a.signal, 0)
        row = (a.x, a.y, np.cos(a.yaw), np.sin(a.yaw), *a.size, *primary, *secondary)
        return row, (kinds[name], state, ACTOR_CLASS[a.kind], a.id), kinds.get(f"{name}_far", kinds[name])

    def _light(self, view: Array, yaw: float) -> Array:
        """The light vector of raster.resolve, directions in the camera frame."""
        look, light = self.appearance, np.zeros(raster.LIGHT_SIZE)
        c, s = np.cos(yaw), np.sin(yaw)
        for at, direction in (
            (raster.L_SUN, look.sun_direction()),
            (raster.L_UP, (0, 0, 1)),
            (raster.L_FORWARD, (c, s, 0)),
            (raster.L_LEFT, (-s, c, 0)),
        ):
            light[at : at + 3] = view @ np.asarray(direction, float)
        for at, colour in ((raster.L_SUN_RGB, look.sun), (raster.L_AMBIENT, look.ambient), (raster.L_ZENITH, look.zenith),
                           (raster.L_HORIZON, look.horizon), (raster.L_FOG, look.fog_colour())):  # fmt: skip
            light[at : at + 3] = colour
        light[raster.L_HEAD], light[raster.L_WET], light[raster.L_EXPOSURE], light[raster.L_DARK] = (
            look.night,
            look.wet,
            look.exposure,
            look.night,
        )
        return light

    def render(
        self, scene: Scene, camera: CameraModel, pose: tuple[float, float, float], labels: bool = True, speed: float = 0.0
    ) -> Render:
        """Draw `scene` from `camera` on a vehicle at `pose` (x, y of the rear axle, yaw; map frame).

        `speed` (m/s) is the vehicle's own, for motion blur. Without `labels` the three label images are empty (0, 0).
        """
        x, y, yaw = pose
        height, width = camera.height, camera.width
        if (height, width) not in self.buffers:
            self.buffers[height, width] = (np.empty((height, width), np.float32), np.empty((height, width), np.int32),
                                           np.empty((height, width), np.uint8), self._vignette(height, width))  # fmt: skip
        z, owner, shade, vignette = self.buffers[height, width]
        z.fill(0)
        shade.fill(255)
        c, s = np.cos(yaw), np.sin(yaw)
        vehicle_from_map = np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
        view = camera_from_vehicle(camera)[0] @ vehicle_from_map  # camera from map
        eye = np.array([x + c * camera.x - s * camera.y, y + s * camera.x + c * camera.y])
        lens = np.array([camera.fx, camera.fy, camera.cx, camera.cy])
        light = self._light(view, yaw)
        self.ground.ensure(*eye, GROUND_RADIUS)

        actors = [self._actor(a, scene.t) for a in scene.actors]
        rows = np.concatenate([np.array([a[0] for a in actors], float).reshape(-1, COLUMNS), self.props])
        keys = np.concatenate([np.array([a[1] for a in actors], np.int32).reshape(-1, 4), self.prop_keys])
        for n, name in self.prop_light.items():
            keys[len(actors) + n, 1] |= LAMP_BIT[scene.lights.get(name, "off")]
        far = np.concatenate([np.array([a[2] for a in actors], np.int32), self.prop_far])
        rows[:, :2] -= eye
        distance = np.hypot(rows[:, 0], rows[:, 1])
        reach = 0.5 * np.sqrt((rows[:, 4:7] ** 2).sum(1)) + 0.5 * rows[:, 6]  # bounding sphere about the foot, generous
        keys[:, 0] = np.where(distance > FAR_MESH, far, keys[:, 0])
        self._cast_shadows(rows, distance, reach, len(actors), view, lens, camera, z, shade)

        foot = rows[:, :2] @ view[:, :2].T - camera.z * view[:, 2]  # (n, 3) camera frame
        side = np.hypot(camera.fx, max(camera.cx, width - 1 - camera.cx))
        rise = np.hypot(camera.fy, max(camera.cy, height - 1 - camera.cy))
        seen = (foot[:, 2] > -reach) & (reach * camera.fx > SMALLEST * distance)
        seen &= np.abs(foot[:, 0]) * camera.fx < foot[:, 2] * max(camera.cx, width - 1 - camera.cx) + reach * side
        seen &= np.abs(foot[:, 1]) * camera.fy < foot[:, 2] * max(camera.cy, height - 1 - camera.cy) + reach * rise
        seen &= self.fog[np.minimum(distance, len(self.fog) - 1).astype(int)] > 1 / 255
        order = np.flatnonzero(seen)
        order = order[np.argsort(distance[order] - reach[order], kind="stable")]
        lib = self.library
        raster.draw(lib.vertices, lib.triangles, lib.spans, rows[order], keys[order], PALETTE, view, lens, camera.z, light,
                    z, owner, self.face, self.face_key)  # fmt: skip

        rays = view.T @ np.array([[1 / camera.fx, 0, -camera.cx / camera.fx], [0, 1 / camera.fy, -camera.cy / camera.fy], [0, 0, 1]])
        heading = np.array([c, s])
        rgb = np.empty((height, width, 3), np.uint8)
        shape = (height, width) if labels else (0, 0)
        semantic, instance, depth = np.empty(shape, np.uint8), np.empty(shape, np.int32), np.empty(shape, np.float32)
        raster.resolve(z, owner, shade, self.face, self.face_key, self.ground.pool.view(np.uint32).reshape(-1), self.ground.table,
                       self.ground.origin - eye, self.detail, self.patches, self.roughness, self.sky, rays, camera.z, camera.fx, heading,
                       heading * speed * self.appearance.shutter, light, self.fog, rgb, semantic, instance, depth)  # fmt: skip
        return Render(self._develop(rgb, vignette, scene.t, camera.name), semantic, instance, depth)

    def _cast_shadows(self, rows: Array, distance: Array, reach: Array, actors: int, view: Array, lens: Array, camera: CameraModel,
                      z: Array, shade: Array) -> None:  # fmt: skip
        """Sun shadows of what is near (if there is a sun), and the dark below each actor, softened."""
        lib, sun = self.library, self.appearance.sun_direction()
        near = distance < SHADOW_RADIUS + reach
        slope = -sun[:2] / sun[2]
        slope *= min(1.0, LIFT / max(float(np.hypot(*slope)), 1e-6))
        if max(self.appearance.sun) > 0.15:
            forms = np.concatenate([np.full(actors, lib.number["shadow_car"], np.int32), self.prop_shadow])
            raster.cast(lib.vertices, lib.triangles, lib.spans, rows[near], forms[near], slope, SHADOW, view, lens, camera.z, z, shade)
        feet = np.flatnonzero(near[:actors])
        flat = np.full(len(feet), lib.number["shadow_flat"], np.int32)
        raster.cast(lib.vertices, lib.triangles, lib.spans, rows[feet], flat, np.zeros(2), CONTACT, view, lens, camera.z, z, shade)
        cv2.blur(shade, (5, 3), shade)

    def _rain(self) -> Array:
        """Streaks (H, 3 W) uint8, many faint and a few bright, to be scrolled."""
        rng = np.random.default_rng([self.appearance.seed, 6])
        drops = (rng.random((384, 1024)) < 0.006 * self.appearance.rain) * rng.random((384, 1024)) ** 3
        streaks = cv2.warpAffine(
            cv2.blur(drops.astype(np.float32), (1, 17)), np.array([[1, 0.08, 0], [0, 1, 0]]), (1024, 384), borderMode=cv2.BORDER_WRAP
        )
        return np.repeat(np.minimum(streaks * 1100, 110), 3, axis=1).astype(np.uint8)

    def _vignette(self, height: int, width: int) -> Array:
        v, u = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
        return np.repeat((1 - self.appearance.vignette * (u**2 + v**2) / 2).astype(np.float32), 3, axis=1)  # (H, 3 W)

    def _develop(self, rgb: Array, vignette: Array, t: float, name: str) -> Array:
        """Lens blur, rain, vignette, sensor noise."""
        look = self.appearance
        if look.lens_blur > MIN_BLUR:
            rgb = cv2.GaussianBlur(rgb, (3, 3), look.lens_blur)
        height, width, _ = rgb.shape
        rng = np.random.default_rng([look.seed, _hash(round(t, 4), name)])
        starts = rng.integers(0, len(self.noise) - 3 * width, height)
        scroll = int(rng.integers(len(self.streaks))) if len(self.streaks) else 0
        raster.finish(rgb.reshape(height, 3 * width), vignette, self.noise, starts, np.float32(look.noise), self.streaks, scroll)
        return rgb
