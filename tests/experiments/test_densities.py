"""Members of one's own equal the closed forms where both exist, and keep the laws elsewhere."""

import math

import pytest
import torch
from annulus import Ring
from conftest import ASYMMETRIC_MIXTURE, generator, mixture, standardised

from dualdiff.exact import Exact, ExactBox, ExactDisc, ExactMixture
from dualdiff.experiments.densities import Cut, Points, Union, by_log_density, by_points
from dualdiff.process import Process
from dualdiff.regions import Box, Disc, Region

LINE, PLANE = Process.linear(40, dy=1, dc=1), Process.linear(40, dy=2, dc=2)
UNITS = standardised(Process.log_snr(40, high=4))
STEPS = (0, 10, 39)
COVARIANCE = torch.tensor([[0.3, 0.1], [0.1, 0.2]], dtype=torch.float64)


def normal(u: torch.Tensor) -> torch.Tensor:
    """A Gaussian in the plane around (0.4, -0.2), up to a constant."""
    x = u - torch.tensor([0.4, -0.2], dtype=torch.float64)
    return 5 - (x @ COVARIANCE.inverse() * x).sum(-1) / 2


GAUSSIAN = by_log_density(PLANE, normal, ((-3.6, -3.2), (4.4, 2.8), (260, 200)))
TWO_BOXES = Union(
    [ExactBox(PLANE, (-2.0, 0.0), (-1.0, 1.0)), ExactBox(PLANE, (0.5, -1.0), (2.0, 0.0))],
    [1.0, 3.0],
)
RING = by_points(Ring(1.0, 2.0), PLANE, generator(), points=500)
OWN: dict[str, Exact] = {"grid": GAUSSIAN, "union": TWO_BOXES, "points": RING}


def around(process: Process, n: int = 60, far: float = 2.0) -> tuple[torch.Tensor, torch.Tensor]:
    y, c = (torch.randn(n, process.dy, generator=generator(k)).double() for k in (1, 2))
    return far * y, 0.5 * c


def assert_same_law(one: Exact, other: Exact, t: int, tolerance: float, far: float = 2.0) -> None:
    y, c = around(one.process, far=far)
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(one(y, t, c), other(y, t, c), **close)
    torch.testing.assert_close(one.log_density(y, t, c), other.log_density(y, t, c), **close)


@pytest.mark.parametrize("t", STEPS)
def test_a_density_on_a_grid_is_its_gaussian(t: int) -> None:
    exact = ExactMixture(PLANE, [1.0], [[0.4, -0.2]], COVARIANCE[None])
    assert_same_law(GAUSSIAN, exact, t, 1e-6, far=0.5)


@pytest.mark.parametrize("t", STEPS)
def test_a_flat_density_is_the_box(t: int) -> None:
    """Jumps stand on borders of cells; these are a 16th of the noise, so the error is below
    (1/16)^2 / 8 beside a jump."""
    sigma = LINE.noise(0) / LINE.signal(0)
    grid = (-1.0, 1.0, math.ceil(32 / sigma))
    flat = by_log_density(LINE, lambda u: torch.zeros(len(u)), ([grid[0]], [grid[1]], grid[2]))
    assert_same_law(flat, ExactBox(LINE, (-1.0,), (1.0,)), t, 2e-3)


