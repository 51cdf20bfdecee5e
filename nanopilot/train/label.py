"""`nanopilot label DIR`: teachers look at unlabelled pictures, and what they agree on is written down.

In: a folder of pictures or a video. Out: for each frame a JSON and a PNG of road codes, as docs/labels.md says, with each teacher's
name and score; and a contact sheet to look at. A box counts when two detectors give it (IoU 0.5); what one alone sees is to be ignored.
Road counts where Intel's network and TwinLiteNet agree, paint where both see some. Lane lines are TwinLiteNet's alone.
Frames already written are passed over, so a stopped run goes on. Nothing is learnt here.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import tyro
from jaxtyping import Float32, UInt8
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from nanopilot.messages import CameraModel, Kind, SceneClass
from nanopilot.perception.datasets import CAMERAS, RealFrame, camera_of, find, kitti_camera, pictures, read
from nanopilot.perception.labels import ANY_ROAD, NOT_ROAD
from nanopilot.perception.metrics import overlaps
from nanopilot.perception.paint import paint
from nanopilot.teachers import BIKE, LIGHT, PERSON, STOP, VEHICLE, Box, Sight, Teachers
from nanopilot.teachers.lanemask import follow

Array = np.ndarray

VERSION = 1
DATA = Path(os.environ.get("NANOPILOT_DATA", "../shared/data"))
VIDEOS = (".mp4", ".avi", ".mov", ".mkv", ".webm")
AGREE = 0.5  # IoU
RIDES = 0.15  # share of a bike's box that a person's must cover to be its rider
SURE = 0.5  # probability
SEEN, MARK_REACH = 0.3, 9  # Intel's probability of paint, and px across a line within which it counts
MARKED = 0.35  # share of a line that must be so: kerbs reach 0.3, dashed lines begin at 0.43 (first frames of the clips)
LINE_WIDTH = 640  # px: lines are followed at TwinLiteNet's own size
HELD_OUT_BLOCK, HELD_OUT_EVERY = 10, 4  # pictures without labels: one block of ten in four is kept out of training
TUNE_CLIPS = ("vd_test_small2",)
SHEET_FRAMES, SHEET_COLUMNS, SHEET_WIDTH = 24, 4, 480
COLOURS = {
    Kind.VEHICLE: (255, 230, 0),
    Kind.PERSON: (255, 60, 60),
    Kind.CYCLIST: (60, 230, 255),
    LIGHT: (60, 255, 60),
    STOP: (255, 60, 255),
}


@dataclass(frozen=True)
class LabelConfig:
    """Let the offline teachers label pictures, where they agree."""

    source: Annotated[Path, tyro.conf.Positional]
    """A folder of pictures, or a video."""
    out: Path = Path("~/.cache/nanopilot/labels").expanduser()
    every: int = 1
    """Only every so many-th frame."""
    teachers: Path = DATA / "teachers"
    name: str | None = None
    """The set's name, which says how its camera stood (perception.datasets.CAMERAS); from the path unless given."""

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every must be at least 1, not {self.every}")


def frames_of(config: LabelConfig) -> tuple[list[RealFrame], str]:
    """Every n-th frame of the source, a video's written out as JPEG first, and the set's name. Raises FileNotFoundError or ValueError."""
    source = config.source
    if not source.exists():
        raise FileNotFoundError(f"{source}: no such folder or video")
    parts = [source.stem if source.is_file() else Path(os.path.abspath(source)).name, *[p.name for p in source.resolve().parents]]
    name = config.name or next((p for p in parts if p in CAMERAS or p == "kitti_object"), parts[0])
    paths = list(unpack(source, config.out / name, config.every)) if source.is_file() else pictures(source)[:: config.every]
    if not paths:
        raise FileNotFoundError(f"no pictures in {source}")
    known = known_frames(source)
    out = []
    for k, path in enumerate(paths):
        if path.stem in known:
            out.append(known[path.stem])
            continue
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is None:
            raise ValueError(f"{path} is no picture that OpenCV can read")
        calibration = source.parent / "calib" / f"{path.stem}.txt"
        size = (picture.shape[1], picture.shape[0])
        camera = kitti_camera(calibration, *size) if calibration.exists() else camera_of(name, *size)
        block = k // HELD_OUT_BLOCK
        trained = name not in TUNE_CLIPS if source.is_file() else block % HELD_OUT_EVERY != HELD_OUT_EVERY - 1
        out.append(RealFrame(name, f"{name}-{block}", path, camera, trained))
    return out, name


