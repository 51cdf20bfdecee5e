"""A humanoid in the middle of a room of 10 m, made by hand: what the tests of its planner and of its door share."""

import numpy as np

from nanopilot.messages import Kind, Room, Track, Turn, VehicleModel, World

BODY = VehicleModel(0.0, 0.3, 0.5, 0.15, 0.0, 1.0, 1.0, 0.3)
OCCUPIED = 98  # %


def room(things=(), cells=(), goal=None, tracks=(), fill=2):
    """Things are (x0, x1, y0, y1), cells single (x, y); without a goal there is no route."""
    grid = np.full((100, 100), fill, np.uint8)
    for x0, x1, y0, y1 in things:
        grid[round((y0 + 5) * 10) : round((y1 + 5) * 10), round((x0 + 5) * 10) : round((x1 + 5) * 10)] = OCCUPIED
    for x, y in cells:
        grid[int((y + 5) / 0.1), int((x + 5) / 0.1)] = OCCUPIED
    line = np.zeros((0, 2)) if goal is None else np.array([[0.0, 0.0], goal])
    return World(
        t=0.0, speed=0.0, yaw_rate=0.0, acceleration=0.0, path=None, left=None, right=None, lane_width=0.0, lane_left=0.0, lane_right=0.0,
        tracks=tuple(tracks), route_line=line, route_std=0.0, next_turn=Turn.ARRIVE, next_turn_distance=0.0,
        goal_distance=0.0 if goal is None else float(np.hypot(*goal)), speed_limit=0.6, localisation_std=0.1, blind=0.0,
        room=Room(0.0, 0.0, 0.0, np.array([-5.0, -5.0]), 0.1, grid),
    )  # fmt: skip


def person(x, y, vx=0.0):
    return Track(0, Kind.PERSON, x, y, 0.0, vx, 0.0, 0.0, 0.0, 0.1, 0.1, 0.5, 0.5, 1.0, 0.0, 1.0)
