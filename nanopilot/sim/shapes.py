"""The catalogue: which mesh stands for which kind of actor or prop.

In: `meshes.Shape`. Out: `library()`, all meshes packed once. Vehicles are modelled in metres at a typical size
and scaled to the real one. Each kind has a coarse shadow caster, named "shadow_" + its form.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from nanopilot.sim.meshes import Array, Library, Shape, pack

STEPS = 4  # phases of a walk


def _ring(x: float, half: float, z0: float, z1: float, waist: float = 0.94, top: float = 0.93) -> Array:
    """A car body's cross-section at x: six points, widest at the waist."""
    zm = z0 + 0.55 * (z1 - z0)
    return np.array(
        [(x, -half * waist, z0), (x, -half, zm), (x, -half * top, z1), (x, half * top, z1), (x, half, zm), (x, half * waist, z0)]
    )


def _road_vehicle(
    length: float,
    width: float,
    height: float,
    body: list[tuple[float, float, float]],
    cabin: list[tuple[float, float]],
    shoulder: float,
    wheel: float,
    axles: tuple[float, ...],
    fine: bool,
) -> tuple[Array, Array]:
    """Body stations (x, z0, z1) rear to front, cabin outline (x, z) rear base, rear roof, front roof, front base."""
    s, h = Shape(), width / 2
    s.loft(
        [_ring(x, h * (0.9 if abs(x) > 0.49 * length else 1.0), z0, z1) for x, z0, z1 in body],
        ["paint", "paint", "paint", "paint", "paint", "trim"],
        ("paint", "paint"),
    )
    (xa, za), (xb, zb), (xc, zc), (xd, zd) = cabin
    base, roof = 0.90 * h, 0.74 * h
    low = [(xa, -base, za), (xa, base, za), (xd, base, zd), (xd, -base, zd)]
    high = [(xb, -roof, zb), (xb, roof, zb), (xc, roof, zc), (xc, -roof, zc)]
    inside = np.mean(low + high, axis=0)
    for k in range(4):
        quad = np.array([low[k], low[(k + 1) % 4], high[(k + 1) % 4], high[k]])
        s.face(quad, "paint", inside)
        centre = quad.mean(0)
        pane = centre + (quad - centre) * 0.86
        out = centre - inside
        s.face(pane + 0.012 * out / np.linalg.norm(out), "glass", inside)
    s.face(np.array(high), "paint", inside)
    rear, front = -length / 2 - 0.004, length / 2 + 0.004
    for y in (-1, 1):
        lamp = sorted((y * 0.55 * h, y * 0.84 * h))
        blink, side = sorted((y * 0.84 * h, y * 0.9 * h)), "blink_left" if y > 0 else "blink_right"
        for x, z, material in ((rear, shoulder, "tail"), (front, shoulder - 0.14, "headlamp")):
            hood = np.array([-0.3 * length * np.sign(x), 0, z])
            for pair, m in ((lamp, material), (blink, side)):
                s.face(np.array([(x, pair[0], z - 0.16), (x, pair[1], z - 0.16), (x, pair[1], z), (x, pair[0], z)]), m, hood)
    for x in (rear - 0.003, front + 0.003):
        hood = np.zeros(3)
        s.face(
            np.array([(x, -0.26, shoulder - 0.42), (x, 0.26, shoulder - 0.42), (x, 0.26, shoulder - 0.30), (x, -0.26, shoulder - 0.30)]),
            "plate",
            hood,
        )
        s.face(np.array([(x, -0.85 * h, 0.24), (x, 0.85 * h, 0.24), (x, 0.85 * h, 0.40), (x, -0.85 * h, 0.40)]), "trim", hood)
    for x in axles:
        for y in (-h - 0.01, h + 0.01):
            s.wheel(x, y, wheel, 0.24, 12 if fine else 8)
    return s.unit(length, width, height)


