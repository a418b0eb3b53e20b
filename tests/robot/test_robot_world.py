"""Laws of the plane: distances and meetings are shapely's, touching counts, nothing is special."""

import math

import pytest
import shapely
import torch
from conftest import generator
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from shapely import affinity
from shapely.geometry import LineString, Point
from shapely.geometry.base import BaseGeometry
from torch import Tensor

from dualdiff.robot.world import (
    centres,
    corners,
    distance,
    nearest,
    rectangles_meet,
    rotated,
    segment_meets,
    to_local,
    to_world,
)

Numbers = tuple[float, ...]
Motion = tuple[float, float, float]

# Coordinates stay below 128, where a float64 rounding costs at most 2^-47 = 7e-15; two hundred of
# them.
ATOL = 2e-12
# Sets closer than this but apart may touch after rounding, in shapely's arithmetic or in ours.
CLOSE = 1e-7


def vector(*numbers: float) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def shape(rectangle: Numbers) -> BaseGeometry:
    """Shapely's rectangle; with a side of zero its hull, a line or a point."""
    x, y, w, h, yaw = rectangle
    upright = shapely.box(x, y, x + w, y + h).convex_hull
    return affinity.rotate(upright, yaw, origin=(x, y), use_radians=True)


def moved(point: Numbers, motion: Motion) -> Numbers:
    """A point turned about the origin, then shifted."""
    dx, dy, turn = motion
    x, y = point
    cos, sin = math.cos(turn), math.sin(turn)
    return cos * x - sin * y + dx, sin * x + cos * y + dy


def moved_rectangle(rectangle: Numbers, motion: Motion) -> Numbers:
    x, y, w, h, yaw = rectangle
    return *moved((x, y), motion), w, h, yaw + motion[2]


def random_rectangles(*n: int, seed: int) -> Tensor:
    unit = torch.rand(*n, 5, generator=generator(seed), dtype=torch.float64)
    return unit * vector(20, 20, 6, 6, 2 * math.pi) - vector(0, 0, 0, 0, math.pi)


def random_points(*n: int, seed: int) -> Tensor:
    return 20 * torch.rand(*n, 2, generator=generator(seed), dtype=torch.float64)


coordinates = st.floats(-5, 25) | st.integers(-5, 25).map(float)
sides = st.just(0.0) | st.floats(0.01, 12) | st.integers(1, 12).map(float)
yaws = st.floats(-7, 7) | st.integers(-4, 4).map(lambda k: k * math.pi / 2)
points = st.tuples(coordinates, coordinates)
rectangles = st.tuples(coordinates, coordinates, sides, sides, yaws)
motions = st.tuples(coordinates, coordinates, yaws)


@st.composite
def segments(draw: st.DrawFn, rectangle: Numbers) -> tuple[Numbers, Numbers]:
    """Any segment, one of length zero, or one parallel to a side of the rectangle."""
    start = draw(points)
    length = draw(st.just(0.0) | st.floats(0.01, 12))
    turn = draw(st.sampled_from([0.0, math.pi / 2, draw(yaws)]))
    angle = rectangle[4] + turn
    end = (start[0] + length * math.cos(angle), start[1] + length * math.sin(angle))
    return start, end


# ---- shapely as the reference --------------------------------------------------------------------


@given(rectangles)
def test_corners_and_centres_are_shapelys(rectangle: Numbers) -> None:
    hull, expected = shape(rectangle), corners(vector(*rectangle))
    own = shapely.MultiPoint(expected.tolist()).convex_hull
    assert own.hausdorff_distance(hull) <= ATOL
    assert Point(centres(vector(*rectangle)).tolist()).distance(hull.centroid) <= ATOL


def test_corners_run_counter_clockwise_from_the_first() -> None:
    expected = [[3, 2], [3, 4], [2, 4], [2, 2]]
    found = corners(vector(3, 2, 2, 1, math.pi / 2))
    torch.testing.assert_close(found, torch.tensor(expected).double(), rtol=0, atol=ATOL)


@given(rectangles, points)
def test_distance_is_shapelys(rectangle: Numbers, point: Numbers) -> None:
    expected = shape(rectangle).distance(Point(point))
    assert abs(distance(vector(*point), vector(*rectangle)).item() - expected) <= ATOL


