"""The standard manoeuvres as files that other simulators read: OpenSCENARIO 1.3 and OpenDRIVE 1.7.

In: cases and a friction. Out: a .xosc each, the .xodr of the roads they are on, and nothing that its schema refuses. Targets go along
timed polylines, exact to 2 cm, the car's own path where its procedure has one; times and places are those of the runs.
Left out: lead-in and reactions of the scripted driver (the car is the controller's from the start), brake lights and turn signals,
props beside the road, looks. Needs the extra `scenario` (scenariogeneration, whose wheel carries both schemas).
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from math import cos, hypot, pi, sin
from pathlib import Path
from typing import Any

from nanopilot.bodies.recording import PASSENGER_CAR
from nanopilot.evaluate.clips import EDGE, LANE
from nanopilot.evaluate.procedures import Case
from nanopilot.evaluate.track import LENGTH, OUTER_Y, Trial
from nanopilot.sim.scene import Actor

BACK = 60.0  # m of road behind the start, as `clips.road` has
SHOULDER = 0.2  # m between edge line and edge
LINE, EDGE_LINE, DASH, GAP = 0.12, 0.15, 3.0, 6.0  # m, as `clips.road` paints
PAVEMENT = 3.0  # m on either side
EXACT = 1e-3  # m by which a polyline may miss a target
SAMPLE = 0.01  # s: a target that sets off or turns between two samples is off by as much as it moves in them
REAR = 1.3  # m from a target's middle to its rear axle, which is a vehicle's place in OpenSCENARIO; guess
FAST, HARD = 70.0, 10.0  # m/s, m/s²: what a target could do, which nothing here uses
MINOR = 3  # OpenSCENARIO 1.3; its schema in the wheel is 1.3.1


def export(cases: list[Case], friction: float, folder: Path) -> list[Path]:
    """Write and validate every case; the files. Raises ValueError where a schema refuses one or the extra is missing."""
    if find_spec("scenariogeneration") is None:
        raise ValueError("exporting needs scenariogeneration: pip install 'nanopilot[scenario]'")
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for edge_line in sorted({c.trial.edge_line for c in cases}):
        files.append(folder / road_name(edge_line))
        _road(edge_line).write_xml(str(files[-1]))
    for case in cases:
        files.append(folder / f"{''.join(c if c.isascii() and c.isalnum() else '-' for c in case.name)}-{friction:g}.xosc")
        _scenario(case, friction).write_xml(str(files[-1]))
    for file in files:
        check(file)
    return files


def check(file: Path) -> None:
    """Raise ValueError with line and reason where ASAM's schema refuses the file."""
    from lxml import etree

    schema = _schema(file.suffix)
    if not schema.validate(etree.parse(file)):
        raise ValueError(f"{file.name}: {schema.error_log.last_error}")


@lru_cache(maxsize=2)
def _schema(suffix: str) -> Any:
    """ASAM's own, as the wheel of scenariogeneration carries them in a package named `schemas`."""
    from lxml import etree

    folder = Path(find_spec("scenariogeneration").origin).parents[1] / "schemas"
    return etree.XMLSchema(etree.parse(folder / {".xosc": "OpenSCENARIO_1_3_1.xsd", ".xodr": "opendrive_17_core.xsd"}[suffix]))


def road_name(edge_line: bool) -> str:
    return "road.xodr" if edge_line else "road-without-edge-line.xodr"


def _road(edge_line: bool) -> Any:
    """Two lanes each way; the lane beside the edge ends at its line, a shoulder is the rest."""
    from scenariogeneration import xodr

    def lane(kind: Any, width: float, mark: Any) -> Any:
        made = xodr.Lane(kind, a=width)
        made.add_roadmark(mark)
        return made

    kind, form, white = xodr.LaneType, xodr.RoadMarkType, xodr.RoadMarkColor.white
    none = xodr.RoadMark(form.none)
    dashes = xodr.RoadMark(form.broken, width=LINE, length=DASH, space=GAP, color=white)
    edge = xodr.RoadMark(form.solid, width=EDGE_LINE, color=white)
    middle = xodr.Lane(a=0.0)
    middle.add_roadmark(xodr.RoadMark(form.solid, width=LINE, color=xodr.RoadMarkColor.yellow))
    section = xodr.LaneSection(0.0, middle)
    for add, line in ((section.add_left_lane, edge), (section.add_right_lane, edge if edge_line else none)):
        add(lane(kind.driving, LANE, dashes))
        add(lane(kind.driving, EDGE - SHOULDER - LANE, line))
        add(lane(kind.shoulder, SHOULDER, none))
        add(lane(kind.sidewalk, PAVEMENT, none))
    lanes = xodr.Lanes()
    lanes.add_lanesection(section)
    plan = xodr.PlanView(-BACK, 0.0, 0.0)
    plan.add_geometry(xodr.Line(BACK + LENGTH))
    made = xodr.OpenDrive("nanopilot proving ground", "1", "7")
    made.add_road(xodr.Road(0, plan, lanes, name="proving ground"))
    made.adjust_roads_and_lanes()
    return made


