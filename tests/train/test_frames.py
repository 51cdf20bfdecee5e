"""Training frames against the map they were drawn from: labels, projection and determinism on one small map."""

from pathlib import Path

import numpy as np
import pytest

from nanopilot.geometry import image_from_vehicle, model_camera
from nanopilot.messages import PATH_ARC, SceneClass
from nanopilot.perception import heads
from nanopilot.perception.labels import HEADS, OBJECT_FIELDS, Frames
from nanopilot.train.frames import ASTRAY, CENTRE_AHEAD, SPLITS, FramesConfig, draw_map, draw_view, make_world

AT = {name: k for k, name in enumerate(OBJECT_FIELDS)}
VIEWS = 6


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    folder = tmp_path_factory.mktemp("frames")
    draw_map(3000, VIEWS, folder / "map-3000")
    return Frames(folder)


def test_splits_share_no_map_with_each_other_or_with_driving_tests() -> None:
    seeds = [set(s) for s in SPLITS.values()] + [set(range(1000, 1100))]
    assert sum(len(s) for s in seeds) == len(set.union(*seeds))


@pytest.mark.parametrize(("split", "maps"), [("train", 0), ("train", 501), ("holiday", 1)])
def test_a_split_that_is_not_there_is_refused(split: str, maps: int) -> None:
    with pytest.raises(ValueError, match="split"):
        FramesConfig(split=split, maps=maps)


def test_some_views_stand_off_the_outer_lanes_and_their_way_leads_back() -> None:
    rng = np.random.default_rng(5)
    world = make_world(3001, rng)
    try:
        world.reset()
        lanes = world.lane_map
    finally:
        world.close()
    views = [draw_view(lanes, rng) for _ in range(400)]
    off = []
    for view in views:
        x, y, yaw = view.pose
        middle = np.array([x, y]) + CENTRE_AHEAD * np.array([np.cos(yaw), np.sin(yaw)])
        lane = lanes.lanes[view.path.lanes[0]]
        far = np.hypot(*(view.path.centre - middle).T).min() / lane.width
        off.append(far)
        assert far < 0.75 or lane.left is None or lane.right is None
        assert far < 1.4
    assert 0.4 * ASTRAY < np.mean(np.array(off) > 0.75) < ASTRAY  # some are on inner lanes


def test_path_points_lie_at_their_arc_lengths(frames: Frames) -> None:
    for path in frames.label["path"]:
        chord = np.hypot(*np.diff(path, axis=0).T)
        step = np.diff(PATH_ARC)
        assert (chord <= step + 0.05).all()
        assert (chord >= 0.8 * step).all()  # a 10 m bend's chord of 10 m is 4 % short


def test_lines_stand_on_paint(frames: Frames) -> None:
    """Where a line label is, the picture's classes say marking nearby more often than chance; broken lines have gaps, cars hide some."""
    hits, chance = [], []
    for scene, lane_u in zip(frames.label["scene"], frames.label["lane_u"], strict=True):
        marking = scene == SceneClass.MARKING
        for row_u in lane_u[1:3]:
            for u, v in zip(row_u, heads.ROWS, strict=True):
                if np.isfinite(u) and v > 110:
                    r, c = int(v // 4), int(u // 4)
                    hits.append(marking[r, max(c - 1, 0) : c + 2].any())
                    chance.append(marking[r].mean() * 3)
    assert len(hits) > 50
    assert np.mean(hits) > max(0.4, 2 * np.mean(chance))


def test_boxes_hold_their_footprint(frames: Frames) -> None:
    camera, checked = model_camera(), 0
    for objects in frames.label["objects"]:
        for o in objects[np.isfinite(objects[:, 0]) & (objects[:, AT["ignore"]] == 0)]:
            foot, _ = image_from_vehicle(camera, np.array([[o[AT["x"]], o[AT["y"]], 0.0]]))
            assert abs(foot[0, 0] - o[AT["foot_u"]]) < 6  # the true camera is within 1 degree of the model camera
            assert o[AT["u1"]] > o[AT["u0"]] and o[AT["v1"]] > o[AT["v0"]]
            checked += 1
    assert checked > 3


def test_views_to_the_side_teach_neither_lanes_nor_path(frames: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert frames.label["known"].all(), "figures are of views ahead"
    monkeypatch.setattr("nanopilot.train.frames.LOOKS_ASIDE", 1.0)
    draw_map(2000, 3, tmp_path / "map-2000")
    aside = Frames(tmp_path)
    assert [name for k, name in enumerate(HEADS) if aside.label["known"][:, k].any()] == ["scene", "objects", "confidence"]
    assert np.isfinite(aside.label["path"]).all() and not aside.label["route"].any()


def test_the_same_seed_draws_the_same_frames(frames: Frames, tmp_path: Path) -> None:
    draw_map(3000, VIEWS, tmp_path / "map-3000")
    again = Frames(tmp_path)
    for name, value in frames.label.items():
        np.testing.assert_array_equal(again.label[name], value, err_msg=name)
    for k in range(VIEWS):
        np.testing.assert_array_equal(again.image(k), frames.image(k))