def _car(fine: bool) -> tuple[Array, Array]:
    return _road_vehicle(
        4.4,
        1.8,
        1.45,
        [(-2.2, 0.38, 0.82), (-2.05, 0.24, 0.93), (-1.2, 0.2, 0.95), (0.8, 0.2, 0.93), (1.9, 0.22, 0.76), (2.2, 0.34, 0.62)],
        [(-1.95, 0.92), (-1.15, 1.45), (0.25, 1.45), (1.05, 0.90)],
        0.80,
        0.32,
        (-1.35, 1.35),
        fine,
    )


def _suv(fine: bool) -> tuple[Array, Array]:
    return _road_vehicle(
        4.6,
        1.9,
        1.75,
        [(-2.3, 0.42, 1.02), (-2.15, 0.3, 1.1), (-1.2, 0.28, 1.1), (0.9, 0.28, 1.08), (2.0, 0.3, 0.98), (2.3, 0.42, 0.82)],
        [(-2.2, 1.08), (-1.9, 1.75), (0.35, 1.75), (1.05, 1.05)],
        0.98,
        0.38,
        (-1.4, 1.4),
        fine,
    )


def _van(fine: bool) -> tuple[Array, Array]:
    return _road_vehicle(
        5.2,
        2.0,
        2.2,
        [(-2.6, 0.4, 1.25), (-2.5, 0.3, 1.3), (-1.2, 0.3, 1.3), (1.5, 0.3, 1.25), (2.2, 0.32, 1.05), (2.6, 0.42, 0.85)],
        [(-2.58, 1.28), (-2.45, 2.2), (1.0, 2.2), (1.9, 1.18)],
        1.15,
        0.36,
        (-1.6, 1.6),
        fine,
    )


def _rear_board(s: Shape, x: float, half: float, z: float) -> None:
    """Tail lamps, blinkers and plate of a big vehicle, and its head lamps at the other end."""
    for y in (-1, 1):
        side = "blink_left" if y > 0 else "blink_right"
        for a, b, m in ((0.62, 0.84, "tail"), (0.84, 0.95, side)):
            for at, material in ((-x - 0.01, m), (x + 0.01, "headlamp" if m == "tail" else m)):
                s.face(
                    np.array([(at, y * a * half, z), (at, y * b * half, z), (at, y * b * half, z + 0.2), (at, y * a * half, z + 0.2)]),
                    material,
                    np.zeros(3),
                )
    s.face(
        np.array([(-x - 0.01, -0.28, z), (-x - 0.01, 0.28, z), (-x - 0.01, 0.28, z + 0.14), (-x - 0.01, -0.28, z + 0.14)]),
        "plate",
        np.zeros(3),
    )


def _truck(fine: bool) -> tuple[Array, Array]:
    s = Shape()
    s.box((-4.0, 1.75), (-1.25, 1.25), (1.05, 3.5), "secondary")  # cargo
    s.box((-4.0, 3.8), (-0.5, 0.5), (0.6, 1.05), "trim")
    s.box((-4.0, -3.85), (-1.2, 1.2), (0.55, 0.85), "trim")
    s.box((1.95, 4.0), (-1.2, 1.2), (0.5, 2.75), "paint")
    s.face(np.array([(4.012, -1.1, 1.6), (4.012, 1.1, 1.6), (4.012, 1.05, 2.5), (4.012, -1.05, 2.5)]), "glass", np.zeros(3))
    for y in (-1.212, 1.212):
        s.face(np.array([(2.7, y, 1.6), (3.85, y, 1.6), (3.75, y, 2.4), (2.75, y, 2.4)]), "glass", np.zeros(3))
    _rear_board(s, 4.0, 1.2, 0.6)
    for x in (-2.9, -1.8, 2.9):
        for y in (-1.25, 1.25):
            s.wheel(x, y, 0.5, 0.35, 12 if fine else 8)
    return s.unit(8.0, 2.5, 3.5)


