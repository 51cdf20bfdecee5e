"""nanopilot: a car's eyes and judgement from cameras alone."""

import os

# Before NumPy loads: OpenBLAS's second thread spins for milliseconds after each small product, on the core that the simulator
# or the network needs (measured: the network took 34 ms a frame in a drive with it, 19 ms without).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

__version__ = "0.1.0"
