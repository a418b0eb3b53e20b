"""Laws of regions and scenarios: drawn => contained, contained <=> distance 0, equal-mass cells."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from annulus import Ring
from conftest import generator as make_generator
from conftest import needs_cuda
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from shapely.geometry import Point, Polygon

from dualdiff.checks import check_region
from dualdiff.experiments.lens import Lens, lens_area
from dualdiff.experiments.study import evaluate
from dualdiff.regions import ATOL, Box, Disc, Region

# No region is symmetric about its condition, so that a flipped sign shows.
REGIONS = [
    Box((-1.0, -1.0, 0.0), (0.0, 0.0, 0.5)),
    Box((0.5, -3.0, 1.0), (3.0, -2.5, 7.0), divisions=3),
    Box((0.5,), (3.0,), divisions=4),
    Disc(1.0),
    Disc(3.0, centre=(2.5, -1.0), height=-2.0, height_tolerance=0.5, rings=3, sectors=5),
    Disc(0.5, centre=(14.0, 0.0), height_tolerance=math.inf),
    Lens(Disc(3.0, centre=(0.5, 0.0)), Disc(1.0, centre=(2.5, 2.0))),
    Lens(Disc(1.0), Disc(3.0, centre=(0.5, 1.0)), divisions=4),
]


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high, width=32)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    low = draw(st.lists(numbers(-8, 8), min_size=1, max_size=4))
    width = draw(st.lists(numbers(0.015625, 4), min_size=len(low), max_size=len(low)))
    high = tuple(a + b for a, b in zip(low, width, strict=True))
    return Box(tuple(low), high, divisions=draw(st.integers(1, 6)))


@st.composite
def discs(draw: st.DrawFn) -> Disc:
    return Disc(
        radius=draw(numbers(0.015625, 4)),
        centre=(draw(numbers(-8, 8)), draw(numbers(-8, 8))),
        height=draw(numbers(-8, 8)),
        height_tolerance=draw(numbers(0.015625, 4) | st.just(math.inf)),
        rings=draw(st.integers(1, 6)),
        sectors=draw(st.integers(1, 9)),
    )


@st.composite
def lenses(draw: st.DrawFn) -> Lens:
    first = draw(discs())
    radius, turn = draw(numbers(0.015625, 4)), draw(numbers(0, 6.25))
    gap = draw(numbers(0, 0.875)) * (first.radius + radius)
    x, y = first.centre
    centre = (x + gap * math.cos(turn), y + gap * math.sin(turn))
    second = replace(first, radius=radius, centre=centre)
    return Lens(first, second, divisions=draw(st.integers(1, 6)))


regions = boxes() | discs() | lenses()


def around(region: Region, n: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Points around a region (inside and outside) and their conditions, coordinates below 32."""
    g = make_generator(seed)
    c = 16 * torch.rand(n, region.dim, generator=g) - 8
    scale = 10.0 ** torch.randint(-6, 2, (n, 1), generator=g)
    noise = scale * torch.randn(n, region.dim, generator=g)
    return region.draw(c, g) + noise.clamp(-8, 8), c


# ---- laws of every region ------------------------------------------------------------------------


@pytest.mark.parametrize("region", REGIONS, ids=str)
def test_regions_keep_the_laws(region: Region) -> None:
    check_region(region, make_generator()).raise_if_failed()


@settings(max_examples=60, deadline=None)
@given(regions, st.integers(0, 2**31))
def test_what_is_drawn_is_contained_and_has_a_cell(region: Region, seed: int) -> None:
    g = make_generator(seed)
    c = 36 * torch.rand(50, region.dim, generator=g) - 18
    y = region.draw(c, g, k=4)
    assert y.shape == (50, 4, region.dim)
    assert region.contains(y, c[:, None]).all()
    cells = region.cells(y, c[:, None])
    assert cells.min() >= 0 and cells.max() < region.n_cells


