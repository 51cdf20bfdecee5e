"""Decoding against geometry: tensors made from a known road and known cars must give them back in metres."""

from itertools import product

import numpy as np
import pytest

from nanopilot.geometry import image_from_vehicle, model_camera
from nanopilot.messages import Kind, SceneClass
from nanopilot.perception import Config, decode, heads
from nanopilot.perception.decode import at_centre, free_distance, lane_lines, objects, road_edges

CAMERA = model_camera()


def empty() -> dict[str, np.ndarray]:
    rows = (len(heads.SIDES), len(heads.ROWS))
    return {
        "scene": np.full(heads.SCENE_SHAPE, SceneClass.SKY, np.uint8),
        "lane_u": np.zeros(rows, np.float32),
        "lane_exists": np.zeros(rows, np.float32),
        "lane_scale": np.ones(rows, np.float32),
        "path": np.zeros((heads.PATH_POINTS, 2), np.float32),
        "path_std": np.ones(heads.PATH_POINTS, np.float32),
        "heat": np.zeros((len(heads.KINDS), *heads.GRID_SHAPE), np.float32),
        "box": np.zeros((len(heads.BOX_CHANNELS), *heads.GRID_SHAPE), np.float32),
        "people": np.zeros((len(heads.BOX_CHANNELS), *heads.GRID_SHAPE), np.float32),
        "confidence": np.float32(0.9),
    }


def test_a_line_1_75_m_to_the_left_is_lifted_to_1_75_m_to_the_left() -> None:
    out = empty()
    depth = CAMERA.z * CAMERA.fy / (heads.ROWS - CAMERA.cy)  # textbook: similar triangles below the horizon
    out["lane_u"][1] = CAMERA.cx - CAMERA.fx * 1.75 / depth
    out["lane_exists"][1] = 0.9
    (line,) = lane_lines(out["lane_u"], out["lane_exists"], out["lane_scale"], CAMERA, Config())
    assert line.side == -1
    assert line.probability == pytest.approx(0.9)
    np.testing.assert_allclose(line.points[:, 1], 1.75, atol=1e-3)
    np.testing.assert_allclose(line.points[:, 0], CAMERA.x + depth[::-1], rtol=1e-4)
    assert (np.diff(line.points[:, 0]) > 0).all()
    np.testing.assert_allclose(line.y_std[-1], depth[0] / CAMERA.fx, rtol=0.05)  # 1 px there


def test_rows_that_do_not_exist_make_no_line() -> None:
    out = empty()
    out["lane_exists"][2, -3:] = 0.9  # three rows are too few
    assert lane_lines(out["lane_u"], out["lane_exists"], out["lane_scale"], CAMERA, Config()) == ()


def half_body(x: float, y: float, yaw: float) -> float:
    """From a 4.5 x 1.8 m footprint's centre to its near side, along the ray."""
    turned = yaw - np.arctan2(y - CAMERA.y, x - CAMERA.x)
    return (4.5 * abs(np.cos(turned)) + 1.8 * abs(np.sin(turned))) / 2


def place(out: dict[str, np.ndarray], x: float, y: float, yaw: float, score: float, kind: int = 0, lifted: float = 0.0) -> tuple[int, int]:
    """Write a 4.5 x 1.8 m object as training teaches it, its box's bottom `lifted` px off the road; gives its cell.

    The cells around it say the same of it, as they do of a large box.
    """
    foot, depth = image_from_vehicle(CAMERA, np.array([[x, y, 0.0]]))
    u, half = foot[0, 0], CAMERA.fx * 0.9 / depth[0]
    v = foot[0, 1] - half
    column, row = (round((c - 3.5) / heads.GRID_STRIDE) for c in (u, v))
    bearing = np.arctan2(y - CAMERA.y, x - CAMERA.x)
    out["heat"][kind, row, column] = score
    away = np.hypot(x - CAMERA.x, y)
    near = 1 - half_body(x, y, yaw) / away
    touch, _ = image_from_vehicle(CAMERA, np.array([[CAMERA.x + near * (x - CAMERA.x), near * y, 0.0]]))
    bottom = touch[0, 1] - lifted
    shape = np.log(away), np.log(0.05), np.sin(yaw - bearing), np.cos(yaw - bearing), np.log(4.5), np.log(1.8)
    for r, c in product(range(max(row - 1, 0), row + 2), range(max(column - 1, 0), min(column + 2, heads.GRID_SHAPE[1]))):
        cu, cv = (heads.GRID_STRIDE * q + 3.5 for q in (c, r))
        box = np.array([cu - (u - half), cv - (v - half), u + half - cu, bottom - cv, u - cu]) / heads.GRID_STRIDE
        out["box" if kind == 0 else "people"][:, r, c] = [*box[:4], *shape[:2], box[4], *shape[2:]]
    return row, column


