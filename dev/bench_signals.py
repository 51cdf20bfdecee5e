"""How far away are a town's lights and signs read? One picture of each camera at each distance before each junction.

In: a tuning town and looks (0 is a clear day, others are appearance seeds). Out: a table: at how many junctions the right state was read,
how often a wrong one by what would count for that junction, and the same of stop and yield signs.
Run: python dev/bench_signals.py --town grid --seed 3000
"""

from dataclasses import dataclass

import numpy as np
import tyro

from nanopilot.geometry import model_camera, narrow_camera
from nanopilot.messages import Frame, SceneClass
from nanopilot.perception import Network, lamps
from nanopilot.perception.signals import Reader
from nanopilot.sim.appearance import Appearance
from nanopilot.sim.camera import CpuCamera
from nanopilot.sim.scene import Scene
from nanopilot.sim.sumo_map import Approach, TownMap, town_map
from nanopilot.sim.sumo_net import town_net
from nanopilot.world.signals import SignalConfig, _there

STATES = ("red", "yellow", "green")


@dataclass(frozen=True)
class Config:
    town: str = "grid"
    seed: int = 3000
    looks: tuple[int, ...] = (0,)
    distances: tuple[float, ...] = (6, 10, 20, 30, 45)  # m from camera to the lane's end
    junctions: int = 12  # of each kind
    network: bool = False  # count the cells that the network's own scene calls sign or light, before lights


def main(c: Config) -> None:
    net, _, folder = town_net(c.town, c.seed)
    folder.cleanup()
    town, reader, config = town_map(net, c.seed), Reader(), SignalConfig()
    by_rule = {rule: [a for a in town.approaches.values() if a.rule == rule][: c.junctions] for rule in ("light", "stop", "yield")}
    print("look distance | light: right wrong of | stop: right wrong of | yield: right wrong of")
    if c.network:
        count_cells(c, town, by_rule["light"])
        return
    for number in c.looks:
        eye = CpuCamera(town.static, Appearance.from_seed(number) if number else Appearance.clear_day())
        for distance in c.distances:
            cells = []
            for rule, approaches in by_rule.items():
                right = wrong = 0
                for k, a in enumerate(approaches):
                    lane, state = town.lane_map.lanes[a.lane], STATES[k % 3]
                    j = int(np.argmin(np.abs(lane.arc - (lane.length - distance - model_camera().x))))
                    pose = (*lane.centre[j], float(lane.heading[j]))
                    scene = Scene(town.static, (), {o.light_id: state for o in town.approaches.values()}, 0.0)
                    signs, lights = [], []
                    for camera in (model_camera(), narrow_camera()):
                        found = lamps.find(eye.render(scene, camera, pose, labels=False).rgb, camera, reader)
                        signs, lights = signs + list(found[0]), lights + list(found[1])
                    if rule == "light":
                        said = {x.state.value for x in lights if _there(x.box, config.light_height, distance, config.across, config)}
                        right, wrong = right + (state in said), wrong + bool(said - {state})
                    else:
                        said = {s.name for s in signs if _there(s.box, config.sign_height, distance, config.before, config)}
                        right, wrong = right + (rule in said), wrong + bool(said & {"stop", "yield"} - {rule})
                cells.append(f"{right:3d} {wrong:3d} {len(approaches):3d}")
            print(f"{number:4d} {distance:6.0f} m | " + " | ".join(cells), flush=True)


def count_cells(c: Config, town: TownMap, approaches: list[Approach]) -> None:
    network, camera = Network(), model_camera()
    eye = CpuCamera(town.static, Appearance.clear_day())
    for distance in c.distances:
        cells = 0
        for a in approaches:
            lane = town.lane_map.lanes[a.lane]
            j = int(np.argmin(np.abs(lane.arc - (lane.length - distance - camera.x))))
            scene = Scene(town.static, (), {o.light_id: "red" for o in town.approaches.values()}, 0.0)
            image = eye.render(scene, camera, (*lane.centre[j], float(lane.heading[j])), labels=False).rgb
            cells += int((network.perceive(Frame(0.0, camera.name, image), camera, None).scene == SceneClass.SIGN).sum())
        print(f"{distance:4.0f} m: {cells} cells in {len(approaches)} pictures")


if __name__ == "__main__":
    main(tyro.cli(Config))