@settings(max_examples=60, deadline=None)
@given(regions, st.integers(0, 2**31))
def test_contained_means_distance_zero_means_a_cell(region: Region, seed: int) -> None:
    y, c = around(region, 200, seed)
    distance, inside = region.distance(y, c), region.contains(y, c)
    assert inside.dtype == torch.bool and region.cells(y, c).dtype == torch.int64
    assert torch.equal(inside, distance == 0)
    assert torch.equal(inside, region.cells(y, c) >= 0)
    assert (distance[~inside] > ATOL).all()


@settings(max_examples=25, deadline=None)
@given(regions, st.integers(0, 2**31), st.integers(-8, 8))
def test_regions_move_with_their_condition(region: Region, seed: int, shift: int) -> None:
    # Multiples of 2^-10 below 32 add and subtract exactly in float32: equality needs no tolerance.
    y, c = (torch.round(x * 1024) / 1024 for x in around(region, 100, seed))
    step = shift * torch.arange(1.0, region.dim + 1) / 4
    assert torch.equal(region.distance(y + step, c + step), region.distance(y, c))
    assert torch.equal(region.contains(y + step, c + step), region.contains(y, c))
    assert torch.equal(region.cells(y + step, c + step), region.cells(y, c))
    drawn = region.draw(c, make_generator(seed)) - c
    moved = region.draw(c + step, make_generator(seed)) - (c + step)
    # coordinates stay below 64, where a float32 rounding costs at most 2^-19; two each side
    torch.testing.assert_close(moved, drawn, rtol=0, atol=4 * 2.0**-19)


@pytest.mark.parametrize("region", REGIONS, ids=str)
def test_k_draws_per_condition_are_different_and_belong_to_their_condition(region: Region) -> None:
    c = torch.arange(3.0)[:, None] * 10 * torch.ones(region.dim)
    y, again = (region.draw(c, make_generator(), k=500) for _ in range(2))
    assert torch.equal(y, again)
    assert not torch.equal(y, region.draw(c, make_generator(1), k=500))
    inside = region.contains(y[:, None], c[None, :, None])  # every draw against every condition
    assert torch.equal(inside.all(-1), torch.eye(3, dtype=torch.bool))
    assert torch.equal(inside.any(-1), torch.eye(3, dtype=torch.bool))
    assert len(torch.unique(y[0, :, 0])) > 450


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_draws_follow_the_dtype_of_the_condition(dtype: torch.dtype) -> None:
    for region in REGIONS:
        assert region.draw(torch.zeros(2, region.dim, dtype=dtype), make_generator()).dtype == dtype


@needs_cuda
def test_everything_is_on_cuda_where_the_condition_is() -> None:
    for region in REGIONS:
        c = torch.zeros(20, region.dim)
        y = region.draw(c.cuda(), make_generator(3))
        assert y.is_cuda and torch.equal(y.cpu(), region.draw(c, make_generator(3)))
        assert region.contains(y, c.cuda()).all() and region.cells(y, c.cuda()).is_cuda


