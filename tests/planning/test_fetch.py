"""The errand against a toy robot that does what it is told: the phases come in order, and what goes wrong is noticed."""

from dataclasses import replace

import numpy as np
import pytest

from nanopilot.control import walker as control
from nanopilot.geometry import child_from_parent, wrap
from nanopilot.messages import CarState, Reach, Room, Thing, Turn, VehicleModel, World
from nanopilot.planning import fetch, reaching, targets

BODY = VehicleModel(0.0, 0.3, 0.5, 0.15, 0.0, 1.0, 1.0, 0.3)
BOX, TARGET = (2.0, 0.3, np.pi), (0.5, 2.2, -np.pi / 2)  # feet of fronts, and where they look; room frame
CONFIG = fetch.Config(box="red", table="blue")


class Toy:
    """Goes as commanded, at once; its palms too, but for a box that keeps them apart where there is one."""

    def __init__(self, box=True):
        self.pose, self.palms, self.box, self.t = np.zeros(3), None, box, 0.0
        self.state, self.phases = fetch.initial(CONFIG), []

    def world(self):
        x, y, yaw = self.pose
        grid = np.full((100, 100), 2, np.uint8)

        def thing(kind, colour, at):
            u, v = child_from_parent(np.array(at[:2]), x, y, yaw)
            return Thing(kind, colour, float(u), float(v), 0.0, float(wrap(at[2] - yaw)), 0.7, 5.0)

        seen = (thing("box", "red", BOX), thing("table", "green", (BOX[0] + 0.08, BOX[1], BOX[2])), thing("table", "blue", TARGET))
        reach = self.palms or Reach((0.2, 0.2, 0.7), (0.2, -0.2, 0.7))
        room = Room(float(x), float(y), float(yaw), np.array([-5.0, -5.0]), 0.1, grid)
        return World(
            self.t, 0.0, 0.0, 0.0, None, None, None, 0.0, 0.0, 0.0, (), np.zeros((0, 2)), 0.0, Turn.ARRIVE, 0.0, 0.0, 0.6, 0.1, 0.0,
            room=room, things=seen, reach=reach,
        )  # fmt: skip

    def step(self):
        self.state, plan = fetch.step(self.state, self.world(), BODY, CONFIG)
        _, command = control.step(control.initial(), plan, CarState(self.t, 0.0, 0.0, 0.0, 0.0), BODY, control.Config())
        walk, c, s = command.walk, np.cos(self.pose[2]), np.sin(self.pose[2])
        self.pose = self.pose + 0.1 * np.array([c * walk.vx - s * walk.vy, s * walk.vx + c * walk.vy, walk.yaw_rate])
        if command.reach is not None:
            half = 0.12 if self.box and self.state.phase not in ("release", "leave") else 0.06
            (x, y0, z), (_, y1, _) = command.reach.left, command.reach.right
            middle = (y0 + y1) / 2
            half = max((y0 - y1) / 2, half)
            self.palms = Reach((x, middle + half, z), (x, middle - half, z))
        if not self.phases or self.phases[-1] != self.state.phase:
            self.phases.append(self.state.phase)
        self.t = round(self.t + 0.1, 3)
        return plan


def test_the_errand_goes_through_its_phases_and_ends_before_the_blue_table():
    toy = Toy()
    while toy.t < 120 and toy.state.phase != "done":
        toy.step()
    order = [
        "look",
        "visit",
        "go",
        "align",
        "near",
        "reach",
        "squeeze",
        "lift",
        "back",
        "visit",
        "align",
        "near",
        "lower",
        "release",
        "leave",
        "done",
    ]
    assert toy.phases == order
    assert toy.pose[0] == pytest.approx(TARGET[0], abs=0.1) and abs(wrap(toy.pose[2] - np.pi / 2)) < 0.15


def test_it_stands_at_first_to_know_its_gyro():
    toy = Toy()
    while toy.t < CONFIG.settle:
        assert toy.step().reason.startswith("stands")
    assert np.abs(toy.pose).max() == 0.0 and not toy.step().reason.startswith("stands")


