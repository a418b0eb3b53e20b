"""A model times a function: on Gaussians the posterior is Kalman's, and everything else follows."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from conftest import generator
from torch import Tensor

from dualdiff.compose import Weighted, guided, joint
from dualdiff.correct import product
from dualdiff.energy import Energy, Observation, twisted
from dualdiff.exact import ExactMixture
from dualdiff.mcmc import MALA
from dualdiff.networks import MLP, Architecture
from dualdiff.process import Process, transition
from dualdiff.resampling import Resampling
from dualdiff.samplers import DDIM, sample

DY, STD = 4, 0.3
PROCESS = Process.log_snr(100, 9.0, -7.0, dy=DY, dc=DY)
MATRIX = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 0.5, 0.0, -1.0]], dtype=torch.float64)
VALUES = torch.tensor([1.0, -0.7], dtype=torch.float64)
NOWHERE = torch.zeros(1, DY)
SMALL = Architecture(width=32, object_frame=False)


def gaussian() -> tuple[Tensor, Tensor]:
    """Mean and covariance of a field, correlated and of unequal variances."""
    root = torch.randn(DY, DY, generator=generator(3), dtype=torch.float64)
    return torch.tensor([0.2, -0.1, 0.4, 0.0], dtype=torch.float64), root @ root.T / 3


def exact(mean: Tensor, covariance: Tensor, process: Process = PROCESS) -> ExactMixture:
    return ExactMixture(process, [1.0], mean[None], covariance[None])


def kalman(mean: Tensor, covariance: Tensor, std: float = STD) -> tuple[Tensor, Tensor]:
    """The Gaussian posterior of the observation."""
    seen = MATRIX @ covariance @ MATRIX.T + std**2 * torch.eye(len(VALUES), dtype=torch.float64)
    gain = covariance @ MATRIX.T @ seen.inverse()
    return mean + gain @ (VALUES - MATRIX @ mean), covariance - gain @ MATRIX @ covariance


def chain(mean: Tensor, covariance: Tensor, process: Process) -> tuple[Tensor, Tensor]:
    """The Gaussian that ancestral steps along the exact score of a Gaussian end in."""
    one = torch.eye(DY, dtype=torch.float64)
    m, s = torch.zeros(DY, dtype=torch.float64), one
    for t, following in pairwise([*reversed(range(process.steps)), -1]):
        step, abar = transition(process, t, following), process.alpha_bar_at(t)
        gain = (abar * covariance + (1 - abar) * one).inverse() * process.noise(t)
        linear = step.scale * one - step.shift * gain
        m = linear @ m + step.shift * gain @ mean * math.sqrt(abar)
        s = linear @ s @ linear.T + (step.beta * one if following >= 0 else 0)
    return m, s


def observed(covariance: Tensor | None = None, std: float = STD) -> Observation:
    return Observation(PROCESS, MATRIX, VALUES, std, covariance)


def agree(samples: Tensor, mean: Tensor, covariance: Tensor) -> None:
    """Moments within four and a half standard errors of independent samples."""
    x, n = samples.double(), len(samples)
    error = (covariance.diagonal() / n).sqrt()
    assert float(((x.mean(0) - mean) / error).abs().max()) < 4.5
    d = covariance.diagonal()
    error = ((covariance**2 + torch.outer(d, d)) / n).sqrt()
    assert float(((x.T.cov() - covariance) / error).abs().max()) < 4.5


# --- the score ----------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", [torch.ones(DY), torch.tensor([2.0, 0.5, 1.0, 3.0])])
def test_with_the_covariance_it_is_the_exact_posterior_at_every_step(unit: Tensor) -> None:
    process = replace(PROCESS, y_std=unit, y_mean=unit / 2)
    mean, covariance = gaussian()
    scaled = covariance / torch.outer(unit, unit).double()
    rule = Energy(
        exact(mean, covariance, process), Observation(process, MATRIX, VALUES, STD, scaled)
    )
    truth = exact(*kalman(mean, covariance), process)
    y = torch.randn(50, DY, generator=generator(0), dtype=torch.float64) * 2
    # Exact members see targets as offsets from the condition, which stands at 0 here.
    c = process.encode_c(torch.zeros(50, DY))
    for t in (0, 1, 20, 50, 80, 99):
        torch.testing.assert_close(rule(y, t, c), truth(y, t, c), rtol=1e-6, atol=1e-6)


def test_a_step_of_its_own_for_every_row() -> None:
    rule = Energy(exact(*gaussian()), observed())
    y, c = torch.randn(40, DY, generator=generator(0)), torch.zeros(40, DY)
    t = torch.randint(100, (40,), generator=generator(1))
    rows = [rule(y[k : k + 1], int(t[k]), c[k : k + 1]) for k in range(40)]
    torch.testing.assert_close(rule(y, t, c), torch.cat(rows))
    torch.testing.assert_close(rule(y[:3], torch.tensor([5, 5, 5]), c[:3]), rule(y[:3], 5, c[:3]))


@pytest.mark.parametrize("jacobian", [True, False])
def test_the_gradient_is_that_of_finite_differences(jacobian: bool) -> None:
    network = MLP(PROCESS, SMALL, generator(2)).double()
    rule = Energy(network, lambda y, noise: -(y**4).sum(1) / (1 + noise), jacobian=jacobian)
    y = torch.randn(3, DY, generator=generator(0), dtype=torch.float64) / 4
    c, t, small = torch.zeros(3, DY, dtype=torch.float64), 40, 1e-5
    noise, signal = PROCESS.noise(t), PROCESS.signal(t)

    def log_h(moved: Tensor) -> Tensor:
        eps = network(moved if jacobian else y, t, c)
        return rule.function((moved - noise * eps) / signal, noise)

    with torch.no_grad():
        moves = [small * row for row in torch.eye(DY, dtype=torch.float64)]
        slope = torch.stack([(log_h(y + m) - log_h(y - m)) / (2 * small) for m in moves], 1)
        torch.testing.assert_close(rule.guide(y, t, c).gradient, slope, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(rule(y, t, c), network(y, t, c) - noise * slope)


def test_an_energy_around_an_energy_sees_through_it() -> None:
    inner = Energy(exact(*gaussian()), lambda y, noise: -(y**4).sum(1))
    rule = Energy(inner, lambda y, noise: y[:, 0] ** 3 * noise)
    y, t, small = torch.randn(3, DY, generator=generator(0), dtype=torch.float64), 50, 1e-5
    c = torch.zeros(3, DY, dtype=torch.float64)
    noise, signal = PROCESS.noise(t), PROCESS.signal(t)

    def log_h(moved: Tensor) -> Tensor:
        return rule.function((moved - noise * inner(moved, t, c)) / signal, noise)

    moves = [small * row for row in torch.eye(DY, dtype=torch.float64)]
    slope = torch.stack([(log_h(y + m) - log_h(y - m)) / (2 * small) for m in moves], 1)
    torch.testing.assert_close(rule.guide(y, t, c).gradient, slope, rtol=1e-6, atol=1e-8)


def test_a_function_that_says_nothing_changes_nothing() -> None:
    prior = exact(*gaussian())
    rule = Energy(prior, lambda y, noise: 0 * y.sum(1))
    torch.testing.assert_close(
        sample(rule, NOWHERE, generator(0), draws=50),
        sample(prior, NOWHERE, generator(0), draws=50),
    )


def test_weights_are_powers_of_the_function() -> None:
    prior, h = exact(*gaussian()), observed(torch.zeros(DY, DY))
    rule = guided(prior, {"h": Energy(prior, h)}, {"h": 0.4})
    power = Energy(prior, lambda y, noise: 0.4 * h(y, noise))
    y, c = torch.randn(20, DY, generator=generator(0)), torch.zeros(20, DY)
    torch.testing.assert_close(rule(y, 30, c), power(y, 30, c))
    assert rule.start_std == pytest.approx(1)


def test_the_clean_target_of_a_sum_is_that_of_its_mean_noise() -> None:
    """Two equal members with weights of one half each, or one each: one expects the same."""
    prior, seen = exact(*gaussian()), list[Tensor]()

    def look(y: Tensor, noise: float) -> Tensor:
        seen.append(y.detach())
        return 0 * y.sum(1)

    y, c = torch.randn(20, DY, generator=generator(0)), torch.zeros(20, DY)
    Energy(prior, look)(y, 60, c)
    Energy(joint(prior, exact(*gaussian())), look)(y, 60, c)
    torch.testing.assert_close(*seen)


# --- samples ------------------------------------------------------------------------------------


def test_guided_samples_follow_the_posterior_up_to_steps() -> None:
    mean, covariance = gaussian()
    rule = Energy(exact(mean, covariance), observed(covariance))
    found = sample(rule, NOWHERE, generator(0), draws=20_000)[0]
    truth = sample(exact(*kalman(mean, covariance)), NOWHERE, generator(0), draws=20_000)[0]
    torch.testing.assert_close(found, truth, rtol=1e-3, atol=1e-3)  # step by step
    agree(found, *chain(*kalman(mean, covariance), PROCESS))


@pytest.mark.parametrize("sigma", ["identity", "zeros"])
def test_smc_mends_every_way_to_see_noised_targets(sigma: str) -> None:
    """The law is the chain's times h, whatever twists it; the plain samples have another one."""
    mean, covariance = gaussian()
    known = {"identity": None, "zeros": torch.zeros(DY, DY)}[sigma]
    # Not too sharp, so that few particles are enough.
    rule, groups = Energy(exact(mean, covariance), observed(known, 0.8)), Resampling(100)
    c = NOWHERE.expand(4_000, -1)
    found = twisted(rule, c, generator(1), resampling=groups, keep=1)
    assert found.samples.shape == (4_000, 1, DY) and found.calls == 100
    right = kalman(*chain(mean, covariance, PROCESS), std=0.8)
    agree(found.samples[:, 0], *right)
    # What weights mend, in the same unit.
    plain = sample(rule, NOWHERE, generator(2), draws=20_000)[0].double()
    error = (right[1].diagonal() / 4_000).sqrt()
    assert float(((plain.mean(0) - right[0]) / error).abs().max()) > 6