@pytest.mark.parametrize(("x", "y", "yaw"), [(12.0, 0.0, 0.0), (20.0, 8.0, 3.0), (35.0, -15.0, -1.5), (60.0, 3.0, 0.1)])
def test_an_object_comes_back_where_it_was_put(x: float, y: float, yaw: float) -> None:
    out = empty()
    place(out, x, y, yaw, 0.8)
    (found,) = objects(out, CAMERA, Config())
    np.testing.assert_allclose(found.position, (x, y), atol=0.02)
    assert found.kind is Kind.VEHICLE
    assert found.yaw == pytest.approx(yaw, abs=1e-3)
    assert (found.length, found.width) == pytest.approx((4.5, 1.8), rel=1e-4)
    distance, config = np.hypot(x - CAMERA.x, y), Config()
    contact = distance - half_body(x, y, yaw)
    of_contact = np.hypot(config.contact_rows * contact**2 / (CAMERA.fy * CAMERA.z), config.contact_share * contact)  # dx/dv of a plane
    of_network = 0.05 * np.sqrt(2) * distance
    assert found.distance_std == pytest.approx((of_contact**-2 + of_network**-2) ** -0.5, rel=0.02)


def test_the_row_where_a_box_meets_the_road_corrects_its_distance() -> None:
    out = empty()
    place(out, 20.0, 0.0, 0.0, 0.8)
    out["box"][4] = np.log(1.1 * (20.0 - CAMERA.x))  # the network is a tenth off
    (found,) = objects(out, CAMERA, Config())
    assert 20.0 < found.position[0] < 20.0 + 0.1 * (20.0 - CAMERA.x) * 0.7


def test_a_foot_that_is_hidden_is_not_believed() -> None:
    out = empty()
    place(out, 20.0, 0.0, 0.0, 0.8, lifted=24.0)
    (found,) = objects(out, CAMERA, Config())
    assert found.position[0] == pytest.approx(20.0, abs=1e-3)
    assert found.distance_std == pytest.approx(0.05 * np.sqrt(2) * found.distance, rel=1e-4)


@pytest.mark.parametrize(("cells", "jump"), [(12.0, 0.01), (2.0, 0.1)])
def test_a_large_box_does_not_jump_where_its_centre_moves_on_to_the_next_cell(cells: float, jump: float) -> None:
    """Two cells that differ by a tenth in distance and in size: read on both sides of the border between them."""
    box, told = np.zeros((len(heads.BOX_CHANNELS), *heads.GRID_SHAPE), np.float32), []
    for column, log_distance, size in ((30, np.log(20.0), cells), (31, np.log(22.0), 1.1 * cells)):
        middle = 30.5 - column  # between both
        box[:4, 20, column] = size / 2 - middle, size / 2, size / 2 + middle, size / 2
        box[[4, heads.FOOT_U], 20, column] = log_distance, middle
    for column in (30, 31):
        raw = at_centre(box, np.array([20]), np.array([column]))[:, 0]
        told.append((np.exp(raw[4]) / 20.0, column + (raw[2] - raw[0]) / 2, column + raw[heads.FOOT_U]))
    assert abs(told[1][0] - told[0][0]) == pytest.approx(jump, abs=0.011)
    np.testing.assert_allclose([t[1:] for t in told], 30.5, atol=1e-5)


