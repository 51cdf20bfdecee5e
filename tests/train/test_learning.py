"""The training code learns: eight drawn pictures to a threshold within a minute, and the same seed gives the same run."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from nanopilot.geometry import image_from_vehicle, model_camera
from nanopilot.messages import PATH_ARC, Frame, SceneClass
from nanopilot.perception import Network, heads
from nanopilot.perception.labels import FIELDS, HEADS, MAX_OBJECTS, OBJECT_FIELDS, Frames, Label, ShardWriter, lane_row_columns, scene_label
from nanopilot.perception.metrics import Score, across
from nanopilot.train import perception
from nanopilot.train.augment import AugmentConfig
from nanopilot.train.network import NetworkConfig

CAMERA = model_camera()
CONFIG = perception.TrainConfig(
    steps=120,
    batch=8,
    processes=1,
    rate=4e-3,
    warmup=10,
    ema=0.9,
    network=NetworkConfig(
        widths=(16, 24, 32, 48), blocks=(0, 1, 1), inner=(24, 32, 48), neck=24, scene=16, path_hidden=64, route_hidden=16
    ),
    augment=AugmentConfig(mirror=0, light=0, noise=0, blur=0, erase=0, grey=0, spoil=0, drop_route=0, gamma=0, shade=0, rain=0, jpeg=0),
    tune_frames=8,
)


def draw(k: int) -> tuple[np.ndarray, Label]:
    """A grey road between two white lines, each picture with its own offset and bend, and one car."""
    offset, bend = 0.2 * (k - 4), 0.004 * (k % 4 - 1.5)
    x = np.arange(0.5, 62.0, 0.5)
    semantic = np.full((256, 512), SceneClass.NATURE, np.uint8)
    semantic[:96] = SceneClass.SKY
    image = np.zeros((256, 512, 3), np.uint8)
    image[:96], image[96:] = (120, 170, 230), (70, 120, 50)

    def pixels(y: np.ndarray) -> np.ndarray:
        uv, depth = image_from_vehicle(CAMERA, np.stack([x, y, 0 * x], -1))
        return uv[depth > 0.5]

    middle = offset + bend * x**2
    edges = [pixels(middle + s * 1.75) for s in (1, -1)]
    road = np.round(np.concatenate([edges[0], edges[1][::-1]])).astype(np.int32)
    cv2.fillPoly(image, [road], (90, 90, 95))
    cv2.fillPoly(semantic, [road], int(SceneClass.ROAD))
    lane_u = np.full((4, len(heads.ROWS)), np.nan, np.float32)
    for row, s, edge in ((1, 1, edges[0]), (2, -1, edges[1])):
        cv2.polylines(image, [np.round(edge).astype(np.int32)], False, (240, 240, 240), 3)
        lane_u[row] = lane_row_columns([np.stack([x, middle + s * 1.75], -1)], CAMERA)
    px, py = 14.0 + 2 * k, offset + bend * (14.0 + 2 * k) ** 2
    foot, depth = image_from_vehicle(CAMERA, np.array([[px, py, 0.0]]))
    half = CAMERA.fx * 0.9 / depth[0]
    box = (foot[0, 0] - half, foot[0, 1] - 1.6 * half, foot[0, 0] + half, foot[0, 1])
    cv2.rectangle(image, (round(box[0]), round(box[1])), (round(box[2]), round(box[3])), (200, 30, 30), -1)
    objects = np.full((MAX_OBJECTS, len(OBJECT_FIELDS)), np.nan, np.float32)
    objects[0] = (0, *box, foot[0, 0], px, py, 0.0, np.arctan2(py, px - CAMERA.x), 4.5, 1.8, 0)
    path = np.stack([PATH_ARC, offset + bend * PATH_ARC**2], -1).astype(np.float32)
    return image, Label(scene_label(semantic), lane_u, path, heads.route_vector(None), objects, 1.0, np.ones(len(HEADS), bool), False, 0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("frames")
    for split in ("train", "tune"):
        writer = ShardWriter(root / split / "toy")
        for k in range(8):
            writer.add(*draw(k))
        writer.close()
    return root


def test_eight_pictures_are_learnt_and_the_onnx_file_says_so(folder: Path, tmp_path: Path) -> None:
    perception.train(0, replace(CONFIG, frames=folder, out=tmp_path))
    network, frames, score = Network(tmp_path / "perception.onnx"), Frames(folder / "train"), Score()
    errors = []
    for i in range(8):
        percept = network.perceive(Frame(0.0, "front", frames.image(i)), CAMERA, None)
        label = {name: frames.label[name][i] for name in FIELDS}
        score.add(percept, label)
        errors.append(np.abs(across(percept.path.points, label["path"]))[:8])  # up to 15 m
    figures = score.summary()
    assert np.median(errors) < 0.15
    assert figures["line_10m_median"] < 0.15
    assert figures["scene_iou_road"] > 0.8


def test_the_same_seed_gives_the_same_network(folder: Path, tmp_path: Path) -> None:
    states = []
    for name in ("a", "b"):
        perception.train(0, replace(CONFIG, steps=3, frames=folder, out=tmp_path / name))
        states.append(torch.load(tmp_path / name / "checkpoint.pt", weights_only=False)["network"])
    for key, value in states[0].items():
        assert torch.equal(value, states[1][key]), key


def test_a_stopped_run_goes_on_where_it_stopped(folder: Path, tmp_path: Path) -> None:
    config = replace(CONFIG, frames=folder, out=tmp_path)
    perception.train(0, replace(config, steps=2))
    perception.train(0, replace(config, steps=3))
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=False)["step"] == 3


def test_a_label_that_lacks_heads_moves_only_the_others(folder: Path) -> None:
    from nanopilot.train.losses import all_losses
    from nanopilot.train.network import PerceptionNetwork, normalise

    torch.manual_seed(0)
    network = PerceptionNetwork(CONFIG.network)
    frames = Frames(folder / "train")
    label = {name: torch.from_numpy(frames.label[name][:2]) for name in FIELDS}
    label["usable"] = label["usable"].float()
    label["known"] = torch.tensor([[name == "path" for name in HEADS]] * 2)
    image = torch.from_numpy(np.stack([frames.image(0), frames.image(1)]))
    losses = all_losses(network(normalise(image), label["route"], torch.zeros(2, heads.MEMORY_SIZE)), label, CAMERA.x)
    sum(losses.values()).backward()
    assert network.path[0].weight.grad.abs().sum() > 0
    for layer in (network.scene[-1], network.lane, network.object, network.confidence):
        assert layer.weight.grad is None or float(layer.weight.grad.abs().sum()) == 0.0


def test_where_a_set_knows_only_road_or_not_the_scene_loss_is_of_the_sum_of_classes() -> None:
    from nanopilot.perception.labels import ANY_ROAD, NOT_ROAD
    from nanopilot.train.losses import scene_loss

    n = len(SceneClass.NAMES)
    logits = torch.randn(1, n, 2, 2, generator=torch.Generator().manual_seed(1))
    p = logits.softmax(1)[0]
    label = torch.tensor([[[ANY_ROAD, NOT_ROAD], [SceneClass.IGNORE, SceneClass.SKY]]], dtype=torch.uint8)
    road = p[SceneClass.ROAD] + p[SceneClass.MARKING]
    by_hand = -(road[0, 0].log() + (1 - road[0, 1]).log() + p[SceneClass.SKY, 1, 1].log()) / 3
    assert scene_loss(logits, label, torch.tensor([True])).item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert scene_loss(logits, label, torch.tensor([False])).item() == 0.0


def test_one_module_alone_is_trained_and_all_else_stays(folder: Path, tmp_path: Path) -> None:
    perception.train(0, replace(CONFIG, steps=2, frames=folder, out=tmp_path / "begun"))
    start = tmp_path / "begun" / "checkpoint.pt"
    perception.train(0, replace(CONFIG, steps=2, frames=folder, out=tmp_path / "people", start=start, only="people"))
    before = torch.load(start, weights_only=False)["average"]
    after = torch.load(tmp_path / "people" / "checkpoint.pt", weights_only=False)["network"]
    moved = {name.split(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {"people"}


def test_each_head_is_taught_its_own_kinds_and_a_large_box_to_the_cells_around_its_centre() -> None:
    from nanopilot.train.losses import PEOPLE, VEHICLES, object_targets

    objects = torch.full((1, MAX_OBJECTS, len(OBJECT_FIELDS)), torch.nan)
    objects[0, 0] = torch.tensor((2, 100, 60, 140, 200, 120, 5, 0, 0, 0, 1.8, 0.6, 0))  # a cyclist 5 by 17.5 cells
    objects[0, 1] = torch.tensor((0, 300, 100, 310, 108, 305, 50, 0, 0, 0, 4.5, 1.8, 0))  # a small car
    heat, mask, _, cells, fields = object_targets(objects, PEOPLE)
    assert heat.shape == (1, 2, 32, 64) and heat[0, 0].max() == 0 and heat[0, 1].max() == 1 and mask.min() == 1
    middle = (round((130 - 3.5) / 8), round((120 - 3.5) / 8))
    assert {tuple(c) for c in cells.tolist()} == {(middle[0] + k, middle[1]) for k in (-2, -1, 0, 1, 2)}  # exp(-k² / 2 / 2.1²) > 0.6
    assert (fields[:, 0] == 2).all()
    heat, _, _, cells, _ = object_targets(objects, VEHICLES)
    assert heat.shape == (1, 1, 32, 64) and len(cells) == 1
