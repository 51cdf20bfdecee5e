"""The int8 network beside the float one it was made from, on random frames."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

from nanopilot.engine import Engine
from nanopilot.messages import PATH_ARC
from nanopilot.perception import Network, heads
from nanopilot.perception.labels import HEADS, MAX_OBJECTS, OBJECT_FIELDS, Label, ShardWriter
from nanopilot.train import quantise
from nanopilot.train.network import NetworkConfig, PerceptionNetwork
from nanopilot.train.perception import export

SMALL = NetworkConfig(widths=(16, 16, 16, 16), blocks=(1, 1, 1), inner=(16, 16, 16), neck=16, scene=16, path_hidden=32)


def random_frames(folder: Path, count: int) -> None:
    rng = np.random.default_rng(3)
    shard = ShardWriter(folder / "map-1")
    for _ in range(count):
        path = np.stack([PATH_ARC, np.zeros_like(PATH_ARC)], -1).astype(np.float32)
        label = Label(
            scene=np.zeros(heads.SCENE_SHAPE, np.uint8),
            lane_u=np.full((4, len(heads.ROWS)), np.nan, np.float32),
            path=path,
            route=heads.route_vector(None),
            objects=np.full((MAX_OBJECTS, len(OBJECT_FIELDS)), np.nan, np.float32),
            usable=1.0,
            known=np.ones(len(HEADS), bool),
            junction=False,
            turn=0.0,
        )
        shard.add(np.kron(rng.integers(0, 255, (32, 64, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8)), label)
    shard.close()


def test_int8_says_what_float_said_and_keeps_its_name(tmp_path: Path) -> None:
    torch.manual_seed(0)
    random_frames(tmp_path / "frames", 6)
    export(PerceptionNetwork(SMALL).eval(), tmp_path / "float.onnx", {"step": "7"})
    quantise.main(quantise.QuantiseConfig(tmp_path / "float.onnx", tmp_path / "int8.onnx", tmp_path / "frames"))
    wide, small = Network(tmp_path / "float.onnx"), Network(tmp_path / "int8.onnx")
    assert small.about["step"] == "7" and small.about["quantised"].startswith("int8") and "quantised" not in wide.about
    image = np.kron(np.random.default_rng(9).integers(0, 255, (32, 64, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))
    a, b = (n.infer(image, heads.route_vector(None), heads.memory_vector(None)) for n in (wide, small))
    for name in ("path", "lane_u", "box"):
        spread = a[name].std()
        assert 0 < np.abs(a[name] - b[name]).mean() < 0.1 * spread, name

    weights = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(str(tmp_path / "int8.onnx")).graph.initializer}
    int8 = [w for w in weights.values() if w.dtype == np.int8 and w.ndim == 4]
    own = 1 + 3 + 3 + 1 + 2 + 3 + 1  # stem, stages at 1/8 and 1/16, down to 1/32, the block there, the pyramid's three and fuse
    context = 2 * 11  # two pointwise ones of each of ImageNet's blocks 5 to 15
    assert len(int8) == own + context + 4 + 1 + 3  # and its four bridges, the objects' hidden layer, three of the scene
    assert all(np.abs(w.astype(int)).max() <= 64 for w in int8)  # 7 bits


def test_without_frames_it_says_how_to_draw_some(tmp_path: Path) -> None:
    export(PerceptionNetwork(SMALL).eval(), tmp_path / "float.onnx", {})
    with pytest.raises(FileNotFoundError, match="draw some with"):
        quantise.main(quantise.QuantiseConfig(tmp_path / "float.onnx", tmp_path / "int8.onnx", tmp_path / "none"))


def test_pads_go_into_convolutions_and_change_nothing(tmp_path: Path) -> None:
    torch.manual_seed(0)

    class Padded(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = torch.nn.Conv2d(2, 3, 3, stride=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(torch.nn.functional.pad(x, (0, 1, 0, 2)))

    x = torch.randn(1, 2, 8, 8)
    torch.onnx.export(Padded(), (x,), str(tmp_path / "a.onnx"), dynamo=False, opset_version=17, input_names=["x"])
    quantise.quant_pre_process(str(tmp_path / "a.onnx"), str(tmp_path / "b.onnx"), skip_symbolic_shape=True)
    model = onnx.load(str(tmp_path / "b.onnx"))
    quantise.fold_pads(model)
    onnx.save(model, str(tmp_path / "c.onnx"))
    assert [n.op_type for n in model.graph.node] == ["Conv"]
    before, after = (Engine(tmp_path / name)({"x": x.numpy()}) for name in ("a.onnx", "c.onnx"))
    np.testing.assert_allclose(*(next(iter(said.values())) for said in (before, after)), atol=1e-6)