def test_the_road_ends_where_the_scene_says() -> None:
    scene = np.full(heads.SCENE_SHAPE, SceneClass.NATURE, np.uint8)
    depth = CAMERA.z * CAMERA.fy / (np.arange(26, 64) * heads.SCENE_STRIDE + 1.5 - CAMERA.cy)
    for row, d in zip(range(26, 64), depth, strict=True):
        left, right = (round((CAMERA.cx - CAMERA.fx * y / d) / heads.SCENE_STRIDE) for y in (3.0, -5.0))
        scene[row, max(left, 0) : max(right, 0)] = SceneClass.ROAD
    edges = {edge.side: edge for edge in road_edges(scene, CAMERA, Config())}
    for side, y in ((-1, 3.0), (1, -5.0)):
        error = np.abs(edges[side].points[:, 1] - y)
        assert (error < 1.01 * heads.SCENE_STRIDE * (edges[side].points[:, 0] - CAMERA.x) / CAMERA.fx).all()
        assert (np.diff(edges[side].points[:, 0]) > 0).all()


def test_something_across_the_road_ends_its_edges() -> None:
    scene = np.full(heads.SCENE_SHAPE, SceneClass.ROAD, np.uint8)
    scene[:45] = SceneClass.VEHICLE
    assert road_edges(scene, CAMERA, Config()) == ()


def test_of_two_boxes_on_one_car_the_surer_stays() -> None:
    out = empty()
    place(out, 12.0, 0.0, 0.0, 0.9)
    row, column = place(out, 12.0, 0.0, 0.0, 0.9)
    out["heat"][0, row, column + 2] = 0.5
    out["box"][:, row, column + 2] = out["box"][:, row, column]
    out["box"][[0, 2, heads.FOOT_U], row, column + 2] += (2, -2, -2)  # the same sides, told from two cells to the right
    (found,) = objects(out, CAMERA, Config())
    assert found.score == pytest.approx(0.9)


def test_free_distance_ends_where_the_road_ends() -> None:
    scene = np.full(heads.SCENE_SHAPE, SceneClass.SKY, np.uint8)
    first_free = 40  # rows 40.. are road: v of their upper row is 161.5
    scene[first_free:] = SceneClass.ROAD
    scene[:, :10] = SceneClass.NATURE
    free = free_distance(scene, CAMERA, Config())
    v = first_free * heads.SCENE_STRIDE + 1.5
    depth = CAMERA.z * CAMERA.fy / (v - CAMERA.cy)
    assert free[64] == pytest.approx(depth, rel=0.01)
    assert (free[:10] == 0).all()


@pytest.mark.parametrize("broken", ["path", "box", "people", "lane_u", "confidence"])
def test_a_number_that_is_none_makes_the_percept_invalid(broken: str) -> None:
    out = empty()
    out[broken] = np.full_like(out[broken], np.nan)
    percept = decode(out, 1.0, CAMERA, "front", Config())
    assert not percept.valid
    assert percept.path is None and percept.lanes == () and percept.objects == ()


def test_low_confidence_says_nothing_else() -> None:
    out = empty()
    place(out, 12.0, 0.0, 0.0, 0.9)
    out["confidence"] = np.float32(0.2)
    percept = decode(out, 1.0, CAMERA, "front", Config())
    assert (percept.valid, percept.objects, percept.t) == (False, (), 1.0)


def test_the_place_of_who_is_cut_by_the_pictures_side_is_told_by_body_lengths() -> None:
    """9 m ahead of the camera: whole, its box ending near the left edge, and through it."""
    config, across, along = Config(), [], []
    for y in (3.0, 7.8, 8.6):
        out = empty()
        place(out, CAMERA.x + 9.0, y, 0.0, 0.9)
        (seen,) = objects(out, CAMERA, config)
        across.append(seen.bearing_std * seen.distance)
        along.append(seen.distance_std / seen.distance)
    assert across[0] == pytest.approx(0.5, abs=0.03) and along[0] < 0.1
    for k in (1, 2):
        assert across[k] == pytest.approx(np.hypot(0.5, 4.5 * config.cut[0]), rel=0.05) and along[k] > 0.1


def test_a_cut_body_told_by_two_boxes_that_share_a_third_is_one() -> None:
    for y, found in ((0.0, 2), (8.6, 1)):
        out = empty()
        for dy, score in ((0.0, 0.9), (-0.8, 0.6)):
            place(out, CAMERA.x + 9.0, y + dy, 0.0, score)
        assert len(objects(out, CAMERA, Config())) == found
