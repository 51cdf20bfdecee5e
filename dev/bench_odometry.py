"""Speed from video against KITTI odometry's poses: what `watch` would say of a camera whose height alone is known.

    python dev/bench_odometry.py [SEQUENCE_FOLDER] [--json docs/results/odometry.json]

In: a folder with image_l, calib.txt and poses.txt (10 Hz). Out: median and 90th percentile of the relative speed error, of all frames
(pitch unknown at the first) and of the second half, and the median error of the yaw rate.
"""

import argparse
import json
import os
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from nanopilot.evaluate.suite import origin
from nanopilot.messages import CameraModel, Frame
from nanopilot.world import mounting, odometry

HZ, HEIGHT = 10.0, 1.65  # Geiger et al. 2012


def main(folder: Path, out: Path | None) -> None:
    if not folder.is_dir():
        raise SystemExit(f"no KITTI odometry sequence in {folder} (NANOPILOT_DATA)")
    p = np.loadtxt(folder / "calib.txt")[0].reshape(3, 4)
    poses = np.loadtxt(folder / "poses.txt").reshape(-1, 3, 4)
    speed = np.linalg.norm(np.diff(poses[:, :, 3], axis=0), axis=1) * HZ
    turn = [np.linalg.inv(a[:, :3]) @ b[:, :3] for a, b in pairwise(poses)]
    yaw_rate = np.array([-np.arctan2(r[0, 2], r[2, 2]) for r in turn]) * HZ
    config, mount_config = odometry.OdometryConfig(), mounting.MountingConfig()
    state, told = odometry.initial(), []
    for k, path in enumerate(sorted((folder / "image_l").iterdir())):
        image = np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])
        if k == 0:
            camera = CameraModel("kitti", image.shape[1], image.shape[0], p[0, 0], p[1, 1], p[0, 2], p[1, 2], x=1.3, z=HEIGHT)
            mount = mounting.initial(camera, mount_config)
            calibration = mounting.told(mount, mount_config)
        state, motion, seen = odometry.step(state, Frame(k / HZ, "kitti", image), camera, calibration.pitch_std, config)
        mount, calibration = mounting.step(mount, k / HZ, camera, (), seen, motion, mount_config)
        mount, camera = mounting.turned(mount, camera, mount_config)
        told.append(motion)
    error = np.array([abs(m.speed / v - 1) for m, v in zip(told[1:], speed, strict=True)])
    turned = np.array([abs(m.yaw_rate - y) for m, y in zip(told[1:], yaw_rate, strict=True)])
    half = len(error) // 2
    summary = {
        "pictures": len(told),
        "speed_median_error_percent": 100 * float(np.median(error[1:])),
        "speed_90th_percentile_error_percent": 100 * float(np.percentile(error[1:], 90)),
        "speed_median_error_second_half_percent": 100 * float(np.median(error[half:])),
        "speed_90th_percentile_error_second_half_percent": 100 * float(np.percentile(error[half:], 90)),
        "yaw_rate_median_error_rad_per_s": float(np.median(turned[1:])),
        "camera_pitch_deg": float(np.degrees(calibration.pitch)),
        "camera_pitch_std_deg": float(np.degrees(calibration.pitch_std)),
    }
    for name, value in summary.items():
        print(f"{name.replace('_', ' ')}: {value:.3g}")
    if out is not None:
        out.write_text(json.dumps(origin("odometry") | {"rows": [], "summary": summary}, indent=1) + "\n")


if __name__ == "__main__":
    data = Path(os.environ.get("NANOPILOT_DATA", "../shared/data"))
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path, nargs="?", default=data / "kitti_odometry" / "sequence_1")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    main(args.folder, args.json)
