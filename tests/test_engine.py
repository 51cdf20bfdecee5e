"""The engine against ONNX Runtime and against arithmetic: outputs by name, sizes that change, files and inputs that are none."""

from pathlib import Path

import numpy as np
import pytest

from nanopilot.engine import Engine

onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """twice = 2 * x and total = its sum, of any number of columns."""
    helper, tensor = onnx.helper, onnx.TensorProto
    info = helper.make_tensor_value_info
    nodes = [helper.make_node("Add", ["x", "x"], ["twice"]), helper.make_node("ReduceSum", ["twice"], ["total"], keepdims=0)]
    outputs = [info("twice", tensor.FLOAT, (2, "n")), info("total", tensor.FLOAT, ())]
    graph = helper.make_graph(nodes, "double", [info("x", tensor.FLOAT, (2, "n"))], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    model.metadata_props.add(key="version", value="7")
    onnx.save(model, str(file := tmp_path_factory.mktemp("engine") / "double.onnx"))
    return file


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("columns", [1, 5])
def test_outputs_come_by_name_for_any_size(path: Path, fixed: bool, columns: int) -> None:
    x = np.arange(2.0 * columns, dtype=np.float32).reshape(2, columns)
    said = Engine(path, fixed)({"x": x})
    assert list(said) == ["twice", "total"]
    np.testing.assert_array_equal(said["twice"], 2 * x)
    assert said["total"] == 2 * x.sum()


def test_answers_are_the_callers_own(path: Path) -> None:
    engine = Engine(path)
    first = engine({"x": np.ones((2, 3), np.float32)})["twice"]
    engine({"x": np.zeros((2, 3), np.float32)})
    np.testing.assert_array_equal(first, 2.0)


def test_what_the_file_says_of_itself_is_kept(path: Path) -> None:
    assert Engine(path).about["version"] == "7"


@pytest.mark.parametrize("fixed", [False, True])
def test_a_wrong_shape_is_a_value_error(path: Path, fixed: bool) -> None:
    with pytest.raises(ValueError, match=r"double\.onnx can't take"):
        Engine(path, fixed)({"x": np.zeros((3, 4), np.float32)})


def test_missing_and_broken_files_say_so(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no network weights"):
        Engine(tmp_path / "none.onnx")
    (tmp_path / "odd.onnx").write_bytes(b"odd")
    with pytest.raises(ValueError, match="no ONNX network"):
        Engine(tmp_path / "odd.onnx")
