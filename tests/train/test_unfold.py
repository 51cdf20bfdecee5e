"""An exported network can be trained on: read back, it says what the file says."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from nanopilot.perception import heads
from nanopilot.perception.runtime import WEIGHTS
from nanopilot.train.lite0 import imagenet
from nanopilot.train.network import Exported, PerceptionNetwork
from nanopilot.train.perception import export
from nanopilot.train.unfold import module_name, stored, unfolded


def pictures(count: int) -> np.ndarray:
    """Smooth random ones."""
    rng = np.random.default_rng(0)
    small = torch.from_numpy(rng.uniform(0, 255, (count, 3, 8, 16)).astype(np.float32))
    return torch.nn.functional.interpolate(small, (256, 512), mode="bilinear").permute(0, 2, 3, 1).numpy().astype(np.uint8)


def outputs(network: PerceptionNetwork, images: np.ndarray) -> dict[str, np.ndarray]:
    n = len(images)
    with torch.no_grad():
        said = Exported(network).eval()(torch.from_numpy(images), torch.zeros(n, heads.ROUTE_SIZE), torch.zeros(n, heads.MEMORY_SIZE))
    return {name: value.numpy() for name, value in zip(heads.OUTPUTS, said, strict=True)}


def test_names():
    assert module_name("/network/stage8/stage8.1/first/first.0/Conv") == "stage8.1.first.0"
    assert module_name("/network/added.0/Conv") == "added.0"
    assert module_name("/network/scene/scene.0/scene.0.0/Conv") == "scene.0.0"


def test_a_network_comes_back_as_it_was_exported(tmp_path):
    torch.manual_seed(0)
    first, second, images = PerceptionNetwork(), PerceptionNetwork(), pictures(4)
    first.train()(torch.randn(2, 3, 256, 512), torch.zeros(2, heads.ROUTE_SIZE), torch.zeros(2, heads.MEMORY_SIZE))  # gets statistics
    second.context.load_state_dict(first.context.state_dict())
    export(first, tmp_path / "perception.onnx", {})
    unfolded(tmp_path / "perception.onnx", second, images)
    one, two = outputs(first, images), outputs(second, images)
    for name in ("path", "lane_u", "heat", "confidence"):  # weights are stored in half precision
        np.testing.assert_allclose(two[name], one[name], atol=0.02 * max(np.abs(one[name]).max(), 1.0), err_msg=name)
    assert (one["scene"] == two["scene"]).mean() > 0.97


def test_the_committed_one_is_read_whole():
    network = PerceptionNetwork()
    network.context.load_state_dict(imagenet())
    unfolded(WEIGHTS, network, pictures(2))
    read = set(stored(WEIGHTS))
    layers = {name for name, m in network.named_modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear) and "context" not in name}
    assert read == layers


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.onnx"):
        stored(tmp_path / "nothing.onnx")


def test_the_humanoids_eyes_come_back_as_committed():
    from nanopilot.engine import Engine
    from nanopilot.perception.rooms import HEIGHT, WIDTH
    from nanopilot.perception.rooms import WEIGHTS as ROOMS
    from nanopilot.train.network import normalise
    from nanopilot.train.room_network import RoomNetwork, widths_of
    from nanopilot.train.unfold import unfold

    image = pictures(1)[:, :HEIGHT, :WIDTH]
    network = RoomNetwork(widths_of({name: torch.from_numpy(weight) for name, (weight, _) in stored(ROOMS).items()}))
    unfold(ROOMS, network, normalise(torch.from_numpy(image)))
    with torch.no_grad():
        said = network.eval()(normalise(torch.from_numpy(image))).softmax(1).numpy()
    np.testing.assert_allclose(said, next(iter(Engine(ROOMS)({"image": image}).values())), atol=0.02)


def test_a_wider_network_begins_with_what_a_narrow_one_says():
    from nanopilot.train.room_network import RoomNetwork, Widths, grow

    torch.manual_seed(0)
    narrow, wide = RoomNetwork(Widths((32, 16), (40, 24), (48, 24), 24)), RoomNetwork(Widths((32, 16), (48, 32), (64, 40), 32))
    pictures = torch.randn(2, 3, 48, 64)
    for _ in range(3):
        narrow(pictures)  # batch normalisation has seen something
    grow(narrow, wide)
    with torch.no_grad():
        torch.testing.assert_close(wide.eval()(pictures), narrow.eval()(pictures), atol=1e-5, rtol=1e-4)
    wide.train()(pictures).square().mean().backward()
    assert wide.stage16[1].first[0].weight.grad[:, 48:].abs().max() > 0  # and what is new learns