def _scenario(case: Case, friction: float) -> Any:
    from scenariogeneration import xosc

    trial = case.trial
    first = trial.actors(0.0)
    entities, init = xosc.Entities(), xosc.Init()
    entities.add_scenario_object("ego", _car("ego", PASSENGER_CAR.length, PASSENGER_CAR.width, 1.5, PASSENGER_CAR.rear_overhang))
    start = (0.0, trial.y + trial.offset)
    init.add_init_action("ego", xosc.TeleportAction(xosc.WorldPosition(*start, 0.0, 0.0)))
    at_once = xosc.TransitionDynamics(xosc.DynamicsShapes.step, xosc.DynamicsDimension.time, 0.0)
    init.add_init_action("ego", xosc.AbsoluteSpeedAction(trial.speed, at_once))
    init.add_global_action(xosc.EnvironmentAction(_environment(trial.night, friction)))
    group = xosc.Act("procedure", _at(0.0))
    for actor in first:
        name = f"target{actor.id}"
        entities.add_scenario_object(name, _entity(name, actor))
        init.add_init_action(name, xosc.TeleportAction(_place(actor)))
        path = polyline(trial, actor.id)
        if len(path) > 1 and any(hypot(a.x - actor.x, a.y - actor.y) > EXACT for _, a in path):
            group.add_maneuver_group(_follow(name, [t for t, _ in path], [_place(a) for _, a in path]))
    if trial.plate >= 0:
        plate = xosc.MiscObject("plate", 500.0, xosc.MiscObjectCategory.patch, xosc.BoundingBox(2.4, 3.7, 0.02, 0.0, 0.0, 0.01))
        entities.add_scenario_object("plate", plate)
        init.add_init_action("plate", xosc.TeleportAction(xosc.WorldPosition(trial.plate + 1.85, OUTER_Y, 0.0, 0.0)))
    if trial.driver.heading is not None:
        places = own_path(trial)
        group.add_maneuver_group(_follow("ego", [p[0] for p in places], [xosc.WorldPosition(x, y, 0.0, h) for _, x, y, h in places]))
    else:
        group.add_maneuver_group(xosc.ManeuverGroup("the controller drives"))
    board = xosc.StoryBoard(init, _at(trial.seconds, "stop"))
    board.add_act(group)
    told = xosc.Properties()
    for key, value in (("group", case.group), ("criterion", case.criterion), ("limit", f"{case.limit:g}"), ("begins", f"{case.begins:g}"),
                       ("driver brakes after a warning", f"{trial.driver.braking}"), ("pilot engaged", f"{trial.engaged}")):  # fmt: skip
        told.add_property(key, value)
    return xosc.Scenario(
        case.name, "nanopilot", xosc.ParameterDeclarations(), entities, board, xosc.RoadNetwork(road_name(trial.edge_line)),
        xosc.Catalog(), MINOR, header_properties=told,
    )  # fmt: skip


def polyline(trial: Trial, number: int) -> list[tuple[float, Actor]]:
    """Where a target is at the fewest times between which going straight on is exact to EXACT, from t = 0 to the end."""
    n = round(trial.seconds / SAMPLE)
    samples = [(k * SAMPLE, next(a for a in trial.actors(k * SAMPLE) if a.id == number)) for k in range(n + 1)]
    kept, start = [samples[0]], 0
    for k in range(2, len(samples) + 1):
        if k == len(samples) or not _straight(samples[start : k + 1]):
            start = k - 1
            kept.append(samples[start])
    return kept


