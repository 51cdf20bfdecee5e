"""The judge's camera against our pinhole: in Panda3D's own lens arithmetic (any machine), and in pictures (where OpenGL is)."""

import base64
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from nanopilot.geometry import image_from_vehicle, model_camera, parent_from_child
from nanopilot.messages import CameraModel
from nanopilot.sim.opengl import missing_libraries, panda_from_camera, pinhole_lens
from nanopilot.sim.opengl_assets import AssetError, _noise, assets_folder, cache_folder, prepare_assets
from nanopilot.sim.opengl_meshes import cluster, settle, thin

SKEWED = CameraModel("skewed", 320, 200, 210.0, 260.0, 130.5, 77.25, x=0.7, y=-0.4, z=1.7, yaw=0.3, pitch=0.12, roll=-0.08)
POINTS = np.array([[9.0, 1.0, 0.5], [14.0, 4.0, 2.0], [25.0, 3.0, 1.0], [40.0, 16.0, 3.0]])  # vehicle frame, inside both pictures
POSE = (30.0, -4.0, 0.25)


def in_map(points):
    return np.column_stack([parent_from_child(points[:, :2], *POSE), points[:, 2]])


@pytest.mark.parametrize("camera", [model_camera(), SKEWED], ids=lambda c: c.name)
def test_panda3d_projects_a_point_to_the_pixel_our_pinhole_says(camera):
    from panda3d.core import LMatrix4, LPoint2, LPoint3, NodePath

    world, node, lens = NodePath("world"), NodePath("camera"), pinhole_lens(camera)
    node.reparentTo(world)
    node.setMat(LMatrix4(*map(float, panda_from_camera(camera, POSE).ravel())))
    pixels, depth = image_from_vehicle(camera, POINTS)
    assert (depth > 0).all()
    for point, pixel in zip(in_map(POINTS), pixels, strict=True):
        film = LPoint2()
        assert lens.project(node.getRelativePoint(world, LPoint3(*point)), film)
        column, row = (film[0] + 1) / 2 * camera.width - 0.5, (1 - film[1]) / 2 * camera.height - 0.5  # corner at (-0.5, -0.5)
        assert (column, row) == pytest.approx(tuple(pixel), abs=1e-2)


