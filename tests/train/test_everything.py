"""The one command's order: each step is given what the ones before it made."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")

from nanopilot.train import everything


def calls(monkeypatch: pytest.MonkeyPatch, config: everything.EverythingConfig) -> list:
    made: list = []
    for step in ("frames", "town_frames", "label", "scenes", "signals", "perception", "quantise"):
        monkeypatch.setattr(getattr(everything, step), "main", made.append)
    everything.main(config)
    return made


def test_without_real_pictures_the_simulator_alone_teaches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = calls(monkeypatch, everything.EverythingConfig(data=tmp_path / "none", out=tmp_path))
    assert [type(c).__name__ for c in made] == ["FramesConfig"] * 2 + ["TownFramesConfig"] + ["TrainConfig"] * 2 + ["QuantiseConfig"]
    assert [c.split for c in made[:3]] == ["train", "tune", "train"] and made[3].real == made[4].real == 0.0


def test_each_step_begins_from_what_the_one_before_it_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    *before, scenes, signals, first, second, quantise = calls(monkeypatch, everything.EverythingConfig(data=tmp_path, out=tmp_path / "out"))
    assert [type(c).__name__ for c in before] == ["FramesConfig"] * 2 + ["TownFramesConfig"] + ["LabelConfig"] * 6
    assert not first.final and first.start is None and first.real > 0 and first.scenes == scenes.labels
    assert second.final and second.start == first.out / "checkpoint.pt" and second.out != first.out and second.seed != first.seed
    assert quantise.weights == second.out / "perception.onnx" and signals.out.parent == quantise.out.parent
