"""Train the humanoid's eyes: draw rooms, learn what each pixel is, export. Read it from top to bottom.

In: nothing but seeds; frames are drawn once into a cache folder. Out: rooms.onnx (a picture in, class probabilities out) and a line of
figures on rooms never trained on. The network is a small relative of the car's (`train.network`'s blocks): a residual trunk to 1/16, a
feature pyramid back to 1/2, learnt on pieces of pictures and used on whole ones. It learns segmentation only; metres come from the
camera's geometry, not from the network. A stopped run goes on from its last checkpoint.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from math import cos, pi
from pathlib import Path
from time import perf_counter

import cv2
import numpy as np
import torch
import torch.nn.functional as F
import tyro
from jaxtyping import Float, UInt8

from nanopilot.bodies.arms import Arms
from nanopilot.messages import RoomClass
from nanopilot.perception.rooms import HEIGHT, STRIDE, VERSION, WIDTH
from nanopilot.sim import humanoid, rooms
from nanopilot.train.network import normalise
from nanopilot.train.room_network import Exported, RoomNetwork, grow, widths_of
from nanopilot.train.unfold import stored, unfold

Array = np.ndarray

TRAIN_SEEDS, TEST_SEEDS = 100_000, 200_000  # the first room of each; evaluated rooms have smaller seeds
WARM_UP = 100  # steps of a rising rate
LOOK = 7  # of rooms and robot in kept frames: another number, and they are drawn anew
CROP = (96, 80)  # px of the pieces that are learnt from: the network has no fixed size
WHOLE = 0.5  # of the batches are whole pictures: pieces don't show what a surface belongs to
RARE = (RoomClass.BOX, RoomClass.TABLE, RoomClass.PERSON)
FETCHED, NAMED = 0.35, 0.15  # shares of rooms with tables to fetch from, and of others with such tables and parcels; the rest are walked
ALIKE = 0.3  # of the things have nearly a colour of the floor: a box on tiles was taken for floor
RUGS = (3, 9)  # in a rugged room
POSES = 6  # of the arms in a room
CLOSE = 0.4  # of the places are within a metre of a thing, which then fills much of the picture
WEIGHTS = np.array([0.5, 1.0, 1.0, 1.3, 1.3, 1.2, 1.0], np.float32)  # of the classes in the loss, guess: rare ones more


@dataclass(frozen=True)
class TrainConfig:
    out: Path = Path("~/.cache/nanopilot/rooms").expanduser()
    first: int = TRAIN_SEEDS  # seed of the first room
    rooms: int = 150
    rugged: int = 0  # as many more, with rugs all over: a rug was taken for a block
    test_rooms: int = 15
    views: int = 24
    steps: int = 3000
    batch: int = 16
    rate: float = 3e-3
    seed: int = 0
    bfloat16: bool = False
    begin: Path | None = None  # a checkpoint or a rooms.onnx whose weights to begin with
    draw_only: bool = False
    every: int = 200  # steps between checkpoints


# --------------------------------------------------------------------------- frames


def draw(seed: int, views: int, rugged: bool = False) -> tuple[UInt8[Array, "n h w 3"], UInt8[Array, "n h2 w2"]]:
    """Pictures and labels of one random room: robot, joints, head, palms, a parcel in them, and people anywhere."""
    mujoco = humanoid.require()
    rng = np.random.default_rng([seed, 2])
    long, wide, kind = rng.uniform(5, 11), rng.uniform(2.2, 4.2), rng.random()
    if kind < FETCHED:
        config = rooms.RoomConfig(seed, (-2.0, min(long, 7.0) - 1.5), (-wide, wide), int(rng.integers(2, 6)), 0, fetch=True, alike=ALIKE)
    else:  # fuller and of more sizes than the rooms that are walked
        named, full = kind < FETCHED + NAMED, int(rng.integers(2, 10))
        config = rooms.RoomConfig(seed, (-2.0, long - 2.0), (-wide, wide), full, 0, gap=1.1, clear=0.0, named=named, alike=ALIKE)
    config = replace(config, rugs=RUGS) if rugged else config
    hands = config.fetch or config.named
    try:
        room = rooms.room(config)
    except ValueError:
        return draw(seed + 50_000, views, rugged)
    room.walkers = [rooms.Walker((0, 0), (1, 1), 0.0)] * int(rng.integers(0, 3) if hands else rng.integers(1, 5))
    gait = humanoid.Gait()
    built = humanoid.build(room.furnish, gait, humanoid.CAMERA_PITCH + rng.uniform(-0.1, 0.1), hands)
    reaches = [_reach(Arms(built, gait), rng) for _ in range(POSES)] if hands else []
    data, renderer = built.standing(), mujoco.Renderer(built.model, humanoid.CAMERA_HEIGHT, humanoid.CAMERA_WIDTH)
    images, labels = [], []
    while len(images) < views:
        at = np.array([rng.uniform(config.length[0] + 0.4, config.length[1] - 0.4), rng.uniform(-wide + 0.4, wide - 0.4)])
        yaw = rng.uniform(-np.pi, np.pi)
        if room.tables and rng.random() < 0.6:  # before a table, looking at it
            table = room.tables[rng.integers(len(room.tables))]
            out, along, turn = table.half[0] + 0.25 + 2.75 * rng.random() ** 2, rng.uniform(-0.4, 0.4), table.yaw
            ahead, aside = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
            at = np.array([table.x, table.y]) + out * ahead + along * aside
            yaw = turn + np.pi + rng.normal(0, 0.3)
        elif room.things and rng.random() < CLOSE:
            _, x, y, radius = room.things[rng.integers(len(room.things))]
            bearing, away = rng.uniform(-np.pi, np.pi), radius + rng.uniform(0.3, 1.0)
            at = np.array([x + away * np.cos(bearing), y + away * np.sin(bearing)])
            if not (config.length[0] + 0.4 < at[0] < config.length[1] - 0.4 and abs(at[1]) < wide - 0.4):
                continue
        if any(np.hypot(*(at - (x, y))) < r + 0.3 for _, x, y, r in room.things):
            continue
        mujoco.mj_resetData(built.model, data)  # parcels back to their tables
        data.qpos[:3] = *at, humanoid.PELVIS_HEIGHT + rng.normal(0, 0.02)
        mujoco.mju_euler2Quat(data.qpos[3:7], np.array([yaw, rng.normal(0, 0.04), rng.normal(0, 0.04)]), "zyx")
        data.qpos[built.q] = humanoid.STAND + rng.normal(0, 0.15, 29)
        if hands and rng.random() < 0.5:
            middle, gap, angles = reaches[rng.integers(POSES)]
            data.qpos[built.q[humanoid.ARMS]] = angles + rng.normal(0, 0.03, 14)
            if room.boxes and gap < 0.15:  # carried
                box = built.model.body(room.boxes[1].name).jntadr[0]
                place = built.model.jnt_qposadr[box]
                turned = np.array([[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]])
                data.qpos[place : place + 3] = *(at + turned @ middle[:2]), data.qpos[2] + middle[2]
                data.qpos[place + 3 : place + 7] = np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)
        for k in range(len(room.walkers)):
            away, bearing = 0.5 + 5.0 * rng.random() ** 2, yaw + rng.uniform(-1.1, 1.1)
            data.mocap_pos[k] = *(at + away * np.array([np.cos(bearing), np.sin(bearing)])), 0.0
            turned = rng.uniform(-np.pi, np.pi)
            data.mocap_quat[k] = [np.cos(turned / 2), 0, 0, np.sin(turned / 2)]
        mujoco.mj_forward(built.model, data)
        image = humanoid.render(renderer, data, humanoid.CAMERA)
        renderer.enable_segmentation_rendering()
        label = rooms.classes(humanoid.render(renderer, data, humanoid.CAMERA), built.model)
        if not hands:  # a block of any look is neither a table to put things on nor a parcel
            label[np.isin(label, (RoomClass.BOX, RoomClass.TABLE))] = RoomClass.OBSTACLE
        renderer.disable_segmentation_rendering()
        images.append(cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA))
        w, h = WIDTH // STRIDE, HEIGHT // STRIDE
        u, v = (((np.arange(n) + 0.5) / n * full).astype(int) for n, full in ((w, label.shape[1]), (h, label.shape[0])))  # cells' middles
        labels.append(label[np.ix_(v, u)])
    renderer.close()
    return np.stack(images), np.stack(labels)


def _reach(arms: Arms, rng: np.random.Generator) -> tuple[Float[Array, "3"], float, Float[Array, "14"]]:
    """Palms somewhere before the body: their middle (pelvis frame), half their distance, and the arms' angles."""
    middle = np.array([rng.uniform(0.26, 0.4), rng.normal(0, 0.02), rng.uniform(-0.08, 0.25)])
    gap = float(rng.choice([rng.uniform(0.11, 0.14), 0.24]))
    side = np.array([0.0, gap, 0.0])
    return middle, gap, arms.solve(humanoid.STAND.copy(), np.stack([middle + side, middle - side]), np.eye(3), 25).copy()