# ---- references ----------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(boxes(), st.integers(0, 2**31))
def test_box_distance_is_the_distance_to_the_clamped_point(box: Box, seed: int) -> None:
    y, c = (x.double() for x in around(box, 100, seed))
    u = (y - c).numpy()
    gap = np.maximum(np.maximum(np.array(box.low) - u, u - np.array(box.high)), 0)
    expected = np.sqrt((gap**2).sum(-1))
    expected[expected <= ATOL] = 0
    # float64: what remains is its rounding
    np.testing.assert_allclose(box.distance(y, c), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("tolerance", [0.25, 2.0])
def test_disc_distance_is_the_one_to_the_nearest_of_many_points(tolerance: float) -> None:
    disc = Disc(1.5, centre=(2.5, -1.0), height=-3.0, height_tolerance=tolerance)
    r, angle, z = np.meshgrid(
        np.linspace(0, 1.5, 61),
        np.linspace(0, 2 * np.pi, 360, endpoint=False),
        np.linspace(-tolerance, tolerance, 21),
        indexing="ij",
    )
    solid = np.stack([2.5 + r * np.cos(angle), -1 + r * np.sin(angle), -3 + z], -1).reshape(-1, 3)
    # no point of the solid is farther from the grid than half a step on each of the three axes
    covering = math.hypot(1.5 / 60, 1.5 * 2 * math.pi / 360, 2 * tolerance / 20) / 2
    g = make_generator(4)
    y = torch.tensor([2.5, -1.0, -3.0]) + 3 * torch.randn(500, 3, generator=g, dtype=torch.float64)
    brute = cKDTree(solid).query(y.numpy())[0]
    exact = disc.distance(y, torch.zeros(3, dtype=torch.float64)).numpy()
    assert (exact == 0).any() and ((exact > 0) & (exact < 1)).any() and (exact > 1).any()
    assert (exact <= brute + 1e-12).all() and (exact >= brute - covering).all()


def test_rounding_does_not_throw_out_the_border_and_no_more_is_let_in() -> None:
    c = 36 * torch.rand(2000, 3, generator=make_generator(11)) - 18
    box = Box((-0.1, 0.3, -0.7), (0.7, 1.1, 0.9))
    disc = Disc(0.7, centre=(0.1, 0.3), height=9.9, height_tolerance=0.3)
    borders = {box: (box.low, box.high), disc: ((0.1, 1.0, 10.2), (0.8, 0.3, 9.6))}
    for region, points in borders.items():
        for point in torch.tensor(points):
            assert region.contains(c + point, c).all()
            outwards = torch.sign(point - torch.tensor(points).mean(0))
            assert not region.contains(c + point + 3 * ATOL * outwards, c).any()


def test_disc_height_tolerance() -> None:
    y = torch.tensor([[0.5, 0.0, 10.2], [0.5, 0.0, 10.3], [0.5, 0.0, 70.0], [1.5, 0.0, 10.0]])
    c = torch.zeros(3)
    assert Disc(1.0).contains(y, c).tolist() == [True, False, False, False]
    assert Disc(1.0, height_tolerance=0.5).contains(y, c).tolist() == [True, True, False, False]
    planar = Disc(1.0, height_tolerance=math.inf)
    assert planar.contains(y, c).tolist() == [True, True, True, False]
    # rounding of 1.5 - 1 and of 10.3 - 10 - 0.25 in float32
    torch.testing.assert_close(planar.distance(y, c)[3].item(), 0.5, rtol=0, atol=1e-6)
    torch.testing.assert_close(Disc(1.0).distance(y, c)[1].item(), 0.05, rtol=0, atol=2e-6)


def test_box_cells_are_numbered_row_by_row() -> None:
    box = Box((0.0, 0.0, 0.0), (1.0, 2.0, 4.0), divisions=2)
    c = torch.tensor([5.0, -1.0, 2.0])
    corners = torch.cartesian_prod(*(torch.tensor([0.25, 0.75]) for _ in range(3)))
    y = c + corners * torch.tensor([1.0, 2.0, 4.0])
    assert box.cells(y, c).tolist() == list(range(8))
    assert box.cells(y + torch.tensor([0.0, 2.0, 0.0]), c).tolist() == [-1] * 8


def test_disc_cells_are_numbered_by_ring_then_sector() -> None:
    disc = Disc(2.0, centre=(1.0, 0.0), height=0.0, rings=4, sectors=4)
    # equal-area rings of radius 2 end at 1, sqrt 2, sqrt 3 and 2; sectors start at angle 0
    y = torch.tensor([[1.5, 0.5, 0.0], [0.2, 0.9, 0.0], [1 - 1.2, -1.2, 0.0], [2.4, -1.4, 0.0]])
    assert disc.cells(y, torch.zeros(3)).tolist() == [0, 4 + 1, 8 + 2, 12 + 3]
    assert disc.cells(torch.tensor([3.1, 0.0, 0.0]), torch.zeros(3)).item() == -1


def test_a_point_that_is_not_a_number_is_outside() -> None:
    for region in REGIONS:
        y = torch.full((1, region.dim), math.nan)
        c = torch.zeros(1, region.dim)
        assert not region.contains(y, c).any() and region.cells(y, c).item() == -1


# ---- what is drawn of a region -------------------------------------------------------------------


class Bare(Region):
    """A region that says no more of itself than it must."""

    def __init__(self, region: Region) -> None:
        self.region = region

    dim = property(lambda self: self.region.dim)  # type: ignore[assignment]
    n_cells = property(lambda self: self.region.n_cells)  # type: ignore[assignment]

    def _draw(self, n: int, generator: torch.Generator) -> torch.Tensor:
        return self.region._draw(n, generator)

    def _distance(self, u: torch.Tensor) -> torch.Tensor:
        return self.region._distance(u)

    def _cells(self, u: torch.Tensor) -> torch.Tensor:
        return self.region._cells(u)


def area(line: torch.Tensor) -> float:
    """Signed, of the polygon with these corners: positive if they run against the clock."""
    x, y = line.T
    return 0.5 * float((x * y.roll(-1) - y * x.roll(-1)).sum())


@pytest.mark.parametrize("region", REGIONS, ids=str)
def test_moments_and_frame_are_those_of_draws(region: Region) -> None:
    u = region._draw(40_000, make_generator(5)).double()
    mean, covariance = region.moments()
    spread = u.std(0)
    assert ((mean - u.mean(0)).abs() <= 4 * spread / 140 + 1e-6).all()
    # Of bounded laws: the error of a product of two deviations is below that of their squares.
    error = 4 * torch.outer(spread, spread) * (2 / 20_000) ** 0.5 + 1e-6
    assert ((covariance - torch.atleast_2d(u.T.cov())).abs() <= error).all()
    low, high = (torch.tensor(corner, dtype=torch.float64) for corner in region.frame())
    assert (u >= low - 1e-5).all() and (u <= high + 1e-5).all()
    assert ((u.amin(0) - low).abs() <= 0.02 * (high - low) + 1e-5).all()


@pytest.mark.parametrize("region", [r for r in REGIONS if r.dim == 3], ids=str)
@pytest.mark.parametrize("axes", [(0, 1), (0, 2), (1, 2)])
def test_outlines_hold_what_is_drawn(region: Region, axes: tuple[int, int]) -> None:
    (line,) = region.outlines(axes)
    low, high = (torch.tensor(corner)[list(axes)].double() for corner in region.frame())
    torch.testing.assert_close(line.amin(0), low, rtol=0, atol=1e-2)
    torch.testing.assert_close(line.amax(0), high, rtol=0, atol=1e-2)
    u = region._draw(2000, make_generator(6))[:, list(axes)].double()
    if len(line) == 2:
        assert (u[:, 1] == line[0, 1]).all() and line[0, 1] == line[1, 1]
    else:
        inside = Polygon(line.numpy()).buffer(1e-2)
        assert all(inside.contains(Point(*row)) for row in u.tolist())


def test_the_area_of_an_outline() -> None:
    assert area(Box((0.0, -1.0), (2.0, 3.0)).outlines()[0]) == 8
    assert abs(area(Disc(2.0).outlines()[0]) / (4 * math.pi) - 1) < 1e-3
    lens = Lens(Disc(3.0, centre=(0.5, 0.0)), Disc(1.0, centre=(2.5, 2.0)))
    shared = lens_area(3.0, 1.0, math.dist((0.5, 0.0), (2.5, 2.0)))
    assert abs(area(lens.outlines()[0]) / shared - 1) < 2e-3


@pytest.mark.parametrize("region", REGIONS[:1] + REGIONS[6:7] + [Box((0.5, -1.0), (2.0, 3.0))])
def test_a_region_that_says_little_of_itself_is_seen_all_the_same(region: Region) -> None:
    bare, size = Bare(region), float(np.ptp(region.frame(), axis=0).max())
    assert np.allclose(bare.middle, region.middle, atol=0.02 * size)
    assert np.allclose(bare.frame(), region.frame(), atol=0.01 * size)
    torch.testing.assert_close(bare.moments()[1], region.moments()[1], rtol=0.05, atol=0.02)
    (known,), (found,) = region.outlines(), bare.outlines()
    away = cKDTree(densified(known)).query(found.numpy())[0]
    assert away.max() < 0.015 * size


def densified(line: torch.Tensor) -> np.ndarray:
    steps = torch.linspace(0, 1, 50).double()[:, None, None]
    return (line + steps * (line.roll(-1, 0) - line)).reshape(-1, 2).numpy()


def test_a_hole_is_an_outline_that_runs_the_other_way() -> None:
    outer, hole = sorted(map(area, Ring(1.0, 2.0).outlines()), key=abs, reverse=True)
    assert outer * hole < 0
    assert abs(abs(outer) / (4 * math.pi) - 1) < 0.03 and abs(abs(hole) / math.pi - 1) < 0.05
    (half,) = Ring(1.0, 2.0, turn=math.pi).outlines()
    assert abs(abs(area(half)) / (1.5 * math.pi) - 1) < 0.04
    with pytest.raises(ValueError, match="of 4 dimensions has no outlines"):
        Bare(Box((0.0,) * 4, (1.0,) * 4)).outlines()


@pytest.mark.parametrize("dc", [2, 4])
def test_conditions_may_have_other_coordinates_than_points(dc: int) -> None:
    """A box on the floor below the first two numbers of the condition."""

    class Floor(Box):
        @property
        def dc(self) -> int:
            return dc

        def anchor(self, c: torch.Tensor) -> torch.Tensor:
            return torch.cat([c[..., :2], torch.zeros_like(c[..., :1])], -1)

    region, box = Floor((-1.0, 0.5, 0.0), (1.0, 2.0, 0.5)), Box((-1.0, 0.5, 0.0), (1.0, 2.0, 0.5))
    c = torch.randn(50, dc, generator=make_generator(3))
    below = region.anchor(c)
    y = region.draw(c, make_generator(4), 5)
    assert torch.equal(y, box.draw(below, make_generator(4), 5))
    assert torch.equal(region.offsets(y, c[:, None]), box.offsets(y, below[:, None]))
    assert torch.equal(region.cells(y + 0.3, c[:, None]), box.cells(y + 0.3, below[:, None]))
    scores = evaluate(y + 0.3, c, region, make_generator(7))
    assert scores == evaluate(y + 0.3, below, box, make_generator(7))
    for wrong in (torch.zeros(50, 3), torch.zeros(dc)):
        with pytest.raises(ValueError, match=rf"c must have shape \[n, {dc}\]"):
            region.draw(wrong, make_generator())


# ---- lenses --------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(numbers(0.125, 4), numbers(0.125, 4), numbers(0, 1.25))
def test_lens_area_is_shapelys(r: float, s: float, share: float) -> None:
    """Against polygons of 4 x 512 corners, whose area is short by a factor of 1 - 3e-6."""
    gap = share * (r + s)
    one, two = Point(0, 0).buffer(r, 512), Point(gap, 0).buffer(s, 512)
    error = 2e-5 * min(r, s) ** 2 * math.pi + 1e-4 * (r + s) ** 2 * (share > 0.9)
    assert abs(lens_area(r, s, gap) - one.intersection(two).area) < error


@pytest.mark.parametrize("lens", [r for r in REGIONS if isinstance(r, Lens)])
def test_lens_holds_what_both_discs_hold(lens: Lens) -> None:
    y, c = around(lens, 4000, 3)
    inside = lens.contains(y, c)
    both = lens.first.contains(y, c) & lens.second.contains(y, c)
    near = (lens.first.distance(y, c) < 1e-4) & (lens.second.distance(y, c) < 1e-4) & ~both
    assert torch.equal(inside[~near], both[~near]) and 0 < inside.sum() < 4000


@pytest.mark.parametrize("lens", [r for r in REGIONS if isinstance(r, Lens)])
def test_lens_distance_and_centroid_are_shapelys(lens: Lens) -> None:
    discs = [Point(*d.centre).buffer(d.radius, 512) for d in (lens.first, lens.second)]
    shape = discs[0].intersection(discs[1])
    u = torch.randn(500, 3, generator=make_generator(4)).double() * 3
    u[:, 2] = lens.first.height
    distance = lens.distance(u, torch.zeros(3).double())
    expected = [shape.distance(Point(x, y)) for x, y in u[:, :2].tolist()]
    np.testing.assert_allclose(distance, expected, atol=3e-5)
    np.testing.assert_allclose(lens.middle[:2], shape.centroid.coords[0], atol=1e-5)


def test_nested_lens_is_the_smaller_disc() -> None:
    disc = Disc(1.0, centre=(0.5, 0.5))
    lens = Lens(Disc(3.0), disc)
    y, c = around(disc, 2000, 5)
    torch.testing.assert_close(lens.distance(y, c), disc.distance(y, c), atol=2e-6, rtol=0)


# ---- what is refused -----------------------------------------------------------------------------

REFUSED = [
    (lambda: Lens(Disc(3.0), Disc(1.0, centre=(4.0, 0.0))), "no area in common"),
    (lambda: Lens(Disc(3.0), Disc(1.0, height=9.0)), "must have one height and tolerance"),
    (lambda: Lens(Disc(3.0), Disc(1.0), divisions=0), "divisions must be an integer"),
    (lambda: Box((0.0, 0.0), (1.0,)), "high must be 2 finite numbers"),
    (lambda: Box((), ()), "low must be one or more finite numbers"),
    (lambda: Box((0.0, math.nan), (1.0, 1.0)), "low must be .* finite numbers.*nan"),
    (lambda: Box((0.0, 1.0), (1.0, 1.0)), "low must be below high"),
    (lambda: Box((0.0,), (1.0,), divisions=0), "divisions must be an integer of at least 1, got 0"),
    (lambda: Disc(0.0), "radius must be positive and finite, got 0.0"),
    (lambda: Disc(math.inf), "radius must be positive and finite, got inf"),
    (lambda: Disc(1.0, centre=(0.0, math.inf)), "centre must be 2 finite numbers"),
    (lambda: Disc(1.0, height=math.nan), "height must be finite, got nan"),
    (lambda: Disc(1.0, height_tolerance=0.0), "height_tolerance must be positive.*got 0.0"),
    (lambda: Disc(1.0, height_tolerance=math.nan), "height_tolerance must be positive.*got nan"),
    (lambda: Disc(1.0, rings=2.5), "rings must be an integer"),
    (lambda: Disc(1.0, sectors=0), "sectors must be an integer"),
    (lambda: Disc(1.0).draw(torch.zeros(3), make_generator()), r"c must have .*\[n, 3\].*\[3\]"),
    (lambda: Disc(1.0).draw(torch.zeros(2, 3) * 1j, make_generator()), "c must be real numbers"),
    (lambda: Disc(1.0).draw(torch.zeros(2, 3), make_generator(), k=0), "k must be an integer"),
    (lambda: Disc(1.0).contains(torch.zeros(4, 2), torch.zeros(3)), r"y must .*3\], got \[4, 2\]"),
    (lambda: Disc(1.0).cells(torch.zeros(2, 4, 3), torch.zeros(2, 3)), r"pass c\[:, None\]"),
]


@pytest.mark.parametrize("make, message", REFUSED, ids=[m for _, m in REFUSED])
def test_bad_values_are_refused_by_name(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