def _bus(fine: bool) -> tuple[Array, Array]:
    s = Shape()
    s.box((-6.0, 6.0), (-1.25, 1.25), (0.35, 3.1), "paint")
    s.box((-4.5, 3.5), (-1.0, 1.0), (3.1, 3.25), "trim")
    for y in (-1.262, 1.262):
        for k in range(7):
            x = -5.8 + k * 1.68
            s.face(np.array([(x, y, 1.45), (x + 1.52, y, 1.45), (x + 1.52, y, 2.6), (x, y, 2.6)]), "glass", np.zeros(3))
        s.face(np.array([(-6, y, 0.95), (6, y, 0.95), (6, y, 1.2), (-6, y, 1.2)]), "secondary", np.zeros(3))
    for x, low in ((6.012, 1.2), (-6.012, 1.7)):
        s.face(np.array([(x, -1.12, low), (x, 1.12, low), (x, 1.08, 2.75), (x, -1.08, 2.75)]), "glass", np.zeros(3))
    _rear_board(s, 6.0, 1.25, 0.6)
    for x in (-3.4, 3.4):
        for y in (-1.26, 1.26):
            s.wheel(x, y, 0.5, 0.35, 12 if fine else 8)
    return s.unit(12.0, 2.5, 3.25)


def _body(s: Shape, lean: float, hip: float) -> None:
    """Torso, head and hair of a person whose hip is at height `hip`, leaning forward by `lean` m at the neck."""

    def ring(x: float, z: float, dx: float, dy: float) -> Array:
        return np.array([(x - dx, -dy, z), (x + dx, -dy, z), (x + dx, dy, z), (x - dx, dy, z)])

    s.loft(
        [ring(0, hip - 0.05, 0.10, 0.15), ring(0.6 * lean, hip + 0.35, 0.12, 0.20), ring(lean, hip + 0.55, 0.07, 0.13)],
        ["primary"] * 4,
        ("secondary", "primary"),
    )
    s.rod((lean, 0, hip + 0.55), (lean + 0.02, 0, hip + 0.63), (0.05, 0.05), "skin", 5)
    s.blob((lean + 0.02, 0, hip + 0.74), (0.10, 0.085, 0.125), "skin", False, 1, 0.0)
    s.blob((lean - 0.01, 0, hip + 0.785), (0.105, 0.095, 0.10), "hair", False, 2, 0.0)


def _person(phase: float) -> tuple[Array, Array]:
    s = Shape()
    swing = 0.28 * np.sin(phase)
    _body(s, 0.02, 0.88)
    for side, y in ((1, 0.09), (-1, -0.09)):
        knee, foot = side * swing * 0.55 + 0.04, side * swing
        s.rod((0, y, 0.88), (knee, y, 0.47), (0.085, 0.065), "secondary", 5)
        s.rod((knee, y, 0.47), (foot, y, 0.07), (0.065, 0.045), "secondary", 5)
        s.box((foot - 0.08, foot + 0.17), (y - 0.05, y + 0.05), (0, 0.08), "trim")
        hand = -side * swing * 0.8
        s.rod((0.02, 2.3 * y, 1.38), (0.35 * hand, 2.6 * y, 1.10), (0.055, 0.045), "primary", 5)
        s.rod((0.35 * hand, 2.6 * y, 1.10), (hand + 0.05, 2.5 * y, 0.86), (0.045, 0.04), "skin", 5)
    return s.unit(0.6, 0.55, 1.76)


