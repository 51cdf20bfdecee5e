"""The one command's order: each step is given what the ones before it made."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
pytest.importorskip("libsumo")

from nanopilot.train import everything


def calls(monkeypatch: pytest.MonkeyPatch, config: everything.EverythingConfig) -> list:
    made: list = []
    for step in ("frames", "town_frames", "label", "scenes", "signals", "perception", "quantise"):
        monkeypatch.setattr(getattr(everything, step), "main", made.append)
    everything.main(config)
    return made


def test_without_real_pictures_the_simulator_alone_teaches(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = calls(monkeypatch, everything.EverythingConfig(data=tmp_path / "none", out=tmp_path))
    assert [type(c).__name__ for c in made] == ["FramesConfig"] * 2 + ["TownFramesConfig"] + ["TrainConfig"] * 3 + ["QuantiseConfig"]
    assert [c.split for c in made[:3]] == ["train", "tune", "train"] and not any(c.real for c in made[3:6])


def test_each_step_begins_from_what_the_one_before_it_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    *before, scenes, signals, first, second, last, quantise = calls(
        monkeypatch, everything.EverythingConfig(data=tmp_path, out=tmp_path / "out")
    )
    assert [type(c).__name__ for c in before] == ["FramesConfig"] * 2 + ["TownFramesConfig"] + ["LabelConfig"] * 6
    assert first.start is None and not first.final and not second.final and last.final
    for one, other in ((first, second), (second, last)):
        assert other.start == one.out / "checkpoint.pt" and other.out != one.out and other.seed != one.seed
    assert all(c.real > 0 and c.scenes == scenes.labels for c in (first, second, last))
    assert quantise.weights == last.out / "perception.onnx" and signals.out.parent == quantise.out.parent


def test_a_missing_extra_is_said_before_anything_is_drawn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(everything, "find_spec", lambda name: None if name == "libsumo" else True)
    with pytest.raises(ValueError, match=r"without libsumo .*nanopilot\[train,town\]"):
        calls(monkeypatch, everything.EverythingConfig(data=tmp_path, out=tmp_path))
