"""Three members: sums, learned weights, equal densities, and what is NOT wanted."""

import math

import numpy as np
import pytest
import torch
from conftest import generator, line

from dualdiff.compose import Weighted, joint
from dualdiff.exact import exact_denoiser
from dualdiff.experiments.aggregate import equalising
from dualdiff.experiments.densities import Union
from dualdiff.process import Process
from dualdiff.regions import Box
from dualdiff.samplers import sample
from dualdiff.weights import Curve, Fold, held_out_score, learn, stacked

PROCESS = Process.log_snr(100, dy=1, dc=1)
MEANS, VARIANCES = (0.0, 2.0, -1.0), (1.0, 0.25, 0.5)
PRECISION = sum(1 / v for v in VARIANCES)
MEAN = sum(m / v for m, v in zip(MEANS, VARIANCES, strict=True)) / PRECISION
NAMES = ("general", "specialised", "constraint")
MEMBERS = {
    name: line(PROCESS, (1.0, mean, variance))
    for name, mean, variance in zip(NAMES, MEANS, VARIANCES, strict=True)
}


def test_the_order_of_members_changes_no_sample() -> None:
    c = torch.zeros(8, 1)
    one = sample(joint(**MEMBERS), c, generator(2), draws=10)
    other = sample(joint(**dict(reversed(MEMBERS.items()))), c, generator(2), draws=10)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_stacking_finds_the_member_that_is_true() -> None:
    y = torch.randn(600, 1, generator=generator(3)) * math.sqrt(VARIANCES[1]) + MEANS[1]
    found = stacked([Fold(MEMBERS, y, torch.zeros(600, 1))], generator(4), repeats=8)
    # With hardly any noise, or nothing else, all say the same.
    signal = PROCESS.alpha_bar
    apart = (signal > 0.2) & (signal < 0.98)
    assert list(found) == [*NAMES] and int(apart.sum()) > 15
    assert bool((found["specialised"][apart] > 0.85).all())
    assert bool((found["general"] + found["constraint"])[apart].max() < 0.2)


def test_learning_takes_as_many_weights_as_members() -> None:
    planted = np.array([0.25, 1.5, 0.75])

    def away(curve: Curve) -> float:
        return float(((curve.values - planted) ** 2).sum())

    best = learn(away, NAMES, budget=200)
    assert np.abs(best.curve.values[0] - planted).max() < 0.05
    assert set(best.curve.weights(PROCESS)) == {*NAMES}


def test_a_held_out_score_prefers_the_members_that_made_the_pairs() -> None:
    y = torch.randn(300, 1, generator=generator(5)) * math.sqrt(1 / PRECISION) + MEAN
    fold = Fold(MEMBERS, y, torch.zeros(300, 1))
    score = held_out_score([fold], lambda: generator(6))
    all_three, two = ([1.0, 1.0, 1.0], [1.0, 1.0, 0.0])
    assert score(Curve(NAMES, np.array([all_three]))) < score(Curve(NAMES, np.array([two])))


@pytest.mark.parametrize("count", [2, 3, 4])
def test_all_densities_gain_the_same_in_a_step_of_superdiff(count: int) -> None:
    """In enough dimensions; for two members it is the formula of the paper."""
    scores = torch.randn(count, 50, 5, generator=generator(8)).double()
    xi, beta = 0.1 * torch.randn(50, 5, generator=generator(9)).double(), 0.02
    pull = equalising(scores, xi, beta)
    gained = ((pull + xi) * scores).sum(2) - beta / 2 * (scores**2).sum(2)
    torch.testing.assert_close(gained, gained[:1].expand_as(gained))
    if count == 2:
        gap = scores[0] - scores[1]
        kappa = 0.5 - (xi * gap).sum(1) / (beta * (gap**2).sum(1))
        known = beta * (scores[1] + kappa[:, None] * gap)
        torch.testing.assert_close(pull, known)


def test_superdiff_of_three_stays_where_all_agree() -> None:
    """Three equal members are one: the mean score, whatever the noise."""
    scores = torch.randn(1, 20, 2, generator=generator(10)).expand(3, 20, 2)
    pull = equalising(scores, torch.randn(20, 2, generator=generator(11)), 0.1)
    torch.testing.assert_close(pull, 0.1 * scores[0])


def test_not_is_an_expert_of_what_is_left_and_no_negative_weight() -> None:
    """The room without a corner, as pieces: few samples are in the corner, and all in the room.
    A negative weight asks for places unlike the corner's and finds them outside."""
    process = Process.linear(dy=2, dc=2)
    room, corner = Box((-1, -1), (1, 1)), Box((-1, -1), (0, 0))
    pieces = [Box((0, -1), (1, 1)), Box((-1, 0), (0, 1))]
    rest = Union([exact_denoiser(piece, process) for piece in pieces], [2.0, 1.0])
    general, own = (exact_denoiser(region, process) for region in (room, corner))
    c = torch.zeros(100, 2)
    y = sample(joint(general, rest), c, generator(7), draws=20)
    wrong = Weighted({"room": general, "corner": own}, {"room": 1.25, "corner": -0.25})
    lost = sample(wrong, c, generator(7), draws=20)
    inside = [float(room.contains(u, c[:, None]).double().mean()) for u in (y, lost)]
    assert inside[0] > 0.98 > 0.5 > inside[1]
    assert float(corner.contains(y, c[:, None]).double().mean()) < 0.02
