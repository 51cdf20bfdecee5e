"""Figures on real pictures against counts made by hand, a pinhole camera written out here, and the normal distribution."""

from pathlib import Path

import numpy as np
import pytest

from nanopilot.evaluate import real_metrics as m
from nanopilot.geometry import image_from_vehicle
from nanopilot.messages import CameraModel, Detection, Kind, Percept, SceneClass
from nanopilot.perception.runtime import canonical

# twice as fine as what the network sees of it, 512x256 with a focal length of 300 px: a level lens of 81 degrees
CAMERA = CameraModel("real", 1024, 512, 600.0, 600.0, 511.5, 255.5, z=1.65)
CAR = (400.0, 200.0, 500.0, 300.0)
N = len(m.CAMVID_CLASSES)


def percept(scene: np.ndarray | None = None, *objects: Detection) -> Percept:
    scene = np.full((64, 128), SceneClass.SKY, np.uint8) if scene is None else scene
    return Percept(0.0, "real", (), None, objects, scene, np.zeros(scene.shape[1], np.float32), 0.9, True)


def claim(sides: tuple[float, ...], kind: Kind = Kind.VEHICLE, distance: float = 10.0, right: float = 0.0) -> Detection:
    """A claimed box, given in the real picture's pixels: half as far from the middle of the network's."""
    box = (np.array(sides) + (right, 0, right, 0) - (511.5, 255.5) * 2) / 2 + (255.5, 127.5) * 2
    place = np.array([distance, 0.0], np.float32)
    return Detection(kind, 0.9, box.astype(np.float32), place, 0.0, 4.5, 1.8, distance, 1.0, 0.01)


# --------------------------------------------------------------------------- back to the real picture


@pytest.mark.parametrize(("yaw", "pitch", "roll"), [(0.0, 0.0, 0.0), (-0.03, 0.05, 0.02)], ids=["level", "turned"])
def test_a_point_of_the_road_is_where_the_real_camera_saw_it(yaw: float, pitch: float, roll: float) -> None:
    real = CameraModel("real", 1242, 375, 721.5, 721.5, 609.6, 172.9, x=1.3, z=1.65, yaw=yaw, pitch=pitch, roll=roll)
    seen, points = canonical(real), np.array([[10.0, 1.75, 0.0], [30.0, -5.0, 0.0], [20.0, 0.0, 3.0]])
    ahead, left, down = points[:, 0] - 1.3, points[:, 1], 1.65 - points[:, 2]
    level = np.stack([seen.cx - seen.fx * left / ahead, seen.cy + seen.fy * down / ahead], -1)
    np.testing.assert_allclose(m.source_pixels(level, real), image_from_vehicle(real, points)[0], atol=1e-6)
    if not pitch:
        by_hand = np.stack([609.6 - 721.5 * left / ahead, 172.9 + 721.5 * down / ahead], -1)
        np.testing.assert_allclose(m.source_pixels(level, real), by_hand, atol=1e-6)
    assert m.source_pixels(np.zeros((0, 2)), real).shape == (0, 2)


