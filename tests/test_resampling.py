"""Groups of particles: effective sample size, and resampling that is unbiased."""

import math

import pytest
import torch
from conftest import generator
from hypothesis import given, settings
from hypothesis import strategies as st

from dualdiff.resampling import Resampling, effective_share, resample, systematic


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


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(-8, 3), min_size=2, max_size=12), st.floats(0, 1, exclude_max=True))
def test_systematic_counts_are_next_to_their_mean(values: list[float], u: float) -> None:
    log_weights = torch.tensor([values, values[::-1]], dtype=torch.float64)
    ancestors = systematic(log_weights, torch.tensor([u, u], dtype=torch.float64))
    assert (ancestors[:, 1:] >= ancestors[:, :-1]).all()
    for row, taken in zip(log_weights, ancestors, strict=True):
        counts = torch.bincount(taken, minlength=len(values))
        mean = len(values) * row.softmax(0)
        assert (counts >= (mean - 1e-9).floor()).all() and (counts <= (mean + 1e-9).ceil()).all()


def test_systematic_resampling_is_unbiased() -> None:
    n, log_weights = 40_000, torch.tensor([0.0, 1.5, -2.0, 0.7, -0.3, -30.0, 0.0])
    uniform = torch.rand(n, generator=generator(7))
    ancestors = systematic(log_weights.expand(n, -1), uniform)
    counts = torch.nn.functional.one_hot(ancestors, 7).sum(1).double()
    error = counts.mean(0) - 7 * log_weights.double().softmax(0)
    assert (error.abs() < 4 * counts.std(0) / math.sqrt(n) + 1e-9).all()
    assert (counts.std(0)[:5] > 0).all()  # the numbers do depend on u


def test_groups_that_are_not_due_are_left_alone() -> None:
    even, odd = [0.1, 0.0, -0.1, 0.0], [5.0, 0.0, 0.0, 0.0]
    log_weights = torch.tensor(even + odd + even)
    uniform = torch.rand(12, generator=generator(8))
    how = Resampling(4, 0.5)
    found = resample(log_weights, uniform, how, last=False)
    assert found.places.tolist() == [0, 1, 2, 3, 4, 4, 4, 4, 8, 9, 10, 11]
    assert torch.equal(found.log_weights, torch.tensor(even + [0.0] * 4 + even))
    assert found.unique.tolist() == [1, 0.25, 1]
    torch.testing.assert_close(found.effective, effective_share(log_weights.view(3, 4)).float())
    last = resample(log_weights, uniform, how, last=True)
    assert not last.log_weights.any() and last.places[4:8].eq(4).all()
    never = resample(log_weights, uniform, Resampling(4, 0.0), last=False)
    assert torch.equal(never.places, torch.arange(12))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"group": 1}, "group must be at least 2, not 1"),
        ({"threshold": 1.1}, "threshold must be between 0 and 1, not 1.1"),
        ({"threshold": math.nan}, "threshold must be between 0 and 1, not nan"),
    ],
)
def test_bad_resampling_is_named(options: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(ValueError, match=message):
        Resampling(**options)