def _straight(part: list[tuple[float, Actor]]) -> bool:
    (t0, a), (t1, b) = part[0], part[-1]
    if abs(a.yaw - b.yaw) > 1e-9:
        return False
    some = part[1 : -1 : max(len(part) // 16, 1)]
    for t, c in (*some, part[-2]):
        share = (t - t0) / (t1 - t0)
        if hypot(a.x + share * (b.x - a.x) - c.x, a.y + share * (b.y - a.y) - c.y) > EXACT:
            return False
    return True


def own_path(trial: Trial) -> list[tuple[float, float, float, float]]:
    """(t, x, y, heading) of the scripted driver until his hands are off."""
    x, y, out, t = 0.0, trial.y + trial.offset, [], 0.0
    while t < trial.driver.hands_off + 2 * SAMPLE:
        h = trial.driver.heading(t)
        out.append((round(t, 3), x, y, h))
        x, y, t = x + trial.speed * cos(h) * SAMPLE, y + trial.speed * sin(h) * SAMPLE, t + SAMPLE
    return out


def _follow(name: str, times: list[float], places: list[Any]) -> Any:
    """A manoeuvre of `name` along places at their times."""
    from scenariogeneration import xosc

    trajectory = xosc.Trajectory(f"{name}'s path", False)
    trajectory.add_shape(xosc.Polyline(times, places))
    domain = xosc.ReferenceContext.absolute
    action = xosc.FollowTrajectoryAction(trajectory, xosc.FollowingMode.position, domain, 1.0, 0.0)
    event = xosc.Event(f"{name} goes", xosc.Priority.override)
    event.add_action("along its path", action)
    event.add_trigger(_at(0.0))
    manoeuvre = xosc.Maneuver(f"{name}'s manoeuvre")
    manoeuvre.add_event(event)
    group = xosc.ManeuverGroup(f"{name} moves")
    group.add_actor(name)
    group.add_maneuver(manoeuvre)
    return group


def _at(t: float, point: str = "start") -> Any:
    from scenariogeneration import xosc

    rule = xosc.Rule.greaterOrEqual
    return xosc.ValueTrigger(f"at {t:g} s", 0.0, xosc.ConditionEdge.none, xosc.SimulationTimeCondition(t, rule), point)


def _place(actor: Actor) -> Any:
    """A vehicle's place is its rear axle's, anybody else's the middle."""
    from scenariogeneration import xosc

    back = 0.0 if actor.kind == "person" else REAR * actor.size[0] / 4.0
    yaw = (actor.yaw + pi) % (2 * pi) - pi
    return xosc.WorldPosition(actor.x - back * cos(yaw), actor.y - back * sin(yaw), 0.0, yaw)


def _entity(name: str, actor: Actor) -> Any:
    from scenariogeneration import xosc

    length, width, height = actor.size
    if actor.kind == "person":
        box = xosc.BoundingBox(width, length, height, 0.0, 0.0, height / 2)
        return xosc.Pedestrian(name, 75.0, xosc.PedestrianCategory.pedestrian, box)
    return _car(name, length, width, height, length / 2 - REAR * length / 4.0, actor.kind == "cyclist")


def _car(name: str, length: float, width: float, height: float, overhang: float, bicycle: bool = False) -> Any:
    """`overhang`: m from the rear axle to the rear end."""
    from scenariogeneration import xosc

    box = xosc.BoundingBox(width, length, height, length / 2 - overhang, 0.0, height / 2)
    wheel = 0.7 if bicycle else 0.6
    front, rear = (xosc.Axle(0.7, wheel, 0.9 * width, x, wheel / 2) for x in (0.6 * length, 0.0))
    kind = xosc.VehicleCategory.bicycle if bicycle else xosc.VehicleCategory.car
    return xosc.Vehicle(name, kind, box, front, rear, FAST, HARD, HARD)


def _environment(night: bool, friction: float) -> Any:
    from scenariogeneration import xosc

    clock = xosc.TimeOfDay(False, 2026, 6, 21, 0 if night else 12, 0, 0)
    sun = xosc.Sun(0.1 if night else 50_000.0, 0.0, -0.5 if night else 1.0)  # lux, rad, rad
    dry = xosc.Precipitation(xosc.PrecipitationType.dry, 0.0)
    weather = xosc.Weather(xosc.FractionalCloudCover.zeroOktas, 101_300.0, 293.0, sun, None, dry)
    return xosc.Environment("proving ground", clock, weather, xosc.RoadCondition(friction))