def _cyclist(phase: float) -> tuple[Array, Array]:
    s = Shape()
    for x in (-0.52, 0.52):
        for k in range(10):
            a, b = k * np.pi / 5, (k + 1) * np.pi / 5
            s.rod(
                (x + 0.32 * np.cos(a), 0, 0.34 + 0.32 * np.sin(a)),
                (x + 0.32 * np.cos(b), 0, 0.34 + 0.32 * np.sin(b)),
                (0.022, 0.022),
                "tyre",
                4,
            )
    for a, b in (
        ((-0.52, 0, 0.34), (-0.15, 0, 0.85)),
        ((-0.15, 0, 0.85), (0.38, 0, 0.83)),
        ((-0.05, 0, 0.34), (0.38, 0, 0.80)),
        ((-0.52, 0, 0.34), (-0.05, 0, 0.34)),
        ((0.52, 0, 0.34), (0.35, 0, 0.98)),
        ((-0.05, 0, 0.34), (-0.17, 0, 0.92)),
    ):
        s.rod(a, b, (0.025, 0.025), "red", 4)
    s.rod((0.35, -0.25, 1.0), (0.35, 0.25, 1.0), (0.02, 0.02), "trim", 4)
    s.box((-0.3, -0.05), (-0.07, 0.07), (0.9, 0.95), "trim")
    _body(s, 0.24, 1.0)
    for side, y in ((1, 0.09), (-1, -0.09)):
        px, pz = -0.03 + side * 0.15 * np.cos(phase), 0.32 + side * 0.15 * np.sin(phase)
        knee = (0.22 + 0.3 * (px + 0.03), y, 0.72 + 0.5 * (pz - 0.32))
        s.rod((-0.13, y, 0.98), knee, (0.085, 0.06), "secondary", 5)
        s.rod(knee, (px, y, pz), (0.06, 0.045), "secondary", 5)
        s.rod((0.2, 2.1 * y, 1.45), (0.36, 2.4 * y, 1.03), (0.05, 0.04), "primary", 5)
    return s.unit(1.72, 0.55, 1.88)


def _tree(form: str, fine: bool, seed: int) -> tuple[Array, Array]:
    """Unit tree 1 m wide and high: a round, conical or tall crown."""
    s, rng = Shape(), np.random.default_rng(seed)
    s.rod((0, 0, 0), (0, 0, 0.5), (0.045, 0.03), "trunk", 6 if fine else 4)
    if form == "conifer":
        for z0, z1, r in ((0.14, 0.55, 0.5), (0.36, 0.76, 0.38), (0.58, 1.0, 0.26)):
            s.rod((0, 0, z0), (0, 0, z1), (r, 0.01), "leaves", 9 if fine else 6)
    elif form == "tall":
        s.blob((0, 0, 0.58), (0.42, 0.42, 0.42), "leaves", fine, seed)
    else:
        s.blob((0, 0, 0.68), (0.34, 0.34, 0.31), "leaves", fine, seed)
        for _ in range(3 if fine else 2):
            a, r = rng.uniform(0, 2 * np.pi), rng.uniform(0.16, 0.24)
            s.blob((r * np.cos(a), r * np.sin(a), rng.uniform(0.45, 0.66)), (0.27, 0.27, 0.22), "leaves", fine, int(rng.integers(1 << 30)))
    return s.unit(1, 1, 1)


def _bush(seed: int) -> tuple[Array, Array]:
    s = Shape()
    s.blob((0.0, 0.1, 0.42), (0.42, 0.36, 0.5), "leaves", False, seed)
    s.blob((0.15, -0.2, 0.34), (0.32, 0.28, 0.4), "leaves", False, seed + 1)
    return s.unit(1, 1, 1)


def _building(roof: str, walls: str) -> tuple[Array, Array]:
    s = Shape()
    if roof == "flat":
        s.box((-0.5, 0.5), (-0.5, 0.5), (0, 0.97), walls, "concrete")
        s.box((-0.5, 0.5), (-0.5, 0.5), (0.97, 1.0), "concrete")
        s.box((-0.2, 0.1), (-0.15, 0.2), (1.0, 1.06), "concrete")
    else:
        s.box((-0.47, 0.47), (-0.47, 0.47), (0, 0.68), walls)
        ridge, eave = [(-0.5, 0, 1.0), (0.5, 0, 1.0)], 0.66
        for y in (-0.5, 0.5):
            s.face(np.array([(-0.5, y, eave), (0.5, y, eave), ridge[1], ridge[0]]), "secondary", np.array([0, 0, 0.5]))
        for x in (-0.47, 0.47):
            s.face(np.array([(x, -0.47, 0.68), (x, 0.47, 0.68), (x, 0, 0.99)]), "plaster", np.array([0, 0, 0.5]))
        s.face(np.array([(-0.5, -0.5, eave), (0.5, -0.5, eave), (0.5, 0.5, eave), (-0.5, 0.5, eave)]), "white", np.array([0, 0, 1.0]))
        s.box((0.2, 0.28), (0.12, 0.2), (0.7, 1.05), "concrete")
    return s.unit(1, 1, 1)


