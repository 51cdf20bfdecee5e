"""The judge's camera: MetaDrive's own scene, shaders and models, drawn with OpenGL on the CPU (EGL and Mesa's llvmpipe).

In: a MetaDrive environment made with `opengl_config()` and any CameraModel. Out: (H, W, 3) RGB pictures from that
camera's exact pinhole, wherever the car stands. Nothing is trained or tuned on them. What makes it usable without
a GPU: no multisampling, no anisotropic filter (with it a frame can take over 100 s), no shadow pass, coarse terrain (the
ground is a plane), thin meshes, and a picture only when one is asked for. It has no shadows, no own car, no body pitch or roll.
"""

from __future__ import annotations

import ctypes.util
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from nanopilot.geometry import camera_from_vehicle
from nanopilot.messages import CameraModel

Array = np.ndarray
Pose = tuple[float, float, float]  # rear axle x, y (m) and yaw (rad), map frame

NEAR, FAR = 0.2, 60_000.0  # m; MetaDrive's sky is a ball of 20 km
GROUND_PX = 11264  # side of the picture MetaDrive colours the ground by: 22 px/m (its own) of 512 m, 11 (its own for large maps) of 1 km
GROUND_SIDES = (512, 1024)  # m
TERRAIN_TRIANGLE_PX = 2000.0  # width the terrain mesh aims at: the coarsest it has
DEBIAN_PACKAGES = ("libegl1", "libgl1", "libgl1-mesa-dri")  # the first two are what Panda3D opens, the third holds llvmpipe


class NoOpenGL(RuntimeError):
    """This machine can't draw with OpenGL. `args[0]` says what is missing, in words for people."""


def missing_libraries() -> tuple[str, ...]:
    """The shared libraries the camera needs and the system lacks."""
    return tuple(name for name in ("EGL", "GL") if ctypes.util.find_library(name) is None)


def opengl_config(assets: Path) -> dict[str, Any]:
    """Overrides for a MetaDrive environment's config so that OpenGLCamera can draw it, with the assets in that folder.

    Also turns this process's Panda3D and MetaDrive to software rendering and to that folder (both keep it process-wide);
    call it before the environment is made. Raises NoOpenGL.
    """
    if missing := missing_libraries():
        raise NoOpenGL(f"no lib{' or lib'.join(missing)} here: apt install {' '.join(DEBIAN_PACKAGES)}")
    from metadrive.component.sensors.base_camera import BaseCamera
    from metadrive.engine.asset_loader import AssetLoader
    from metadrive.engine.base_engine import BaseEngine
    from metadrive.engine.core import engine_core
    from metadrive.third_party import simplepbr
    from panda3d.core import loadPrcFileData

    loadPrcFileData("", "load-display p3headlessgl\nframebuffer-multisample 0\nmultisamples 0")
    engine_core.init = lambda **options: simplepbr.init(**options | {"msaa_samples": 0, "max_lights": 1})  # 16 and 8 there: one sun shines
    AssetLoader.asset_path = type(AssetLoader.asset_path)(assets)
    BaseEngine.try_pull_asset = staticmethod(lambda: None)  # it would look into site-packages

    class Offscreen(BaseCamera):
        """A camera in name only: its presence tells MetaDrive to open a graphics engine without a window."""

        def __init__(self, engine: Any, cuda: bool) -> None:
            super().__init__(engine)  # without a CAM_MASK it makes no buffer

    return {
        "use_render": False,
        "image_observation": True,  # else MetaDrive drops the sensor below
        "sensors": {"offscreen": (Offscreen,)},
        "multi_thread_render": False,
        "disable_model_compression": True,
        "preload_models": False,
        "show_interface": False,
        "show_logo": False,
        "show_fps": False,
    }


def rear_axle_pose(vehicle: Any) -> Pose:
    """Where a MetaDrive vehicle's rear axle is; MetaDrive's own position is the middle of the box."""
    x, y = vehicle.position
    yaw = float(vehicle.heading_theta)
    return x - vehicle.REAR_WHEELBASE * np.cos(yaw), y - vehicle.REAR_WHEELBASE * np.sin(yaw), yaw


class OpenGLCamera:
    """Draws a MetaDrive environment's world as it is now. Make it before the first reset, which paints the ground."""

    def __init__(self, env: Any) -> None:
        env.lazy_init()
        self._env, self._engine = env, env.engine
        if self._engine.win is None:
            raise NoOpenGL("MetaDrive opened no graphics engine: make the environment with opengl_config()")
        self._views: dict[CameraModel, Any] = {}
        self._lighten_ground()
        self._engine.pssm.buffer.setActive(False)
        self._engine.render.setShaderInput("use_pssm", False)
        for buffer in self._engine.pbrpipe.manager.buffers:
            buffer.setActive(False)

    def _lighten_ground(self) -> None:
        """Have MetaDrive paint the map's picture, from which its shader colours the ground, around the map's middle, as fine as
        GROUND_PX allow, in bytes. Its own is around the origin, takes 2 GB and is wider than llvmpipe's textures."""
        from panda3d.core import Texture, TexturePool

        terrain, env = self._engine.terrain, self._env
        terrain.semantic_tex.setup2dTexture(GROUND_PX, GROUND_PX, Texture.T_unsigned_byte, Texture.F_red)
        terrain.semantic_tex.setKeepRamImage(False)
        paint, reset = terrain.get_terrain_semantics, terrain.reset
        terrain.get_terrain_semantics = lambda centre: cv2.convertScaleAbs(paint(centre), alpha=255)  # 0..1 to bytes

        def reset_lightly(_: Any) -> None:
            x0, x1, y0, y1 = env.current_map.road_network.get_bounding_box()
            side = next((s for s in GROUND_SIDES if max(x1 - x0, y1 - y0) < s), GROUND_SIDES[-1])
            terrain._semantic_map_size, terrain._semantic_map_pixel_per_meter = side, GROUND_PX // side
            reset(((x0 + x1) / 2, (y0 + y1) / 2))
            terrain._mesh_terrain.setShaderInput("elevation_texture_ratio", terrain._terrain_size / side)
            for texture in TexturePool.findAllTextures():
                texture.setAnisotropicDegree(1)

        terrain.reset = reset_lightly

    def render(self, camera: CameraModel, pose: Pose | None = None) -> UInt8[Array, "h w 3"]:
        """RGB from a camera on the car, whose rear axle is at `pose` (the agent's own if None) on level ground."""
        if camera not in self._views:
            self._views[camera] = _View(self._engine, camera)
        vehicle = next(iter(self._env.agents_including_just_terminated.values()))
        vehicle.origin.hide(_View.mask())
        self._engine.terrain._mesh_terrain_node.setTargetTriangleWidth(TERRAIN_TRIANGLE_PX)
        return self._views[camera].draw(rear_axle_pose(vehicle) if pose is None else pose)

    def close(self) -> None:
        """Give the buffers back; the environment is its maker's to close."""
        for view in self._views.values():
            view.close()
        self._views.clear()