def known_frames(source: Path) -> dict[str, RealFrame]:
    """Frames of a labelled set in this folder, by name: they keep their camera and their split."""
    for data in source.resolve().parents:
        try:
            return {f.image.stem: f for f in find(data) if f.image.parent == source.resolve()}
        except FileNotFoundError:
            continue
    return {}


def unpack(video: Path, folder: Path, every: int) -> Iterator[Path]:
    """Every n-th frame of a video as a JPEG. Raises ValueError when there are none."""
    folder.mkdir(parents=True, exist_ok=True)
    reader = cv2.VideoCapture(str(video))
    if not reader.isOpened():
        raise ValueError(f"{video} is no video that OpenCV can read")
    k = 0
    while True:
        ok, image = reader.read()
        if not ok:
            break
        if k % every == 0:
            path = folder / f"{video.stem}_{k:05d}.jpg"
            if not path.exists():
                cv2.imwrite(str(path), image, (cv2.IMWRITE_JPEG_QUALITY, 95))
            yield path
        k += 1


def agreed_boxes(boxes: Sequence[Box]) -> list[dict[str, Any]]:
    """What detectors say of one kind of thing, grouped: the mean box, each teacher's score, and whether to ignore it."""
    left = sorted(boxes, key=lambda b: -b.score)
    out = []
    while left:
        group = {left[0].teacher: left[0]}
        iou = overlaps(left[0].box[None], np.array([b.box for b in left]))[0]
        for b, share in sorted(zip(left, iou, strict=True), key=lambda pair: -pair[1]):
            if share >= AGREE:
                group.setdefault(b.teacher, b)
        used = set(map(id, group.values())) | {id(b) for b, share in zip(left, iou, strict=True) if share >= AGREE}
        left = [b for b in left if id(b) not in used]
        score = np.array([b.score for b in group.values()])
        mean = (np.array([b.box for b in group.values()]) * score[:, None]).sum(0) / score.sum()
        scores = {b.teacher: round(b.score, 3) for b in group.values()}
        out.append({"box": mean.round(1).tolist(), "teachers": scores, "score": round(float(score.mean()), 3), "ignore": len(group) < 2})
    return out


def with_riders(boxes: Sequence[Box]) -> list[Box]:
    """One teacher's boxes with a person on a bike as one cyclist; a bike nobody rides stays a bike."""
    persons, out = [b for b in boxes if b.kind == PERSON], [b for b in boxes if b.kind not in (PERSON, BIKE)]
    for bike in (b for b in boxes if b.kind == BIKE):
        u0, v0, u1, v1 = bike.box
        riders = []
        for p in persons:
            size = np.minimum(p.box[2:], bike.box[2:]) - np.maximum(p.box[:2], bike.box[:2])
            covered = np.maximum(size, 0).prod() / max((u1 - u0) * (v1 - v0), 1e-6)
            if covered > RIDES and u0 < (p.box[0] + p.box[2]) / 2 < u1 and p.box[1] < v0 and p.box[3] < v1 + 0.1 * (v1 - v0):
                riders.append((covered, p))
        if riders:
            rider = max(riders, key=lambda pair: pair[0])[1]
            persons = [p for p in persons if p is not rider]
            box = np.concatenate([np.minimum(bike.box[:2], rider.box[:2]), np.maximum(bike.box[2:], rider.box[2:])])
            out.append(Box(bike.teacher, Kind.CYCLIST, min(bike.score, rider.score), box))
        else:
            out.append(bike)
    return out + persons