def test_units_and_cells_per_axis() -> None:
    """In standardised units, three dimensions: a cell's width counts in units of y."""
    exact = mixture(UNITS)

    def log_p(u: torch.Tensor) -> torch.Tensor:
        one = torch.ones(1, 1, dtype=torch.float64)
        return mixture(Process.linear(40))._log_density(u, one, 0 * one)

    grid = by_log_density(UNITS, log_p, ((-4.0, -3.0, -3.0), (3.0, 3.0, 3.0), (50, 40, 90)))
    offset, c = around(UNITS, 20, far=0.4)
    for t in (0, 20):
        y = UNITS.signal(t) * UNITS.encode_y(UNITS.decode_c(c)) + offset
        torch.testing.assert_close(grid(y, t, c), exact(y, t, c), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("t", STEPS)
def test_points_are_a_mixture_without_width(t: int) -> None:
    means = torch.randn(7, 2, generator=generator(3)).double()
    weights = torch.rand(7, generator=generator(4)).double()
    dots = Points(PLANE, means, weights.log())
    exact = ExactMixture(PLANE, weights, means, torch.zeros(7, 2, 2))
    assert_same_law(dots, exact, t, 1e-9, far=100.0)


def test_pieces_of_the_work_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    y, c = around(PLANE)
    t = torch.arange(60) % 40  # a step for each row
    whole = RING(y, t, c), RING.log_density(y, t, c)
    monkeypatch.setattr("dualdiff.experiments.densities.AT_ONCE", 3_500)
    torch.testing.assert_close((RING(y, t, c), RING.log_density(y, t, c)), whole)
    assert RING(y[:0], 3, c[:0]).shape == (0, 2)


def test_draws_of_a_region_approach_its_law_where_the_noise_is_wide() -> None:
    """Scores of n points err by the standard error of means over them."""
    disc = Disc(1.5, centre=(0.7, -0.4), height=2.0)
    process, n = Process.linear(40), 20_000
    y, c = around(process, far=1.0)
    exact = ExactDisc(process, disc)
    for t in (20, 39):
        width = process.signal(t) * disc.radius / process.noise(t)
        found = by_points(disc, process, generator(5), points=n)(y, t, c)
        # Weights of the points vary by exp(|x| width), here less than ten times.
        bound = 10 * width / math.sqrt(n)
        assert float((found - exact(y, t, c)).abs().max()) < bound


@pytest.mark.parametrize("t", STEPS)
@pytest.mark.parametrize("name", OWN)
def test_noise_is_the_gradient_of_the_log_density(name: str, t: int) -> None:
    one = OWN[name]
    y, c = around(one.process, far=3.0)
    y.requires_grad_()
    (score,) = torch.autograd.grad(one.log_density(y, t, c).sum(), y)
    expected = -one.process.noise(t) * score
    torch.testing.assert_close(one(y, t, c).detach(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("t", STEPS)
def test_a_union_of_gaussians_is_their_mixture(t: int) -> None:
    process = Process.linear(40)
    weights, means, covariances = ASYMMETRIC_MIXTURE.values()
    parts = [
        ExactMixture(process, [1.0], [m], [s]) for m, s in zip(means, covariances, strict=True)
    ]
    assert_same_law(Union(parts, [2 * w for w in weights]), mixture(process), t, 1e-9, far=20.0)


def test_a_union_of_halves_is_the_whole_far_out_too() -> None:
    whole = ExactBox(LINE, (-1.0,), (1.0,))
    halves = Union([ExactBox(LINE, (-1.0,), (-0.2,)), ExactBox(LINE, (-0.2,), (1.0,))], [0.4, 0.6])
    for t in STEPS:
        assert_same_law(halves, whole, t, 1e-7, far=50.0)


REGIONS: dict[str, Region] = {
    "box": Box((-1.0, -1.0, 0.0), (1.0, 1.0, 1.0)),
    "disc": Disc(1.0, height=2.0),
    "ring": Ring(1.0, 2.0),
}


def test_a_box_cut_along_an_axis_is_a_box() -> None:
    cut, box = Cut(REGIONS["box"], ((4.0, 0.0, 0.0), 1.2)), Box((-1.0, -1.0, 0.0), (0.3, 1.0, 1.0))
    u, c = 3 * torch.randn(500, 3, generator=generator(6)), torch.zeros(500, 3)
    torch.testing.assert_close(cut.distance(u, c), box.distance(u, c), rtol=1e-5, atol=1e-6)
    found, expected = cut.moments(), box.moments()
    error = (expected[1].diag() / 20_000).sqrt()
    assert bool(((found[0] - expected[0]).abs() < 5 * error).all())


@pytest.mark.parametrize("name", REGIONS)
def test_the_distance_to_a_cut_is_a_lower_bound_and_zero_inside_alone(name: str) -> None:
    region = REGIONS[name]
    normal = (0.6, -0.8, 0.1)[: region.dim]
    cut, zero = Cut(region, (normal, -0.2)), torch.zeros(1, region.dim)
    held = cut._draw(20_000, generator(7))
    u = held.mean(0) + 2 * torch.randn(300, region.dim, generator=generator(8))
    near = torch.cdist(u, held).amin(1)
    distance = cut.distance(u, zero)
    assert bool((distance <= near + 1e-5).all())
    inside = region.contains(u, zero) & (u @ torch.tensor(normal) <= -0.2)
    assert torch.equal(distance == 0, inside)


def test_a_cut_cut_again_is_cut_twice() -> None:
    once = Cut(REGIONS["ring"], ((1.0, 0.0), 0.0))
    twice = Cut(once, ((0.0, 1.0), 0.0))
    u = twice._draw(2_000, generator(9))
    assert bool((u <= 0).all()) and float(u.norm(dim=1).amin()) >= 1.0


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: by_log_density(PLANE, normal, ((-1, -1), (1, 1), 20)), "at least .64, 64. on"),
        (lambda: by_log_density(PLANE, normal, ((-1, -1), (1, 1), 10_000)), "at most 4194304 tog"),
        (lambda: by_log_density(PLANE, normal, ((1, -1), (-1, 1), 200)), "low must be below high"),
        (lambda: by_log_density(Process.linear(dy=4, dc=4), normal, ((), (), 9)), "1 to 3 dim"),
        (lambda: by_log_density(LINE, lambda u: u, ([-1], [1], 200)), "must give .200. numbers"),
        (lambda: by_log_density(LINE, lambda u: u[:, 0].log(), ([-1], [1], 200)), "of them NaN"),
        (lambda: by_points(REGIONS["disc"], PLANE, generator()), "must be .4096, 2."),
        (lambda: by_points(REGIONS["ring"], PLANE, generator(), points=0), "points must be an int"),
        (lambda: Points(PLANE, [[0.0, math.nan]], [0.0]), "points must be finite"),
        (lambda: Points(PLANE, [[0.0, 1.0]], [-math.inf]), "not all -inf"),
        (lambda: Union([RING], [1.0, 2.0]), "1 positive numbers"),
        (lambda: Union([RING, GAUSSIAN], [1.0, -2.0]), "2 positive numbers"),
        (lambda: Union([RING, ExactBox(LINE, (0.0,), (1.0,))], [1, 1]), "cannot compose 'part 0'"),
        (lambda: Cut(REGIONS["ring"], ((0.0, 0.0), 1.0)), "must not be zero"),
        (lambda: Cut(REGIONS["ring"], ((1.0, 0.0, 0.0), 1.0)), "normal must be 2 finite"),
        (lambda: Cut(REGIONS["ring"], ((1.0, 0.0), -2.0)), "leaves 0.00% of the region"),
    ],
)
def test_bad_values_are_named(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        make()
