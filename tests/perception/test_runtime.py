"""The runtime with a tiny ONNX stand-in built here: pictures of every wrong kind, other cameras, wrong weights."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from nanopilot.geometry import image_from_vehicle, model_camera
from nanopilot.messages import ROUTE_ARC, Frame
from nanopilot.perception import Network, WeightsError, heads
from nanopilot.perception.runtime import canonical, to_model

CAMERA = model_camera()


def weights(path: Path, version: str | None) -> Path:
    """An ONNX file with the right names whose confidence is the picture's mean grey / 255, all else zero."""
    onnx = pytest.importorskip("onnx")
    helper, tensor = onnx.helper, onnx.TensorProto
    shapes = {
        "scene": (tensor.UINT8, (1, *heads.SCENE_SHAPE)), "lane_u": (tensor.FLOAT, (1, 4, 39)), "lane_exists": (tensor.FLOAT, (1, 4, 39)),
        "lane_scale": (tensor.FLOAT, (1, 4, 39)), "path": (tensor.FLOAT, (1, 16, 2)), "path_std": (tensor.FLOAT, (1, 16)),
        "heat": (tensor.FLOAT, (1, 3, *heads.GRID_SHAPE)), "box": (tensor.FLOAT, (1, 11, *heads.GRID_SHAPE)),
        "people": (tensor.FLOAT, (1, 11, *heads.GRID_SHAPE)),
    }  # fmt: skip
    nodes, initial = [], []
    for name, (kind, shape) in shapes.items():
        size = int(np.prod(shape))
        initial.append(helper.make_tensor(f"{name}_0", kind, shape, [0] * size))
        nodes.append(helper.make_node("Identity", [f"{name}_0"], [name]))
    initial.append(helper.make_tensor("full", tensor.FLOAT, (1,), [255.0]))
    nodes += [
        helper.make_node("Cast", ["image"], ["grey"], to=tensor.FLOAT),
        helper.make_node("ReduceMean", ["grey"], ["mean"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Div", ["mean", "full"], ["share"]),
        helper.make_node("Identity", ["share"], ["confidence"]),
    ]
    info = helper.make_tensor_value_info
    inputs = [info("image", tensor.UINT8, (1, 256, 512, 3)), info("route", tensor.FLOAT, (1, 33)), info("memory", tensor.FLOAT, (1, 33))]
    outputs = [info(name, *shapes[name]) for name in shapes] + [info("confidence", tensor.FLOAT, (1,))]
    graph = helper.make_graph(nodes, "stand-in", inputs, outputs, initial)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if version:
        model.metadata_props.add(key="nanopilot_heads", value=version)
    onnx.save(model, str(path))
    return path


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return Network(weights(tmp_path_factory.mktemp("w") / "n.onnx", heads.VERSION))


def frame(image: np.ndarray) -> Frame:
    return Frame(2.5, "front", image)


def test_missing_weights_say_how_to_get_some(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="train"):
        Network(tmp_path / "none.onnx")


@pytest.mark.parametrize("version", [None, "0"])
def test_weights_of_another_version_are_refused(tmp_path: Path, version: str | None) -> None:
    with pytest.raises(WeightsError, match="version"):
        Network(weights(tmp_path / "old.onnx", version))


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.onnx").write_bytes(b"not a network")
    with pytest.raises(WeightsError, match="no ONNX network"):
        Network(tmp_path / "x.onnx")


def test_a_percept_carries_its_frames_time_and_camera(network: Network) -> None:
    percept = network.perceive(frame(np.full((256, 512, 3), 255, np.uint8)), CAMERA, np.stack([ROUTE_ARC, 0 * ROUTE_ARC], -1))
    assert (percept.t, percept.camera, percept.valid) == (2.5, "front", True)
    assert percept.confidence == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("image", "wrong"),
    [
        (np.zeros((256, 512), np.uint8), "RGB"),
        (np.zeros((256, 512, 4), np.uint8), "RGB"),
        (np.zeros((256, 512, 3), np.uint16), "uint8"),
        (np.zeros((256, 512, 3), np.float32), "uint8"),
        (np.zeros((128, 512, 3), np.uint8), "gives 512x256"),
    ],
    ids=["grey", "RGBA", "16-bit", "float", "not the camera's size"],
)
def test_odd_pictures_are_refused_with_the_reason(image: np.ndarray, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        to_model(image, CAMERA, CAMERA)


def test_a_tiny_camera_is_refused() -> None:
    tiny = replace(CAMERA, width=32, height=16)
    with pytest.raises(ValueError, match="64 px"):
        to_model(np.zeros((16, 32, 3), np.uint8), tiny, canonical(tiny))


def test_a_black_picture_is_invalid(network: Network) -> None:
    assert not network.perceive(frame(np.zeros((256, 512, 3), np.uint8)), CAMERA, None).valid


def test_a_route_of_the_wrong_length_is_refused(network: Network) -> None:
    with pytest.raises(ValueError, match="ROUTE_ARC"):
        network.perceive(frame(np.zeros((256, 512, 3), np.uint8)), CAMERA, np.zeros((5, 2)))


def test_another_camera_is_warped_to_where_the_model_camera_sees_the_same_point() -> None:
    other = replace(CAMERA, width=960, height=600, fx=700.0, fy=700.0, cx=479.5, cy=250.0, pitch=0.05, yaw=-0.03, roll=0.02)
    points = np.array([[15.0, 2.0, 0.0], [25.0, -6.0, 0.0], [40.0, 5.0, 3.0]])
    image = np.zeros((600, 960, 3), np.uint8)
    for u, v in image_from_vehicle(other, points)[0]:
        cv2.circle(image, (round(u), round(v)), 6, (255, 255, 255), -1)
    seen = to_model(image, other, CAMERA)
    for u, v in image_from_vehicle(CAMERA, points)[0]:
        patch = seen[round(v) - 4 : round(v) + 5, round(u) - 4 : round(u) + 5, 0].astype(float)
        dv, du = np.mgrid[-4:5, -4:5]
        centre = np.array([(du * patch).sum(), (dv * patch).sum()]) / patch.sum() + (round(u), round(v))
        np.testing.assert_allclose(centre, (u, v), atol=0.6)
