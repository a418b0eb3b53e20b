"""How different two sets of rows are: overlap, components and the permutation test."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
import torch
from conftest import generator
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dualdiff.experiments.store import Store
from dualdiff.metrics import energy_distance
from dualdiff.robot.analysis import (
    one_per_task,
    overlap_coefficient,
    overlap_table,
    permutation_test,
    principal_components,
    targets_of,
)
from dualdiff.robot.dataset import FRAMES, generate
from dualdiff.robot.kinds import TYPES

SIGMAS = 3.29
"""One run in a thousand is further from the truth than so many standard errors."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    return generate(25, 5, store=Store(tmp_path_factory.mktemp("rows")))


def cloud(n: int, seed: int, d: int = 2) -> Tensor:
    return torch.randn(n, d, generator=generator(seed))


# --- overlap ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [5, 100, 4_000])
def test_a_cloud_shares_all_its_mass_with_itself(n: int) -> None:
    x = cloud(n, 1)
    assert overlap_coefficient(x, x) == pytest.approx(1, abs=1e-12)
    assert overlap_coefficient(x, x[torch.randperm(n, generator=generator(2))]) == pytest.approx(1)


def test_clouds_apart_share_nothing() -> None:
    x = cloud(300, 1)
    assert overlap_coefficient(x, x + torch.tensor([100.0, 0.0])) == 0
    assert overlap_coefficient(x, x - torch.tensor([0.0, 100.0])) == 0


@pytest.mark.parametrize("axis", [0, 1])
def test_two_boxes_that_overlap_by_half_score_a_half(axis: int) -> None:
    """With 4 bins over [0, 1.5] the smaller of the two is clear in every cell, so no bias.

    Then the coefficient is the mean of two sides' quarters, each a binomial share.
    """
    n = 40_000
    x, z = (torch.rand(n, 2, generator=generator(seed)) for seed in (1, 2))
    z[:, axis] += 0.5
    error = math.sqrt(2 * 0.25 * 0.75 / n)
    assert abs(overlap_coefficient(x, z, bins=4) - 0.5) < SIGMAS * error


def test_overlap_is_one_minus_the_total_variation_of_the_cells() -> None:
    """Points on the middles of a grid, so that cells and their masses are known."""
    corner, other = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    x = torch.cat([corner.expand(700, 2), other.expand(300, 2)])
    z = torch.cat([corner.expand(200, 2), other.expand(800, 2)])
    assert overlap_coefficient(x, z) == pytest.approx(0.2 + 0.3)
    assert overlap_coefficient(x, z[::100]) == pytest.approx(0.2 + 0.3)  # shares, not counts


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 60), st.integers(2, 25))
def test_overlap_is_symmetric_and_a_share(seed: int, n: int, m: int, bins: int) -> None:
    x, z = cloud(n, seed), 0.7 * cloud(m, seed + 1) + 0.3
    value = overlap_coefficient(x, z, bins)
    assert value == overlap_coefficient(z, x, bins)
    assert 0 <= value <= 1 + 1e-12


def test_overlap_refuses_what_is_no_cloud() -> None:
    x = cloud(10, 1)
    for bad in (x[:0], x[:, :1], x[None]):
        with pytest.raises(ValueError, match="x must have shape"):
            overlap_coefficient(bad, x)
        with pytest.raises(ValueError, match="z must have shape"):
            overlap_coefficient(x, bad)
    with pytest.raises(ValueError, match="bins must be at least 2, not 1"):
        overlap_coefficient(x, x, bins=1)


def test_the_overlap_table_is_made_of_coefficients(rows: pd.DataFrame) -> None:
    table = overlap_table(rows, FRAMES)
    assert list(table.columns) == ["type", "frame", "overlap"]
    assert len(table) == (9 + 2) * len(FRAMES)
    values = table.set_index(["type", "frame"])["overlap"]
    assert values.index.is_unique and values.between(0, 1).all()
    ball = rows[rows["type"] == TYPES.index("Ball")]
    for frame in FRAMES:
        aim = targets_of(ball.iloc[::2], frame)
        cup = targets_of(rows[rows["type"] == TYPES.index("Cup")], frame)
        assert values["Cup", frame] == overlap_coefficient(cup, aim)
        rest = targets_of(rows[rows["type"] != TYPES.index("Ball")], frame)
        assert values["all nine", frame] == pytest.approx(overlap_coefficient(rest, aim))
        own = targets_of(ball.iloc[1::2], frame)
        assert values["Ball, other rows", frame] == overlap_coefficient(own, aim)


def test_the_overlap_table_thins_large_groups_only(rows: pd.DataFrame) -> None:
    whole = overlap_table(rows, ("object",))
    assert overlap_table(rows, ("object",), limit=len(rows)).equals(whole)
    thin = overlap_table(rows, ("object",), limit=10).set_index("type")["overlap"]
    # Ten rows against ten: all shares are tenths.
    tenths = 10 * thin.to_numpy()
    assert np.allclose(tenths, tenths.round(), atol=1e-9)


# --- one row per task ---------------------------------------------------------------------------


def test_one_per_task_draws_rows_of_distinct_tasks(rows: pd.DataFrame) -> None:
    some = one_per_task(rows, 60, generator(1))
    assert len(some) == 60 and some["task"].is_unique
    pd.testing.assert_frame_equal(some, rows.loc[some.index])
    assert some.equals(one_per_task(rows, 60, generator(1)))
    assert not some.equals(one_per_task(rows, 60, generator(2)))
    tasks = rows["task"].nunique()
    assert len(one_per_task(rows, tasks, generator(1))) == tasks
    with pytest.raises(ValueError, match=f"at most the {tasks} tasks of these rows"):
        one_per_task(rows, tasks + 1, generator(1))


