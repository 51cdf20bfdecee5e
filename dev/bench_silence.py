"""Does `watch` keep silent on real roads where nothing happens? Every warning on them is listed, to be looked at.

    python dev/bench_silence.py [--only camvid] [--out out/silence] [--json docs/results/silence.json]

In: under NANOPILOT_DATA the clips, CamVid's val as a 15 Hz video (widened back to 16:9) and a KITTI odometry sequence (10 Hz), as a user
would watch them: focal length told, pitch found on the way. Out: warnings a minute, and each with its reason; in --out the reports, with
pictures of every event and traces of speed, headway and lines. That a warning is false is judged by who looks; nobody warned the drivers.
"""

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console

from nanopilot.bodies.lens import LensConfig
from nanopilot.evaluate.suite import origin
from nanopilot.log import steps
from nanopilot.messages import speed_known
from nanopilot.perception.datasets import CAMERAS, KITTI_HEIGHT
from nanopilot.watch import run

CAMVID_HZ, KITTI_HZ = 15.0, 10.0


@contextmanager
def widened(folder: Path, size: tuple[int, int]) -> Iterator[Path]:
    """The folder's pictures at `size`, in a folder of their own."""
    with tempfile.TemporaryDirectory() as above:
        out = Path(above) / "camvid"
        out.mkdir()
        for path in sorted(folder.iterdir()):
            cv2.imwrite(str(out / f"{path.stem}.png"), cv2.resize(cv2.imread(str(path)), size, interpolation=cv2.INTER_CUBIC))
        yield out


@contextmanager
def sources(data: Path, name: str) -> Iterator[tuple[Path, LensConfig, float | None]]:
    if name == "kitti":
        folder = data / "kitti_odometry" / "sequence_1"
        focal = float(np.loadtxt(folder / "calib.txt")[0, 0])
        yield folder / "image_l", LensConfig(focal=focal, height=KITTI_HEIGHT), KITTI_HZ
    elif name == "camvid":
        c = CAMERAS["camvid"]
        with widened(data / "camvid" / "val" / "images", (c.width, c.height)) as folder:
            yield folder, LensConfig(focal=c.focal), CAMVID_HZ
    else:
        yield data / "clips" / f"{name}.mp4", LensConfig(focal=CAMERAS[name].focal), None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--only", default="")
    parser.add_argument("--out", type=Path, default=Path("out/silence"))
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    data, rows = Path(os.environ.get("NANOPILOT_DATA", "../shared/data")), []
    for name in ("ll_solidWhiteRight", "vd_test_small2", "camvid", "kitti"):
        if args.only not in name:
            continue
        with sources(data, name) as (source, lens, hz):
            if not source.exists():
                print(f"{name}: skipped, {source} is not there (NANOPILOT_DATA)")
                continue
            code = run.run(run.RunConfig(str(source), args.out / name, lens, hz=hz, video=False), console=Console(quiet=True))
        (log,) = (args.out / name).glob("*.mcap")
        logged = list(steps(log))
        known = sum(speed_known(s["/motion"]) for s in logged) / len(logged)
        events = [json.loads(line) for line in log.with_suffix(".events.jsonl").read_text().splitlines()]
        begun = [e for e in events if e["event"] == "begin"]
        seconds = logged[-1]["/step"].t
        told = [f"{e['t']:.2f} s {e['kind']} {e['level']}: {e['reason']}" for e in begun]
        rows.append({"name": name, "seconds": seconds, "exit": code, "speed_known": known, "warnings": told})
        print(f"{name}: {seconds:.1f} s, speed known {100 * known:.0f} % of it, {len(told)} warnings", *told, sep="\n    ")
    total = sum(r["seconds"] for r in rows)
    count = sum(len(r["warnings"]) for r in rows)
    summary: dict[str, float] = {"seconds": total, "warnings": count, "warnings_per_minute": 60 * count / total if total else 0.0}
    most = 60 * 3.0 / total if total and not count else None  # 95 % upper bound of a Poisson rate when none came
    summary |= {"warnings_per_minute_at_most": most} if most else {}
    print(", ".join(f"{k} {v:.3g}" for k, v in summary.items()))
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(origin("silence") | {"rows": rows, "summary": summary}, indent=1) + "\n")


if __name__ == "__main__":
    main()
