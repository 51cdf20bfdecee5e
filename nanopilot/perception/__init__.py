"""Camera frame -> Percept: the network's runtime, its decoding, and what its tensors mean."""

from nanopilot.perception.decode import Config, decode
from nanopilot.perception.runtime import WEIGHTS, Network, WeightsError

__all__ = ["WEIGHTS", "Config", "Network", "WeightsError", "decode"]
