"""The error of finite steps, for products of Gaussians: many particles are Gaussian, too.

A weight that is quadratic in the state, and a step that is linear in it, keep a Gaussian one, so
means and variances follow a recursion over the steps.
"""

import math
from itertools import pairwise

import pytest
import torch

from dualdiff.compose import Weighted
from dualdiff.correct import product
from dualdiff.exact import ExactMixture
from dualdiff.process import Process
from dualdiff.resampling import Resampling

MEANS, VARIANCES, WEIGHTS = (0.0, 2.0), (1.0, 0.25), (2.0, 1.0)
PRECISION = sum(w / v for w, v in zip(WEIGHTS, VARIANCES, strict=True))
TRUTH = sum(w * m / v for w, m, v in zip(WEIGHTS, MEANS, VARIANCES, strict=True)) / PRECISION
"""Mean of N(0, 1)^2 x N(2, 1/4): 4/3, and its variance 1 / PRECISION = 1/6."""


def process(steps: int) -> Process:
    """The same noise in finer or coarser steps."""
    return Process.linear(steps, 0.1 / steps, 20 / steps, dy=1, dc=1)


def members(over: Process, t: int) -> list[tuple[float, float, float]]:
    """Slope and intercept of every member's noise prediction at step t, and its weight."""
    abar, noise = over.alpha_bar_at(t), over.noise(t)
    found = []
    for w, m, v in zip(WEIGHTS, MEANS, VARIANCES, strict=True):
        spread = abar * v + 1 - abar
        found.append((noise / spread, -noise * math.sqrt(abar) * m / spread, w))
    return found


def tilted(mean: float, variance: float, a: float, b: float) -> tuple[float, float]:
    """A Gaussian times exp(a y^2 + b y)."""
    new = 1 / (1 / variance - 2 * a)
    return new * (mean / variance + b), new


def feynman_kac(steps: int, weigh: bool = True) -> tuple[float, float]:
    """Mean and variance of infinitely many particles with Feynman-Kac weights."""
    over = process(steps)
    mean, variance = 0.0, 1 / sum(WEIGHTS)
    for t, following in pairwise([*range(steps - 1, -1, -1), -1]):
        abar, before = over.alpha_bar_at(t), over.alpha_bar_at(following)
        beta, noise = 1 - abar / before, over.noise(t)
        own = members(over, t)
        slope, shift = sum(w * k for k, _, w in own), sum(w * d for _, d, w in own)
        if weigh:
            scale = beta / (2 * noise**2)
            a = scale * (slope**2 - sum(w * k * k for k, _, w in own))
            b = 2 * scale * (slope * shift - sum(w * k * d for k, d, w in own))
            mean, variance = tilted(mean, variance, a, b)
        shrink = (1 - beta / noise * slope) / math.sqrt(1 - beta)
        mean = shrink * mean - beta / noise * shift / math.sqrt(1 - beta)
        variance = shrink**2 * variance + beta * (following >= 0)
    return mean, variance


def rne(steps: int) -> tuple[float, float]:
    """The same with RNE weights: the kernel that is sampled cancels, and what is left is the joint
    Gaussian of state and next state under the members' kernels over the forward kernel."""
    over = process(steps)
    total, mean, variance = sum(WEIGHTS), 0.0, 1 / sum(WEIGHTS)
    for t in range(steps - 1, 0, -1):
        abar, before = over.alpha_bar_at(t), over.alpha_bar_at(t - 1)
        beta, noise = 1 - abar / before, over.noise(t)
        keep = math.sqrt(1 - beta)
        matrix = torch.zeros(2, 2, dtype=torch.float64)
        vector = torch.zeros(2, dtype=torch.float64)
        matrix[0, 0], vector[0] = 1 / variance, mean / variance
        for k, d, w in members(over, t):
            row = torch.tensor([-(1 - beta / noise * k) / keep, 1.0], dtype=torch.float64)
            matrix += w * torch.outer(row, row) / beta
            vector += w * row * (-beta / noise * d / keep) / beta
        row = torch.tensor([1.0, -keep], dtype=torch.float64)
        matrix -= (total - 1) * torch.outer(row, row) / beta
        covariance = matrix.inverse()
        mean, variance = float((covariance @ vector)[1]), float(covariance[1, 1])
    abar, noise = over.alpha_bar_at(0), over.noise(0)
    slope = sum(w * k for k, _, w in members(over, 0))
    shift = sum(w * d for _, d, w in members(over, 0))
    scale = math.sqrt(abar)
    return (mean - noise * (slope * mean + shift)) / scale, (
        1 - noise * slope
    ) ** 2 * variance / abar


def test_many_particles_follow_the_recursion() -> None:
    """Not with RNE weights: their tails are so heavy that the means of 128,000 differ by 0.05."""
    steps, groups, group = 100, 256, 1_000
    over = process(steps)
    pairs = zip("ab", MEANS, VARIANCES, strict=True)
    some = {name: ExactMixture(over, [1.0], [[m]], [[[v]]]) for name, m, v in pairs}
    rule = Weighted(some, dict(zip("ab", WEIGHTS, strict=True)))
    run = product(
        rule,
        torch.zeros(groups, 1),
        torch.Generator().manual_seed(0),
        draws=group,
        resampling=Resampling(group),
    )
    y = run.samples[..., 0].double()
    mean, variance = feynman_kac(steps)
    for found, expected in ((y.mean(1), mean), (y.var(1), variance)):
        error = float(found.std() / math.sqrt(groups))
        bias = 3 / group  # of finitely many particles
        assert abs(float(found.mean()) - expected) < 4 * error + bias
        assert 4 * error + bias < 0.02
    assert TRUTH - mean > 0.04  # so it is finite steps, not particles, that is seen


@pytest.mark.parametrize("law", [feynman_kac, rne])
def test_the_error_of_the_mean_is_of_first_order(law) -> None:  # type: ignore[no-untyped-def]
    gaps = [TRUTH - law(steps)[0] for steps in (400, 800, 1600, 3200)]
    ratios = [before / after for before, after in pairwise(gaps)]
    assert ratios[-1] == pytest.approx(2, abs=0.05)


def test_the_means_are_those_that_the_manual_of_product_names() -> None:
    found = [feynman_kac(100), feynman_kac(200), feynman_kac(100, weigh=False), rne(100), rne(200)]
    assert [f"{mean:.3f}" for mean, _ in found] == ["1.292", "1.310", "1.153", "1.317", "1.325"]
    assert f"{2 * found[1][0] - found[0][0]:.3f}" == "1.327"


def test_rne_weights_err_less_and_extrapolation_takes_the_first_order_away() -> None:
    for steps in (50, 100, 200, 400):
        gap = {law: abs(TRUTH - law(steps)[0]) for law in (feynman_kac, rne)}
        assert gap[rne] < 0.55 * gap[feynman_kac]
        twice = 2 * feynman_kac(2 * steps)[0] - feynman_kac(steps)[0]
        assert abs(TRUTH - twice) < 0.25 * gap[feynman_kac]
    assert abs(TRUTH - feynman_kac(100, weigh=False)[0]) > 4 * abs(TRUTH - feynman_kac(100)[0])
