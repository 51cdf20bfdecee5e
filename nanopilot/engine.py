"""Runs an ONNX network on one CPU core: arrays by input name in, arrays by output name out. The engine is OpenVINO.

For the network of `train` it takes a seventh less time than ONNX Runtime in float (dev/bench_perception.py --design).
A network of changing picture sizes is compiled for each size when it first comes, which takes about a second; `fixed` says so.
Numbers are float32 also where the CPU has bfloat16, in which metres at 40 m come in steps of 25 cm; for classes alone `coarse` does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray


class Engine:
    """One network. Raises FileNotFoundError, or ValueError for a file that is no ONNX network."""

    def __init__(self, path: Path, fixed: bool = False, threads: int = 1, coarse: bool = False) -> None:
        import openvino

        if not path.is_file():
            raise FileNotFoundError(f"no network weights at {path}")
        self.core, self.path, self.fixed = openvino.Core(), path, fixed
        self.options = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
        self.options["ENABLE_CPU_PINNING"] = False  # or every process would want the same core
        if not coarse:
            self.options["INFERENCE_PRECISION_HINT"] = "f32"
        self.shape = openvino.PartialShape
        try:
            self.model = self.core.read_model(str(path))
        except RuntimeError as error:
            raise ValueError(f"{path} is no ONNX network: {str(error).strip().splitlines()[-1]}") from error
        about = self.model.get_rt_info()
        self.about = {key: value.astype(str) for key, value in about["framework"].items()} if "framework" in about else {}
        self.takes = {port.any_name: port.partial_shape for port in self.model.inputs}
        self.outputs = [port.any_name for port in self.model.outputs]
        self.requests: dict[tuple, Any] = {} if fixed else {(): self._compiled(self.model)}

    def _compiled(self, model: Any) -> Any:
        return self.core.compile_model(model, "CPU", self.options).create_infer_request()

    def __call__(self, inputs: dict[str, Array]) -> dict[str, Array]:
        """Raises ValueError for inputs of a shape the network can't take."""
        for name, value in inputs.items():
            if not self.takes[name].compatible(self.shape(list(value.shape))):
                raise ValueError(f"{self.path.name} can't take {name} of shape {value.shape}, only {self.takes[name]}")
        shapes = tuple((name, *value.shape) for name, value in inputs.items()) if self.fixed else ()
        if shapes not in self.requests:
            model = self.model.clone()
            model.reshape({name: list(value.shape) for name, value in inputs.items()})
            self.requests[shapes] = self._compiled(model)
        results = self.requests[shapes].infer(inputs)
        return dict(zip(self.outputs, results.values(), strict=True))
