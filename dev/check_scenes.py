"""How good the teacher of scenes is on CamVid's held-out drive, which it has not seen: IoU of each class, mean, 95 % interval by group.

Run: python dev/check_scenes.py OUT/checkpoint.pt [EVERY]   (needs NANOPILOT_DATA)
"""

import sys
from pathlib import Path

import numpy as np
import torch

from nanopilot.evaluate import real_metrics as m
from nanopilot.messages import SceneClass
from nanopilot.perception.datasets import CAMVID_CLASSES, find, read_mask
from nanopilot.perception.labels import ANY_ROAD
from nanopilot.train.everything import has_bfloat16
from nanopilot.train.perception import DATA
from nanopilot.train.scenes import Teacher, look

teacher = Teacher().to(memory_format=torch.channels_last)
teacher.load_state_dict(torch.load(sys.argv[1], weights_only=True)["teacher"])
teacher.eval()
torch.set_num_threads(1)
frames = [f for f in find(DATA, "tune") if f.set == "camvid"][:: int(sys.argv[2]) if len(sys.argv) > 2 else 1]
tables, groups = [], []
for frame in frames:
    with torch.autocast("cpu", torch.bfloat16, enabled=has_bfloat16()):
        said = look(teacher, frame, sure=0.0)
    label = read_mask(Path(frame.scene))
    rows, columns = (np.arange(n) * s // n for n, s in zip(label.shape, said.shape, strict=True))
    seen = said[rows[:, None], columns[None]]
    tables.append(m.confusion(np.where(seen == ANY_ROAD, SceneClass.ROAD, seen).astype(np.uint8), label))
    groups.append(frame.group)
iou = m.ious(np.sum(tables, 0))
rng = np.random.default_rng(0)
names = sorted(set(groups))
by_group = {name: np.sum([t for t, g in zip(tables, groups, strict=True) if g == name], 0) for name in names}
means = [np.nanmean(m.ious(np.sum([by_group[g] for g in rng.choice(names, len(names))], 0))) for _ in range(500)]
print(f"{len(frames)} pictures: mIoU {np.nanmean(iou):.3f} [{np.percentile(means, 2.5):.3f}, {np.percentile(means, 97.5):.3f}]")
print(" ".join(f"{name} {value:.2f}" for name, value in zip(CAMVID_CLASSES, iou, strict=True)))
