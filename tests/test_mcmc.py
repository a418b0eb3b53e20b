"""Markov moves: densities they leave alone, and decisions taken with scores alone."""

import math
from collections.abc import Callable

import pytest
import torch
from conftest import generator
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from dualdiff.mcmc import HMC, MALA, ULA, Kernel, Move, log_ratio

# A skewed mixture: under a symmetric density a wrong sign of the drift would go unseen.
WEIGHTS, CENTRES, SPREADS = torch.tensor([[0.7, 0.3], [-0.6, 1.1], [0.4, 0.8]]).double()


def log_density(y: torch.Tensor) -> torch.Tensor:
    """The mixture in the first coordinate; in the others the same, mirrored."""
    signs = torch.ones(y.shape[1]).double()
    signs[1:] = -1
    z = ((y * signs).unsqueeze(2) - CENTRES) / SPREADS
    return (WEIGHTS.log() - SPREADS.log() - z**2 / 2).logsumexp(2).sum(1) - y.shape[1] * LOG_ROOT


LOG_ROOT = 0.5 * math.log(2 * math.pi)


def score(y: torch.Tensor) -> torch.Tensor:
    with torch.enable_grad():
        y = y.detach().requires_grad_()
        return torch.autograd.grad(log_density(y).sum(), y)[0]


def exact_draws(n: int, d: int, seed: int) -> torch.Tensor:
    source = generator(seed)
    right = (torch.rand(n, d, generator=source) < WEIGHTS[1]).long()
    y = CENTRES[right] + SPREADS[right] * torch.randn(n, d, generator=source).double()
    y[:, 1:] *= -1
    return y


def cdf(x):  # type: ignore[no-untyped-def]
    parts = zip(WEIGHTS.tolist(), CENTRES.tolist(), SPREADS.tolist(), strict=True)
    return sum(w * stats.norm.cdf(x, m, s) for w, m, s in parts)


class Numbers:
    """Float64 random numbers for ``n`` samples, and a copy of all that were given out."""

    def __init__(self, n: int, d: int, seed: int) -> None:
        self.n, self.d, self.source = n, d, generator(seed)
        self.normal: list[torch.Tensor] = []
        self.unit: list[torch.Tensor] = []

    def __call__(self) -> torch.Tensor:
        self.normal.append(torch.randn(self.n, self.d, generator=self.source).double())
        return self.normal[-1].clone()

    def uniform(self) -> torch.Tensor:
        self.unit.append(torch.rand(self.n, generator=self.source).double())
        return self.unit[-1].clone()


def run(kernel: Kernel, y: torch.Tensor, seed: int, score: Callable = score) -> Move:  # type: ignore[type-arg]
    return kernel.run(score, y, score(y), Numbers(*y.shape, seed), variance=1.0, beta=1.0)


EXACT = {  # acceptance between a half and 0.9, so that a wrong decision shows
    "mala": MALA(30, 0.25, points=5),
    "mala, default points": MALA(30, 0.25),
    "hmc": HMC(12, 0.1, points=5, leapfrog=4),
    "hmc, default points": HMC(12, 0.1, leapfrog=4),
}


@pytest.mark.parametrize("name", EXACT)
def test_moves_leave_the_density_alone(name: str) -> None:
    """Exact draws stay exact draws: means, second and third moments, and the whole law."""
    n = 10_000
    start = exact_draws(n, 2, 1)
    end = run(EXACT[name], start, 2)
    assert 0.5 < float(end.accepted.mean()) < 0.95
    for d, sign in enumerate((1, -1)):
        y = sign * end.y[:, d]
        truth = [float((WEIGHTS * m).sum()) for m in _moments()]
        for k, moment in enumerate(truth, start=1):
            assert abs((y**k).mean() - moment) < 4 * (y**k).std() / math.sqrt(n)
        assert stats.kstest(y.numpy(), cdf).pvalue > 1e-3
    # They have moved: the samples are no longer those they were.
    assert abs(torch.corrcoef(torch.stack([start[:, 0], end.y[:, 0]]))[0, 1]) < 0.9
    torch.testing.assert_close(end.score, score(end.y))


def _moments() -> list[torch.Tensor]:
    m, v = CENTRES, SPREADS**2
    return [m, m**2 + v, m**3 + 3 * m * v]


@pytest.mark.parametrize("h", [0.5, 0.1])
def test_ula_has_the_bias_that_is_known(h: float) -> None:
    """On N(0, 1) it is an autoregression: variance 1 / (1 - h / 2), which tends to 1 with h."""
    n = 40_000
    start = math.sqrt(1 / (1 - h / 2)) * torch.randn(n, 1, generator=generator(3)).double()
    end = run(ULA(10, h), start, 4, score=lambda y: -y)
    error = math.sqrt(2 / n) / (1 - h / 2)
    variance = float((end.y**2).mean())
    assert abs(variance - 1 / (1 - h / 2)) < 4 * error
    assert variance - 1 > 4 * error
    assert (end.accepted - 1).abs().max() < 1e-5


# --- decisions ----------------------------------------------------------------------------------


