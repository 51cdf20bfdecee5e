"""What teachers agree on, from boxes and maps made by hand; the command with stand-in teachers on painted pictures."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from nanopilot.messages import Kind, SceneClass
from nanopilot.perception.labels import ANY_ROAD, NOT_ROAD
from nanopilot.teachers import BIKE, LIGHT, PERSON, STOP, VEHICLE, Box, Sight, Teachers
from nanopilot.train import label
from nanopilot.train.label import LabelConfig, agreed_boxes, frames_of, lines_seen, objects_of, road_codes, with_riders

H, W = 90, 160
MIDDLE = W // 2
CAR, FAR_CAR = (100.0, 100.0, 200.0, 200.0), (400.0, 100.0, 450.0, 150.0)
CYCLE, RIDER = (100.0, 150.0, 180.0, 210.0), (115.0, 80.0, 165.0, 200.0)  # share 50 x 50 of the bike's 80 x 60: 0.52
BOTH = [100.0, 80.0, 180.0, 210.0]


def box(teacher: str, sides: tuple[float, ...], score: float = 0.5, kind: str = VEHICLE, right: float = 0.0) -> Box:
    return Box(teacher, kind, score, np.array(sides) + (right, 0, right, 0))


# --------------------------------------------------------------------------- boxes


def test_two_teachers_boxes_become_their_mean_by_score() -> None:
    (found,) = agreed_boxes([box("a", CAR, 0.9), box("b", CAR, 0.3, right=20.0)])  # IoU 80 / 120
    assert found == {"box": [105.0, 100.0, 205.0, 200.0], "teachers": {"a": 0.9, "b": 0.3}, "score": 0.6, "ignore": False}


@pytest.mark.parametrize(
    ("right", "agreed"),
    [(33.0, True), (34.0, False)],  # of boxes 100 wide: IoU 67 / 133 and 66 / 134
    ids=["just over half", "just under half"],
)
def test_half_of_the_union_is_agreement(right: float, agreed: bool) -> None:
    found = agreed_boxes([box("a", CAR), box("b", CAR, right=right)])
    assert [f["ignore"] for f in found] == ([False] if agreed else [True, True])


def test_a_teacher_does_not_agree_with_itself() -> None:
    (found,) = agreed_boxes([box("a", CAR, 0.9), box("a", CAR, 0.8, right=10.0)])
    assert found["ignore"] and found["box"] == list(CAR) and found["teachers"] == {"a": 0.9}


def test_of_one_teachers_two_boxes_the_nearer_to_the_surest_counts() -> None:
    (found,) = agreed_boxes([box("a", CAR, 0.9), box("b", CAR, 0.8, right=30.0), box("b", CAR, 0.1, right=10.0)])
    assert found["teachers"] == {"a": 0.9, "b": 0.1} and found["box"] == [101.0, 100.0, 201.0, 200.0]


def test_things_apart_stay_apart_and_nothing_is_nothing() -> None:
    found = agreed_boxes([box(t, sides) for t in "ab" for sides in (CAR, FAR_CAR)])
    assert sorted(f["box"] for f in found) == [list(CAR), list(FAR_CAR)] and not any(f["ignore"] for f in found)
    assert agreed_boxes([]) == []
    assert len(agreed_boxes([box("a", (5.0, 5.0, 5.0, 9.0))])) == 1  # a box without area ends the search too


# --------------------------------------------------------------------------- riders


def test_a_person_on_a_bike_is_one_cyclist_as_sure_as_the_less_sure() -> None:
    (found,) = with_riders([box("a", RIDER, 0.9, PERSON), box("a", CYCLE, 0.4, BIKE)])
    assert (found.kind, found.score, found.teacher, found.box.tolist()) == (Kind.CYCLIST, 0.4, "a", BOTH)


@pytest.mark.parametrize(
    "person",
    [
        (300.0, 80.0, 350.0, 200.0),
        (165.0, 80.0, 215.0, 200.0),
        (115.0, 160.0, 165.0, 200.0),
        (115.0, 80.0, 165.0, 220.0),
        (115.0, 80.0, 165.0, 160.0),
    ],
    ids=["is elsewhere", "has its middle beside it", "is lower than the bike", "stands in front of it", "covers a tenth of it"],
)
def test_a_bike_stays_a_bike_when_the_person(person: tuple[float, ...]) -> None:
    assert sorted(b.kind for b in with_riders([box("a", person, kind=PERSON), box("a", CYCLE, kind=BIKE)])) == [BIKE, PERSON]


def test_a_person_rides_one_bike_only_and_a_bike_has_one_rider() -> None:
    beside = box("a", RIDER, kind=PERSON, right=35.0)  # its middle is on the bike too, less of it covers the bike
    found = with_riders([beside, box("a", RIDER, kind=PERSON), box("a", CYCLE, kind=BIKE)])
    assert {b.kind: b.box.tolist() for b in found} == {Kind.CYCLIST: BOTH, PERSON: beside.box.tolist()}
    found = with_riders([box("a", RIDER, kind=PERSON), box("a", CYCLE, kind=BIKE), box("a", CYCLE, kind=BIKE, right=5.0)])
    assert sorted(b.kind for b in found) == [BIKE, Kind.CYCLIST]


# --------------------------------------------------------------------------- objects


def kinds(boxes: list[Box]) -> list[tuple[str, bool]]:
    return sorted((u["kind"], u["ignore"]) for u in objects_of(boxes)[0])


def test_two_who_see_rider_and_bike_agree_on_a_cyclist() -> None:
    boxes = [box(t, sides, kind=kind) for t in "ab" for sides, kind in ((RIDER, PERSON), (CYCLE, BIKE))]
    assert kinds(boxes) == [("cyclist", False)]
    assert objects_of(boxes)[0][0]["box"] == BOTH


def test_a_bike_nobody_rides_is_ignored_though_all_see_it() -> None:
    assert kinds([box(t, CYCLE, kind=BIKE) for t in "abc"]) == [("cyclist", True)]


def test_what_one_alone_calls_otherwise_is_dropped_for_what_two_agree_on() -> None:
    agreed = [box(t, CAR) for t in "ab"]
    assert kinds([*agreed, box("c", CAR, kind=PERSON)]) == [("vehicle", False)]
    assert kinds([*agreed, box("c", FAR_CAR, kind=PERSON)]) == [("person", True), ("vehicle", False)]


def test_a_cyclist_and_a_vehicle_are_no_agreement() -> None:
    assert kinds([box("a", CAR), box("b", CAR, kind=PERSON)]) == [("person", True), ("vehicle", True)]


def test_signals_are_told_apart_from_road_users() -> None:
    users, signals = objects_of([box(t, CAR, kind=LIGHT) for t in "ab"] + [box("a", FAR_CAR, kind=STOP)])
    assert users == [] and [(s["kind"], s["ignore"]) for s in signals] == [("traffic_light", False), ("stop_sign", True)]


# --------------------------------------------------------------------------- road and lines


@pytest.mark.parametrize(
    ("road", "mark", "drivable", "line", "code"),
    [
        (0, 0, 0, 0, NOT_ROAD),
        (1, 0, 1, 0, SceneClass.ROAD),
        (1, 1, 0, 1, SceneClass.MARKING),
        (1, 1, 1, 1, SceneClass.MARKING),
        (1, 1, 1, 0, ANY_ROAD),
        (1, 0, 0, 1, ANY_ROAD),
        (1, 0, 0, 0, SceneClass.IGNORE),
        (0, 0, 1, 0, SceneClass.IGNORE),
        (0, 0, 0, 1, SceneClass.IGNORE),
    ],
    ids=[
        "neither sees road", "both see road", "both see paint", "both see paint on drivable road", "Intel alone sees paint",
        "TwinLiteNet alone sees paint", "Intel alone sees road", "TwinLiteNet alone sees road", "TwinLiteNet sees a line off the road",
    ],
)  # fmt: skip
def test_a_pixel_is_what_both_road_teachers_call_it(road: int, mark: int, drivable: int, line: int, code: int) -> None:
    maps = [np.full((2, 3), 0.9 if said else 0.1, np.float32) for said in (road, mark, drivable, line)]
    np.testing.assert_array_equal(road_codes(Sight([], *maps)), np.full((2, 3), code))


def striped(column: int, width: int, size: tuple[int, int] = (360, 640)) -> np.ndarray:
    out = np.zeros(size, np.float32)
    out[size[0] // 3 :, column - width // 2 : column + width // 2 + 1] = 0.8
    return out


@pytest.mark.parametrize(("aside", "ignored"), [(0, False), (6, False), (9, True)])
def test_a_line_without_paint_near_it_is_ignored(aside: int, ignored: bool) -> None:
    image = np.full((360, 640, 3), 90, np.uint8)
    image[120:, 298:303] = 230
    (found,) = lines_seen(image, striped(300, 5), striped(300 + aside, 5))  # paint ends 2 px, its reach 4 px farther: 6
    assert found["ignore"] is ignored and (found["form"], found["colour"]) == ("solid", "white")
    assert found["teachers"] == {"twinlitenet": pytest.approx(0.8), "road-segmentation-adas-0001": 0.0 if ignored else 1.0}


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_lines_are_in_the_pictures_own_pixels(scale: int) -> None:
    size = (360 * scale, 640 * scale)
    probability = striped(301 * scale, 8 * scale - 1 + scale % 2, size)
    (found,) = lines_seen(np.zeros((*size, 3), np.uint8), probability, probability)
    points = np.array(found["points"])
    columns = np.flatnonzero(probability[-1])
    np.testing.assert_allclose(points[:, 0], columns.mean(), atol=0.6 * scale)
    assert points[0, 1] == pytest.approx(size[0] / 3, abs=scale) and points[-1, 1] == pytest.approx(size[0] - 1, abs=scale)


# --------------------------------------------------------------------------- the command


class FakeTeachers(Teachers):
    """Two see a car where it is; both road teachers see road in the lower half and a line down its middle."""

    looks = 0

    def __init__(self, folder: Path) -> None:
        pass

    def look(self, image: np.ndarray) -> Sight:
        type(self).looks += 1
        h, w = image.shape[:2]
        road, line = np.zeros((2, h, w), np.float32)
        road[h // 2 :] = line[h // 2 :, w // 2 - 1 : w // 2 + 2] = 0.9
        boxes = [box(t, (10.0, 50.0, 40.0, 80.0), 0.8) for t in "ab"] + [box("a", (100.0, 50.0, 120.0, 60.0), 0.8, LIGHT)]
        return Sight(boxes, road, line, road, line)


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabelConfig:
    (tmp_path / "walk").mkdir()
    image = np.full((H, W, 3), 90, np.uint8)
    image[H // 2 :, MIDDLE - 1 : MIDDLE + 2] = 230
    for k in range(3):
        cv2.imwrite(str(tmp_path / "walk" / f"{k}.png"), image)
    monkeypatch.setattr(label, "Teachers", FakeTeachers)
    monkeypatch.setattr(FakeTeachers, "looks", 0)
    return LabelConfig(tmp_path / "walk", out=tmp_path / "out")


def test_a_labelled_folder_is_what_docs_labels_says(config: LabelConfig) -> None:
    label.main(config)
    folder = config.out / "walk"
    assert sorted(p.name for p in folder.iterdir()) == [f"{k}.{ending}" for k in range(3) for ending in ("json", "png")]
    said = json.loads((folder / "1.json").read_text())
    assert set(said) == {"version", "image", "set", "group", "trained", "camera", "boxes", "signals", "lines", "road"}
    assert (said["set"], said["trained"], said["image"]) == ("walk", True, str(config.source / "1.png"))
    assert (said["camera"]["width"], said["camera"]["height"]) == (W, H)
    assert [(b["kind"], b["box"], b["ignore"]) for b in said["boxes"]] == [("vehicle", [10.0, 50.0, 40.0, 80.0], False)]
    assert [(s["kind"], s["ignore"]) for s in said["signals"]] == [("traffic_light", True)]
    (line,) = said["lines"]
    assert not line["ignore"] and np.array(line["points"])[:, 0] == pytest.approx(MIDDLE, abs=0.5)
    assert said["road"] | {"teachers": None} == {"teachers": None, "ignored": 0.0, "iou": 1.0}
    codes = cv2.imread(str(folder / "1.png"), cv2.IMREAD_UNCHANGED)
    wanted = np.full((H, W), NOT_ROAD, np.uint8)
    wanted[H // 2 :] = SceneClass.ROAD
    wanted[H // 2 :, MIDDLE - 1 : MIDDLE + 2] = SceneClass.MARKING
    np.testing.assert_array_equal(codes, wanted)
    sheet = cv2.imread(str(config.out / "walk.png"))
    assert sheet.shape == (270, 4 * 480, 3)  # a row of four tiles, the last empty
    assert sheet[:, :1440].any() and not sheet[:, 1440:].any()


def test_a_stopped_run_goes_on_where_it_was(config: LabelConfig) -> None:
    label.main(config)
    assert FakeTeachers.looks == 3
    (config.out / "walk" / "1.json").unlink()
    kept = (config.out / "walk" / "0.json").stat().st_mtime_ns
    label.main(config)
    assert FakeTeachers.looks == 4 and (config.out / "walk" / "0.json").stat().st_mtime_ns == kept
    assert (config.out / "walk" / "1.json").exists()


def test_only_every_second_frame_is_labelled(config: LabelConfig) -> None:
    label.main(replace(config, every=2))
    assert sorted(p.stem for p in (config.out / "walk").glob("*.json")) == ["0", "2"]
    with pytest.raises(ValueError, match="every"):
        replace(config, every=0)


def test_the_folder_one_stands_in_has_its_name(config: LabelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(config.source)
    for here in (".", "../walk", config.source):
        assert frames_of(replace(config, source=Path(here)))[1] == "walk"
    (config.source / "deeper").mkdir()
    monkeypatch.chdir(config.source / "deeper")
    assert frames_of(replace(config, source=Path("..")))[1] == "walk"


def test_one_block_of_ten_in_four_is_held_out(config: LabelConfig) -> None:
    for k in range(80):
        cv2.imwrite(str(config.source / f"{k:03}.png"), np.zeros((8, 8, 3), np.uint8))
    for k in range(3):
        (config.source / f"{k}.png").unlink()
    frames, _ = frames_of(config)
    assert [k for k, f in enumerate(frames) if not f.trained] == [*range(30, 40), *range(70, 80)]
    assert len({f.group for f in frames}) == 8


def test_a_frame_of_a_labelled_set_keeps_its_camera_and_its_split(config: LabelConfig, tmp_path: Path) -> None:
    root = tmp_path / "kitti_object"
    for folder in ("image_2", "calib"):
        (root / folder).mkdir(parents=True)
    for k in (0, 3):
        cv2.imwrite(str(root / "image_2" / f"{k:06}.png"), np.zeros((H, W, 3), np.uint8))
        (root / "calib" / f"{k:06}.txt").write_text("P2: 700 0 80 0 0 700 40 0 0 0 1 0")
    frames, name = frames_of(replace(config, source=root / "image_2"))
    assert name == "kitti_object" and [(f.trained, f.camera.fx) for f in frames] == [(True, 700.0), (False, 700.0)]


def test_what_is_not_there_is_refused(config: LabelConfig, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source, wrong in (("nowhere", "no such folder"), ("empty", "no pictures")):
        with pytest.raises(FileNotFoundError, match=wrong):
            label.main(replace(config, source=tmp_path / source))
    (config.source / "0.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match=r"0\.png"):
        label.main(config)
