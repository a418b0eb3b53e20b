"""Laws of composition."""

import math

import pytest
import torch
from conftest import generator, mixture, standardised
from hypothesis import given
from hypothesis import strategies as st

from dualdiff.compose import Weighted, joint
from dualdiff.denoisers import MLP, Architecture
from dualdiff.exact import ExactBox, ExactMixture
from dualdiff.process import Process

PROCESS = Process.linear(40)
A, B = (MLP(PROCESS, Architecture(16, 1), generator(seed)).eval() for seed in (1, 2))
BOX = ExactBox(PROCESS, (-1.0, -1.0, 0.0), (0.0, 0.0, 0.5))
Y, C = torch.randn(2, 32, 3, generator=generator(3))
T = 11
weight = st.floats(0.05, 4)


def eps(denoiser, bound: bool = False) -> torch.Tensor:  # type: ignore[no-untyped-def]
    with torch.no_grad():
        return denoiser.bind(C)(Y, T) if bound else denoiser(Y, T, C)


@pytest.mark.parametrize("bound", [False, True])
def test_weights_one_and_zero_give_the_member_exactly(bound: bool) -> None:
    assert torch.equal(eps(Weighted({"a": A, "b": B}, {"a": 1, "b": 0}), bound), eps(A, bound))


@given(weight, weight, weight)
def test_order_of_members_does_not_matter(a: float, b: float, c: float) -> None:
    one = Weighted({"a": A, "b": B, "box": BOX}, {"a": a, "b": b, "box": c})
    two = Weighted({"box": BOX, "b": B, "a": A}, {"a": a, "b": b, "box": c})
    torch.testing.assert_close(eps(one), eps(two))


@given(weight, weight, weight)
def test_nesting_multiplies_weights(outer: float, a: float, b: float) -> None:
    inner = Weighted({"a": A, "b": B}, {"a": a, "b": b})
    nested = Weighted({"inner": inner, "box": BOX}, {"inner": outer, "box": 1})
    flat = Weighted({"a": A, "b": B, "box": BOX}, {"a": outer * a, "b": outer * b, "box": 1})
    torch.testing.assert_close(eps(nested), eps(flat), rtol=1e-4, atol=1e-5)


@given(weight, weight)
def test_a_member_with_itself_adds_its_weights(a: float, b: float) -> None:
    twice = Weighted({"x": A, "y": A}, {"x": a, "y": b})
    torch.testing.assert_close(eps(twice, True), (a + b) * eps(A), rtol=1e-4, atol=1e-5)


def test_joint_is_the_plain_sum() -> None:
    torch.testing.assert_close(eps(joint(A, B)), eps(A) + eps(B))


def test_product_of_gaussians_at_no_noise() -> None:
    """At t = 0 the sum of scores is the score of the product, which is known for Gaussians."""
    process = Process.log_snr(50, high=20)
    one = ExactMixture(
        process, [1], [[1.0, 0.0, 0.5]], torch.diag(torch.tensor([1.0, 2.0, 0.5]))[None]
    )
    two = ExactMixture(
        process, [1], [[-1.0, 3.0, 0.0]], torch.diag(torch.tensor([0.5, 1.0, 4.0]))[None]
    )
    precision = 1 / torch.tensor([1.0, 2.0, 0.5]) + 1 / torch.tensor([0.5, 1.0, 4.0])
    mean = (
        torch.tensor([1.0, 0.0, 0.5]) / torch.tensor([1.0, 2.0, 0.5])
        + torch.tensor([-1.0, 3.0, 0.0]) / torch.tensor([0.5, 1.0, 4.0])
    ) / precision
    product = ExactMixture(process, [1], mean[None], torch.diag(1 / precision)[None])
    # The gap to the noised product is of order sigma^2 = 2e-9 here.
    torch.testing.assert_close(joint(one, two)(Y, 0, C), product(Y, 0, C), rtol=1e-4, atol=1e-7)


def test_sum_of_noised_scores_is_not_the_score_of_the_noised_product() -> None:
    """Two unit Gaussians: the sum implies variance 1/2 at every t, the truth abar/2 + 1 - abar."""
    unit = ExactMixture(PROCESS, [1], torch.zeros(1, 3), torch.eye(3)[None])
    half = ExactMixture(PROCESS, [1], torch.zeros(1, 3), torch.eye(3)[None] / 2)
    noise, abar = PROCESS.noise(T), PROCESS.alpha_bar_at(T)
    at_origin = torch.zeros_like(C)
    summed = joint(unit, unit)(Y, T, at_origin)
    torch.testing.assert_close(summed, noise * Y / 0.5, rtol=1e-5, atol=1e-6)
    true = half(Y, T, at_origin)
    torch.testing.assert_close(true, noise * Y / (abar / 2 + 1 - abar), rtol=1e-5, atol=1e-6)


def test_start_spread() -> None:
    assert Weighted({"a": A, "b": B}, {"a": 3, "b": 1}).start_std == 0.5


def test_moving_a_composition_moves_its_members() -> None:
    composed = joint(
        MLP(PROCESS, Architecture(8, 0), generator()), MLP(PROCESS, Architecture(8, 0), generator())
    )
    composed.to(torch.float64)
    assert {p.dtype for p in composed.parameters()} == {torch.float64}
    assert len(list(composed.parameters())) == 8


@pytest.mark.parametrize(
    "other",
    [Process.linear(41), Process.linear(40, last=0.3), standardised(Process.linear(40))],
)
def test_different_processes_refuse_to_compose(other: Process) -> None:
    with pytest.raises(ValueError, match=r"cannot compose 'general' and 'specialised'.*same units"):
        joint(A, mixture(other))


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"a": 1.0}, "members are"),
        ({"a": 1.0, "b": 1.0, "c": 1.0}, "members are"),
        ({"a": math.nan, "b": 1.0}, "must be finite"),
        ({"a": math.inf, "b": 1.0}, "must be finite"),
        ({"a": -1.0, "b": 1.0}, "positive sum"),
    ],
)
def test_bad_weights_are_named(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Weighted({"a": A, "b": B}, weights)


def test_members_must_be_denoisers() -> None:
    with pytest.raises(ValueError, match="at least one member"):
        Weighted({}, {})
    with pytest.raises(ValueError, match="'a' is a Linear, not a Denoiser"):
        Weighted({"a": torch.nn.utils.skip_init(torch.nn.Linear, 3, 3)}, {"a": 1})  # type: ignore[dict-item]