def _disc(s: Shape, x: float, z: float, radius: float, material: str, sides: int, turn: float = 0.0) -> None:
    """A flat disc (or polygon) that looks along +x, with a grey back."""
    a = turn + np.arange(sides) * 2 * np.pi / sides
    points = np.stack([np.full(sides, x), radius * np.sin(a), z + radius * np.cos(a)], -1)
    s.face(points, material, np.array([x - 1, 0, z]))
    s.face(points - (0.004, 0, 0), "metal", np.array([x + 1, 0, z]))


SIGNS = ("speed", "stop", "warning", "direction", "yield")  # scattered anywhere
LIMITS = (20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130)  # km/h, signs "speed_20" and so on: they stand where they hold
DIGITS = {0: "abcdef", 1: "bc", 2: "abdeg", 3: "abcdg", 4: "bcfg", 5: "acdfg", 6: "acdefg", 7: "abc", 8: "abcdefg", 9: "abcdfg"}
STROKES = {"a": (0, 1, 1, 1), "b": (1, 0.5, 1, 1), "c": (1, 0, 1, 0.5), "d": (0, 0, 1, 0), "e": (0, 0, 0, 0.5), "f": (0, 0.5, 0, 1),
           "g": (0, 0.5, 1, 0.5), "m": (0.5, 0, 0.5, 1)}  # fmt: skip  # a digit's seven strokes: from and to, of its width and height


def _word(s: Shape, letters: list[str], x: float, z: float, wide: float, gap: float, material: str) -> None:
    """Letters, each a string of STROKES, on a sign's face at height z."""
    tall, thick = 0.30, 0.045
    left = (len(letters) * wide + (len(letters) - 1) * gap) / 2
    for k, letter in enumerate(letters):
        y0 = k * (wide + gap) - left  # the face looks along +x, so its reader's left is -y
        for stroke in letter:
            ya, za, yb, zb = STROKES[stroke]
            ys, zs = sorted((y0 + ya * wide, y0 + yb * wide)), sorted((z + (za - 0.5) * tall, z + (zb - 0.5) * tall))
            low, high = (ys[0] - thick / 2, zs[0] - thick / 2), (ys[1] + thick / 2, zs[1] + thick / 2)
            s.face(
                np.array([(x, low[0], low[1]), (x, high[0], low[1]), (x, high[0], high[1]), (x, low[0], high[1])]), material, np.zeros(3)
            )


