"""Composition to second order is exact where members are Gaussian."""

from dataclasses import replace

import pytest
import torch

from dualdiff.compose import joint
from dualdiff.exact import ExactMixture
from dualdiff.experiments.second_order import SecondOrder
from dualdiff.process import Process
from dualdiff.samplers import sample

PROCESS = replace(Process.log_snr(100, dy=2, dc=2), y_std=torch.tensor([2.0, 0.5]))
MEANS = torch.tensor([[0.8, -0.5], [-0.6, 0.4]], dtype=torch.float64)
COVARIANCES = torch.tensor(
    [[[0.5, 0.2], [0.2, 0.3]], [[1.0, -0.3], [-0.3, 0.6]]], dtype=torch.float64
)
WEIGHTS = {"a": 1.5, "b": 0.75}
NOTHING = torch.zeros(1, 2)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def one(mean: torch.Tensor, covariance: torch.Tensor) -> ExactMixture:
    return ExactMixture(PROCESS, [1.0], mean[None], covariance[None])


MEMBERS = {name: one(m, s) for name, m, s in zip("ab", MEANS, COVARIANCES, strict=True)}
SCALE = torch.outer(PROCESS.y_std, PROCESS.y_std).double()
KNOWN = {name: s / SCALE for name, s in zip("ab", COVARIANCES, strict=True)}


def product() -> ExactMixture:
    weights = torch.tensor([*WEIGHTS.values()], dtype=torch.float64).view(-1, 1, 1)
    precisions = weights * COVARIANCES.inverse()
    covariance = precisions.sum(0).inverse()
    return one(covariance @ (precisions @ MEANS.unsqueeze(2)).sum(0).squeeze(1), covariance)


@pytest.mark.parametrize("covariances", [KNOWN, None], ids=["GAUSS", "JAC"])
@pytest.mark.parametrize("t", [0, 20, 60, 99, torch.arange(50) * 2])
def test_it_predicts_the_noise_of_the_noised_product_of_gaussians(covariances, t) -> None:  # type: ignore[no-untyped-def]
    rule = SecondOrder(MEMBERS, WEIGHTS, covariances)
    y, c = (torch.randn(50, 2, generator=generator(k)) for k in (0, 1))
    torch.testing.assert_close(rule(y, t, c), product()(y, t, c), rtol=1e-3, atol=1e-4)
    plain = sum(WEIGHTS[name] * member(y, t, c) for name, member in MEMBERS.items())
    if isinstance(t, int) and t > 50:
        assert float((plain - product()(y, t, c)).abs().max()) > 0.1


def test_its_samples_are_those_of_the_product() -> None:
    rule = SecondOrder(MEMBERS, WEIGHTS, KNOWN)
    ours = sample(rule, NOTHING, generator(2), draws=4_000)
    truth = sample(product(), NOTHING, generator(2), draws=4_000)
    torch.testing.assert_close(ours, truth, rtol=1e-3, atol=1e-3)


def test_weights_that_add_up_to_one_and_equal_members_change_nothing() -> None:
    two = {"a": MEMBERS["a"], "b": MEMBERS["a"]}
    known = {"a": KNOWN["a"], "b": KNOWN["a"]}
    y, c = (torch.randn(20, 2, generator=generator(k)) for k in (3, 4))
    rule = SecondOrder(two, {"a": 0.25, "b": 0.75}, known)
    torch.testing.assert_close(rule(y, 50, c), MEMBERS["a"](y, 50, c))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="weights are for"):
        SecondOrder(MEMBERS, {"a": 1.0})
    with pytest.raises(ValueError, match="covariances are for"):
        SecondOrder(MEMBERS, WEIGHTS, {"a": KNOWN["a"]})
    assert joint(*MEMBERS.values()).weights  # the plain sum takes the same members