@given(rectangles, points)
def test_nearest_points_lie_in_the_rectangle_and_at_its_distance(
    rectangle: Numbers, point: Numbers
) -> None:
    # A convex set has one such point; shapely's own is known to half as many digits only.
    other, at = shape(rectangle), Point(point)
    found = Point(nearest(vector(*point), vector(*rectangle)).tolist())
    assert other.distance(found) <= ATOL
    assert abs(found.distance(at) - other.distance(at)) <= ATOL


@given(rectangles, rectangles)
def test_rectangles_meet_where_shapelys_do(a: Numbers, b: Numbers) -> None:
    gap = shape(a).distance(shape(b))
    assume(gap == 0 or gap > CLOSE)  # else they differ by rounding only
    assert rectangles_meet(vector(*a), vector(*b)).item() == (gap == 0)


@given(st.data(), rectangles)
def test_segments_meet_where_shapelys_do(data: st.DataObject, rectangle: Numbers) -> None:
    start, end = data.draw(segments(rectangle))
    gap = LineString([start, end]).convex_hull.distance(shape(rectangle))
    assume(gap == 0 or gap > CLOSE)  # else they differ by rounding only
    assert segment_meets(vector(*start), vector(*end), vector(*rectangle)).item() == (gap == 0)


def test_many_random_pairs_meet_where_shapelys_do() -> None:
    a, b = (random_rectangles(4000, seed=seed) for seed in (1, 2))
    start, end = (random_points(4000, seed=seed) for seed in (3, 4))
    one, two = (shapely.polygons(corners(r).numpy()) for r in (a, b))
    lines = shapely.linestrings(torch.stack([start, end], dim=1).numpy())
    for found, gap in (
        (rectangles_meet(a, b), torch.from_numpy(shapely.distance(one, two))),
        (segment_meets(start, end, a), torch.from_numpy(shapely.distance(lines, one))),
    ):
        sure = (gap == 0) | (gap > CLOSE)
        assert torch.equal(found[sure], gap[sure] == 0)
        assert 200 < found.sum() < 3800  # both do happen


# ---- touching ------------------------------------------------------------------------------------

# Two rectangles that touch, and the direction in which the second leaves the first.
TOUCHING = {
    "edge on edge": ((0, 0, 2, 1, 0), (2, -1, 1, 3, 0), (1, 0)),
    "edges turned": ((0, 0, 2, 1, 0), (1.5, 1, 1, 3, math.pi / 2), (0, 1)),
    "corner on edge": ((0, 0, 2, 2, 0), (2, 1, 1, 1, -math.pi / 4), (1, 0)),
    "edge on corner": ((2, 1, 1, 1, -math.pi / 4), (0, 0, 2, 2, 0), (-1, 0)),
    "corner on corner": ((0, 0, 1, 1, 0), (1, 1, 2, 3, 0), (1, 1)),
    "end of edge": ((0, 0, 2, 2, 0), (2, 2, 1, 4, 0), (1, 0)),
    "line on edge": ((0, 0, 2, 2, 0), (1, 2, 3, 0, 0), (0, 1)),
    "line on line end": ((0, 0, 2, 0, 0), (2, 0, 3, 0, 0), (1, 0)),
    "line across line": ((0, 0, 2, 0, 0), (1, 0, 3, 0, math.pi / 2), (0, 1)),
    "point on edge": ((0, 0, 2, 3, 0), (2, 1, 0, 0, 0.4), (1, 0)),
    "point on corner": ((0, 0, 2, 3, 0), (2, 3, 0, 0, 0.4), (1, 0)),
    "point on line": ((0, 0, 0, 3, 0), (0, 1, 0, 0, 0.4), (1, 0)),
    "point on point": ((1, 2, 0, 0, 0), (1, 2, 0, 0, 0.4), (1, 1)),
}
# A segment that touches a rectangle, and the direction in which it leaves.
TOUCHING_SEGMENTS = {
    "end on edge": ((2, 1), (5, 2), (0, 0, 2, 2, 0), (1, 0)),
    "end on corner": ((2, 2), (5, 3), (0, 0, 2, 2, 0), (1, 1)),
    "along an edge": ((2, -1), (2, 4), (0, 0, 2, 2, 0), (1, 0)),
    "along an edge and shorter": ((0.5, 2), (1.5, 2), (0, 0, 2, 2, 0), (0, 1)),
    "collinear, end on corner": ((2, 2), (6, 2), (0, 0, 2, 2, 0), (1, 0)),
    "past a corner": ((1, 3), (3, 1), (0, 0, 2, 2, 0), (1, 1)),
    "point on edge": ((2, 1), (2, 1), (0, 0, 2, 2, 0), (1, 0)),
    "point on corner": ((0, 0), (0, 0), (0, 0, 2, 2, 0), (-1, 0)),
    "point on point": ((1, 1), (1, 1), (1, 1, 0, 0, 0.3), (0, 1)),
    "across a line's end": ((2, -1), (2, 3), (0, 0, 2, 0, 0), (1, 0)),
    "collinear with a line": ((2, 0), (4, 0), (0, 0, 2, 0, 0), (1, 0)),
}