SCRIPT = """
import sys, numpy as np
from metadrive.envs.metadrive_env import MetaDriveEnv
from metadrive.obs.observation_base import DummyObservation
from panda3d.core import CardMaker
from nanopilot.geometry import model_camera
from nanopilot.sim.opengl import OpenGLCamera, opengl_config, rear_axle_pose
from nanopilot.sim.opengl_assets import assets_folder, cache_folder
from tests.sim.test_opengl import POINTS, POSE, SKEWED, in_map

plain_road = {"agent_observation": DummyObservation, "map": "S", "traffic_density": 0.0}
env = MetaDriveEnv(opengl_config(assets_folder(cache_folder())) | plain_road)
judge = OpenGLCamera(env)
env.reset()
pictures = {"plain": judge.render(model_camera())}
for point in in_map(POINTS):
    maker = CardMaker("marker")
    maker.setFrame(-0.2, 0.2, -0.2, 0.2)
    card = env.engine.render.attachNewNode(maker.generate())
    card.setPos(*point)
    card.setBillboardPointEye()
    card.setShaderOff(100)
    card.setLightOff(100)
    card.setColor(1, 0, 1, 1)
for camera in (model_camera(), SKEWED):
    pictures[camera.name] = judge.render(camera, POSE)
np.savez(sys.argv[1], pose=rear_axle_pose(env.agent), centre=env.agent.position, **pictures)
judge.close()
env.close()
"""


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Pictures drawn in a process of their own: MetaDrive keeps one engine per process."""
    if missing := missing_libraries():
        pytest.skip(f"no OpenGL on this machine: lib{' and lib'.join(missing)} missing")
    if not assets_folder(cache_folder()).exists():
        pytest.skip("MetaDrive's assets aren't built yet: python -m nanopilot.sim.opengl_assets")
    file = tmp_path_factory.mktemp("drawn") / "pictures.npz"
    process = subprocess.run([sys.executable, "-c", SCRIPT, file], capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr[-2000:]
    return np.load(file)


@pytest.mark.parametrize("camera", [model_camera(), SKEWED], ids=lambda c: c.name)
def test_a_bright_marker_is_drawn_where_our_pinhole_says(drawn, camera):
    import cv2

    r, g, b = np.moveaxis(drawn[camera.name].astype(int), -1, 0)
    count, _, _, centres = cv2.connectedComponentsWithStats(((r > 150) & (b > 150) & (g < 90)).astype(np.uint8))
    assert count - 1 == len(POINTS)
    for pixel in image_from_vehicle(camera, POINTS)[0]:
        assert np.hypot(*(centres[1:] - pixel).T).min() < 0.6  # px: the smallest marker is 3 px wide


def test_the_picture_has_sky_above_and_asphalt_and_a_lane_line_below(drawn):
    plain = drawn["plain"].astype(float)
    assert plain.shape == (256, 512, 3)
    red, _, blue = plain[:40].mean((0, 1))
    assert blue > red + 10
    below = plain[150:]
    assert np.ptp(np.median(below, axis=(0, 1))) < 25  # grey
    assert (below.min(-1) > 180).any()  # white paint


def test_the_rear_axle_lies_behind_the_middle_of_the_car(drawn):
    x, y, yaw = drawn["pose"]
    ahead = (drawn["centre"] - (x, y)) @ (np.cos(yaw), np.sin(yaw))
    assert ahead == pytest.approx(1.4166, abs=1e-3)  # MetaDrive's DefaultVehicle


# --------------------------------------------------------------------------- thinning and textures


def ball(n: int = 60):
    """(points, triangles) of a unit sphere."""
    polar, round_ = np.meshgrid(np.linspace(0, np.pi, n), np.linspace(0, 2 * np.pi, n), indexing="ij")
    points = np.stack([np.sin(polar) * np.cos(round_), np.sin(polar) * np.sin(round_), np.cos(polar)], -1).reshape(-1, 3)
    k = (np.arange(n - 1)[:, None] * n + np.arange(n - 1)).ravel()
    return points.astype(np.float32), np.concatenate([np.stack([k, k + n, k + 1], -1), np.stack([k + 1, k + n, k + n + 1], -1)])


def test_a_thinned_sphere_stays_a_sphere_within_its_budget():
    points, triangles = ball()
    cell, left = cluster(points, triangles, 600)
    assert 200 < len(left) <= 600
    radius = np.linalg.norm(settle(points, triangles, cell), axis=-1)
    assert radius.min() > 0.93 and radius.max() < 1.07


def test_the_only_triangle_of_a_mesh_is_never_lost():
    points = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], np.float32)
    assert cluster(points, np.array([[0, 1, 2]]), 1)[1].tolist() == [[0, 1, 2]]


def test_panda3ds_own_loader_reads_a_thinned_file(tmp_path):
    import gltf

    points, triangles = ball()
    chunks = [points.tobytes(), points.tobytes(), triangles.astype(np.uint32).tobytes()]
    starts = np.cumsum([0] + [len(c) for c in chunks]).tolist()
    kinds = [(5126, "VEC3", len(points)), (5126, "VEC3", len(points)), (5125, "SCALAR", triangles.size)]
    file = tmp_path / "ball.gltf"
    file.write_text(
        json.dumps(
            {
                "asset": {"version": "2.0"},
                "scene": 0,
                "scenes": [{"nodes": [0]}],
                "nodes": [{"mesh": 0}],
                "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "NORMAL": 1}, "indices": 2}]}],
                "accessors": [{"bufferView": i, "componentType": c, "type": t, "count": n} for i, (c, t, n) in enumerate(kinds)],
                "bufferViews": [{"buffer": 0, "byteOffset": s, "byteLength": len(c)} for s, c in zip(starts, chunks, strict=False)],
                "buffers": [
                    {"byteLength": starts[-1], "uri": "data:application/octet-stream;base64," + base64.b64encode(b"".join(chunks)).decode()}
                ],
            }
        )
    )
    thin(file, 500, lambda _: None)
    from panda3d.core import Loader, NodePath

    low, high = NodePath(gltf.load_model(Loader.getGlobalPtr(), str(file))).getTightBounds()
    assert [*low, *high] == pytest.approx([-1, -1, -1, 1, 1, 1], abs=0.07)


def test_a_texture_tiles_without_a_seam():
    grey = _noise(np.random.default_rng(0), 512, (78, 78, 78), 4).astype(float)
    for axis in (0, 1):
        seam = np.abs(grey.take(0, axis) - grey.take(-1, axis)).mean()
        assert seam < 1.5 * np.abs(np.diff(grey, axis=axis)).mean()


# --------------------------------------------------------------------------- what can go wrong


def test_without_a_network_it_says_so_and_leaves_no_half_built_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("metadrive.pull_asset.ASSET_URL", (tmp_path / "nothing.zip").as_uri())
    monkeypatch.setattr(sys, "executable", "/bin/false")  # pip fails
    with pytest.raises(AssetError, match="can't download metadrive-simulator"):
        prepare_assets(tmp_path, lambda _: None)
    assert not assets_folder(tmp_path).parent.exists()


def test_an_incomplete_archive_is_refused(tmp_path, monkeypatch):
    archive = tmp_path / "assets.zip"
    with zipfile.ZipFile(archive, "w") as z:
        z.writestr("assets/version.txt", "0.4.3\n")
    monkeypatch.setattr("metadrive.pull_asset.ASSET_URL", archive.as_uri())
    with pytest.raises(AssetError, match="came without models/ferra"):
        prepare_assets(tmp_path, lambda _: None)
    assert not assets_folder(tmp_path).parent.exists()


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("nanopilot.sim.opengl_assets.DISK_NEEDED", 1e18)
    with pytest.raises(AssetError, match="MB free"):
        prepare_assets(tmp_path, lambda _: None)
