"""The Gymnasium environment, by Gymnasium's own checker."""

import warnings

import gymnasium
import numpy as np
from gymnasium.utils.env_checker import check_env

import nanopilot.sim.gym  # noqa: F401  registers the environment
from nanopilot.messages import ROUTE_ARC


def test_it_passes_gymnasiums_checker():
    env = gymnasium.make("nanopilot/Drive-v0")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*render.*")
        check_env(env.unwrapped, skip_render_check=True)
    env.close()


def test_full_throttle_moves_the_car_along_its_route_and_steering_left_turns_it_left():
    env = gymnasium.make("nanopilot/Drive-v0")
    first, info = env.reset(seed=5)
    assert info["seed"] == 5
    ahead = np.hypot(*np.diff(first["route"], axis=0).T)
    assert np.allclose(ahead, np.diff(ROUTE_ARC), atol=0.5) and first["route"][1, 0] > 3.5
    for _ in range(40):
        last, _, terminated, truncated, _ = env.step(np.array([0.0, 1.0], np.float32))
    assert last["speed"][0] > 4.0 and not terminated and not truncated
    assert (last["image"] != first["image"]).mean() > 0.2
    turned = [env.step(np.array([0.2, 0.0], np.float32))[0]["route"] for _ in range(8)][-1]
    bearing = [np.arctan2(r[5, 1], r[5, 0]) for r in (last["route"], turned)]
    assert bearing[1] < bearing[0] - 0.02  # we turn left, the route goes over to the right
    env.close()
