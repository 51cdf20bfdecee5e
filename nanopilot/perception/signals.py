"""What a cut-out of a traffic sign or a traffic light says: one of GTSRB's 43 signs, or the light's state.

In: crops, any size, RGB. Out: a `Reading` each. A small convolutional network of our own (nanopilot.train.signals); one
pass answers both questions, and who asks knows which of the two it cut out. Below `sure` it says nothing rather than guess.
Source of the classes: Stallkamp et al. 2012 (GTSRB). It finds no signs: perception.roadside does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from nanopilot.engine import Engine
from nanopilot.messages import Light

Array = np.ndarray

WEIGHTS = Path(__file__).parent / "weights" / "signals.onnx"
VERSION = "1"
SIZE = 32  # px, of a crop as the network sees it

SIGNS = (
    "speed limit 20", "speed limit 30", "speed limit 50", "speed limit 60", "speed limit 70", "speed limit 80", "end of speed limit 80",
    "speed limit 100", "speed limit 120", "no overtaking", "no overtaking by lorries", "priority at the next junction", "priority road",
    "yield", "stop", "no vehicles", "no lorries", "no entry", "danger", "curve left", "curve right", "double curve", "uneven road",
    "slippery road", "road narrows", "road works", "traffic lights", "pedestrians", "children", "cyclists", "ice or snow", "wild animals",
    "end of all restrictions", "right only", "left only", "straight only", "straight or right", "straight or left", "keep right",
    "keep left", "roundabout", "end of no overtaking", "end of no overtaking by lorries",
)  # fmt: skip
SPEED_LIMITS = {i: int(name.split()[-1]) for i, name in enumerate(SIGNS) if name.startswith("speed limit")}  # class -> km/h


LIGHTS = tuple(Light)


@dataclass(frozen=True)
class Reading:
    """The likeliest sign and light of one crop with their probabilities; None where the network isn't sure."""

    sign: int | None
    sign_probability: float
    light: Light | None
    light_probability: float

    @property
    def speed_limit(self) -> int | None:
        """km/h, if the sign is a speed limit."""
        return None if self.sign is None else SPEED_LIMITS.get(self.sign)


class Reader:
    """The network at work. Raises FileNotFoundError without weights, ValueError for those of another version."""

    def __init__(self, weights: Path | None = None, sure: float = 0.6) -> None:
        path = Path(weights or WEIGHTS)
        if not path.is_file():
            raise FileNotFoundError(f"no weights at {path}: train them with `nanopilot train signals`, or name a file")
        self.engine = Engine(path, coarse=True)
        version = self.engine.about.get("nanopilot_signals")
        if version != VERSION:
            raise ValueError(f"{path} is of version {version or 'unknown'}, this program needs {VERSION}")
        self.sure = sure

    def read(self, crops: Sequence[UInt8[Array, "h w 3"]]) -> list[Reading]:
        """One answer for each crop. Raises ValueError for what is no RGB picture."""
        if not crops:
            return []
        signs, lights = self.probabilities(np.stack([crop_input(c) for c in crops]))
        readings = []
        for s, p in zip(signs, lights, strict=True):
            i, j = int(s.argmax()), int(p.argmax())
            sign = i if s[i] >= self.sure else None
            readings.append(Reading(sign, float(s[i]), LIGHTS[j] if p[j] >= self.sure else None, float(p[j])))
        return readings

    def probabilities(self, crops: UInt8[Array, "n 32 32 3"]) -> tuple[Float32[Array, "n 43"], Float32[Array, "n 4"]]:
        """Of every sign and of every light state."""
        said = self.engine({"crops": crops})
        return said["signs"], said["lights"]


def crop_input(crop: UInt8[Array, "h w 3"]) -> UInt8[Array, "32 32 3"]:
    """A crop at the network's size."""
    if not isinstance(crop, np.ndarray) or crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape[2] != 3 or 0 in crop.shape:
        raise ValueError("a crop must be a (height, width, 3) uint8 RGB picture with something in it")
    if crop.shape[:2] == (SIZE, SIZE):
        return crop
    return cv2.resize(crop, (SIZE, SIZE), interpolation=cv2.INTER_AREA if min(crop.shape[:2]) > SIZE else cv2.INTER_LINEAR)