def shifted(point: Numbers, direction: Numbers, step: float) -> Numbers:
    return tuple(p + step * d for p, d in zip(point, direction, strict=True))


@pytest.mark.parametrize("name", TOUCHING)
@settings(max_examples=40)
@given(motion=motions)
def test_rectangles_that_touch_meet_and_a_hair_apart_do_not(name: str, motion: Motion) -> None:
    a, b, away = TOUCHING[name]
    for step, expected in ((0.0, True), (CLOSE, False)):
        other = (*shifted(b[:2], away, step), *b[2:])
        one, two = (vector(*moved_rectangle(r, motion)) for r in (a, other))
        assert rectangles_meet(one, two).item() is expected
        assert rectangles_meet(two, one).item() is expected


@pytest.mark.parametrize("name", TOUCHING_SEGMENTS)
@settings(max_examples=40)
@given(motion=motions)
def test_segments_that_touch_meet_and_a_hair_apart_do_not(name: str, motion: Motion) -> None:
    start, end, rectangle, away = TOUCHING_SEGMENTS[name]
    place = vector(*moved_rectangle(rectangle, motion))
    for step, expected in ((0.0, True), (CLOSE, False)):
        one, two = (vector(*moved(shifted(p, away, step), motion)) for p in (start, end))
        assert segment_meets(one, two, place).item() is expected
        assert segment_meets(two, one, place).item() is expected


@given(rectangles)
def test_a_rectangle_meets_itself_its_corners_and_its_diagonals(rectangle: Numbers) -> None:
    own = vector(*rectangle)
    a, b, c, d = corners(own)
    assert rectangles_meet(own, own)
    assert (distance(corners(own), own) <= ATOL).all()
    assert segment_meets(a, c, own) and segment_meets(b, d, own) and segment_meets(a, a, own)


# ---- local axes, broadcasting --------------------------------------------------------------------


@given(rectangles, points)
def test_to_world_is_the_inverse_of_to_local(rectangle: Numbers, point: Numbers) -> None:
    own, at = vector(*rectangle), vector(*point)
    torch.testing.assert_close(to_world(to_local(at, own), own), at, rtol=0, atol=ATOL)
    torch.testing.assert_close(to_local(to_world(at, own), own), at, rtol=0, atol=ATOL)


@given(rectangles, st.floats(-1, 1), st.floats(-1, 1))
def test_local_axes_run_along_the_sides(rectangle: Numbers, u: float, v: float) -> None:
    x, y, _, _, yaw = rectangle
    expected = vector(*moved((u, v), (x, y, yaw)))
    found = to_world(vector(u, v), vector(*rectangle))
    torch.testing.assert_close(found, expected, rtol=0, atol=ATOL)


def test_leading_dimensions_broadcast_as_loops() -> None:
    a, b = random_rectangles(7, 1, seed=5), random_rectangles(6, seed=6)
    start, end = random_points(7, 1, seed=7), random_points(6, seed=8)
    angle = b[:, 4]
    cases = (
        (distance, (start, b)),
        (nearest, (start, b)),
        (to_local, (start, b)),
        (to_world, (start, b)),
        (rotated, (start, angle)),
        (rectangles_meet, (a, b)),
        (segment_meets, (start, end, b)),
        (segment_meets, (start, end, a)),
    )
    for function, (first, *rest) in cases:
        found = function(first, *rest)
        assert found.shape[:2] == (7, 6)
        for i in range(7):
            for j in range(6):
                own = [r[j] if len(r) == 6 else r[i, 0] for r in rest]
                one = function(first[i, 0], *own)
                torch.testing.assert_close(found[i, j], one, rtol=0, atol=ATOL)
        if found.dtype == torch.bool:
            assert found.any() and not found.all()
    for alone in (corners, centres):
        for i in range(7):
            torch.testing.assert_close(alone(a)[i, 0], alone(a[i, 0]), rtol=0, atol=ATOL)
