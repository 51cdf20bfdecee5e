"""Lines followed in drawn masks of a flat road: each must come back where the pinhole camera puts it, with the paint it was drawn with."""

import numpy as np
import pytest

from nanopilot.perception.paint import paint
from nanopilot.teachers.lanemask import follow

W, H = 640, 360
CENTRE, HORIZON, LENS = 319.5, 140.0, 1.4  # px, row, m above the road
FAR = 170  # row where drawing begins
ROAD, WHITE, YELLOW = (80, 80, 80), (170, 170, 170), (170, 140, 40)  # in white light
LIGHTS = {"white light": (1.0, 1.0, 1.0), "blue shade": (0.8, 1.0, 1.4), "evening sun": (1.1, 1.0, 0.8)}  # all surfaces alike
DASH = 40  # rows


def line_at(y: float, first: int = FAR, last: int = H - 1) -> np.ndarray:
    """The picture of a line y m to the left: u - cx = -f y / d and v - horizon = f h / d, so u - cx = -(y / h) (v - horizon)."""
    v = np.arange(first, last + 1, dtype=float)
    return np.stack([CENTRE - y / LENS * (v - HORIZON), v], -1)


def draw(*lines: np.ndarray, width: int = 7) -> np.ndarray:
    probability = np.zeros((H, W), np.float32)
    for line in lines:
        for u, v in line.round().astype(int):
            probability[v, max(u - width // 2, 0) : max(u + width // 2 + 1, 0)] = 0.9
    return probability


def dashes(line: np.ndarray) -> np.ndarray:
    return line[(line[:, 1] - FAR) % (2 * DASH) < DASH]


def painted(line: np.ndarray, colour: tuple[int, ...], light: tuple[float, ...] = LIGHTS["white light"]) -> np.ndarray:
    image = np.full((H, W, 3), ROAD, float)
    for u, v in line.round().astype(int):
        image[v, u - 3 : u + 4] = colour
    return (image * light).astype(np.uint8)


def assert_is(found: np.ndarray, line: np.ndarray) -> None:
    """Within the half pixel to which it was drawn."""
    u = np.interp(found[:, 1], line[:, 1], line[:, 0])
    assert np.abs(found[:, 0] - u).max() <= 0.51


def test_both_lines_of_a_lane_come_back_whole_the_longest_first() -> None:
    left, right = line_at(1.1), line_at(-1.3, FAR + 40)
    found = follow(draw(left, right))
    assert [len(line) for line in found] == [len(left), len(right)]
    assert_is(found[0], left)
    assert_is(found[1], right)
    assert (np.diff(found[0][:, 1]) == 1).all()  # from the top down


def test_a_curve_is_followed() -> None:
    v = np.arange(FAR, H, dtype=float)
    curve = np.stack([100 + 400 * ((v - FAR) / (H - FAR)) ** 2, v], -1)
    (found,) = follow(draw(curve))
    assert len(found) == len(curve)
    assert_is(found, curve)


def test_dashes_are_one_line_and_two_lines_stay_two() -> None:
    left, right = line_at(1.1), line_at(-1.1)
    found = follow(draw(dashes(left), dashes(right)))
    assert len(found) == 2
    for line in found:
        assert_is(line, left if line[0, 0] < CENTRE else right)
        assert len(line) == len(dashes(left))


def test_pieces_that_do_not_point_at_one_another_stay_apart() -> None:
    near, far = line_at(0.0, 280), line_at(0.0, 170, 240) + (20.0, 0.0)  # 20 px aside, of the 12.8 allowed
    assert len(follow(draw(near, far))) == 2
    assert len(follow(draw(near, far - (20.0, 0.0)))) == 1


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((H, W), np.float32),
        draw(line_at(1.1)) * 0.5,
        draw(line_at(0.0, 300, 330)),
        draw(line_at(0.0, 200, 350), width=81),
    ],
    ids=["nothing", "improbable", "31 rows of the 36 it needs", "wider than any line"],
)
def test_no_line_is_made_of(mask: np.ndarray) -> None:
    assert follow(mask) == []


@pytest.mark.parametrize("bridged", [True, False], ids=["the teacher bridges gaps", "the teacher ends with each dash"])
@pytest.mark.parametrize("form", ["solid", "dashed"])
@pytest.mark.parametrize(("name", "colour"), [("white", WHITE), ("yellow", YELLOW)])
@pytest.mark.parametrize("light", LIGHTS)
def test_paint_is_what_was_painted(bridged: bool, form: str, name: str, colour: tuple, light: str) -> None:
    line = line_at(1.1)
    there = line if form == "solid" else dashes(line)
    (found,) = follow(draw(line if bridged else there))
    assert paint(painted(there, colour, LIGHTS[light]), found) == (form, name)


def test_three_quarters_painted_is_neither_solid_nor_dashed() -> None:
    line = line_at(1.1)
    assert paint(painted(line[(line[:, 1] - FAR) % DASH < 0.75 * DASH], WHITE), line) == ("unknown", "white")


def test_bare_road_is_no_paint() -> None:
    image = np.random.default_rng(0).normal(90, 3, (H, W, 3)).clip(0, 255).astype(np.uint8)
    assert paint(image, line_at(1.1)) == ("unknown", "unknown")
    assert paint(image, np.zeros((0, 2))) == ("unknown", "unknown")


@pytest.mark.parametrize("y", [3.0, -3.0], ids=["at the left", "at the right"])
def test_a_line_that_leaves_the_picture_is_judged_by_what_is_seen(y: float) -> None:
    line = line_at(y)
    seen = line[(line[:, 0] > 3) & (line[:, 0] < W - 4)]
    assert len(seen) < len(line)
    image = painted(seen, WHITE)
    image[:, W - 30 if y > 0 else 0 :][:, :30] = WHITE  # a white wall at the other edge is not beside it
    assert paint(image, seen) == ("solid", "white")
