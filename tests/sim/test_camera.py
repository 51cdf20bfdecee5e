"""The CPU camera against closed-form pinhole geometry, and against itself: same inputs, same bytes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nanopilot.geometry import child_from_parent, image_from_vehicle, model_camera, road_from_image
from nanopilot.messages import CameraModel, SceneClass
from nanopilot.sim.appearance import WEATHERS, Appearance
from nanopilot.sim.camera import CpuCamera
from nanopilot.sim.scene import Actor, Marking, Prop, Scene, StaticScene, Surface
from nanopilot.sim.shapes import library

ROAD = Surface("road", np.array([(-20.0, -8.0), (120.0, -8.0), (120.0, 8.0), (-20.0, 8.0)]))
LINE = Marking(np.array([(-20.0, 2.0), (120.0, 2.0)]), 0.2)
BLOCK = Marking(np.array([(12.0, -2.0), (14.0, -2.0)]), 1.0)  # a painted 2 m x 1 m rectangle
STATIC = StaticScene((ROAD,), (LINE, BLOCK))
POSE = (3.0, -0.5, 0.1)
PLAIN = replace(Appearance.clear_day(), noise=0.0, lens_blur=0.0, vignette=0.0, wear=0.0, grain=0.0)
TILTED = CameraModel("tilted", 400, 300, 300.0, 310.0, 190.0, 140.0, x=1.0, y=0.3, z=1.7, yaw=0.2, pitch=0.12, roll=0.08)
CAMERAS = (model_camera(), TILTED)


@pytest.fixture(scope="module")
def eye() -> CpuCamera:
    return CpuCamera(STATIC, PLAIN)


def vehicle_points(points: np.ndarray) -> np.ndarray:
    return np.concatenate([child_from_parent(points[:, :2], *POSE), points[:, 2:]], -1)


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda c: c.name)
@pytest.mark.parametrize("kind", ["car", "truck", "person"])
def test_an_actors_mask_is_the_projection_of_its_mesh(eye: CpuCamera, camera: CameraModel, kind: str) -> None:
    size = {"car": (4.4, 1.8, 1.5), "truck": (8.0, 2.5, 3.5), "person": (0.6, 0.6, 1.75)}[kind]
    actor = Actor(7, kind, 20.0, 2.5, 0.4, size)
    mask = eye.render(Scene(STATIC, (actor,)), camera, POSE).instance == 7
    lib = library()
    v0, v1, _, _ = lib.spans[lib.number["person_0" if kind == "person" else kind]]
    mesh = lib.vertices[v0:v1] * size
    c, s = np.cos(actor.yaw), np.sin(actor.yaw)
    world = np.stack([actor.x + c * mesh[:, 0] - s * mesh[:, 1], actor.y + s * mesh[:, 0] + c * mesh[:, 1], mesh[:, 2]], -1)
    uv, _ = image_from_vehicle(camera, vehicle_points(world))
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    seen = (columns[0], rows[0], columns[-1], rows[-1])
    expected = (*uv.min(0).clip(0), *np.minimum(uv.max(0), (camera.width - 1, camera.height - 1)))
    assert np.allclose(seen, expected, atol=1.0)


def test_a_mesh_stays_in_its_box_and_nearly_fills_it() -> None:
    lib = library()
    for name, k in lib.number.items():
        v0, v1, _, _ = lib.spans[k]
        low, high = lib.vertices[v0:v1].min(0), lib.vertices[v0:v1].max(0)
        if name.split("_")[0] in ("car", "suv", "van", "truck", "bus"):
            assert np.allclose(low, (-0.5, -0.5, 0), atol=0.02) and np.allclose(high, (0.5, 0.5, 1), atol=0.02), name


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda c: c.name)
def test_depth_of_the_road_is_that_of_the_ray_and_the_plane(eye: CpuCamera, camera: CameraModel) -> None:
    picture = eye.render(Scene(STATIC), camera, POSE)
    v, u = np.mgrid[0 : camera.height : 7, 0 : camera.width : 7]
    pixels = np.stack([u.ravel(), v.ravel()], -1).astype(float)
    road = road_from_image(camera, pixels)
    ahead = np.isfinite(road[:, 0]) & (np.hypot(*road.T) < 500)
    _, depth = image_from_vehicle(camera, np.concatenate([road[ahead], np.zeros((ahead.sum(), 1))], -1))
    assert np.allclose(picture.depth[v.ravel()[ahead], u.ravel()[ahead]], depth, rtol=1e-4)
    assert ahead.sum() > 500


@pytest.mark.parametrize("camera", CAMERAS, ids=lambda c: c.name)
def test_paint_lies_where_the_map_says(eye: CpuCamera, camera: CameraModel) -> None:
    picture = eye.render(Scene(STATIC), camera, POSE)
    v, u = np.mgrid[0 : camera.height, 0 : camera.width]
    road = road_from_image(camera, np.stack([u.ravel(), v.ravel()], -1).astype(float))
    c, s = np.cos(POSE[2]), np.sin(POSE[2])
    x, y = POSE[0] + c * road[:, 0] - s * road[:, 1], POSE[1] + s * road[:, 0] + c * road[:, 1]
    inset = np.maximum(np.abs(x - 13.0) - 1.0, np.abs(y + 2.0) - 0.5)  # < 0 inside the rectangle
    what = picture.semantic.ravel()
    near = picture.depth.ravel() < 25
    assert (what[near & (inset < -0.15)] == SceneClass.MARKING).all() and (near & (inset < -0.15)).sum() > 50
    ring = near & (inset > 0.35) & (inset < 1.0) & (np.abs(y - 2) > 0.6) & (np.abs(y) < 7.5)
    assert (what[ring] == SceneClass.ROAD).all() and ring.sum() > 100


def test_the_sky_is_far_away_and_the_grass_is_nature(eye: CpuCamera) -> None:
    picture = eye.render(Scene(STATIC), model_camera(), POSE)
    assert (picture.semantic[:40] == SceneClass.SKY).all() and np.isinf(picture.depth[:40]).all()
    assert np.isfinite(picture.depth[picture.semantic != SceneClass.SKY]).all()
    side = eye.render(Scene(STATIC), replace(model_camera(), yaw=np.pi / 2), (50.0, 9.0, 0.0))
    assert (side.semantic[200:] == SceneClass.NATURE).all()


def test_the_nearer_thing_hides_the_farther(eye: CpuCamera) -> None:
    van, car = Actor(1, "van", 15.0, 0.0, 0.0, (5.0, 2.0, 2.2)), Actor(2, "car", 24.0, 0.0, 0.0, (4.4, 1.8, 1.4))
    for actors in ((van, car), (car, van)):
        picture = eye.render(Scene(STATIC, actors), model_camera(), (0.0, 0.0, 0.0))
        assert not (picture.instance == 2).any()
        centre = picture.depth[100, 255]
        assert picture.semantic[100, 255] == SceneClass.VEHICLE and 10.5 < centre < 12.5  # the van's rear: 15 - 2.5 - 1.3 m


@pytest.mark.parametrize(
    "kind, expected",
    [
        ("building", SceneClass.BUILDING),
        ("tree", SceneClass.NATURE),
        ("sign", SceneClass.SIGN),
        ("light", SceneClass.SIGN),
        ("barrier", SceneClass.FENCE),
        ("bush", SceneClass.NATURE),
    ],
)
def test_a_prop_has_its_class(kind: str, expected: int) -> None:
    static = replace(STATIC, props=(Prop(kind, 14.0, 3.0, np.pi, (3.0, 3.0, 3.5)),))
    with_prop = CpuCamera(static, PLAIN).render(Scene(static), model_camera(), (0.0, 0.0, 0.0))
    without = CpuCamera(STATIC, PLAIN).render(Scene(STATIC), model_camera(), (0.0, 0.0, 0.0))
    changed = with_prop.depth != without.depth
    assert changed.sum() > 60 and (with_prop.semantic[changed] == expected).all()


def test_a_light_shows_its_state() -> None:
    static = replace(STATIC, props=(Prop("light", 10.0, 0.0, np.pi, (0.4, 0.4, 3.6), id=5),))
    eye = CpuCamera(static, PLAIN)
    pictures = {c: eye.render(Scene(static, lights={5: c}), model_camera(), (0.0, 0.0, 0.0)) for c in ("red", "green", "off")}
    lit = {c: p.rgb[p.semantic == SceneClass.SIGN].astype(int) for c, p in pictures.items()}
    assert ((lit["red"][:, 0] > 200) & (lit["red"][:, 1] < 100)).sum() > 5
    assert ((lit["green"][:, 1] > 200) & (lit["green"][:, 0] < 100)).sum() > 5
    assert (lit["off"].max(1) > 200).sum() == 0


def test_tail_lamps_are_brighter_when_braking(eye: CpuCamera) -> None:
    def redness(braking: bool) -> int:
        actor = Actor(1, "car", 12.0, 0.0, 0.0, (4.4, 1.8, 1.45), braking=braking)
        rgb = eye.render(Scene(STATIC, (actor,)), model_camera(), (0.0, 0.0, 0.0)).rgb.astype(int)
        return int(((rgb[..., 0] > 190) & (rgb[..., 1] < 90)).sum())

    assert redness(True) > redness(False) + 20


def test_same_inputs_same_bytes_and_another_seed_another_look() -> None:
    actors = (Actor(1, "suv", 15.0, 1.0, 0.2, (4.6, 1.9, 1.7)), Actor(2, "person", 9.0, -3.0, 1.0, (0.6, 0.6, 1.8), 1.0))
    scene = Scene(STATIC, actors, t=1.25)

    def draw(seed: int, first: tuple[float, float, float] | None = None) -> np.ndarray:
        eye = CpuCamera(STATIC, Appearance.from_seed(seed))
        if first:  # what was drawn before must not matter
            eye.render(scene, TILTED, first)
        return eye.render(scene, model_camera(), POSE).rgb

    assert (draw(4) == draw(4, (60.0, 3.0, 2.0))).all()
    assert np.abs(draw(4).astype(int) - draw(5)).mean() > 5


def test_labels_can_be_left_out_without_changing_the_picture(eye: CpuCamera) -> None:
    full, bare = (eye.render(Scene(STATIC), model_camera(), POSE, labels=k) for k in (True, False))
    assert (full.rgb == bare.rgb).all() and bare.depth.size == 0


def test_an_appearance_can_be_pinned() -> None:
    look = Appearance.from_seed(9, weather="night", noise=0.0)
    assert look.weather == "night" and look.night == 1.0 and look.noise == 0.0
    assert {Appearance.from_seed(k).weather for k in range(200)} == set(WEATHERS)
    with pytest.raises(TypeError, match="colour_of_the_moon"):
        Appearance.from_seed(1, colour_of_the_moon=1)


@pytest.mark.parametrize("scene", [Scene(STATIC, (Actor(1, "spaceship", 9, 0, 0, (1, 1, 1)),))])
def test_an_unknown_actor_is_refused(eye: CpuCamera, scene: Scene) -> None:
    with pytest.raises(ValueError, match="spaceship"):
        eye.render(scene, model_camera(), POSE)