@pytest.mark.parametrize(("width", "height"), [(1024, 512), (512, 256), (1536, 768)])
def test_a_scene_lies_on_its_labels_at_any_size(width: int, height: int) -> None:
    scene = np.full((64, 128), SceneClass.SKY, np.uint8)
    scene[32:] = SceneClass.ROAD
    scene[:, :32] = SceneClass.NATURE  # the left quarter
    at = m.scene_at(percept(scene), CAMERA, height, width)
    wanted = np.full((height, width), SceneClass.SKY, np.uint8)
    wanted[height // 2 :] = SceneClass.ROAD
    wanted[:, : width // 4] = SceneClass.NATURE
    wrong = np.argwhere(at != wanted)
    assert (np.minimum(abs(wrong[:, 0] - height / 2), abs(wrong[:, 1] - width / 4)) <= 1).all()  # of cells 4 to 12 px wide


def test_beyond_the_model_cameras_45_degrees_nothing_was_seen() -> None:
    wide = CameraModel("wide", 1000, 400, 300.0, 300.0, 499.5, 150.0)
    seen = m.scene_at(percept(np.full((64, 128), SceneClass.ROAD, np.uint8)), wide, 400, 1000) == SceneClass.ROAD
    (columns,) = np.nonzero(seen[150])
    assert (columns[0], columns[-1]) == pytest.approx((499.5 - 300, 499.5 + 300), abs=2)  # tan 45 = 1
    (rows,) = np.nonzero(seen[:, 500])
    assert (rows[0], rows[-1]) == pytest.approx((150 - 300 * 96 / 256, 150 + 300 * 160 / 256), abs=2)  # its horizon is row 96 of 256
    assert (m.scene_at(percept(), wide, 400, 1000)[:, 0] == SceneClass.IGNORE).all()


# --------------------------------------------------------------------------- scene


def test_pixels_are_counted_by_labelled_and_claimed_class() -> None:
    road, car, void = 3, 8, m.VOID
    label = np.array([[road, road, road, car, void, road, 200]], np.uint8)
    s = SceneClass
    scene = np.array([[s.ROAD, s.MARKING, s.VEHICLE, s.VEHICLE, s.ROAD, s.OTHER, s.ROAD]], np.uint8)
    table = m.confusion(scene, label)
    assert (table[road, road], table[road, car], table[road, N], table[car, car], table.sum()) == (2, 1, 1, 1, 5)
    assert m.confusion(np.full((1, 1), s.IGNORE, np.uint8), np.full((1, 1), road, np.uint8))[road, N] == 1  # cut off: none of them


def test_every_class_of_camvid_has_one_of_ours() -> None:
    named = {"sky": "sky", "building": "building", "pole": "pole", "road": "road", "pavement": "pavement", "tree": "nature",
             "sign": "sign_or_light", "fence": "fence", "car": "vehicle", "pedestrian": "person", "bicyclist": "cyclist"}  # fmt: skip
    for camvid, ours in named.items():
        assert m.CAMVID_OF[SceneClass.NAMES.index(ours)] == m.CAMVID_CLASSES.index(camvid)
    assert m.CAMVID_OF[SceneClass.MARKING] == m.ROAD == 3


def test_intersection_over_union_by_hand() -> None:
    table = np.zeros((N, N + 1), int)
    table[3, 3], table[3, 0], table[3, N], table[0, 3], table[0, 0] = 6, 1, 2, 3, 4
    iou = m.ious(table)
    assert (iou[3], iou[0]) == pytest.approx((6 / 12, 4 / 8))  # 6 of 9 labelled and 9 claimed; 4 of 7 and 5
    assert np.isnan(np.delete(iou, [0, 3])).all()
    figures = m.camvid_figures([table, table])
    assert (figures["miou"], figures["road_iou"], figures["iou_sky"]) == pytest.approx((0.5, 0.5, 0.5))
    table[3, 1] = 4  # claims of a class that isn't there count against the labelled one alone
    assert m.ious(table)[3] == pytest.approx(6 / 16) and np.isnan(m.ious(table)[1])


def test_road_is_asphalt_and_paint_and_pools_pixels_not_frames() -> None:
    scene = np.array([[SceneClass.ROAD, SceneClass.MARKING, SceneClass.ROAD, SceneClass.SKY, SceneClass.SKY]], np.uint8)
    road = np.array([[True, True, False, True, False]])
    assert m.road_counts(scene, road).tolist() == [2, 4]
    assert m.road_figures([np.array([2, 4]), np.array([0, 16])]) == {"road_iou": 0.1}
    assert m.road_figures([np.array([0, 0])]) == {"road_iou": 0.0}


# --------------------------------------------------------------------------- objects


def row(sides: tuple[float, ...] = CAR, name: str = "Car", truncated: float = 0, occluded: int = 0, right: float = 0.0) -> str:
    """A KITTI label whose footprint is 3 m right of and 4 m before the camera."""
    u0, v0, u1, v1 = sides
    return f"{name} {truncated} {occluded} 0 {u0 + right} {v0} {u1 + right} {v1} 1.5 1.8 4.2 3 1.65 4 0"


REGION = (300.0, 150.0, 700.0, 400.0)
SMALL = (400.0, 200.0, 450.0, 224.0)
CASES = {
    "a car where it is": ([row()], [claim(CAR)], (1, 0, 0)),
    "a van counts as a vehicle": ([row(name="Van")], [claim(CAR)], (1, 0, 0)),
    "33 px aside, an IoU of 67/133": ([row()], [claim(CAR, right=33)], (1, 0, 0)),
    "34 px aside, an IoU of 66/134": ([row()], [claim(CAR, right=34)], (0, 1, 1)),
    "nothing claimed": ([row()], [], (0, 0, 1)),
    "a claim on an empty road": ([], [claim(CAR)], (0, 1, 0)),
    "one car claimed twice": ([row()], [claim(CAR), claim(CAR, right=5)], (1, 1, 0)),
    "two cars beside each other": ([row(), row(right=100)], [claim(CAR, right=100), claim(CAR)], (2, 0, 0)),
    "the second claim takes the second nearest car": ([row(), row(right=20)], [claim(CAR, right=5), claim(CAR, right=5)], (2, 0, 0)),
    "a car that is hardly seen is neither": ([row(occluded=3)], [claim(CAR)], (0, 0, 0)),
    "a car largely hidden is asked for": ([row(occluded=2)], [], (0, 0, 1)),
    "a car mostly out of the picture is neither": ([row(truncated=0.51)], [claim(CAR)], (0, 0, 0)),
    "a car too small is not asked for": ([row(SMALL)], [], (0, 0, 0)),
    "a claim too small is not wrong": ([], [claim(SMALL)], (0, 0, 0)),
    "a tram is neither": ([row(name="Tram")], [claim(CAR)], (0, 0, 0)),
    "within a region nobody labelled": ([row(REGION, "DontCare", -1, -1)], [claim(CAR)], (0, 0, 0)),
    "40 of 100 px within a region": ([row(REGION, "DontCare", -1, -1)], [claim(CAR, right=260)], (0, 1, 0)),
    "a person is no vehicle": ([row(name="Pedestrian")], [claim(CAR)], (0, 1, 0)),
    "a vehicle claimed within a cyclist": ([row(REGION, "Cyclist")], [claim(CAR)], (0, 1, 0)),
    "another kind's claim is another question": ([], [claim(CAR, Kind.PERSON)], (0, 0, 0)),
}


@pytest.mark.parametrize(("rows", "claims", "counts"), CASES.values(), ids=CASES)
def test_objects_right_wrong_and_missed(rows: list[str], claims: list[Detection], counts: tuple, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("\n".join(rows))
    found = m.kitti_found(percept(None, *claims), CAMERA, tmp_path / "labels.txt", Kind.VEHICLE)
    assert (found.right, found.wrong, found.missed) == counts
    assert found.distances.tolist() == [[5.0, 10.0]] * counts[0]  # true: the hypotenuse of 3 and 4


def test_a_claim_beyond_the_picture_is_judged_by_what_is_in_it(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(row((0.0, 200.0, 100.0, 300.0)))
    out = claim((-300.0, 200.0, 100.0, 300.0))  # a quarter of it is in the picture
    assert m.kitti_found(percept(None, out), CAMERA, tmp_path / "labels.txt", Kind.VEHICLE).right == 1


def found_of(right: int, wrong: int, missed: int, *distances: tuple[float, float]) -> m.Found:
    return m.Found(right, wrong, missed, np.array(distances, float).reshape(-1, 2))


def test_recall_precision_and_distance_errors_by_hand() -> None:
    nothing = found_of(0, 0, 0)
    frames = [
        {Kind.VEHICLE: found_of(2, 1, 0, (10.0, 11.0), (20.0, 26.0)), Kind.PERSON: found_of(0, 2, 0), Kind.CYCLIST: nothing},
        {Kind.VEHICLE: found_of(2, 0, 4, (5.0, 4.0), (50.0, 100.0)), Kind.PERSON: nothing, Kind.CYCLIST: nothing},
    ]
    figures = m.kitti_figures(frames)
    assert (figures["vehicle_recall"], figures["vehicle_precision"]) == pytest.approx((4 / 8, 4 / 5))
    assert figures["person_precision"] == 0.0
    assert figures["distance_median_relative_error"] == pytest.approx(0.2)  # of 0.1, 0.3, 0.2; the one at 50 m is beyond 40
    by_bin = [figures[f"distance_error_{name}m"] for name in ("0_10", "10_20", "40_80")]
    assert by_bin == pytest.approx([0.15, 0.3, 1.0])
    for nobody in ("person_recall", "cyclist_recall", "cyclist_precision", "distance_error_20_30m"):
        assert np.isnan(figures[nobody]), nobody


# --------------------------------------------------------------------------- lines


def upright(u: float, first: float = 300.0, last: float = 719.0) -> np.ndarray:
    return np.array([[u, first], [u, last]])


ROWS = 42  # of 72 over 720 lie between 300 and 719: 719/71 px apart, from the 30th on
LINES = {
    "20 px aside": ([upright(420)], [upright(400)], (ROWS, ROWS, ROWS)),
    "21 px aside": ([upright(421)], [upright(400)], (0, ROWS, ROWS)),
    "read from below": ([upright(400)[::-1]], [upright(400)], (ROWS, ROWS, ROWS)),
    "nothing claimed": ([], [upright(400)], (0, 0, ROWS)),
    "one line claimed twice": ([upright(395), upright(405)], [upright(400)], (ROWS, 2 * ROWS, ROWS)),
    "two lines, the claims in the other order": ([upright(450), upright(410)], [upright(400), upright(460)], (2 * ROWS,) * 3),
    "a claim beyond the label's ends": ([upright(400, 0)], [upright(400)], (ROWS, ROWS, ROWS)),
    "half as long": ([upright(400, 509.5)], [upright(400)], (ROWS // 2, ROWS // 2, ROWS)),
    "nothing labelled": ([upright(400)], [], (0, 0, 0)),
}


@pytest.mark.parametrize(("claimed", "true", "counts"), LINES.values(), ids=LINES)
def test_points_of_lines(claimed: list[np.ndarray], true: list[np.ndarray], counts: tuple) -> None:
    assert tuple(m.line_counts(claimed, true, 1280, 720)) == counts


def test_a_slanting_line_is_compared_row_by_row() -> None:
    slanting = np.array([[400.0, 300.0], [442.0, 719.0]])  # 20 px aside halfway: 200 of 419 rows
    right, claimed, true = m.line_counts([slanting], [upright(400)], 1280, 720)
    assert right == pytest.approx(ROWS * 20 / 42, abs=1) and claimed == true == ROWS


def test_f1_is_the_harmonic_mean_of_precision_and_recall() -> None:
    figures = m.line_figures([np.array([10, 20, 10]), np.array([5, 10, 20])])
    precision, recall = 15 / 30, 15 / 30
    assert figures == pytest.approx({"precision": precision, "recall": recall, "f1": 0.5})
    figures = m.line_figures([np.array([6, 24, 8])])
    assert figures == pytest.approx({"precision": 0.25, "recall": 0.75, "f1": 2 * 0.25 * 0.75 / (0.25 + 0.75)})
    assert m.line_figures([np.zeros(3, int)]) == {"f1": 0.0, "recall": 0.0, "precision": 0.0}


# --------------------------------------------------------------------------- intervals


def mean(values: list) -> dict[str, float]:
    return {"mean": float(np.mean(values)), "never": float("nan")}


def test_intervals_are_those_of_the_normal_distribution_when_the_values_are_normal() -> None:
    n, covered, widths = 60, [], []
    for seed in range(60):
        values = np.random.default_rng(seed).normal(5, 2, n)
        low, high = m.with_intervals([(str(k), x) for k, x in enumerate(values)], mean, seed)["mean_interval"]
        covered.append(low <= 5 <= high)
        widths.append(high - low)
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 2 / np.sqrt(n), rel=0.06)
    assert np.mean(covered) > 0.86  # of 0.95: 60 trials, three standard deviations


def test_frames_that_are_alike_do_not_narrow_the_interval() -> None:
    values = np.random.default_rng(0).normal(5, 2, 20)
    once = m.with_intervals([(str(k), x) for k, x in enumerate(values)], mean)
    often = m.with_intervals([(str(k), x) for k, x in enumerate(values) for _ in range(10)], mean)
    assert often["mean_interval"] == pytest.approx(once["mean_interval"]) and often["mean"] == pytest.approx(values.mean())
    assert (once["n"], often["n"], often["groups"]) == (20, 200, 20)


def test_what_cannot_be_measured_is_left_out() -> None:
    out = m.with_intervals([("a", 1.0), ("a", 3.0)], mean)
    assert out == {"n": 2, "groups": 1, "mean": 2.0, "mean_interval": [2.0, 2.0]}
    assert m.with_intervals([], mean) == {}


def test_a_figure_that_some_resamples_lack_still_has_an_interval() -> None:
    frames = [(str(k), found_of(1, 0, 1, (10.0, 10.0 + k)) if k < 2 else found_of(0, 0, 0)) for k in range(6)]
    items = [(group, {kind: f if kind is Kind.VEHICLE else found_of(0, 0, 0) for kind in m.KITTI_OF}) for group, f in frames]
    out = m.with_intervals(items, m.kitti_figures)
    assert out["vehicle_recall"] == 0.5 and out["vehicle_recall_interval"] == [0.5, 0.5]
    assert out["distance_median_relative_error_interval"] == pytest.approx([0.0, 0.1])
    assert "person_recall" not in out