class _View:
    """One camera's buffers: the scene in linear light, then MetaDrive's tone curve into bytes."""

    @staticmethod
    def mask() -> Any:
        from metadrive.constants import CamMask

        return CamMask.RgbCam

    def __init__(self, engine: Any, camera: CameraModel) -> None:
        from direct.filter.FilterManager import FilterManager
        from metadrive.constants import CameraTagStateKey, Semantics
        from metadrive.engine.core.terrain import Terrain
        from metadrive.third_party.simplepbr import _load_shader_str
        from panda3d.core import FrameBufferProperties, Shader, Texture

        self._engine, self._camera = engine, camera
        self._picture = Texture(camera.name)
        self._buffer = engine.win.makeTextureBuffer(camera.name, camera.width, camera.height, self._picture, True)
        if self._buffer is None:
            raise NoOpenGL(f"OpenGL gives no {camera.width}x{camera.height} buffer for camera {camera.name}")
        self._node = engine.makeCamera(self._buffer, lens=pinhole_lens(camera))
        self._node.node().setCameraMask(self.mask())
        self._node.node().setTagStateKey(CameraTagStateKey.RGB)
        ground = Terrain.make_render_state(engine, "terrain.vert.glsl", "terrain.frag.glsl")
        self._node.node().setTagState(Semantics.TERRAIN.label, ground)
        self._filters = FilterManager(self._buffer, self._node)
        light = Texture()
        light.setFormat(Texture.F_rgba16)
        light.setComponentType(Texture.T_float)
        properties = FrameBufferProperties()
        properties.setFloatColor(True)
        properties.setRgbaBits(16, 16, 16, 16)
        properties.setDepthBits(24)
        screen = self._filters.renderSceneInto(colortex=light, fbprops=properties)
        source = [_load_shader_str(name, {}) for name in ("post.vert", "tonemap.frag")]
        screen.setShader(Shader.make(Shader.SL_GLSL, *source))
        screen.setShaderInput("tex", light)
        screen.setShaderInput("exposure", 1.0)
        self._active(False)

    def _active(self, on: bool) -> None:
        for buffer in (self._buffer, *self._filters.buffers):
            buffer.setActive(on)

    def draw(self, pose: Pose) -> UInt8[Array, "h w 3"]:
        from panda3d.core import LMatrix4

        self._node.reparentTo(self._engine.render)
        self._node.setMat(LMatrix4(*map(float, panda_from_camera(self._camera, pose).ravel())))
        self._active(True)
        self._engine.graphicsEngine.renderFrame()
        self._active(False)
        image = np.frombuffer(self._picture.getRamImageAs("RGB"), np.uint8)
        return image.reshape(self._camera.height, self._camera.width, 3)[::-1].copy()  # Panda3D's rows go up

    def close(self) -> None:
        self._filters.cleanup()
        self._node.removeNode()
        self._engine.graphicsEngine.removeWindow(self._buffer)


def pinhole_lens(camera: CameraModel) -> Any:
    """A Panda3D lens with this camera's focal lengths and principal point; film in units of the focal length."""
    from panda3d.core import PerspectiveLens

    lens = PerspectiveLens()
    lens.setFocalLength(1.0)
    lens.setFilmSize(camera.width / camera.fx, camera.height / camera.fy)
    right, down = camera.cx - (camera.width - 1) / 2, camera.cy - (camera.height - 1) / 2  # px from the picture's middle
    lens.setFilmOffset(-right / camera.fx, down / camera.fy)
    lens.setNearFar(NEAR, FAR)
    return lens


def panda_from_camera(camera: CameraModel, pose: Pose) -> Float[Array, "4 4"]:
    """Panda3D's node matrix (rows: the node's x right, y ahead, z up, origin, in the map frame) of a camera on a car."""
    x, y, yaw = pose
    map_from_vehicle = np.array([[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]])
    r, t = camera_from_vehicle(camera)
    right, down, ahead = r @ map_from_vehicle.T
    origin = map_from_vehicle @ (-r.T @ t) + (x, y, 0)
    matrix = np.eye(4)
    matrix[:, :3] = right, ahead, -down, origin
    return matrix