def test_moves_lead_to_the_product_too() -> None:
    """Where guidance alone is off; the last moves are at the least noise."""
    mean, covariance = gaussian()
    rule = Energy(exact(mean, covariance), observed(torch.zeros(DY, DY), 0.8))
    moves = MALA(moves=20, step_size=0.5)
    found = product(rule, NOWHERE, generator(3), draws=4_000, weights=None, mcmc=moves)
    assert float(found.accepted.mean()) > 0.5
    m, s = kalman(mean, covariance, 0.8)
    error = (s.diagonal() / 4_000).sqrt()
    plain = sample(rule, NOWHERE, generator(2), draws=20_000)[0]
    off = [float(((x.double().mean(0) - m) / error).abs().max()) for x in (found.samples[0], plain)]
    assert off[0] < 4.5 and off[1] > 9


def test_deterministic_samplers_and_sums_take_it() -> None:
    prior = exact(*gaussian())
    rule = Energy(prior, observed(gaussian()[1]))
    assert sample(rule, NOWHERE, generator(0), sampler=DDIM(), draws=3).shape == (1, 3, DY)
    both = joint(rule, exact(*gaussian()))
    assert sample(both, NOWHERE, generator(0), draws=3).shape == (1, 3, DY)
    with torch.inference_mode():
        inside = sample(rule, NOWHERE, generator(0), draws=3)
    assert torch.equal(inside, sample(rule, NOWHERE, generator(0), draws=3))


