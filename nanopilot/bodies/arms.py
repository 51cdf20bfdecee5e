"""Where the palms should be -> angles of the 14 arm joints, and what it takes to hold them there against gravity.

In: measured joints and attitude, and two points for the palms' middles; palms face one another, fingers forward and a little down.
Out: joint targets, rad. Method: damped least squares on both palms' places and attitudes (Wampler 1986), a few iterations
from the last answer each tick; gravity's torque from MuJoCo's recursive Newton-Euler on the measured joints is added as an offset of
the targets. It knows no collisions: what may be reached is `safety`'s business, and how fast.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from nanopilot.sim import humanoid
from nanopilot.sim.humanoid import ARM_KP, ARMS, STAND, Built

Array = np.ndarray

DAMPING = 1e-3  # m², of the least squares
TURN_WEIGHT = 0.3  # m that a radian of wrong attitude counts for
STEP = 0.15  # rad a joint may move in an iteration
MARGIN = 0.02  # rad kept from a joint's stops
READY = np.array([-0.15, 0.45, 0.23, 0.56, -0.30, 0.0, -0.38, -0.15, -0.45, -0.23, 0.56, 0.30, 0.0, 0.38])  # rad, palms up before the body
EASE = 0.05  # share of the way there, an iteration
DOWN = 0.3  # rad that fingers point down: wrists reach further so


class Arms:
    def __init__(self, built: Built, gait: humanoid.Gait) -> None:
        mujoco = humanoid.require()
        self.model, self.built = built.model, built
        self.data = mujoco.MjData(built.model)
        self.sites = [built.model.site(name).id for name in humanoid.PALMS]
        self.q, self.v = built.q[ARMS], built.v[ARMS]
        self.low, self.high = np.array([built.model.joint(gait.joints[k]).range for k in ARMS]).T
        self.angles = STAND[ARMS].copy()

    def palms(self) -> Float[Array, "2 3"]:
        """Where they are on the data last solved or placed, pelvis frame."""
        return np.array([self.data.site_xpos[s] for s in self.sites])

    def place(self, q: Float[Array, "29"]) -> None:
        """Put all joints on the copy, pelvis at the origin."""
        mujoco = humanoid.require()
        self.data.qpos[:7] = 0, 0, 0, 1, 0, 0, 0
        self.data.qpos[self.built.q] = q
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)

    def solve(
        self, q: Float[Array, "29"], targets: Float[Array, "2 3"], attitude: Float[Array, "3 3"], iterations: int = 2
    ) -> Float[Array, "14"]:
        """Angles for the palms at `targets` (pelvis frame); `attitude` turns level axes into the pelvis's."""
        mujoco, n = humanoid.require(), self.model.nv
        wanted = attitude @ _pitched(DOWN)
        full = q.copy()
        for _ in range(iterations):
            full[ARMS] = self.angles
            self.place(full)
            rows, errors = [], []
            for site, target in zip(self.sites, targets, strict=True):
                place, turn = np.zeros((3, n)), np.zeros((3, n))
                mujoco.mj_jacSite(self.model, self.data, place, turn, site)
                off = wanted @ self.data.site_xmat[site].reshape(3, 3).T
                spin = 0.5 * np.array([off[2, 1] - off[1, 2], off[0, 2] - off[2, 0], off[1, 0] - off[0, 1]])
                rows += [place[:, self.v], TURN_WEIGHT * turn[:, self.v]]
                errors += [target - self.data.site_xpos[site], TURN_WEIGHT * spin]
            jacobian, error = np.vstack(rows), np.concatenate(errors)  # (12, 14), (12,)
            inverse = jacobian.T @ np.linalg.inv(jacobian @ jacobian.T + DAMPING * np.eye(12))  # (14, 12)
            homewards = EASE * (READY - self.angles)  # elbows, which the palms leave free, drift to no odd place
            change = inverse @ error + homewards - inverse @ (jacobian @ homewards)
            self.angles = np.clip(self.angles + np.clip(change, -STEP, STEP), self.low + MARGIN, self.high - MARGIN)
        return self.angles

    def against_gravity(self, q: Float[Array, "29"], attitude: Float[Array, "3 3"]) -> Float[Array, "14"]:
        """Offsets of the arm joints' targets that carry the arms' own weight, rad."""
        mujoco = humanoid.require()
        self.place(q)
        quat = np.zeros(4)
        mujoco.mju_mat2Quat(quat, attitude.T.ravel())  # gravity is down in level axes: the pelvis is turned instead
        self.data.qpos[3:7] = quat
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        torque = np.zeros(self.model.nv)
        mujoco.mj_rne(self.model, self.data, 0, torque)
        return torque[self.v] / ARM_KP


def _pitched(angle: float) -> Float[Array, "3 3"]:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