def brute_force(kernel: Kernel, y: torch.Tensor, numbers: Numbers) -> tuple[torch.Tensor, ...]:
    """One move with the true log densities and the numbers that the kernel has used."""
    h, z, u = kernel.step_size, numbers.normal[0], numbers.unit[0]
    if isinstance(kernel, MALA):
        new = y + h * score(y) + math.sqrt(2 * h) * z

        def proposal(to: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
            mean = at + h * score(at)
            return torch.distributions.Normal(mean, math.sqrt(2 * h)).log_prob(to).sum(1)

        log_odds = log_density(new) - log_density(y) + proposal(y, new) - proposal(new, y)
    else:
        assert isinstance(kernel, HMC)
        step, new, p = math.sqrt(2 * h), y, z
        for _ in range(kernel.leapfrog):
            p = p + step / 2 * score(new)
            new = new + step * p
            p = p + step / 2 * score(new)
        energy = [log_density(a) - (b**2).sum(1) / 2 for a, b in ((y, z), (new, p))]
        log_odds = energy[1] - energy[0]
    taken = u.log() < log_odds
    return torch.where(taken.unsqueeze(1), new, y), taken, log_odds.clamp(max=0).exp()


@pytest.mark.parametrize("kernel", [MALA(1, 0.25, points=8), HMC(1, 0.1, points=8, leapfrog=4)])
def test_decisions_are_those_of_the_true_density(kernel: Kernel) -> None:
    """The same moves and the same mean acceptance as with log densities in place of scores."""
    n = 5_000
    y, numbers = exact_draws(n, 2, 7), Numbers(n, 2, 8)
    found = kernel.run(score, y, score(y), numbers, variance=1.0, beta=1.0)
    expected, taken, probability = brute_force(kernel, y, numbers)
    wrong = found.accepted.bool() != taken
    assert wrong.double().mean() < 1e-3  # quadrature error of about 1e-4 in the log odds
    torch.testing.assert_close(found.y[~wrong], expected[~wrong])
    error = math.sqrt(float((probability * (1 - probability)).mean()) / n)
    assert abs(float(found.accepted.double().mean() - probability.mean())) < 4 * error


@pytest.mark.parametrize("kernel", [MALA(1, 0.25), HMC(1, 0.1)])
def test_proposals_that_are_not_finite_are_refused(kernel: Kernel) -> None:
    """Rows where the score breaks stay where they are, and do not touch the others."""
    y = exact_draws(300, 2, 13)
    wall = 1.0

    def broken(x: torch.Tensor) -> torch.Tensor:
        return score(x).masked_fill((x[:, :1] > wall).expand_as(x), math.nan)

    y = y[y[:, 0] < wall]
    found, sound = run(kernel, y, 14, broken), run(kernel, y, 14)
    assert torch.isfinite(found.y).all() and (found.y[:, 0] <= wall).all()
    crossed = sound.y[:, 0] > wall
    assert crossed.any() and torch.equal(found.y[crossed], y[crossed])
    same = (found.y == sound.y).all(1)
    assert same.double().mean() > 0.7


# --- log ratios from scores ---------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 8), st.floats(-1.5, 1.5), st.floats(-1.5, 1.5))
def test_log_ratio_is_exact_for_polynomials(points: int, start: float, end: float) -> None:
    """log p = (y - 0.3)^k / k, k = 2 points - 2: a score of degree 2 points - 3."""
    a, b = torch.tensor([[start, 0.5]]).double(), torch.tensor([[end, -0.2]]).double()
    k = 2 * points - 2

    def gradient(y: torch.Tensor) -> torch.Tensor:
        return (y - 0.3) ** (k - 1)

    found = log_ratio(gradient, a, b, gradient(a), gradient(b), points)
    expected = (((b - 0.3) ** k - (a - 0.3) ** k) / k).sum(1)
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


# --- the loop -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "calls"),
    [
        (ULA(5), 5),
        (MALA(5, points=2), 5),
        (MALA(5), 10),
        (HMC(2, leapfrog=3), 12),
        (HMC(1, points=4, leapfrog=2), 6),
    ],
)
def test_calls_of_the_score(kernel: Kernel, calls: int) -> None:
    count = 0

    def counted(y: torch.Tensor) -> torch.Tensor:
        nonlocal count
        count += 1
        return score(y)

    y = exact_draws(10, 2, 17)
    kernel.run(counted, y, score(y), Numbers(10, 2, 18), variance=1.0, beta=1.0)
    assert count == calls


@pytest.mark.parametrize("kind", [ULA, MALA, HMC])
def test_the_step_is_in_units_of_the_noise(kind: type[Kernel]) -> None:
    y = exact_draws(50, 2, 19)
    plain = kind(3, 0.1).run(score, y, score(y), Numbers(50, 2, 20), variance=7.0, beta=1.0)
    for tied, unused in (("variance", "beta"), ("beta", "variance")):
        options = {tied: 0.5, unused: 9.0}
        kernel = kind(3, 0.2, tied)
        scaled = kernel.run(score, y, score(y), Numbers(50, 2, 20), **options)
        torch.testing.assert_close(scaled.y, plain.y)
    assert not torch.equal(plain.y, y)


def test_accepted_is_the_share_of_moves() -> None:
    y = exact_draws(500, 2, 21)
    accepted = run(MALA(4, 0.4), y, 22).accepted
    assert set((4 * accepted).tolist()) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MALA(0), "moves=0"),
        (lambda: MALA(points=1), "points=1"),
        (lambda: ULA(step_size=0.0), "step_size must be positive and finite, not 0.0"),
        (lambda: ULA(step_size=math.nan), "step_size must be positive and finite, not nan"),
        (lambda: HMC(step_size=math.inf), "step_size must be positive and finite, not inf"),
        (lambda: MALA(tied="sigma"), "tied must be 'variance' or 'beta', not 'sigma'"),
        (lambda: HMC(leapfrog=0), "leapfrog must be at least 1, not 0"),
        (lambda: HMC(points=2), "HMC needs points of at least 3, not 2"),
    ],
)
def test_bad_kernels_are_named(make, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        make()
