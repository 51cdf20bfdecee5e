"""Real pictures find their place in the model camera: checked by projecting, not by looking."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from nanopilot.geometry import image_from_vehicle, model_camera
from nanopilot.messages import SceneClass
from nanopilot.perception.labels import ANY_ROAD, NOT_ROAD, OBJECT_FIELDS
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
    assert {f.group for f in train if f.set == "camvid"} == {"0001TP"} and {f.group for f in tune if f.set == "camvid"} == {"0016E5"}
    assert len([f for f in train if f.set == "kitti_object"]) == 3 and len([f for f in tune if f.set == "kitti_object"]) == 1
    with pytest.raises(FileNotFoundError, match="NANOPILOT_DATA"):
        real.find(data / "nowhere", "train")


def test_a_car_lands_where_the_model_camera_would_see_it(data: Path) -> None:
    frame = next(f for f in real.find(data, "train") if f.set == "kitti_object")
    _, label = real.sample(frame)
    near = label["objects"][1]  # the tram is nearer
    assert near[AT["x"]] == pytest.approx(1.3 + 20.0) and near[AT["y"]] == pytest.approx(-2.0) and near[AT["yaw"]] == pytest.approx(0.0)
    seen = model_camera(z=real.KITTI_HEIGHT)
    corners, _ = image_from_vehicle(seen, np.array([[21.3, -1.1, 0.0], [21.3, -2.9, 1.5]]))
    np.testing.assert_allclose(near[[AT["u0"], AT["v1"]]], corners[0], atol=0.01)
    np.testing.assert_allclose(near[[AT["u1"], AT["v0"]]], corners[1], atol=0.01)
    assert label["objects"][0][AT["ignore"]] == 1 and near[AT["ignore"]] == 0
    assert label["known"].tolist() == [False, False, False, True, True]


def test_seen_larger_is_labelled_nearer_at_the_same_row(data: Path) -> None:
    frame = next(f for f in real.find(data, "train") if f.set == "kitti_object")
    for seed in range(8):
        rng = np.random.default_rng(seed)
        _, zoom = real.virtual(frame.camera, np.random.default_rng(seed))
        _, label = real.sample(frame, rng)
        one = next(o for o in label["objects"] if o[AT["ignore"]] == 0 and o[AT["length"]] > 0)
        assert one[AT["x"]] - 1.3 == pytest.approx(20.0 / zoom, rel=1e-5)
        height = one[AT["v1"]] - one[AT["v0"]]
        assert height == pytest.approx(1.5 * 256 / (20.0 / zoom), rel=0.12)  # turning and tilting changes it a little


def test_scene_codes_say_what_a_set_knows_and_nothing_beyond_the_picture(data: Path) -> None:
    frames = {f.set: f for f in real.find(data, "train")}
    camvid = real.sample(frames["camvid"])[1]["scene"]
    assert set(np.unique(camvid)) == {SceneClass.SKY, ANY_ROAD, SceneClass.IGNORE}
    column = camvid[:, 64]
    assert column[25] == ANY_ROAD and column[22] == SceneClass.SKY  # the horizon is row 96 of 256
    assert set(np.unique(real.sample(frames["rural_road"])[1]["scene"])) == {NOT_ROAD, ANY_ROAD, SceneClass.IGNORE}