def test_a_target_out_of_sight_for_a_moment_is_still_visited():
    toy = Toy()
    while toy.state.phase != "visit" or toy.state.spot is None:
        toy.step()
    blind = replace(toy.world(), things=())
    state, plan = fetch.step(toy.state, blind, BODY, CONFIG)
    assert state.phase == "visit" and plan.reason != "leaves the table"


def test_before_it_reaches_it_looks_once_more_at_where_the_box_is():
    toy = Toy()
    while toy.state.phase != "reach":
        toy.step()
    toy.pose = toy.pose + (0.0, 0.08, 0.0)  # it came to rest aside
    while toy.state.phase != "squeeze":
        toy.step()
    assert toy.state.spot[1] == pytest.approx(BOX[1], abs=0.02)
    assert (toy.palms.left[1] + toy.palms.right[1]) / 2 == pytest.approx(child_from_parent(np.array(BOX[:2]), *toy.pose)[1], abs=0.03)


def test_where_it_reaches_the_box_is_before_it():
    toy = Toy()
    while toy.state.phase != "squeeze":
        toy.step()
    x, y = child_from_parent(np.array([BOX[0] + CONFIG.half_depth, BOX[1]]), *toy.pose)
    assert x == pytest.approx(CONFIG.arm, abs=0.04) and y == pytest.approx(0.0, abs=0.05)


def test_palms_that_close_on_nothing_are_noticed_and_given_up_after_three_times():
    toy = Toy(box=False)
    while toy.t < 200 and not (plan := toy.step()).reason.startswith("grasped nothing"):
        pass
    assert toy.phases.count("squeeze") == CONFIG.tries and "lift" not in toy.phases and plan.reason.endswith("gave up")


def test_the_table_under_the_box_is_not_where_to_bring_it():
    toy = Toy()
    box, table = targets.wanted(toy.world().things, fetch.Config())
    assert box.colour == "red" and table.colour == "blue"
    assert targets.wanted(toy.world().things, fetch.Config(box="blue"))[0] is None


def test_a_box_that_stands_on_no_table_is_not_fetched():
    things = [k for k in Toy().world().things if k.kind == "box" or k.colour == "blue"]
    assert targets.wanted(tuple(things), fetch.Config(box="red"))[0] is None


def test_open_palms_are_over_the_box_before_it_leaves():
    toy = Toy()
    while toy.state.phase != "leave":
        toy.step()
    assert min(toy.palms.left[2], toy.palms.right[2]) == pytest.approx(CONFIG.above, abs=0.02)
    assert toy.palms.left[1] - toy.palms.right[1] == pytest.approx(2 * CONFIG.wide, abs=0.02)


def test_a_box_seen_from_its_side_has_its_middle_behind_that_side():
    toy = Toy()
    seen = toy.world()
    side = Thing("box", "red", 2.1, 0.43, 0.74, np.pi / 2, 0.2, 5.0)  # the box's left side; its middle is half a width behind
    things = (side, *seen.things[1:])
    spot = targets.spot_of(replace(toy.state, phase="go"), replace(seen, things=things), seen.room, CONFIG)
    assert spot[:2] == pytest.approx((2.1, 0.43 - CONFIG.half_width)) and abs(spot[2]) == pytest.approx(np.pi)


def test_while_it_stands_aside_of_the_box_it_steps_no_nearer():
    toy = Toy()
    while toy.state.phase != "near":
        toy.step()
    toy.pose = np.array([BOX[0] + CONFIG.half_depth - 0.65, BOX[1] - 0.15, 0.0])
    assert toy.step().speed[0] <= 0.0 and toy.state.phase == "near"
    toy.pose = np.array([BOX[0] + CONFIG.half_depth - 0.65, BOX[1], 0.0])
    assert toy.step().speed[0] > 0.1


def in_room(toy, phase="go", **state):
    """Its state in a phase, with the box and table where the toy's are."""
    return replace(toy.state, phase=phase, box=BOX[:2], table=TARGET[:2], **state)


