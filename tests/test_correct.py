"""Feynman-Kac weights: they turn samples of the sum into samples of the product."""

import math
from itertools import pairwise

import pytest
import torch
from conftest import generator
from hypothesis import given, settings
from hypothesis import strategies as st

from dualdiff.compose import Weighted, joint
from dualdiff.correct import effective_share, product
from dualdiff.exact import ExactMixture
from dualdiff.process import Process
from dualdiff.samplers import DDPM, sample

CONDITION = torch.tensor([[0.5, -1.0, 2.0]])


def gaussian(process: Process, mean: list[float], variance: float) -> ExactMixture:
    return ExactMixture(process, [1.0], [mean], variance * torch.eye(3).double()[None])


def test_samples_are_those_of_the_plain_sum() -> None:
    process = Process.linear()
    rule = joint(gaussian(process, [1, 0, 0], 0.5), gaussian(process, [0, 1, 0], 2.0))
    c = torch.randn(7, 3, generator=generator(1))
    run = product(rule, c, generator(2), draws=5, start_std=1.0)
    plain = sample(rule, c, generator(2), draws=5)
    torch.testing.assert_close(run.samples, plain)
    assert run.log_weights.shape == run.disagreement.shape == (7, 5)


def test_chunks_do_not_change_a_weight() -> None:
    process = Process.linear()
    rule = joint(gaussian(process, [1, 0, 0], 0.5), gaussian(process, [0, 1, 0], 2.0))
    c = torch.randn(60, 3, generator=generator(1))
    one, other = (product(rule, c, generator(2), draws=50, chunk=size) for size in (1024, 10_000))
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("start_std", [None, 1.0])
@pytest.mark.parametrize("weights", [(1.0, 1.0), (0.5, 2.5)])
def test_weights_restore_the_variance_of_the_product_that_the_sum_misses(
    weights: tuple[float, float], start_std: float | None
) -> None:
    """Members that stay N(0, 1) under noise: the product is N(0, 1 / B) at every step, exactly.

    The sum's own chain is pulled in further, to a variance near 1 / (2 B - 1). A total noise of 1
    keeps the weights' tails light. The tolerance is four standard errors, plus what changes from 50
    to 100 steps (the error is of first order in the step, so as much again is left).
    """
    truth = 1 / sum(weights)
    estimates, error, plain = [], 0.0, 0.0
    for steps in (50, 100):
        process = Process.linear(steps, 0.1 / steps, 1.9 / steps, dy=1, dc=1)
        member = ExactMixture(process, [1.0], [[0.0]], [[[1.0]]])
        rule = Weighted({"a": member, "b": member}, dict(zip("ab", weights, strict=True)))
        run = product(rule, torch.zeros(1, 1), generator(3), draws=40_000, start_std=start_std)
        squares = run.samples.double().view(-1) ** 2
        w = torch.softmax(run.log_weights.double().view(-1), 0)
        estimates.append(float((w * squares).sum()))
        error, plain = float((w * (squares - estimates[-1])).norm()), float(squares.mean())
    drift = abs(estimates[1] - estimates[0])
    assert abs(estimates[1] - truth) < 4 * error + drift
    assert drift < 0.05 * truth and abs(plain - truth) > 10 * error


def test_identical_members_that_share_one_weight_need_no_correction() -> None:
    member = gaussian(Process.linear(), [1, 0, 0], 0.5)
    rule = Weighted({"a": member, "b": member}, {"a": 0.25, "b": 0.75})
    run = product(rule, CONDITION, generator(4), draws=100)
    torch.testing.assert_close(run.log_weights, torch.zeros(1, 100), atol=1e-4, rtol=0)
    assert run.disagreement.abs().max() < 1e-10


def test_increment_of_two_unit_weights_is_the_inner_product() -> None:
    """One step from one state: beta / sigma^2 <eps_g, eps_s>, the formula of the source."""
    process = Process.linear(1, 0.3, 0.3)
    a, b = gaussian(process, [1, 0, 0], 0.5), gaussian(process, [0, 1, 0], 2.0)
    run = product(joint(a, b), CONDITION, generator(5), draws=10)
    # The start as the sampler draws it: one stream for the first block of samples.
    seeds = torch.randint(2**62, (1,), generator=generator(5)).tolist()
    y = torch.empty(10, 3).normal_(generator=generator(seeds[0])) / math.sqrt(2)
    c = CONDITION.expand(10, -1)
    expected = 0.3 / 0.3 * (a(y, 0, c) * b(y, 0, c)).sum(1)
    torch.testing.assert_close(run.log_weights[0], expected, atol=1e-4, rtol=1e-4)


def test_members_that_disagree_more_are_farther_apart() -> None:
    process = Process.linear()
    values = []
    for distance in (0.0, 1.0, 4.0):
        rule = joint(gaussian(process, [0, 0, 0], 0.5), gaussian(process, [distance, 0, 0], 0.5))
        run = product(rule, CONDITION, generator(6), draws=200)
        values.append((float(run.disagreement.mean()), -float(run.log_weights.mean())))
    for (low, light), (high, heavy) in pairwise(values):
        assert low < high and light < heavy


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20), st.floats(-1000, 1000))
def test_effective_share_is_between_one_sample_and_all(values: list[float], shift: float) -> None:
    log_weights = torch.tensor([values])
    share = float(effective_share(log_weights))
    assert 1 / len(values) - 1e-6 <= share <= 1 + 1e-6
    shifted = float(effective_share(log_weights + shift))
    assert shifted == pytest.approx(share, rel=1e-3)  # float32 near 1000
    equal = torch.full((1, len(values)), shift)
    assert float(effective_share(equal)) == pytest.approx(1)


def test_effective_share_of_known_weights() -> None:
    weights = torch.tensor([[1.0, 1.0, 2.0], [1.0, 0.0, 0.0]]).log().clamp(min=-1e4)
    expected = [16 / (3 * 6), 1 / 3]
    assert effective_share(weights).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("bad", [torch.zeros(3), torch.full((1, 2), math.nan)])
def test_bad_weights_are_refused(bad: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="log_weights must"):
        effective_share(bad)


def test_fewer_steps_use_the_betas_between_the_steps_visited() -> None:
    """Members equal to each other: the weight is sum beta/sigma^2 |eps|^2 at any spacing."""
    process = Process.linear()
    member = gaussian(process, [0, 0, 0], 1.0)  # noised it stays N(0, I), so eps = sigma y
    rule = joint(member, member)
    totals = []
    for steps in (50, 100):
        run = product(rule, CONDITION, generator(7), draws=4000, sampler=DDPM(steps))
        totals.append(float(run.log_weights.mean()))
    assert totals[0] == pytest.approx(totals[1], rel=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"draws": 0}, "draws must be at least 1"), ({"start_std": -1.0}, "start_std must be")],
)
def test_bad_requests_are_refused(change: dict, message: str) -> None:  # type: ignore[type-arg]
    member = gaussian(Process.linear(), [0, 0, 0], 1.0)
    with pytest.raises(ValueError, match=message):
        product(joint(member, member), CONDITION, generator(8), **change)


def test_a_denoiser_that_is_no_sum_is_refused() -> None:
    member = gaussian(Process.linear(), [0, 0, 0], 1.0)
    with pytest.raises(TypeError, match="rule must be a Weighted sum of members, not ExactMixture"):
        product(member, CONDITION, generator(8))  # type: ignore[arg-type]
