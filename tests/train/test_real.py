"""Real pictures find their place in the model camera: checked by projecting, not by looking."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from nanopilot.geometry import image_from_image, image_from_vehicle
from nanopilot.messages import SceneClass
from nanopilot.perception import heads
from nanopilot.perception.decode import Config, objects
from nanopilot.perception.labels import ANY_ROAD, HEADS, NOT_ROAD, OBJECT_FIELDS
from nanopilot.perception.runtime import canonical
from nanopilot.train import real

AT = {name: k for k, name in enumerate(OBJECT_FIELDS)}
FOCAL, U, V = 707.0, 604.0, 180.5
P2 = f"P2: {FOCAL} 0 {U} 0 0 {FOCAL} {V} 0 0 0 1 0"


def car(x: float, z: float, turn: float = -np.pi / 2, name: str = "Car") -> str:
    """A KITTI label line of a box 1.8 m wide, 1.5 m high, seen from behind."""
    u0, u1, v0, v1 = U + FOCAL * (x - 0.9) / z, U + FOCAL * (x + 0.9) / z, V + FOCAL * 0.15 / z, V + FOCAL * 1.65 / z
    return f"{name} 0 0 0 {u0} {v0} {u1} {v1} 1.5 1.8 4.2 {x} 1.65 {z} {turn}"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    def write(path: str, image: np.ndarray) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / path), image)

    for k in range(4):
        write(f"kitti_object/image_2/{k:06}.png", np.full((375, 1242, 3), 90, np.uint8))
        for folder, text in (("calib", P2), ("label_2", "\n".join([car(2.0, 20.0), car(-5.0, 12.0, 1.2, "Tram"), car(0.0, 75.0)]))):
            (tmp_path / "kitti_object" / folder).mkdir(parents=True, exist_ok=True)
            (tmp_path / "kitti_object" / folder / f"{k:06}.txt").write_text(text)
    half = np.zeros((360, 480), np.uint8)
    half[180:] = 3
    for name in ("0001TP_1", "0016E5_1"):
        write(f"camvid/train/images/{name}.jpg", np.full((360, 480, 3), 120, np.uint8))
        write(f"camvid/train/labels/{name}.png", half)
    write("rural_road/train/images/a.jpg", np.full((384, 512, 3), 120, np.uint8))
    write("rural_road/train/labels/a.png", (np.mgrid[:384, :512][0] > 200).astype(np.uint8))
    return tmp_path


def test_splits_keep_the_held_out_drive_apart(data: Path) -> None:
    train, tune = real.find(data, "train"), real.find(data, "tune")
    assert {f.group for f in train if f.set == "camvid"} == {"0001TP-0"} and {f.group for f in tune if f.set == "camvid"} == {"0016E5-0"}
    assert len([f for f in train if f.set == "kitti_object"]) == 3 and len([f for f in tune if f.set == "kitti_object"]) == 1
    with pytest.raises(FileNotFoundError, match="NANOPILOT_DATA"):
        real.find(data / "nowhere", "train")


def test_a_photograph_of_no_road_teaches_only_that(data: Path) -> None:
    (data / "chessboards").mkdir()
    cv2.imwrite(str(data / "chessboards" / "board.jpg"), np.full((720, 1280, 3), 200, np.uint8))
    frame = next(f for f in real.find(data, "train") if f.set == "not_road")
    _, label = real.sample(frame)
    assert label["usable"] == 0 and [n for n, k in zip(HEADS, label["known"], strict=True) if k] == ["confidence"]


def kitti(data: Path) -> real.RealFrame:
    return next(f for f in real.find(data, "train") if f.set == "kitti_object")


def test_a_car_lands_where_the_camera_it_is_seen_through_has_it(data: Path) -> None:
    frame = kitti(data)
    _, seen, zoom = real.view(frame.camera, None)
    _, label = real.sample(frame)
    near = next(o for o in label["objects"] if o[AT["ignore"]] == 0 and o[AT["length"]] > 0)
    assert zoom == pytest.approx(FOCAL * 768 / 1242 / 256)  # 1242 px are shown on 768, and the label is of the model camera's 256 px
    assert near[[AT["x"], AT["y"]]] == pytest.approx(nearer(near, zoom))
    assert near[AT["yaw"]] == pytest.approx(0.0) and near[AT["bearing"]] == pytest.approx(np.arctan2(-2.0, 20.0))
    corners, _ = image_from_vehicle(seen, np.array([[21.3, -1.1, 0.0], [21.3, -2.9, 1.5]]))
    np.testing.assert_allclose(near[[AT["u0"], AT["v1"]]], corners[0], atol=0.01)
    np.testing.assert_allclose(near[[AT["u1"], AT["v0"]]], corners[1], atol=0.01)
    assert label["known"].tolist() == [False, False, False, True, True]


def nearer(row: np.ndarray, zoom: float) -> tuple[float, float]:
    """Where a car 20 m ahead of the camera and 2 m to the right stands for the model camera: its near end is `zoom` times as near."""
    turned = row[AT["yaw"]] - row[AT["bearing"]]
    half = (row[AT["length"]] * abs(np.cos(turned)) + row[AT["width"]] * abs(np.sin(turned))) / 2
    aside = np.arctan2(-2.0 * zoom, 20.0)
    ahead = (20.0 + (zoom - 1) * half * np.cos(aside)) / zoom
    return 1.3 + ahead, ahead * np.tan(aside)


def test_a_decoded_detection_stands_where_the_label_said(data: Path) -> None:
    """Label -> targets -> decode, through another focal length, gives the metres back."""
    frame = kitti(data)
    _, seen, _ = real.view(frame.camera, None)
    _, label = real.sample(frame)
    near = next(o for o in label["objects"] if o[AT["ignore"]] == 0 and o[AT["length"]] > 0)
    heat, box = np.zeros((3, 32, 64), np.float32), np.zeros((11, 32, 64), np.float32)
    row, column = 12, round(float(near[AT["foot_u"]]) / 8)
    heat[0, row, column] = 1.0
    box[4, row, column] = np.log(np.hypot(near[AT["x"]] - 1.3, near[AT["y"]]))
    turned = near[AT["yaw"]] - near[AT["bearing"]]
    box[heads.SIN : heads.COS + 1, row, column] = np.sin(turned), np.cos(turned)
    box[9:, row, column] = np.log(near[[AT["length"], AT["width"]]])
    box[heads.FOOT_U, row, column] = (near[AT["foot_u"]] - (8 * column + 3.5)) / 8
    (found,) = objects({"heat": heat, "box": box, "people": box}, seen, Config())
    np.testing.assert_allclose(found.position, (1.3 + 20.0, -2.0), atol=0.05)
    assert found.distance == pytest.approx(np.hypot(20.0, 2.0), rel=1e-3)


def test_seen_larger_is_labelled_nearer_and_no_farther_aside(data: Path) -> None:
    frame, checked = kitti(data), 0
    for seed in range(12):
        _, _, zoom = real.view(frame.camera, np.random.default_rng(seed))
        _, label = real.sample(frame, np.random.default_rng(seed))
        for one in label["objects"]:
            if one[AT["ignore"]] == 0 and one[AT["v1"]] < 255 and one[AT["u0"]] > 0 and one[AT["u1"]] < 511 and one[AT["x"]] < 40 / zoom:
                assert one[[AT["x"], AT["y"]]] == pytest.approx(nearer(one, zoom), rel=1e-5)
                height = one[AT["v1"]] - one[AT["v0"]]
                assert height == pytest.approx(1.5 * 256 / (20.0 / zoom), rel=0.12)  # turning and tilting changes it a little
                checked += 1
    assert checked > 3


def test_the_whole_picture_is_seen_and_never_stretched(data: Path) -> None:
    for frame in real.find(data, "all"):
        whole = canonical(frame.camera)
        corners = np.array([[[0.0, 0.0], [frame.camera.width - 1, 0.0], [0.0, frame.camera.height - 1]]])
        a, b, c = cv2.perspectiveTransform(corners, image_from_image(whole, frame.camera))[0]
        assert a.min() >= -1 and b[0] <= whole.width and c[1] <= whole.height and whole.height == 256 and whole.width % 32 == 0
        assert (b[0] - a[0]) / frame.camera.width == pytest.approx((c[1] - a[1]) / frame.camera.height, rel=0.01)


def test_scene_codes_say_what_a_set_knows_and_nothing_beyond_the_picture(data: Path) -> None:
    frames = {f.set: f for f in real.find(data, "train")}
    camvid = real.sample(frames["camvid"])[1]["scene"]
    assert set(np.unique(camvid)) == {SceneClass.SKY, ANY_ROAD, SceneClass.IGNORE}
    column = camvid[:, 64]
    assert column[33] == ANY_ROAD and column[30] == SceneClass.SKY  # the middle of the picture is the middle of the view
    assert set(np.unique(real.sample(frames["rural_road"])[1]["scene"])) == {NOT_ROAD, ANY_ROAD, SceneClass.IGNORE}


def test_what_only_teachers_said_is_taught_and_their_doubts_are_ignored(data: Path, tmp_path: Path) -> None:
    frame = next(f for f in real.find(data, "train") if f.set == "camvid")
    lines = [{"points": [[320 + side * (v - 180), v] for v in range(200, 341, 10)], "ignore": False} for side in (-1, 1)]
    boxes = [{"kind": "vehicle", "box": [300, 170, 340, 200], "ignore": k == 1} for k in range(2)]
    said = tmp_path / "labels" / "camvid" / f"{frame.image.stem}.json"
    said.parent.mkdir(parents=True)
    said.write_text(json.dumps({"lines": lines, "boxes": boxes}))
    assert dict(real.taught([frame], tmp_path / "labels"))[frame] == said
    _, label = real.sample(frame, None, said)
    assert label["known"].tolist() == [True, True, False, True, True]
    rows = label["objects"][np.isfinite(label["objects"][:, 0])]
    assert sorted(rows[:, AT["ignore"]]) == [0, 1] and np.isnan(rows[:, [AT["yaw"], AT["length"], AT["width"]]]).all()
    u = label["lane_u"]
    assert np.isfinite(u[1]).sum() > 10 and np.isfinite(u[2]).sum() > 10 and (u[1] < u[2])[np.isfinite(u[1]) & np.isfinite(u[2])].all()
    assert np.isnan(u[[0, 3]]).all()