def load(first: int, count: int, config: TrainConfig, rugged: bool = False) -> tuple[Array, Array]:
    """All frames of `count` rooms, from the cache or drawn now."""
    config.out.mkdir(parents=True, exist_ok=True)
    parts = []
    for seed in range(first, first + count):
        path = config.out / f"{seed}-{config.views}-{LOOK}{'-rugs' if rugged else ''}.npz"
        if not path.exists():
            images, labels = draw(seed, config.views, rugged)
            part = path.with_suffix(".part.npz")
            np.savez(part, images=images, labels=labels)
            part.replace(path)
            print(f"drew {path.name}", flush=True)
        with np.load(path) as kept:
            parts.append((kept["images"], kept["labels"]))
    return np.concatenate([p[0] for p in parts]), np.concatenate([p[1] for p in parts])


def cut(images: Array, labels: Array, pick: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """The picked pictures, as pieces of CROP; half of them around something rare. A share of the batches is whole pictures, fewer."""
    if rng.random() < WHOLE:
        whole = pick[: max(1, len(pick) * CROP[0] * CROP[1] // (WIDTH * HEIGHT))]
        return images[whole], labels[whole]
    w, h = CROP[0] // STRIDE, CROP[1] // STRIDE
    pieces = []
    for k in pick:
        label = labels[k]
        rare = np.argwhere(np.isin(label, RARE)) if rng.random() < 0.5 else ()
        v, u = rare[rng.integers(len(rare))] if len(rare) else (rng.integers(label.shape[0]), rng.integers(label.shape[1]))
        v, u = np.clip(v - rng.integers(h), 0, label.shape[0] - h), np.clip(u - rng.integers(w), 0, label.shape[1] - w)
        piece = images[k, STRIDE * v : STRIDE * v + CROP[1], STRIDE * u : STRIDE * u + CROP[0]]
        pieces.append((piece, label[v : v + h, u : u + w]))
    return np.stack([p[0] for p in pieces]), np.stack([p[1] for p in pieces])


def augment(images: UInt8[Array, "b h w 3"], labels: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Mirrored, brighter or darker, of other colours, with noise and a little blur, as cameras differ."""
    images, labels = images.astype(np.float32), labels.copy()
    for k in range(len(images)):
        if rng.random() < 0.5:
            images[k], labels[k] = images[k, :, ::-1].copy(), labels[k, :, ::-1].copy()
        if rng.random() < 0.2:
            images[k] = cv2.GaussianBlur(images[k], (0, 0), rng.uniform(0.4, 1.0))
        if rng.random() < 0.5:
            images[k] = images[k][..., rng.permutation(3)]
        images[k] = 255 * (images[k] / 255) ** np.exp(rng.normal(0, 0.25)) * rng.uniform(0.7, 1.3) * rng.uniform(0.85, 1.15, 3)
    images += rng.normal(0, 1, images.shape) * rng.uniform(0, 8, (len(images), 1, 1, 1))
    return images.clip(0, 255).astype(np.uint8), labels


# --------------------------------------------------------------------------- learning


def measure(network: RoomNetwork, images: Array, labels: Array) -> dict[str, float]:
    """Intersection over union of each class over all pixels; NaN for one that never comes."""
    network.eval()
    table = np.zeros((7, 7), np.int64)  # (true, said)
    with torch.no_grad():
        for k in range(0, len(images), 32):
            said = network(normalise(torch.from_numpy(images[k : k + 32]))).argmax(1).numpy()
            np.add.at(table, (labels[k : k + 32].ravel(), said.ravel()), 1)
    network.train()
    hits = np.diag(table)
    with np.errstate(invalid="ignore"):
        return dict(zip(RoomClass.NAMES, (hits / (table.sum(0) + table.sum(1) - hits)).round(4).tolist(), strict=True))


def begin_from(path: Path, network: RoomNetwork, pictures: UInt8[Array, "n h w 3"]) -> None:
    """All of an exported network, which may have fewer channels; `pictures` are what its layers are measured on."""
    old = RoomNetwork(widths_of({name: torch.from_numpy(weight) for name, (weight, _) in stored(path).items()}))
    unfold(path, old, normalise(torch.from_numpy(pictures)))
    grow(old, network)
    network.train()


def train(config: TrainConfig) -> None:
    drawn = [load(config.first, config.rooms, config)]
    if config.rugged:
        drawn.append(load(config.first + config.rooms, config.rugged, config, rugged=True))
    images, labels = (np.concatenate(part) for part in zip(*drawn, strict=True))
    test = load(TEST_SEEDS, config.test_rooms, config)
    if config.draw_only:
        return
    torch.manual_seed(config.seed)
    torch.set_num_threads(1)
    network = RoomNetwork().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), config.rate, weight_decay=1e-3)
    parts = ((network, "network"), (optimiser, "optimiser"))
    kept, done, start = config.out / f"checkpoint-{LOOK}.pt", 0, perf_counter()
    if config.begin is not None and not kept.exists():
        if config.begin.suffix == ".onnx":
            begin_from(config.begin, network, images[:: max(1, len(images) // 64)])
        else:
            network.load_state_dict(torch.load(config.begin, weights_only=True)["network"])
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        for part, name in parts:
            part.load_state_dict(state[name])
        done = state["done"]
    weights = torch.from_numpy(WEIGHTS)
    for step in range(done, config.steps):
        for group in optimiser.param_groups:
            group["lr"] = config.rate * min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + cos(pi * step / config.steps))
        rng = np.random.default_rng([config.seed, step])
        pick = rng.integers(0, len(images), config.batch)
        image, label = augment(*cut(images, labels, pick, rng), rng)
        with torch.autocast("cpu", torch.bfloat16, enabled=config.bfloat16):
            logits = network(normalise(torch.from_numpy(image)))
        loss = F.cross_entropy(logits.float(), torch.from_numpy(label).long(), weights, label_smoothing=0.02)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if (step + 1) % config.every == 0 or step + 1 == config.steps:
            state = {name: part.state_dict() for part, name in parts} | {"done": step + 1}
            torch.save(state, kept.with_suffix(".part"))
            kept.with_suffix(".part").replace(kept)
            figures = measure(network, *test)
            print(f"step {step + 1} loss {loss.item():.3f} {perf_counter() - start:.0f} s {json.dumps(figures)}", flush=True)
            export(network, config, figures, step + 1)


def export(network: RoomNetwork, config: TrainConfig, figures: dict[str, float], steps: int) -> None:
    """rooms.onnx with what made it."""
    import onnx

    network.eval()
    path = config.out / "rooms.onnx"
    torch.onnx.export(
        Exported(network), (torch.zeros(1, HEIGHT, WIDTH, 3, dtype=torch.uint8),), str(path), input_names=["image"],
        output_names=["probability"], dynamo=False, opset_version=17,
    )  # fmt: skip
    network.train()
    model = onnx.load(str(path))
    about = {
        "nanopilot_rooms": VERSION,
        "train": json.dumps({**asdict(config), "out": "", "begin": config.begin.name if config.begin else "", "steps_done": steps}),
        "test_iou": json.dumps(figures),
    }
    onnx.helper.set_model_props(model, about)
    onnx.save(model, str(path))


if __name__ == "__main__":
    train(tyro.cli(TrainConfig))