def _sign(variant: str) -> tuple[Array, Array]:
    """A sign 0.8 m wide and 2.6 m high; its face looks along +x, the prop's yaw."""
    s, z = Shape(), 2.2
    s.rod((0, 0, 0), (0, 0, 2.55), (0.035, 0.035), "metal", 6)
    if variant == "stop":
        _disc(s, 0.04, z, 0.40, "white", 8, np.pi / 8)
        _disc(s, 0.05, z, 0.37, "red", 8, np.pi / 8)
        s.face(
            np.array([(0.06, -0.27, z - 0.06), (0.06, 0.27, z - 0.06), (0.06, 0.27, z + 0.06), (0.06, -0.27, z + 0.06)]),
            "white",
            np.zeros(3),
        )
    elif variant in ("warning", "yield"):
        turn = 0.0 if variant == "warning" else np.pi
        _disc(s, 0.04, z - 0.05, 0.42, "red", 3, turn)
        _disc(s, 0.05, z - 0.05, 0.28, "white", 3, turn)
        if variant == "warning":
            s.face(
                np.array([(0.06, -0.025, z - 0.14), (0.06, 0.025, z - 0.14), (0.06, 0.035, z + 0.1), (0.06, -0.035, z + 0.1)]),
                "black",
                np.zeros(3),
            )
    elif variant == "direction":
        s.box((0.03, 0.06), (-0.4, 0.4), (1.85, 2.5), "blue")
        s.face(np.array([(0.065, -0.06, 1.95), (0.065, 0.06, 1.95), (0.065, 0.06, 2.25), (0.065, -0.06, 2.25)]), "white", np.zeros(3))
        s.face(np.array([(0.065, -0.18, 2.22), (0.065, 0.18, 2.22), (0.065, 0, 2.42)]), "white", np.zeros(3))
    elif variant == "stop_word":
        _disc(s, 0.04, z, 0.40, "white", 8, np.pi / 8)
        _disc(s, 0.05, z, 0.37, "red", 8, np.pi / 8)
        _word(s, ["acdfg", "am", "abcdef", "abefg"], 0.06, z, 0.10, 0.06, "white")
    elif variant.startswith("speed_"):
        _disc(s, 0.04, z, 0.38, "red", 18)
        _disc(s, 0.05, z, 0.31, "white", 18)
        number = [DIGITS[int(digit)] for digit in variant[6:]]
        _word(s, number, 0.06, z, 0.17 if len(number) < 3 else 0.11, 0.08, "black")
    else:
        _disc(s, 0.04, z, 0.38, "red", 14)
        _disc(s, 0.05, z, 0.30, "white", 14)
        for y in (-0.1, 0.1):
            s.face(
                np.array(
                    [(0.06, y - 0.055, z - 0.12), (0.06, y + 0.055, z - 0.12), (0.06, y + 0.055, z + 0.12), (0.06, y - 0.055, z + 0.12)]
                ),
                "black",
                np.zeros(3),
            )
    return s.unit(0.8, 0.8, 2.6)


def _light() -> tuple[Array, Array]:
    """A traffic light 3.6 m high: red over yellow over green, looking along +x, the prop's yaw."""
    s = Shape()
    s.rod((0, 0, 0), (0, 0, 2.6), (0.06, 0.05), "metal", 6)
    s.box((-0.12, 0.12), (-0.18, 0.18), (2.55, 3.6), "black")
    for z, material in ((3.4, "lamp_red"), (3.07, "lamp_yellow"), (2.74, "lamp_green")):
        a = np.arange(10) * np.pi / 5
        s.face(np.stack([np.full(10, 0.13), 0.13 * np.sin(a), z + 0.13 * np.cos(a)], -1), material, np.zeros(3))
    return s.unit(0.4, 0.4, 3.6)


def _lamp() -> tuple[Array, Array]:
    """A street lamp 8 m high whose arm reaches 1.6 m along +x."""
    s = Shape()
    s.rod((0, 0, 0), (0, 0, 7.8), (0.09, 0.05), "metal", 6)
    s.rod((0, 0, 7.8), (1.2, 0, 8.0), (0.05, 0.04), "metal", 5)
    s.box((1.0, 1.6), (-0.14, 0.14), (7.93, 8.0), "metal")
    s.face(np.array([(1.02, -0.12, 7.92), (1.58, -0.12, 7.92), (1.58, 0.12, 7.92), (1.02, 0.12, 7.92)]), "lantern", np.array([1.3, 0, 9]))
    return s.unit(1, 1, 8)


def _cone() -> tuple[Array, Array]:
    s = Shape()
    s.box((-0.2, 0.2), (-0.2, 0.2), (0, 0.05), "black")
    for z0, z1, m in ((0.05, 0.28, "orange"), (0.28, 0.44, "white"), (0.44, 0.7, "orange")):
        s.rod((0, 0, z0), (0, 0, z1), (0.16 * (1 - z0 / 0.8), 0.16 * (1 - z1 / 0.8)), m, 8)
    return s.unit(0.4, 0.4, 0.7)


