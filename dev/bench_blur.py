"""How much of what should be hidden does `watch --blur` hide?

    python dev/bench_blur.py [--pictures 60]

In: labelled real pictures under NANOPILOT_DATA: CamVid val's pedestrians and cyclists by the pixel, KITTI's boxes. Out: how many heads (the
upper 15 % of a labelled person or rider at least 40 px high) and plates (the middle third, from 50 to 90 % down, of unoccluded cars nearer
than 25 m) lie wholly in hidden areas, and the share of the picture that is hidden. One frame each, without tracks, which hide more.
Training saw most of these pictures, so on new roads it is less.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from nanopilot.messages import CameraModel, Frame
from nanopilot.perception import Network
from nanopilot.perception.datasets import camera_of, kitti_camera
from nanopilot.perception.view import in_picture
from nanopilot.watch.blur import hidden

HEAD, PLATE = 0.15, ((1 / 3, 2 / 3), (0.5, 0.9))  # of a box
LEAST_PERSON = 40  # px: a head of six
NEAR = 25.0  # m: a plate of about 15 px in KITTI
PEDESTRIAN, CYCLIST = 9, 10  # CamVid's labels
Area = tuple[str, int, int, int, int]  # what, u0, v0, u1, v1


def camvid(data: Path, most: int) -> Iterator[tuple[np.ndarray, CameraModel, list[Area]]]:
    camera = camera_of("camvid")
    for path in sorted((data / "camvid" / "val" / "images").iterdir())[:most]:
        label = cv2.imread(str(data / "camvid" / "val" / "labels" / f"{path.stem}.png"), cv2.IMREAD_GRAYSCALE)
        image = cv2.resize(cv2.imread(str(path)), (camera.width, camera.height), interpolation=cv2.INTER_CUBIC)[..., ::-1]
        mask = cv2.resize(
            np.isin(label, (PEDESTRIAN, CYCLIST)).astype(np.uint8), (camera.width, camera.height), interpolation=cv2.INTER_NEAREST
        )
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask)
        found = [("head", u, v, u + w, v + round(HEAD * h)) for u, v, w, h, _ in stats[1:].tolist() if h >= LEAST_PERSON and w < h]
        yield np.ascontiguousarray(image), camera, found


def kitti(data: Path, most: int) -> Iterator[tuple[np.ndarray, CameraModel, list[Area]]]:
    root = data / "kitti_object"
    for label in sorted(root.glob("**/label_2/*.txt"))[:most]:
        folder = label.parent.parent
        picture = next((folder / "image_2").glob(f"{label.stem}.*"))
        image = np.ascontiguousarray(cv2.imread(str(picture))[..., ::-1])
        camera = kitti_camera(folder / "calib" / label.name, image.shape[1], image.shape[0])
        found: list[Area] = []
        for line in label.read_text().splitlines():
            kind, truncated, occluded, _, u0, v0, u1, v1, *_, z, _ = line.split()[:15]
            w, h = float(u1) - float(u0), float(v1) - float(v0)
            if kind in ("Car", "Van") and occluded == "0" and float(truncated) == 0 and float(z) < NEAR and w < 2 * h:
                what, (a, b), (c, d) = "plate", *PLATE
            elif kind in ("Pedestrian", "Cyclist", "Person_sitting") and h >= LEAST_PERSON:
                what, (a, b), (c, d) = "head", (0.3, 0.7), (0.0, HEAD)
            else:
                continue
            x, y = float(u0), float(v0)
            found.append((what, round(x + a * w), round(y + c * h), round(x + b * w), round(y + d * h)))
        yield image, camera, found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=101)
    most = parser.parse_args().pictures
    data, network = Path(os.environ.get("NANOPILOT_DATA", "../shared/data")), Network()
    for name, pictures in (("CamVid val", camvid), ("KITTI", kitti)):
        whole: dict[str, list[float]] = {}
        share = []
        for image, camera, found in pictures(data, most):
            percept = network.perceive(Frame(0.0, camera.name, image), camera, None)
            changed = (hidden(image, camera, in_picture(percept, camera, camera), None) != image).any(2)
            share.append(changed.mean())
            for what, u0, v0, u1, v1 in found:
                part = changed[max(v0, 0) : v1, max(u0, 0) : u1]
                if part.size:
                    whole.setdefault(what, []).append(float(part.mean()))
        print(f"{name}: {len(share)} pictures, {100 * np.mean(share):.1f} % of them hidden")
        for what, parts in whole.items():
            print(f"    {what}s hidden: {sum(p > 0.95 for p in parts)} of {len(parts)}")


if __name__ == "__main__":
    main()
