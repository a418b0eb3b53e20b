"""Exact denoisers against numerical integration, autograd and each other."""

import math

import numpy as np
import pytest
import torch
from conftest import ASYMMETRIC_MIXTURE, generator, mixture, standardised
from scipy import integrate, stats

from dualdiff.exact import Exact, ExactBox, ExactDisc, ExactMixture, exact_denoiser
from dualdiff.process import Process
from dualdiff.regions import Box, Disc

PROCESS = Process.linear()
UNITS = standardised(Process.log_snr(100))
DISC = Disc(1.5, centre=(0.7, -0.4), height=2.0)
CASES: dict[str, Exact] = {
    "box": ExactBox(PROCESS, (-1.0, -0.5, 0.0), (0.0, 2.0, 0.5)),
    "standardised box": ExactBox(UNITS, (-1.0, -0.5, 0.0), (0.0, 2.0, 0.5)),
    "disc": ExactDisc(PROCESS, DISC),
    "disc low noise": ExactDisc(Process.log_snr(100), DISC),
    "mixture": mixture(PROCESS),
    "standardised mixture": mixture(UNITS),
}
STEPS = (0, 5, 30, 70, 99)


def points(denoiser: Exact, t: int, n: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    """Noised points around the support, some of them far outside, in float64."""
    process = denoiser.process
    c = torch.randn(n, 3, generator=generator(3), dtype=torch.float64)
    offset = 2.0 * torch.randn(n, 3, generator=generator(4), dtype=torch.float64)
    if isinstance(denoiser, ExactDisc):
        offset[:, 2] = DISC.height + 0.1 * offset[:, 2]
    y0 = process.encode_y(process.decode_c(c) + offset)
    eps = torch.randn(n, 3, generator=generator(5), dtype=torch.float64)
    return process.signal(t) * y0 + process.noise(t) * eps, c


@pytest.mark.parametrize("t", STEPS)
@pytest.mark.parametrize("name", CASES)
def test_noise_is_the_gradient_of_the_log_density(name: str, t: int) -> None:
    denoiser = CASES[name]
    y, c = points(denoiser, t)
    y.requires_grad_()
    (score,) = torch.autograd.grad(denoiser.log_density(y, t, c).sum(), y)
    expected = -denoiser.process.noise(t) * score
    torch.testing.assert_close(denoiser(y, t, c).detach(), expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("t", (5, 40, 90))
def test_box_density_by_numerical_integration(t: int) -> None:
    low, high = (-1.0, -0.5, 0.0), (0.0, 2.0, 0.5)
    box, c = ExactBox(PROCESS, low, high), torch.tensor([[0.3, -1.0, 2.0]])
    signal, noise = PROCESS.signal(t), PROCESS.noise(t)
    y = torch.tensor([[0.1, -1.7, 1.2]], dtype=torch.float64)
    expected = 0.0
    for k in range(3):
        value, _ = integrate.quad(
            lambda u, k=k: stats.norm.pdf(float(y[0, k]), signal * (float(c[0, k]) + u), noise),
            low[k],
            high[k],
            epsabs=1e-13,
        )
        expected += math.log(value / (high[k] - low[k]))
    assert box.log_density(y, t, c).item() == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("t", (5, 40, 90))
@pytest.mark.parametrize("place", ((0.7, -0.4), (2.0, -0.4), (4.0, 3.0)))
def test_disc_density_by_numerical_integration(t: int, place: tuple[float, float]) -> None:
    """Against an integral in Cartesian coordinates, another route than the code takes."""
    disc = ExactDisc(PROCESS, DISC)
    signal, noise = PROCESS.signal(t), PROCESS.noise(t)
    y = torch.tensor([[signal * place[0], signal * place[1], signal * 2.1]], dtype=torch.float64)
    nodes, weights = np.polynomial.legendre.leggauss(400)
    x = DISC.centre[0] + DISC.radius * nodes
    half = np.sqrt(DISC.radius**2 - (x - DISC.centre[0]) ** 2)
    across = stats.norm.cdf(
        (signal * (DISC.centre[1] + half) - float(y[0, 1])) / noise
    ) - stats.norm.cdf((signal * (DISC.centre[1] - half) - float(y[0, 1])) / noise)
    inner = stats.norm.pdf(float(y[0, 0]), signal * x, noise) * across / signal
    planar = (weights * inner).sum() * DISC.radius / (math.pi * DISC.radius**2)
    height = stats.norm.logpdf(float(y[0, 2]), signal * DISC.height, noise)
    value = disc.log_density(y, t, torch.zeros(1, 3)).item()
    assert value == pytest.approx(math.log(planar) + height, rel=1e-4)


@pytest.mark.parametrize("t", (0, 40, 90))
def test_mixture_density_against_scipy(t: int) -> None:
    y = torch.randn(20, 3, generator=generator(2), dtype=torch.float64)
    c = torch.randn(20, 3, generator=generator(3), dtype=torch.float64)
    signal, variance = PROCESS.signal(t), PROCESS.noise(t) ** 2
    expected = np.zeros(20)
    for weight, mean, covariance in zip(*ASYMMETRIC_MIXTURE.values(), strict=True):
        law = stats.multivariate_normal(cov=signal**2 * np.array(covariance) + variance * np.eye(3))
        expected += weight * law.pdf(y.numpy() - signal * (c.numpy() + np.array(mean)))
    twice = {**ASYMMETRIC_MIXTURE, "weights": (0.4, 1.0, 0.6)}  # weights are relative
    density = ExactMixture(PROCESS, **twice).log_density(y, t, c).exp()
    np.testing.assert_allclose(density, expected, rtol=1e-8)


def test_density_does_not_depend_on_the_units() -> None:
    """At equal signal and noise in original units, a change of units only adds a Jacobian."""
    box = ExactBox(UNITS, (-1.0, -0.5, 0.0), (0.0, 2.0, 0.5))
    t = 20
    y, c = points(box, t, 50)
    signal, noise = UNITS.signal(t), UNITS.noise(t)
    expected = torch.zeros(50, dtype=torch.float64)
    offset = y - signal * UNITS.encode_y(UNITS.decode_c(c))
    for k in range(3):
        scale = float(UNITS.y_std[k])
        a, b = box.low[k] * scale, box.high[k] * scale
        law = stats.norm(0, noise * scale)
        x = offset[:, k].numpy() * scale
        mass = law.cdf(x - signal * float(a)) - law.cdf(x - signal * float(b))
        with np.errstate(divide="ignore"):
            expected += torch.from_numpy(np.log(mass / (signal * float(b - a)) * scale))
    near = expected > -600  # the plain formula underflows farther out; ours does not
    torch.testing.assert_close(
        box.log_density(y, t, c)[near & expected.isfinite()],
        expected[near & expected.isfinite()],
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize("name", CASES)
def test_far_away_the_score_points_back_and_stays_finite(name: str) -> None:
    denoiser = CASES[name]
    y = torch.tensor([[1e3, -1e3, 1e3], [-1e3, 1e3, -1e3]])
    for t in (0, 50, 99):
        eps = denoiser(y, t, torch.zeros(2, 3))
        assert torch.isfinite(eps).all()
        assert (eps.sign() == y.sign()).all()  # noise points outwards, the score inwards


class Half(Box):
    """A box with a law of its own is no box."""

    def _draw(self, n: int, generator: torch.Generator) -> torch.Tensor:
        return super()._draw(n, generator) / 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ExactBox(PROCESS, (0.0, 0.0, 1.0), (1.0, 1.0, 1.0)), "low"),
        (lambda: ExactDisc(UNITS, DISC), "same y_std in both horizontal directions"),
        (lambda: ExactMixture(PROCESS, [], [], []), "K >= 1 positive"),
        (lambda: ExactMixture(PROCESS, [1.0], [[0.0, 0.0]], [[[1.0]]]), r"means must be \[1, 3\]"),
        (
            lambda: ExactMixture(PROCESS, [1.0], [[0.0] * 3], -np.eye(3)[None]),
            "positive semi-definite",
        ),
        (lambda: ExactBox(Process.linear(dy=2), (0.0,) * 2, (1.0,) * 2), "dy = dc"),
        *(
            (lambda d=d: ExactBox(PROCESS, (-1.0,) * d, (0.0,) * d), f"dy = dc = {d}, not 3")
            for d in (1, 2, 4)
        ),
        *(
            (lambda d=d: ExactDisc(Process.linear(dy=d, dc=d), DISC), f"Disc of 3 .*, not {d}")
            for d in (1, 2, 4)
        ),
        (lambda: exact_denoiser(Half((-1.0,) * 3, (0.0,) * 3), PROCESS), "region of type Half"),
    ],
)
def test_bad_values_are_named(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()


# --- ends of the schedule, dimensions -------------------------------------------------------------


@pytest.mark.parametrize("half", [1e-18, 1e-9, 1e-6, 3e-5, 9e-5, 1.1e-4, 1e-3, 0.03])
def test_small_boxes_against_many_digits(half: float) -> None:
    """Half-widths around the switch to the series, at points inside and far outside."""
    mpmath = pytest.importorskip("mpmath")
    mpmath.mp.dps = 60
    process = Process.linear(dy=1, dc=1)
    box = ExactBox(process, (-1.0,), (1.0,))
    noise = torch.tensor([[0.9]], dtype=torch.float64)
    signal = torch.tensor([[half * 0.9]], dtype=torch.float64)
    x = torch.tensor([[0.0], [1e-12], [0.3], [-2.0], [9.0], [-40.0]], dtype=torch.float64)
    eps, log_p = box._eps(x, signal, noise), box._log_density(x, signal, noise)
    for i, point in enumerate(x[:, 0].tolist()):
        ends = [(mpmath.mpf(point) + s * float(signal)) / mpmath.mpf(0.9) for s in (1, -1)]
        # Differences of the tails on one side: no digits are lost to 1 - small.
        sign = -1 if point > 0 else 1
        cdf = [mpmath.erfc(-sign * u / mpmath.sqrt(2)) / 2 for u in ends]
        mass = sign * (cdf[0] - cdf[1])
        expected = -(mpmath.npdf(ends[0]) - mpmath.npdf(ends[1])) / mass
        assert float(eps[i]) == pytest.approx(float(expected), rel=1e-9, abs=1e-11)
        density = mpmath.log(mass / (2 * float(signal)))
        assert float(log_p[i]) == pytest.approx(float(density), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("name", ["box", "disc", "mixture"])
def test_at_vanishing_signal_the_noise_is_all_there_is(name: str) -> None:
    process = Process.linear(1000)
    exact = {
        "box": ExactBox(process, (-1.0, -0.5, 0.0), (0.0, 2.0, 0.5)),
        "disc": ExactDisc(process, DISC),
        "mixture": mixture(process),
    }[name]
    y, c = torch.randn(2, 50, 3, generator=generator(7))
    for t in (600, 800, 999):
        assert process.signal(t) < 1e-8
        for found in (exact(y, t, c), exact.bind(c)(y, t)):
            assert (found - y).abs().max() < 2e-5  # tables interpolate within 1e-5


@pytest.mark.parametrize("high", [16.0, 20.0, 30.0])
@pytest.mark.parametrize("region", [Box((-1.0, -1.0, 0.0), (1.0, 1.0, 1.0)), Disc(1.0)])
def test_at_high_signal_tables_are_bounded_and_right(region: Box | Disc, high: float) -> None:
    process = Process.log_snr(10, high, -8.0)
    exact = exact_denoiser(region, process)
    y, c = points(exact, 0)
    y, c = y.float(), c.float()
    for t in range(process.steps):
        expected, found = exact(y, t, c), exact.bind(c)(y, t)
        assert ((found - expected) / expected.abs().clamp(min=1)).abs().max() < 2e-5
        table = exact._table(t)  # type: ignore[attr-defined]
        assert table.values.numel() * 8 < 8 * 2**20  # bytes a step
