"""Losses of every head, masked where a frame has no label for it, and the targets they need.

In: the network's raw heads and a batch of labels (torch, fields of perception.labels.Label). Out: a dict of scalar losses; their
weighted sum trains. Scene: cross-entropy. Lines: cross-entropy over columns, Laplace likelihood of the soft-argmax, existence.
Path: Laplace likelihood across the path, L1 along it. Objects: focal heat maps with Gaussian targets (CornerNet, Law & Deng 2018;
CenterNet, Zhou et al. 2019), L1 for the box, Laplace likelihood of log distance. Actors marked `ignore` switch the heat off around them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from nanopilot.messages import SceneClass
from nanopilot.perception import heads
from nanopilot.perception.labels import ANY_ROAD, HEADS, NOT_ROAD, OBJECT_FIELDS

WEIGHTS = {
    "scene": 1.0, "lane_column": 0.5, "lane_place": 0.3, "lane_exists": 1.0,
    "path": 1.0, "heat": 1.0, "box": 0.3, "distance": 0.5, "shape": 0.6, "confidence": 0.3,
    "people_heat": 1.0, "people_box": 0.3, "people_distance": 0.5, "people_shape": 0.3,
}  # fmt: skip  # guess, then balanced by eye so that no head's gradient dwarfs the others
RARE = {
    SceneClass.MARKING: 2.0, SceneClass.PERSON: 3.0, SceneClass.CYCLIST: 3.0, SceneClass.VEHICLE: 1.5, SceneClass.SIGN: 3.0,
    SceneClass.POLE: 2.5, SceneClass.FENCE: 2.0, SceneClass.PAVEMENT: 1.5,
}  # fmt: skip  # guess
VEHICLES, PEOPLE = (0,), (1, 2)  # heads.KINDS that have a head together
HEAT_WIDTH = 0.12  # Gaussian's standard deviation as a share of the box (guess; CenterNet's lies near it)
HEAT_WIDTH_MIN = 0.6  # cells
ALSO = 0.6  # of the Gaussian: cells as near to somebody's centre are taught his box, too, for heat may peak there (guess)
ALONG_WEIGHT = 0.2  # of errors along the path, which steer nothing


def _mean(value: Tensor, mask: Tensor) -> Tensor:
    mask = mask.to(value.dtype)
    return (value * mask).sum() / mask.sum().clamp(min=1.0)


def scene_loss(logits: Float[Tensor, "b k h w"], label: Tensor, known: Tensor) -> Tensor:
    """Weighted cross-entropy; where a set knows only road or not road, of the sum of the classes that this may be."""
    road = torch.zeros(len(SceneClass.NAMES), dtype=torch.bool)
    road[[SceneClass.ROAD, SceneClass.MARKING]] = True
    weight = torch.ones(len(SceneClass.NAMES))
    for k, w in RARE.items():
        weight[k] = w
    target = torch.where(known[:, None, None], label.long(), SceneClass.IGNORE)
    one = target < len(SceneClass.NAMES)
    logp = logits.log_softmax(1)
    weight = torch.where(one, weight[target.where(one, 0)], (target != SceneClass.IGNORE).float())
    right = logp.gather(1, target.where(one, 0)[:, None])[:, 0]
    for code, group in ((ANY_ROAD, road), (NOT_ROAD, ~road)):
        if (target == code).any():
            right = torch.where(target == code, logp[:, group].logsumexp(1), right)
    return -(weight * right).sum() / weight.sum().clamp(min=1.0)


def lane_losses(out: dict[str, Tensor], u: Float[Tensor, "b 4 39"], known: Tensor) -> dict[str, Tensor]:
    there = torch.isfinite(u) & known[:, None, None]
    u = torch.nan_to_num(u)
    column = ((u - (heads.GRID_STRIDE - 1) / 2) / heads.GRID_STRIDE).clamp(0, heads.GRID_SHAPE[1] - 1.001)
    low = column.floor().long()
    share = column - low
    logp = out["lane_logits"].log_softmax(-1)
    column_loss = -(1 - share) * logp.gather(-1, low[..., None])[..., 0] - share * logp.gather(-1, low[..., None] + 1)[..., 0]
    scale = out["lane_scale"]
    place = (out["lane_u"] - u).abs() / scale + scale.log()
    exists = F.binary_cross_entropy_with_logits(out["lane_exists"], there.float(), reduction="none")
    return {
        "lane_column": _mean(column_loss, there),
        "lane_place": _mean(place, there),
        "lane_exists": _mean(exists, known[:, None, None].expand_as(exists)),
    }


def path_loss(out: dict[str, Tensor], label: Float[Tensor, "b 16 2"], known: Tensor) -> Tensor:
    step = label[:, 1:] - label[:, :-1]
    step = F.normalize(torch.cat([step, step[:, -1:]], 1), dim=-1)  # (B, 16, 2)
    error = out["path"] - label
    across = (step[..., 0] * error[..., 1] - step[..., 1] * error[..., 0]).abs()
    along = (error * step).sum(-1).abs()
    scale = out["path_scale"]
    loss = across / scale + scale.log() + ALONG_WEIGHT * along
    return _mean(loss, known[:, None].expand_as(loss))


def object_targets(objects: Float[Tensor, "b n 13"], kinds: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """(heat (B, K, 32, 64), heat mask (B, 1, 32, 64), batch and cell indices and fields of each cell that is taught a box)."""
    b = len(objects)
    h, w = heads.GRID_SHAPE
    heat = torch.zeros(b, len(kinds), h, w)
    mask = torch.ones(b, 1, h, w)
    ys, xs = torch.arange(h)[:, None], torch.arange(w)[None]
    owner: dict[tuple[int, int, int], int] = {}  # the nearest object owns a cell
    rows, around = [], {}
    there = torch.isfinite(objects[..., 0])
    for i, n in torch.nonzero(there).tolist():
        kind, u0, v0, u1, v1 = objects[i, n, :5].tolist()
        half = (heads.GRID_STRIDE - 1) / 2
        cu, cv = ((u0 + u1) / 2 - half) / heads.GRID_STRIDE, ((v0 + v1) / 2 - half) / heads.GRID_STRIDE
        if objects[i, n, OBJECT_FIELDS.index("ignore")] > 0:
            a = [round((q - half) / heads.GRID_STRIDE) for q in (u0, v0, u1, v1)]
            mask[i, :, max(a[1], 0) : a[3] + 1, max(a[0], 0) : a[2] + 1] = 0.0
            continue
        if kind not in kinds:
            continue
        ix, iy = min(max(round(cu), 0), w - 1), min(max(round(cv), 0), h - 1)
        if (i, iy, ix) in owner:
            continue
        owner[i, iy, ix] = n
        sx = max(HEAT_WIDTH * (u1 - u0) / heads.GRID_STRIDE, HEAT_WIDTH_MIN)
        sy = max(HEAT_WIDTH * (v1 - v0) / heads.GRID_STRIDE, HEAT_WIDTH_MIN)
        bump = torch.exp(-((xs - ix) ** 2) / (2 * sx * sx) - ((ys - iy) ** 2) / (2 * sy * sy))
        k = kinds.index(int(kind))
        torch.maximum(heat[i, k], bump, out=heat[i, k])
        rows.append((i, iy, ix, n))
        around |= {(i, y, x): n for y, x in torch.nonzero(bump > ALSO).tolist() if (i, y, x) not in around}
    for i, iy, ix, _ in rows:
        mask[i, :, iy, ix] = 1.0
    index = torch.tensor([(*cell, n) for cell, n in (around | owner).items()], dtype=torch.long).reshape(-1, 4)
    return heat, mask, index[:, 0], index[:, 1:3], objects[index[:, 0], index[:, 3]]


def box_targets(cell: Tensor, fields: Float[Tensor, "n 13"], camera_x: float) -> Float[Tensor, "n 10"]:
    """Left, top, right, bottom, log distance, foot_u, sin, cos, log length, log width of objects at grid cells (row, column)."""
    at = dict(zip(OBJECT_FIELDS, fields.unbind(-1), strict=True))
    half, s = (heads.GRID_STRIDE - 1) / 2, heads.GRID_STRIDE
    u, v = cell[:, 1] * s + half, cell[:, 0] * s + half
    ray = at["yaw"] - at["bearing"]
    columns = (
        (u - at["u0"]) / s, (v - at["v0"]) / s, (at["u1"] - u) / s, (at["v1"] - v) / s,
        torch.hypot(at["x"] - camera_x, at["y"]).clamp(min=1.0).log(),
        (at["foot_u"] - u) / s, ray.sin(), ray.cos(), at["length"].log(), at["width"].log(),
    )  # fmt: skip
    return torch.stack(columns, -1)


def object_losses(
    logits: Float[Tensor, "b k h w"],
    box: Float[Tensor, "b 11 h w"],
    objects: Float[Tensor, "b n 13"],
    known: Tensor,
    camera_x: float,
    kinds: tuple[int, ...],
) -> dict[str, Tensor]:
    """Of one head: where somebody of `kinds` is, and his box."""
    heat, mask, frame, cell, fields = object_targets(objects, kinds)
    mask = mask * known[:, None, None, None]
    p = logits.sigmoid()
    positive = (heat >= 1.0).float()
    focal = positive * (1 - p) ** 2 * F.logsigmoid(logits) + (1 - positive) * (1 - heat) ** 4 * p**2 * F.logsigmoid(-logits)
    losses = {"heat": -(focal * mask).sum() / (positive * mask).sum().clamp(min=1.0)}
    keep = known[frame]
    frame, cell, fields = frame[keep], cell[keep], fields[keep]
    found = box[frame, :, cell[:, 0], cell[:, 1]]  # (n, 11)
    if len(frame) == 0:
        zero = box.sum() * 0.0
        return losses | {"box": zero, "distance": zero, "shape": zero}
    target = box_targets(cell, fields, camera_x)
    sides = torch.cat([found[:, :4], found[:, heads.FOOT_U, None]], 1)
    sides_target = torch.cat([target[:, :4], target[:, 5:6]], 1)
    size = (target[:, :4].reshape(-1, 2, 2).sum(1).mean(-1)).clamp(min=1.0)[:, None]  # cells; a big box may err by more
    scale = found[:, 5].clamp(-4.0, 1.0)
    losses["box"] = ((sides - sides_target).abs() / size.sqrt()).mean()
    said = target.isfinite()  # a real picture's label may lack what only a model of the thing could tell
    losses["distance"] = _mean((found[:, 4] - target[:, 4].nan_to_num()).abs() * (-scale).exp() + scale, said[:, 4])
    losses["shape"] = _mean((found[:, heads.SIN :] - target[:, 6:].nan_to_num()).abs(), said[:, 6:]) * 4
    return losses


def all_losses(out: dict[str, Tensor], label: dict[str, Tensor], camera_x: float) -> dict[str, Tensor]:
    """Every loss of a batch, unweighted. `camera_x` is the camera's place ahead of the rear axle (m), where distances start."""
    known = dict(zip(HEADS, label["known"].bool().unbind(1), strict=True))
    losses = {"scene": scene_loss(out["scene"], label["scene"], known["scene"])}
    losses |= lane_losses(out, label["lane_u"], known["lanes"])
    losses["path"] = path_loss(out, label["path"], known["path"])
    objects, labelled = label["objects"], known["objects"]
    losses |= object_losses(out["heat"][:, :1], out["box"], objects, labelled, camera_x, VEHICLES)
    people = object_losses(out["heat"][:, 1:], out["people"], objects, labelled, camera_x, PEOPLE)
    losses |= {f"people_{name}": value for name, value in people.items()}
    confidence = F.binary_cross_entropy_with_logits(out["confidence"], label["usable"], reduction="none")
    losses["confidence"] = _mean(confidence, known["confidence"])
    return losses


def total(losses: dict[str, Tensor]) -> Tensor:
    return sum(WEIGHTS[name] * value for name, value in losses.items())  # type: ignore[return-value]  # a sum of tensors