def objects_of(boxes: Sequence[Box]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(road users, signals) agreed on. A bike without an agreed rider may be parked or ridden: ignored, as a cyclist."""
    teachers = dict.fromkeys(b.teacher for b in boxes)
    whole = [b for t in teachers for b in with_riders([b for b in boxes if b.teacher == t])]
    users: list[dict[str, Any]] = []
    for kind, source in ((Kind.VEHICLE, VEHICLE), (Kind.PERSON, PERSON), (Kind.CYCLIST, Kind.CYCLIST), (Kind.CYCLIST, BIKE)):
        found = agreed_boxes([b for b in whole if b.kind == source])
        users += [{"kind": str(kind)} | f | {"ignore": f["ignore"] or source == BIKE} for f in found]
    for user in users:  # a bike, or half a cyclist, that another agreed box already tells of is no more to be ignored
        if user["ignore"] and any(not o["ignore"] and overlaps(np.array([user["box"]]), np.array([o["box"]]))[0, 0] > AGREE for o in users):
            user["drop"] = True
    signals = [{"kind": kind} | f for kind in (LIGHT, STOP) for f in agreed_boxes([b for b in whole if b.kind == kind])]
    return [u for u in users if "drop" not in u], signals


def road_codes(sight: Sight) -> UInt8[Array, "h w"]:
    """ROAD, MARKING, ANY_ROAD, NOT_ROAD where both agree, else ignored."""
    drivable, line = sight.drivable > SURE, sight.line > SURE
    intel, mark = sight.road > SURE, sight.mark > SURE
    other = drivable | line
    out = np.full(sight.road.shape, SceneClass.IGNORE, np.uint8)
    out[~intel & ~other] = NOT_ROAD
    out[intel & other] = ANY_ROAD
    out[intel & other & ~mark & ~line] = SceneClass.ROAD
    out[mark & line] = SceneClass.MARKING
    return out


def lines_seen(image: UInt8[Array, "h w 3"], probability: Float32[Array, "h w"], mark: Float32[Array, "h w"]) -> list[dict[str, Any]]:
    """TwinLiteNet's lane lines in the picture's pixels, with its mean probability along each, and the paint.

    `mark` is Intel's probability of paint: a line on which it sees none is a kerb or a road's edge, and not agreed on.
    """
    h, w = probability.shape
    scale = LINE_WIDTH / w
    size = (LINE_WIDTH, round(h * scale))
    seen = cv2.dilate((cv2.resize(mark, size, interpolation=cv2.INTER_AREA) > SEEN).astype(np.uint8), np.ones((1, MARK_REACH), np.uint8))
    small, picture = cv2.resize(probability, size, interpolation=cv2.INTER_AREA), cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    out = []
    for line in follow(small):
        form, colour = paint(picture, line)
        at = line.round().astype(int)
        points = ((line + 0.5) / scale - 0.5).round(1)
        score = float(small[at[:, 1], at[:, 0]].mean())
        agreed = float(seen[at[:, 1], at[:, 0]].mean())
        scores = {"twinlitenet": round(score, 3), "road-segmentation-adas-0001": round(agreed, 3)}
        out.append({"teachers": scores, "ignore": agreed < MARKED, "form": form, "colour": colour, "points": points.tolist()})
    return out


def label(frame: RealFrame, teachers: Teachers, path: Path) -> dict[str, Any]:
    """Write one frame's PNG and JSON (last, so that a JSON means both); returns the JSON's content."""
    image = read(frame)
    sight = teachers.look(image)
    boxes, signals = objects_of(sight.boxes)
    codes = road_codes(sight)
    intel, twin = sight.road > SURE, (sight.drivable > SURE) | (sight.line > SURE)
    about = {
        "version": VERSION, "image": str(frame.image.resolve()), "set": frame.set, "group": frame.group, "trained": frame.trained,
        "camera": asdict(frame.camera), "boxes": boxes, "signals": signals, "lines": lines_seen(image, sight.line, sight.mark),
        "road": {
            "teachers": ["road-segmentation-adas-0001", "twinlitenet"], "ignored": float((codes == SceneClass.IGNORE).mean()),
            "iou": float((intel & twin).sum() / max((intel | twin).sum(), 1)),
        },
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path.with_suffix(".png")), codes)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(about))
    part.rename(path)
    return about


def painted(about: dict[str, Any], codes: UInt8[Array, "h w"], image: UInt8[Array, "h w 3"]) -> UInt8[Array, "h2 w2 3"]:
    """A frame with its labels on it: road violet, paint white, unsure black; boxes by kind, ignored ones grey; lines with their paint."""
    tint = np.zeros((256, 3), np.uint8)
    tint[[SceneClass.ROAD, ANY_ROAD, SceneClass.MARKING, NOT_ROAD]] = (160, 60, 160), (200, 120, 200), (255, 255, 255), (90, 130, 90)
    out = cv2.addWeighted(image, 0.65, tint[codes], 0.35, 0)
    scale = SHEET_WIDTH / out.shape[1]
    out = cv2.resize(out, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    for box in about["boxes"] + about["signals"]:
        u0, v0, u1, v1 = (round(x * scale) for x in box["box"])
        cv2.rectangle(out, (u0, v0), (u1, v1), (130, 130, 130) if box["ignore"] else COLOURS[box["kind"]], 1)
    for line in about["lines"]:
        points = (np.array(line["points"]) * scale).round().astype(np.int32)
        colour = (130, 130, 130) if line["ignore"] else (255, 180, 0) if line["colour"] == "yellow" else (0, 200, 255)
        cv2.polylines(out, [points], False, colour, 1, cv2.LINE_AA)
        cv2.putText(
            out, line["form"][0], tuple(map(int, points[len(points) // 2])), cv2.FONT_HERSHEY_SIMPLEX, 0.35, (255, 255, 255), 1, cv2.LINE_AA
        )
    return out


def contact_sheet(paths: Sequence[Path]) -> UInt8[Array, "h w 3"]:
    """Some labelled frames, evenly spread."""
    tiles = []
    for k in np.unique(np.linspace(0, len(paths) - 1, SHEET_FRAMES).astype(int)):
        about = json.loads(paths[k].read_text())
        frame = RealFrame(about["set"], about["group"], Path(about["image"]), CameraModel(**about["camera"]), about["trained"])
        codes = cv2.imread(str(paths[k].with_suffix(".png")), cv2.IMREAD_UNCHANGED)
        tiles.append(painted(about, codes, read(frame)))
    height = max(t.shape[0] for t in tiles)
    tiles = [cv2.copyMakeBorder(t, 0, height - t.shape[0], 0, 0, cv2.BORDER_CONSTANT) for t in tiles]
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % SHEET_COLUMNS)
    return np.vstack([np.hstack(tiles[k : k + SHEET_COLUMNS]) for k in range(0, len(tiles), SHEET_COLUMNS)])


def main(config: LabelConfig) -> None:
    """Label what isn't yet, then draw the contact sheet."""
    frames, name = frames_of(config)
    teachers = Teachers(config.teachers)
    paths = [config.out / name / f"{frame.image.stem}.json" for frame in frames]
    todo = [(f, p) for f, p in zip(frames, paths, strict=True) if not p.exists()]
    console = Console()
    console.print(f"{name}: {len(frames)} frames, {len(frames) - len(todo)} already labelled in {config.out / name}")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        for frame, path in progress.track(todo, description=name):
            label(frame, teachers, path)
    said = [json.loads(p.read_text()) for p in paths]
    boxes = [b for s in said for b in s["boxes"]]
    sheet = config.out / f"{name}.png"
    cv2.imwrite(str(sheet), contact_sheet(paths)[..., ::-1])
    agreed, iou = sum(not b["ignore"] for b in boxes), np.mean([s["road"]["iou"] for s in said])
    lines = sum(len(s["lines"]) for s in said)
    console.print(f"{agreed} of {len(boxes)} boxes agreed on, road IoU between teachers {iou:.2f}, {lines} lines; look at {sheet}")


if __name__ == "__main__":
    main(tyro.cli(LabelConfig))
