"""Mirroring against geometry: the mirrored label is the label of the mirrored world; and the other changes keep their promises."""

import numpy as np

from nanopilot.geometry import image_from_vehicle, model_camera
from nanopilot.messages import PATH_ARC
from nanopilot.perception import heads
from nanopilot.perception.labels import HEADS, MAX_OBJECTS, OBJECT_FIELDS, lane_row_columns
from nanopilot.train.augment import AugmentConfig, augment, mirror, rained, shaded, spoil

CAMERA = model_camera()


def world(sign: float) -> dict[str, np.ndarray]:
    """A road that bends to the left (sign 1) or its mirror image, with one line and one car."""
    x = np.arange(0.0, 60.0)
    line = np.stack([x, sign * (1.7 + 0.01 * x**2)], -1)
    lane_u = np.full((4, len(heads.ROWS)), np.nan, np.float32)
    lane_u[1 if sign > 0 else 2] = lane_row_columns([line], CAMERA)
    path = np.stack([PATH_ARC, sign * 0.01 * PATH_ARC**2], -1).astype(np.float32)
    route = heads.route_vector(np.stack([np.arange(16.0) * 4, sign * np.arange(16.0)], -1))
    objects = np.full((MAX_OBJECTS, len(OBJECT_FIELDS)), np.nan, np.float32)
    foot, _ = image_from_vehicle(CAMERA, np.array([[20.0, sign * 3.0, 0.0]]))
    u = foot[0, 0]
    bearing = np.arctan2(sign * 3.0, 20.0 - CAMERA.x)
    objects[0] = (0, u - 12, 100, u + 12, 118, u, 20.0, sign * 3.0, sign * 0.3, bearing, 4.5, 1.8, 0)
    scene = np.zeros(heads.SCENE_SHAPE, np.uint8)
    scene[:, : 40 if sign > 0 else 88] = 3 if sign > 0 else 5
    scene[:, 40 if sign > 0 else 88 :] = 5 if sign > 0 else 3
    known = {"usable": np.float64(1), "known": np.ones(len(HEADS), bool)}
    return {"scene": scene, "lane_u": lane_u, "path": path, "route": route, "objects": objects} | known


def test_mirroring_a_left_bend_gives_the_right_bend() -> None:
    image = np.random.default_rng(0).integers(0, 255, (256, 512, 3), dtype=np.uint8)
    seen, label = mirror(image, world(1.0))
    np.testing.assert_array_equal(seen, image[:, ::-1])
    for name, value in world(-1.0).items():
        np.testing.assert_allclose(label[name], value, atol=2e-3, err_msg=name)


def test_a_spoiled_picture_teaches_only_that_it_is_unusable() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 255, (256, 512, 3), dtype=np.uint8)
    seen, label = augment(image, world(1.0), rng, AugmentConfig(spoil=1.0))
    assert label["usable"] == 0
    assert [name for name, known in zip(HEADS, label["known"], strict=True) if known] == ["confidence"]
    assert seen.shape == image.shape and seen.dtype == np.uint8


def test_every_kind_of_spoiling_changes_most_of_the_picture() -> None:
    image = np.random.default_rng(4).integers(0, 255, (32, 64, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)  # blocks of 8 px
    for seed in range(60):
        changed = np.abs(spoil(image, np.random.default_rng(seed)).astype(int) - image).max(-1) > 8
        assert changed.mean() > 0.4, seed


def test_colour_changes_leave_the_geometry_alone() -> None:
    image = np.full((256, 512, 3), 128, np.uint8)
    config = AugmentConfig(mirror=0, spoil=0, light=1, noise=1, blur=1, erase=0, drop_route=0, gamma=1, shade=1, rain=1, jpeg=1)
    before = world(1.0)
    _, label = augment(image, before, np.random.default_rng(2), config)
    assert set(label) == set(before) | {"memory"}
    for name, value in before.items():
        np.testing.assert_array_equal(label[name], value, err_msg=name)


def test_who_is_taught_a_path_keeps_its_side_of_the_road() -> None:
    image, config = np.zeros((256, 512, 3), np.uint8), AugmentConfig(mirror=1, spoil=0)
    taught, other = world(1.0), world(1.0)
    other["known"] = other["known"] & ~np.array([name == "path" for name in HEADS])
    _, label = augment(image, taught, np.random.default_rng(1), config)
    np.testing.assert_array_equal(label["path"], taught["path"])
    _, label = augment(image, other, np.random.default_rng(1), config)
    np.testing.assert_array_equal(label["lane_u"], mirror(image, other)[1]["lane_u"])


def test_shade_darkens_one_side_and_rain_only_brightens() -> None:
    image = np.full((256, 512, 3), 128, np.uint8)
    for seed in range(8):
        dark = shaded(image, np.random.default_rng(seed), AugmentConfig(shade_depth=(0.5, 0.5)))
        assert set(np.unique(dark)) <= {64, 128} and (dark == 64).any()
        wet = rained(image, np.random.default_rng(seed))
        assert wet.min() == 128 and 0.002 < (wet > 128).mean() < 0.2


def test_the_same_seed_gives_the_same_picture() -> None:
    image = np.random.default_rng(3).integers(0, 255, (256, 512, 3), dtype=np.uint8)
    a, _ = augment(image, world(1.0), np.random.default_rng(9), AugmentConfig(spoil=0))
    b, _ = augment(image, world(1.0), np.random.default_rng(9), AugmentConfig(spoil=0))
    np.testing.assert_array_equal(a, b)