def test_chunks_and_threads_change_no_sample() -> None:
    rule = Energy(exact(*gaussian()), observed())
    groups, c = Resampling(8), torch.zeros(300, DY)
    threads = torch.get_num_threads()
    found = [
        twisted(rule, c, generator(0), resampling=groups, chunk=size).samples
        for size in (1_024, 4_096)
    ]
    try:
        torch.set_num_threads(2)
        found.append(twisted(rule, c, generator(0), resampling=groups, chunk=1_024).samples)
    finally:
        torch.set_num_threads(threads)
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], rtol=1e-3, atol=1e-3)


# --- refusals -----------------------------------------------------------------------------------


def test_wrong_experts_are_refused() -> None:
    prior = exact(*gaussian())
    with pytest.raises(ValueError, match="prior is a int, not a Denoiser"):
        Energy(3, observed())  # type: ignore[arg-type]
    y, c = torch.zeros(5, DY), torch.zeros(5, DY)
    for wrong, words in (
        (lambda y, noise: y.sum(), r"one number per row, \[5\], not \[\]"),
        (lambda y, noise: y, r"one number per row, \[5\], not \[5, 4\]"),
        (lambda y, noise: 3.0, "one number per row, .* not a float"),
    ):
        with pytest.raises(ValueError, match=words):
            Energy(prior, wrong)(y, 3, c)  # type: ignore[arg-type]
    rule = Energy(prior, observed())
    with pytest.raises(TypeError, match="rule must be an Energy, not ExactMixture"):
        twisted(prior, NOWHERE, generator(0), resampling=Resampling(4))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="keep must be from 1 to the group's 4, not 5"):
        twisted(rule, NOWHERE, generator(0), resampling=Resampling(4), keep=5)
    with pytest.raises(ValueError, match="sampler must be DDPM with variance 'beta'"):
        twisted(rule, NOWHERE, generator(0), resampling=Resampling(4), sampler=DDIM())  # type: ignore[arg-type]
    with pytest.raises(FloatingPointError, match="not finite"):
        mad = Energy(prior, lambda y, noise: y.sum(1) * 1e30)
        twisted(mad, NOWHERE, generator(0), resampling=Resampling(4))


def test_wrong_observations_are_refused() -> None:
    eye = torch.eye(DY)
    for given, words in (
        ((MATRIX[:, :3], VALUES, 1.0), r"y must have shape \[..., 4\], not \[2, 3\]"),
        ((MATRIX, VALUES[:1], 1.0), r"matrix must be \[m, 4\] and values \[m\]"),
        ((MATRIX[:0], VALUES[:0], 1.0), "with m >= 1"),
        ((MATRIX, VALUES * math.nan, 1.0), "must be finite"),
        ((MATRIX, VALUES, 0.0), "std must be positive and finite, not 0"),
        ((MATRIX, VALUES, math.inf), "std must be positive and finite, not inf"),
        ((MATRIX, VALUES, 1.0, eye[:2]), r"covariance must be symmetric, \[4, 4\], not \[2, 4\]"),
        ((MATRIX, VALUES, 1.0, eye.roll(1, 0)), "covariance must be symmetric"),
        ((MATRIX, VALUES, 1.0, -eye), "covariance must be positive semi-definite"),
    ):
        with pytest.raises(ValueError, match=words):
            Observation(PROCESS, *given)  # type: ignore[arg-type]


def test_a_sum_with_an_energy_is_flat_as_it_is() -> None:
    """It is one density, so a correction takes it for one member."""
    rule = joint(Energy(exact(*gaussian()), observed()), exact(*gaussian()))
    assert isinstance(rule, Weighted) and len(rule.flat().members) == 2