def _barrier(variant: str) -> tuple[Array, Array]:
    """'rail': a steel guard rail on posts; 'works': striped boards; else a concrete wall."""
    s = Shape()
    if variant == "rail":
        s.box((-0.5, 0.5), (-0.5, 0.5), (0.55, 1.0), "metal")
        for x in (-0.45, 0.0, 0.45):
            s.box((x - 0.015, x + 0.015), (-0.3, 0.3), (0, 0.55), "metal")
    elif variant == "works":
        for k in range(6):
            s.box((-0.5 + k / 6, -0.5 + (k + 1) / 6), (-0.5, 0.5), (0.55, 1.0), "red" if k % 2 else "white")
        for x in (-0.4, 0.4):
            s.box((x - 0.03, x + 0.03), (-0.5, 0.5), (0, 0.55), "metal")
    else:
        ring = [(-0.5, 0), (-0.5, 0.12), (-0.2, 0.4), (-0.15, 1), (0.15, 1), (0.2, 0.4), (0.5, 0.12), (0.5, 0)]
        s.loft([np.array([(x, y, z) for y, z in ring]) for x in (-0.5, 0.5)], ["concrete"] * 8, ("concrete", "concrete"))
    return s.unit(1, 1, 1)


def _box(material: str) -> tuple[Array, Array]:
    s = Shape()
    s.box((-0.5, 0.5), (-0.5, 0.5), (0, 1), material)
    return s.unit(1, 1, 1)


def _shadow(form: str) -> tuple[Array, Array]:
    s = Shape()
    if form == "car":
        s.box((-0.49, 0.49), (-0.48, 0.48), (0.15, 0.6), "black")
        s.box((-0.42, 0.18), (-0.4, 0.4), (0.6, 0.98), "black")
    elif form == "tree":
        s.rod((0, 0, 0), (0, 0, 0.5), (0.04, 0.03), "black", 4)
        s.blob((0, 0, 0.64), (0.44, 0.44, 0.36), "black", False, 3)
    elif form == "flat":
        s.face(np.array([(-0.5, -0.5, 0), (0.5, -0.5, 0), (0.5, 0.5, 0), (-0.5, 0.5, 0)]), "black", np.array([0, 0, -1.0]))
    elif form == "pole":
        s.box((-0.1, 0.1), (-0.1, 0.1), (0, 1.0), "black")
    else:
        s.box((-0.5, 0.5), (-0.5, 0.5), (0, 1.0), "black")
    return s.unit(1, 1, 1)


@lru_cache(maxsize=1)
def library() -> Library:
    """Every mesh, packed once per process."""
    shapes = {}
    for name, make in (("car", _car), ("suv", _suv), ("van", _van), ("truck", _truck), ("bus", _bus)):
        shapes[name], shapes[f"{name}_far"] = make(True), make(False)
    for k in range(STEPS):
        shapes[f"person_{k}"] = _person(2 * np.pi * k / STEPS)
        shapes[f"cyclist_{k}"] = _cyclist(2 * np.pi * k / STEPS)
    for k, form in enumerate(("round", "conifer", "tall")):
        shapes[f"tree_{form}"], shapes[f"tree_{form}_far"] = _tree(form, True, k), _tree(form, False, k)
    shapes["bush"] = _bush(5)
    shapes["building_flat"], shapes["building_house"], shapes["building_hall"] = (
        _building("flat", "windows"),
        _building("gable", "windows"),
        _building("flat", "plaster"),
    )
    shapes |= {f"sign_{v}": _sign(v) for v in SIGNS}
    shapes |= {"light": _light(), "lamp": _lamp(), "cone": _cone(), "pole": _box("metal"), "kerb": _box("concrete"), "box": _box("primary")}
    shapes |= {f"barrier_{v}": _barrier(v) for v in ("wall", "rail", "works")}
    shapes |= {f"shadow_{form}": _shadow(form) for form in ("car", "tree", "flat", "pole", "box")}
    shapes |= {f"sign_speed_{limit}": _sign(f"speed_{limit}") for limit in LIMITS} | {"sign_stop_word": _sign("stop_word")}
    return pack(shapes)
