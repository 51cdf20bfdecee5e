"""Labels against projection, and through a shard on disk and back."""

from pathlib import Path

import numpy as np
import pytest

from nanopilot.geometry import model_camera
from nanopilot.messages import SceneClass
from nanopilot.perception import heads
from nanopilot.perception.labels import HEADS, MAX_OBJECTS, OBJECT_FIELDS, Frames, Label, ShardWriter, lane_row_columns, scene_label

CAMERA = model_camera()


def label(seed: int) -> Label:
    rng = np.random.default_rng(seed)
    return Label(
        scene=rng.integers(0, 11, heads.SCENE_SHAPE, dtype=np.uint8),
        lane_u=rng.uniform(0, 511, (4, len(heads.ROWS))).astype(np.float32),
        path=rng.normal(size=(16, 2)).astype(np.float32),
        route=rng.normal(size=33).astype(np.float32),
        objects=np.full((MAX_OBJECTS, len(OBJECT_FIELDS)), np.nan, np.float32),
        usable=1.0,
        known=np.ones(len(HEADS), bool),
        junction=False,
        turn=0.1,
    )


def test_a_straight_line_is_where_similar_triangles_put_it() -> None:
    line = np.stack([np.arange(0.0, 60.0, 1.0), np.full(60, -1.75)], -1)
    u = lane_row_columns([line], CAMERA)
    depth = CAMERA.z * CAMERA.fy / (heads.ROWS - CAMERA.cy)
    expected = CAMERA.cx + CAMERA.fx * 1.75 / depth
    there = (depth < 58.0) & (expected <= 511)
    np.testing.assert_allclose(u[there], expected[there], atol=0.01)
    assert np.isnan(u[depth > 59.0]).all()


def test_an_unpainted_gap_has_no_columns() -> None:
    line = np.stack([np.arange(0.0, 60.0, 1.0), np.full(60, 1.75)], -1)
    u = lane_row_columns([line[:10], line[20:]], CAMERA)
    x = CAMERA.x + CAMERA.z * CAMERA.fy / (heads.ROWS - CAMERA.cy)
    assert np.isnan(u[(x > 9.5) & (x < 19.5)]).all()
    assert np.isfinite(u[(x > 5) & (x < 8.5)]).all() and np.isfinite(u[(x > 21) & (x < 50)]).all()


def test_thin_paint_keeps_its_cell() -> None:
    semantic = np.full((256, 512), SceneClass.ROAD, np.uint8)
    semantic[:, 100:102] = SceneClass.MARKING  # half of a cell
    semantic[:, 200:201] = SceneClass.MARKING  # a quarter
    scene = scene_label(semantic)
    assert (scene[:, 25] == SceneClass.MARKING).all() and (scene[:, 50] == SceneClass.ROAD).all()


def test_a_shard_comes_back_as_written(tmp_path: Path) -> None:
    v, u = np.mgrid[:256, :512]
    image = np.stack([u // 2, v, 255 - v], -1).astype(np.uint8)
    writer = ShardWriter(tmp_path / "a")
    labels = [label(0), label(1)]
    for one in labels:
        writer.add(image, one)
    writer.close()
    frames = Frames(tmp_path)
    assert len(frames) == 2
    assert np.abs(frames.image(1).astype(int) - image).mean() < 2.0  # JPEG
    for k, one in enumerate(labels):
        for name in ("scene", "lane_u", "path", "route", "known"):
            np.testing.assert_array_equal(frames.label[name][k], getattr(one, name))
    assert frames.shard(1) == (0, 1)


def test_a_folder_without_shards_says_how_to_draw_some(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nanopilot\.train\.frames"):
        Frames(tmp_path)


def test_a_half_written_shard_does_not_exist(tmp_path: Path) -> None:
    (tmp_path / "b.part.npz").write_bytes(b"half")
    with pytest.raises(FileNotFoundError):
        Frames(tmp_path)