def test_one_per_task_takes_any_row_of_a_task_alike() -> None:
    table = pd.DataFrame({"task": np.repeat(np.arange(2_000), 4), "move": [0, 1, 2, 3] * 2_000})
    counts = one_per_task(table, 2_000, generator(3))["move"].value_counts()
    assert scipy.stats.chisquare(counts).pvalue > 1e-3


# --- principal components -----------------------------------------------------------------------


def anisotropic(n: int, seed: int) -> Tensor:
    mix = torch.tensor([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-0.3, 0.5, 2.0]])
    return cloud(n, seed, 3) @ mix.T + torch.tensor([5.0, -1.0, 0.0])


@pytest.mark.parametrize("count", [1, 2, 3])
def test_components_are_the_eigenvectors_of_the_correlation_matrix(count: int) -> None:
    units = torch.tensor([1e3, 1e-3, 7.0])
    x, z = units * anisotropic(70, 1), units * (2 * anisotropic(50, 2) + 1)
    found = principal_components(x, z, count)
    both = torch.cat([x, z]).double().numpy()
    values, vectors = np.linalg.eigh(np.corrcoef(both, rowvar=False))
    order = np.argsort(values)[::-1]
    assert np.allclose(found.shares, values[order] / values.sum())
    scores = (both - both.mean(0)) / both.std(0, ddof=1)
    expected = scores @ vectors[:, order[:count]]
    ours = torch.cat([found.first, found.second]).numpy()
    assert found.first.shape == (70, count) and found.second.shape == (50, count)
    signs = np.sign((ours * expected).sum(0))
    assert np.allclose(ours, expected * signs)


def test_constant_columns_are_left_out() -> None:
    x, z = anisotropic(40, 6), anisotropic(30, 7)
    plain = principal_components(x, z)

    def wider(rows: Tensor) -> Tensor:
        return torch.cat([torch.full((len(rows), 1), 0.1), rows, torch.zeros(len(rows), 1)], dim=1)

    wide = principal_components(wider(x), wider(z))
    assert len(wide.shares) == 3 and torch.allclose(wide.shares, plain.shares)
    assert torch.allclose(wide.second.abs(), plain.second.abs())


# --- permutation test ---------------------------------------------------------------------------


def test_the_statistic_is_the_energy_distance_and_p_follows_the_formula() -> None:
    x, z = cloud(12, 3, 3), 1.3 * cloud(15, 4, 3) + 0.3
    found = permutation_test(x, z, generator(2), 499)
    assert found.observed == pytest.approx(energy_distance(x, z), rel=1e-10)
    assert found.null.shape == (499,) and 1 / 500 < found.p < 1
    assert found.p == (1 + int((found.null >= found.observed).sum())) / 500


def test_p_is_the_share_of_all_relabellings() -> None:
    """Every one of the 35 ways to choose 3 of 7 points, by the reference statistic."""
    both = torch.cat([cloud(3, 5) + 0.5, cloud(4, 6)])
    values = []
    for chosen in itertools.combinations(range(7), 3):
        rest = [i for i in range(7) if i not in chosen]
        values.append(energy_distance(both[[*chosen]], both[rest]))
    truth = float(np.mean(np.array(values) >= values[0] - 1e-12))
    assert 0.02 < truth < 0.98
    n = 4_000
    found = permutation_test(both[:3], both[3:], generator(3), n)
    assert abs(found.p - truth) < SIGMAS * math.sqrt(truth * (1 - truth) / n) + 1 / n
    assert set(np.round(found.null.numpy(), 9)) == set(np.round(values, 9))


def test_a_relabelling_that_gives_the_same_two_sets_counts_as_extreme() -> None:
    """Rounding must not tell it from what was observed: p would be too small."""
    for seed in range(30):
        x, z = cloud(3, seed, 5), cloud(3, 100 + seed, 5)
        found = permutation_test(x, z, generator(seed), 199)
        same = int((found.null >= found.observed - 1e-9).sum())
        assert found.p == (1 + same) / 200


def test_p_is_uniform_where_both_samples_have_one_law() -> None:
    repetitions, p = 200, []
    for seed in range(repetitions):
        both = cloud(22, 1_000 + seed)
        p.append(permutation_test(both[:10], both[10:], generator(seed), 99).p)
    share = np.mean(np.array(p) <= 0.1)
    assert abs(share - 0.1) < SIGMAS * math.sqrt(0.1 * 0.9 / repetitions)
    assert scipy.stats.kstest(p, "uniform").pvalue > 1e-3


def test_p_is_small_where_the_laws_differ() -> None:
    x, z = cloud(40, 8), cloud(40, 9)
    shifted = permutation_test(x, z + 1, generator(1), 199)
    assert shifted.p == 1 / 200 and (shifted.null < shifted.observed).all()
    wider = permutation_test(x, 3 * z, generator(1), 199)
    assert wider.p == 1 / 200


def test_permutation_test_refuses_what_it_cannot_use() -> None:
    x = cloud(5, 1)
    for pair in ((x[:1], x), (x, x[:1]), (x, x[:, :1]), (x[0], x), (x, x[None])):
        with pytest.raises(ValueError, match="x and z must have shapes"):
            permutation_test(*pair, generator(1))
    with pytest.raises(ValueError, match="permutations must be at least 1, not 0"):
        permutation_test(x, x, generator(1), 0)