def test_the_chosen_ones_are_kept_though_others_look_surer():
    toy = Toy()
    seen = toy.world()
    surer = (Thing("box", "red", -2.0, -2.0, 0.74, 0.0, 0.2, 90.0), Thing("table", "green", -2.1, -2.0, 0.0, 0.0, 0.7, 90.0))
    surer = (*surer, Thing("table", "blue", -3.0, 2.0, 0.0, 0.0, 0.7, 90.0))
    things = (*seen.things, *surer)
    box, table = targets.choice(toy.state, replace(seen, things=things), seen.room, CONFIG)
    assert (box.x, table.x) == (-2.0, -3.0)
    box, table = targets.choice(in_room(toy), replace(seen, things=things), seen.room, CONFIG)
    assert (box.x, table.x) == pytest.approx((BOX[0], TARGET[0]))


def test_what_was_grasped_in_vain_is_left_for_another_and_tried_again_where_there_is_none():
    toy = Toy()
    seen = toy.world()
    assert targets.doubted(in_room(toy), seen, seen.room, CONFIG) == in_room(toy)
    more = (Thing("box", "red", -2.0, -2.0, 0.74, 0.0, 0.2, 0.5), Thing("table", "yellow", -2.1, -2.0, 0.0, 0.0, 0.7, 0.5))
    both = replace(seen, things=(*seen.things, *more))
    state = targets.doubted(in_room(toy), both, seen.room, CONFIG)
    assert state.box is None and state.table == TARGET[:2] and targets.choice(state, both, seen.room, CONFIG)[0].x == -2.0


def test_a_narrow_foot_seen_from_near_is_no_table():
    toy = Toy()
    while toy.state.steady < 11 or toy.state.phase != "visit":
        toy.step()
    seen = toy.world()
    narrow = tuple(replace(k, width=0.3) if k.colour == "blue" else k for k in seen.things)
    state, plan = fetch.step(toy.state, replace(seen, things=narrow), BODY, CONFIG)
    assert state.phase == "look" and not state.visited and len(state.refused) == 1 and plan.reason == "that is no table"
    assert targets.choice(state, replace(seen, things=narrow), seen.room, CONFIG)[1] is None


def test_a_box_far_behind_a_tables_front_does_not_stand_on_it():
    table, box = Thing("table", "green", 2.0, 0.0, 0.0, np.pi, 0.7, 5.0), Thing("box", "red", 2.5, 0.0, 0.74, np.pi, 0.2, 1.0)
    assert targets.wanted((table, box), reaching.Config())[0] is None
    assert targets.wanted((table, replace(box, weight=0.05)), reaching.Config())[0] is not None  # seen from afar places err by as much


def test_a_box_is_near_its_tables_front_whatever_looks_say():
    toy = Toy()
    seen = toy.world()
    far = replace(seen, things=(replace(seen.things[0], x=BOX[0] + 0.3, weight=0.1), *seen.things[1:]))
    x, _, _ = targets.spot_of(replace(toy.state, phase="go"), far, seen.room, CONFIG)
    assert x == pytest.approx(BOX[0] + 0.08 - CONFIG.edge[0])


def test_no_step_nearer_is_made_where_a_tables_foot_is():
    toy = Toy()
    table = Thing("table", "green", 0.25, 0.1, 0.0, np.pi, 0.7, 5.0)
    assert reaching.before_foot(replace(toy.world(), things=(table,)), CONFIG)
    for other in (replace(table, x=0.4), replace(table, y=0.6), replace(table, x=-0.25), replace(table, yaw=np.pi / 2, x=0.1, y=-0.3)):
        assert not reaching.before_foot(replace(toy.world(), things=(other,)), CONFIG)
    while toy.state.phase != "near":
        toy.step()
    seen = toy.world()
    assert fetch.step(toy.state, seen, BODY, CONFIG)[1].speed[0] > 0.0
    assert fetch.step(toy.state, replace(seen, things=(*seen.things, table)), BODY, CONFIG)[1].speed[0] <= 0.0
