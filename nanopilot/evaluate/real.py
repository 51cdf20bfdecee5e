"""The network on labelled real pictures, and on held-out frames of the simulator: `nanopilot evaluate perception --data DIR`.

In: a folder laid out as docs/data.md says (every set optional), the network's weights, and, if drawn, shards of the simulator's test maps.
Out: a report of figures with 95 % intervals (bootstrap over drives or tracks), as a table and as JSON, and pictures of the worst ten frames
of every set. Only pictures that training has not seen count, unless `all_frames`; which those are, the weights file itself says.
Each picture goes through the whole path of the car: calibration, network, decoding; no route and no memory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8
from rich.console import Console
from rich.progress import track
from rich.table import Table

from nanopilot.evaluate import real_metrics as m
from nanopilot.messages import Frame, Kind, Percept
from nanopilot.perception import Network
from nanopilot.perception.__main__ import draw
from nanopilot.perception.datasets import (
    RealFrame,
    find,
    held_out_tracks,
    lights_folder,
    lines_of,
    read,
    read_lights,
    read_mask,
    read_signs,
)  # fmt: skip
from nanopilot.perception.runtime import canonical, to_model
from nanopilot.perception.signals import LIGHTS, Light, Reader

Array = np.ndarray
Picture = UInt8[Array, "h w 3"]
Summary = dict[str, dict[str, Any]]

DATA = Path(os.environ.get("NANOPILOT_DATA", "../shared/data"))
WORST, TILE = 10, (512, 256)
LANE_PROBABILITY = 0.5


@dataclass(frozen=True)
class RealConfig:
    """What to judge."""

    data: Path = DATA
    frames: Path = Path("~/.cache/nanopilot/frames/test").expanduser()
    """Shards of the simulator's test maps; left out when there are none."""
    weights: Path | None = None
    all_frames: bool = False
    """Count pictures that training has seen, too."""
    json: Path | None = None
    out: Path | None = None
    """Folder for the pictures of the worst frames."""


@dataclass(frozen=True)
class Judged:
    """One frame: its counts for the figures, and how bad it was."""

    frame: RealFrame
    counts: Any
    badness: float


def see(network: Network, frame: RealFrame) -> tuple[Picture, Percept]:
    """The picture, and what the network says of it."""
    picture = read(frame)
    return picture, network.perceive(Frame(0.0, frame.camera.name, picture), frame.camera, None)


def judge_camvid(network: Network, frame: RealFrame) -> Judged:
    _, percept = see(network, frame)
    label = read_mask(frame.scene)
    table = m.confusion(m.scene_at(percept, frame.camera, *label.shape), label)
    return Judged(frame, table, 1 - float(np.nanmean(m.ious(table))))


def judge_rural(network: Network, frame: RealFrame) -> Judged:
    _, percept = see(network, frame)
    label = read_mask(frame.scene)
    both, either = counts = m.road_counts(m.scene_at(percept, frame.camera, *label.shape), label == 1)
    return Judged(frame, counts, 1 - both / max(either, 1))


def judge_kitti(network: Network, frame: RealFrame) -> Judged:
    _, percept = see(network, frame)
    found = {kind: m.kitti_found(percept, frame.camera, frame.objects, kind) for kind in m.KITTI_OF}
    vehicles = found[Kind.VEHICLE]
    return Judged(frame, found, vehicles.wrong + vehicles.missed)


def judge_lines(lines: Callable[[RealFrame], list[Array]]) -> Callable[[Network, RealFrame], Judged]:
    def judge(_: Network, frame: RealFrame) -> Judged:
        mask = read_mask(frame.lanes)
        scale = frame.camera.width / mask.shape[1]
        true = [(line + 0.5) * scale - 0.5 for line in lines_of(mask)]
        right, claimed, there = counts = m.line_counts(lines(frame), true, frame.camera.width, frame.camera.height)
        return Judged(frame, counts, 1 - 2 * right / max(claimed + there, 1))

    return judge


def our_lines(network: Network) -> Callable[[RealFrame], list[Array]]:
    def lines(frame: RealFrame) -> list[Array]:
        _, percept = see(network, frame)
        return [m.source_pixels(x.image_points, frame.camera) for x in percept.lanes if x.probability > LANE_PROBABILITY]

    return lines


def twinlitenet_lines(teachers: Path) -> Callable[[RealFrame], list[Array]]:
    """The peer's lines, followed in its picture of probabilities as for labelling."""
    from nanopilot.teachers import TwinLiteNet
    from nanopilot.teachers.lanemask import follow

    peer = TwinLiteNet(teachers)

    def lines(frame: RealFrame) -> list[Array]:
        size = (640, round(640 * frame.camera.height / frame.camera.width))
        probability = cv2.resize(peer(read(frame))[1], size, interpolation=cv2.INTER_AREA)
        scale = frame.camera.width / size[0]
        return [(line + 0.5) * scale - 0.5 for line in follow(probability)]

    return lines


def judged(name: str, frames: list[RealFrame], judge: Callable[[Network, RealFrame], Judged], network: Network) -> list[Judged]:
    return [judge(network, frame) for frame in track(frames, name, disable=not frames)]


def evaluate(config: RealConfig) -> Summary:
    """All figures of the sets that are there. Raises FileNotFoundError when none is."""
    network = Network(config.weights)
    summary: Summary = {}
    try:
        seen = set() if config.all_frames else set(json.loads(network.about.get("real_pictures", "[]")))
        frames = [f for f in find(config.data) if f.name not in seen]
    except FileNotFoundError:
        frames = []
    own = {name: [f for f in frames if f.set == name] for name in ("camvid", "rural_road", "kitti_object", "tusimple")}
    sets = (
        ("camvid", "camvid", judge_camvid, m.camvid_figures),
        ("rural_road", "rural_road", judge_rural, m.road_figures),
        ("kitti", "kitti_object", judge_kitti, m.kitti_figures),
        ("lanes", "tusimple", judge_lines(our_lines(network)), m.line_figures),
    )
    for name, folder, judge, figures in sets:
        results = judged(name, own[folder], judge, network)
        if results:
            summary[name] = m.with_intervals([(r.frame.group, r.counts) for r in results], figures)
        if results and config.out:
            worst(results, network, config.out / f"worst_{name}.png")
    if "lanes" in summary and (config.data / "teachers").is_dir():
        peer = judged("lanes, TwinLiteNet", own["tusimple"], judge_lines(twinlitenet_lines(config.data / "teachers")), network)
        theirs = m.with_intervals([(r.frame.group, r.counts) for r in peer], m.line_figures)
        summary["lanes"] |= {"f1_twinlitenet": theirs["f1"], "f1_twinlitenet_interval": theirs["f1_interval"]}
    summary |= signals(config)
    if config.frames.is_dir():
        summary["simulator"] = simulator(config)
    if not summary:
        raise FileNotFoundError(f"nothing to judge: no labelled set in {config.data} and no shards in {config.frames}; see docs/data.md")
    return summary


def signals(config: RealConfig) -> Summary:
    """Signs of tracks training has not seen, and the light crops' test part; what is missing is left out."""
    reader, out = Reader(), {}
    try:
        crops, labels, tracks = read_signs(config.data)
    except FileNotFoundError:
        pass
    else:
        use = held_out_tracks(labels, tracks) | config.all_frames
        use |= ~np.isin(tracks // 100_000_000, known_files(config.data))
        said = np.concatenate([reader.probabilities(part)[0].argmax(1) for part in np.array_split(crops[use], use.sum() // 256 + 1)])
        items = [(str(track), right) for track, right in zip(tracks[use], said == labels[use], strict=True)]
        out["signs"] = m.with_intervals(items, lambda rights: {"accuracy": float(np.mean(rights))})
    try:
        crops, labels = read_lights(lights_folder(config.data), "test")
    except FileNotFoundError:
        return out
    said = reader.probabilities(crops)[1].argmax(1)
    items = [(str(k), right) for k, right in enumerate(said == labels)]
    red, green = LIGHTS.index(Light.RED), LIGHTS.index(Light.GREEN)
    out["lights"] = m.with_intervals(items, lambda rights: {"accuracy": float(np.mean(rights))})
    out["lights"]["red_taken_for_green"] = int(((labels == red) & (said == green)).sum())
    return out


def known_files(data: Path) -> list[int]:
    """Which of the sign files, by name, training knows: the published training part."""
    return [k for k, file in enumerate(sorted((data / "traffic_signs").glob("*.npz"))) if "train" in file.stem]


def simulator(config: RealConfig) -> dict[str, Any]:
    """The figures of evaluate.perception, in the shape of the others."""
    from nanopilot.evaluate.perception import PerceptionEvaluation, judge

    out: dict[str, Any] = {}
    for name, figure in judge(PerceptionEvaluation(frames=config.frames, weights=config.weights)).items():
        if np.isfinite(figure["value"]):
            out |= {name: figure["value"], f"{name}_interval": [figure["low"], figure["high"]]}
    return {"n": int(out["frames"])} | out


def worst(results: Iterable[Judged], network: Network, path: Path) -> None:
    """The worst ten frames with what was seen, most wrong first."""
    tiles = []
    for result in sorted(results, key=lambda r: -r.badness)[:WORST]:
        camera = result.frame.camera
        picture, percept = see(network, result.frame)
        level = canonical(camera)
        tile = cv2.resize(draw(to_model(picture, camera, level), percept, level), TILE, interpolation=cv2.INTER_AREA)
        cv2.putText(tile, f"{result.frame.image.stem} {result.badness:.2f}", (6, 250), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 0), 1)
        tiles.append(tile)
    tiles += [np.zeros_like(tiles[0])] * (len(tiles) % 2)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [np.hstack(tiles[k : k + 2]) for k in range(0, len(tiles), 2)]
    cv2.imwrite(str(path), np.vstack(rows)[..., ::-1])


def table(summary: Summary) -> Table:
    """Every figure with its interval."""
    out = Table("set", "figure", "value", "95 %", "frames")
    for name, figures in summary.items():
        for key, value in figures.items():
            if isinstance(value, float) and f"{key}_interval" in figures:
                low, high = figures[f"{key}_interval"]
                out.add_row(name, key, f"{value:.3f}", f"{low:.3f} to {high:.3f}", str(figures["n"]))
            elif key not in ("n", "groups") and isinstance(value, int):
                out.add_row(name, key, str(value), "", str(figures["n"]))
    return out


def main(config: RealConfig) -> None:
    """Print the table, write the JSON."""
    from nanopilot.evaluate.suite import origin

    summary = evaluate(config)
    Console().print(table(summary))
    if config.json:
        config.json.parent.mkdir(parents=True, exist_ok=True)
        config.json.write_text(json.dumps(origin("perception") | {"summary": summary}, indent=1) + "\n")
        print(config.json)
