"""What targets are worth: intervals over tasks, rates in fresh scenes, scores by the oracle."""

import math
from pathlib import Path

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
from dualdiff.metrics import Estimate, energy_distance, neighbour_scores
from dualdiff.robot.analysis import one_per_task
from dualdiff.robot.dataset import features_of, generate
from dualdiff.robot.judge import (
    NEIGHBOURS,
    RATES,
    alone,
    column_of,
    law_scores,
    mean_by_task,
    oracle_places,
    success_rates,
    uniform_places,
)
from dualdiff.robot.kinds import ENVIRONMENTS, KINDS, SIDE, TYPES, Kind, environment_of
from dualdiff.robot.scenes import draw_scenes, fresh_scenes
from dualdiff.robot.tasks import execute, oracle
from dualdiff.robot.world import distance

SIGMAS = 3.29
"""One run in a thousand is further from the truth than so many standard errors."""
BALL = KINDS["Ball"]
SEEN = ("Ball", "Cupboard")
"""One thing that is picked up, one container."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    names = [environment_of(name).name for name in (*SEEN, "Stick", "Tray")]
    return generate(300, 8, store=Store(tmp_path_factory.mktemp("rows")), environments=names)


Known = tuple[Kind, Tensor, Tensor, Tensor]


def known(rows: pd.DataFrame, name: str, n: int | None = None) -> Known:
    """Type, features, tasks and own places ``[n, 1, 2]`` of the (first n) rows of a type."""
    own = rows[rows["type"] == TYPES.index(name)].iloc[:n]
    places = torch.from_numpy(own[["x", "y"]].to_numpy(np.float64, copy=True))
    tasks = torch.from_numpy(own["task"].to_numpy(copy=True))
    return KINDS[name], features_of(own), tasks, places[:, None]


def error_of(estimate: Estimate, tasks: Tensor) -> float:
    """The standard error behind an interval."""
    margin = scipy.stats.t.ppf(0.975, len(tasks.unique()) - 1)
    return (estimate.high - estimate.low) / 2 / float(margin)


def difference(a: Tensor, b: Tensor, tasks: Tensor) -> tuple[float, float]:
    """Mean of a - b over conditions, and its standard error."""
    found = mean_by_task(a.double().mean(1) - b.double().mean(1), tasks)
    return found.value, error_of(found, tasks)


# --- intervals ----------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(-9, 9), st.integers(0, 5)), min_size=1, max_size=30))
def test_the_mean_over_tasks_is_the_plain_mean(drawn: list[tuple[float, int]]) -> None:
    values = torch.tensor([value for value, _ in drawn], dtype=torch.float64)
    tasks = torch.tensor([task for _, task in drawn])
    found = mean_by_task(values, tasks)
    assert found.value == pytest.approx(float(values.mean()), abs=1e-12)
    if len(tasks.unique()) == 1:
        assert math.isnan(found.low) and math.isnan(found.high)
    else:
        assert found.low <= found.value <= found.high


def test_tasks_of_one_row_have_the_textbook_interval() -> None:
    values = torch.randn(17, generator=generator(1), dtype=torch.float64)
    found = mean_by_task(values, torch.randperm(17, generator=generator(2)))
    mean, error = float(values.mean()), scipy.stats.sem(values.numpy())
    expected = scipy.stats.t.interval(0.95, 16, loc=mean, scale=error)
    assert found == pytest.approx((mean, *expected))


def test_only_the_grouping_matters() -> None:
    values, tasks = torch.randn(30, generator=generator(3)), torch.arange(30) // 4
    found = mean_by_task(values, tasks)
    order = torch.randperm(30, generator=generator(4))
    assert mean_by_task(values[order], tasks[order]) == pytest.approx(found)
    assert mean_by_task(values, 100 - 7 * tasks) == pytest.approx(found)
    # Rows that only repeat others of their task say nothing new.
    assert mean_by_task(values.repeat(3), tasks.repeat(3)) == pytest.approx(found)
    assert mean_by_task(2 * values + 5, tasks) == pytest.approx([2 * x + 5 for x in found])


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """60 tasks of 1 to 8 rows that resemble each other; an interval over rows holds it less."""
    source, runs, hits, naive = generator(5), 2_000, 0, 0
    for _ in range(runs):
        sizes = torch.randint(1, 9, (60,), generator=source)
        tasks = torch.arange(60).repeat_interleave(sizes)
        values = torch.randn(60, generator=source)[tasks]
        values = values + 0.5 * torch.randn(len(tasks), generator=source)
        found = mean_by_task(values, tasks)
        hits += found.low <= 0 <= found.high
        by_row = mean_by_task(values, torch.arange(len(tasks)))
        naive += by_row.low <= 0 <= by_row.high
    assert abs(hits / runs - 0.95) < SIGMAS * math.sqrt(0.95 * 0.05 / runs)
    assert naive / runs < 0.75


def test_values_and_tasks_must_fit() -> None:
    for values, tasks in (
        (torch.zeros(3), torch.zeros(2)),
        (torch.zeros(0), torch.zeros(0)),
        (torch.zeros(3, 1), torch.zeros(3, 1)),
    ):
        with pytest.raises(ValueError, match="two vectors of one length >= 1"):
            mean_by_task(values, tasks)


# --- scores against the oracle ------------------------------------------------------------------


@pytest.mark.parametrize(("n", "k", "m"), [(7, 9, 11), (300, 2, 8), (1, 4, 20)])
def test_law_scores_are_the_reference_scores_of_every_condition(n: int, k: int, m: int) -> None:
    """Samples outside the workspace count where the robot would stop."""
    source = generator(6)
    places = SIDE - 2 + 3 * torch.rand(n, k, 2, generator=source)
    truth = SIDE - 3 + 3 * torch.rand(n, m, 2, generator=source, dtype=torch.float64)
    tasks = torch.arange(n) // 3
    found = law_scores(places, truth, tasks)
    stopped = places.clamp(0, SIDE)
    energy = [energy_distance(x, z) for x, z in zip(stopped, truth, strict=True)]
    # The reference asks for more samples than neighbours, which coverage has no need of.
    many = stopped.repeat_interleave(NEIGHBOURS, 1)
    coverage = [neighbour_scores(x, z)["coverage"] for x, z in zip(many, truth, strict=True)]
    assert set(found) == {"energy_distance", "coverage"}
    for name, values in (("energy_distance", energy), ("coverage", coverage)):
        expected = mean_by_task(torch.tensor(values, dtype=torch.float64), tasks)
        assert found[name] == pytest.approx(expected, rel=1e-9, nan_ok=True)
    assert 0 < found["coverage"].value < 1 and (places > SIDE).any()


def test_law_scores_tell_the_oracle_from_the_uniform_floor(rows: pd.DataFrame) -> None:
    kind, features, tasks, _ = known(
        one_per_task(rows[rows["type"] == 0], 80, generator(1)), "Ball"
    )
    truth, again = (oracle_places(kind, features, 12, generator(seed)) for seed in (8, 9))
    same = law_scores(again, truth, tasks)
    energy, coverage = same["energy_distance"], same["coverage"]
    assert abs(energy.value) < SIGMAS * error_of(energy, tasks)
    turned = law_scores(truth, again, tasks)
    assert turned["energy_distance"].value == pytest.approx(energy.value, abs=1e-12)
    gap = abs(turned["coverage"].value - coverage.value)
    assert gap < SIGMAS * math.hypot(error_of(coverage, tasks), error_of(coverage, tasks))
    floor = law_scores(uniform_places(kind, features, 12, generator(8)), truth, tasks)
    assert floor["energy_distance"].value > SIGMAS * error_of(floor["energy_distance"], tasks)
    everywhere = SIDE * torch.rand(80, 12, 2, generator=generator(9))
    far = law_scores(everywhere, truth, tasks)
    assert far["energy_distance"].low > floor["energy_distance"].high
    assert far["coverage"].high < coverage.low


def test_too_few_draws_or_samples_that_are_not_finite_are_refused() -> None:
    good, tasks = SIDE * torch.rand(3, 6, 2, generator=generator(1)), torch.arange(3)
    for places, truth in ((good[:, :1], good), (good, good[:, :5])):
        with pytest.raises(ValueError, match="at least 2 and 6 draws per condition"):
            law_scores(places, truth, tasks)
    for bad in (math.nan, math.inf):
        with pytest.raises(ValueError, match="places must be finite"):
            law_scores(torch.where(good == good[1, 2, 0], bad, good), good, tasks)


# --- rates in fresh scenes ----------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SEEN, "Stick", "Tray"])
def test_fresh_scenes_follow_the_law_of_the_data(rows: pd.DataFrame, name: str) -> None:
    """Own targets and oracle draws fare alike in scenes that neither was drawn in.

    They come from the true scenes and from fresh ones: were those denser or emptier than the true,
    the oracle's would fare worse or better.
    """
    kind, features, tasks, own = known(rows, name)
    drawn = oracle_places(kind, features, 1, generator(10))
    scenes = fresh_scenes(kind, features, generator(11))
    both = execute(scenes, kind, column_of(kind), torch.cat([own, drawn], 1)).success
    gap, error = difference(both[:, 1:], both[:, :1], tasks)
    assert abs(gap) < SIGMAS * error
    assert error < 0.03  # so a rate that is wrong by a tenth is noticed
    assert 0.2 < float(both.double().mean()) < 0.8  # obstacles do get in the way


@pytest.mark.parametrize("name", ["Ball", "Box"])
def test_fresh_scenes_are_as_crowded_as_those_of_the_data(name: str, tmp_path: Path) -> None:
    """The oracle needs as many draws there: the logarithms' means agree.

    Only of scenes with a target at all, as only they give rows.
    """
    names = [environment_of(name).name]
    many = generate(1_000, 9, store=Store(tmp_path), environments=names)
    kind, features, tasks, _ = known(many, name, 6_000)
    own = torch.from_numpy(many[many["type"] == TYPES.index(name)]["draws"].to_numpy(copy=True))
    scenes = fresh_scenes(kind, features, generator(27))
    drawn = oracle(scenes, kind, column_of(kind), generator(28))
    logs = [some[drawn.found, None].double().log() for some in (drawn.draws, own[: len(tasks)])]
    gap, error = difference(*logs, tasks[drawn.found])
    assert abs(gap) < SIGMAS * error
    assert SIGMAS * error < 0.1  # without the other goals a sixth fewer would do


@pytest.mark.parametrize("name", SEEN)
def test_the_oracle_never_fails_alone_and_beats_the_floor(rows: pd.DataFrame, name: str) -> None:
    kind, features, tasks, own = known(rows, name, 400)
    drawn = oracle_places(kind, features, 2, generator(12))
    floor = uniform_places(kind, features, 2, generator(12))
    for places in (drawn, floor):
        assert places.shape == (400, 2, 2)
        assert ((places >= 0) & (places <= SIDE)).all()
    found = success_rates(kind, features, drawn, tasks, generator(13))
    assert found["geometry"].value == 1 and found["invalid"].value == 0
    assert found["out_of_reach"].value == 0  # so all failures are collisions
    assert found["success"].value == pytest.approx(1 - found["collision"].value)
    assert success_rates(kind, features, own, tasks, generator(13))["geometry"].value == 1
    scenes = fresh_scenes(kind, features, generator(13))
    outcomes = [execute(scenes, kind, column_of(kind), p).success for p in (drawn, floor)]
    gap, error = difference(*outcomes, tasks)
    assert gap > SIGMAS * error


@pytest.mark.parametrize("name", SEEN)
def test_rates_are_those_of_one_scene_for_each_condition(rows: pd.DataFrame, name: str) -> None:
    kind, features, tasks, _ = known(rows, name, 300)
    places = uniform_places(kind, features, 4, generator(14))
    places[:40, 1] = math.nan
    found = success_rates(kind, features, places, tasks, generator(15))
    assert tuple(found) == RATES and all(0 < rate.value < 1 for rate in found.values())
    assert found["success"].value < found["geometry"].value
    scenes = fresh_scenes(kind, features, generator(15))
    for key, flags in execute(scenes, kind, column_of(kind), places)._asdict().items():
        assert found[key] == mean_by_task(flags.double().mean(1), tasks)


def test_geometry_of_a_ball_is_its_distance(rows: pd.DataFrame) -> None:
    """A place is good alone if a disc of radius 2 is clear of the ball and an arm of 4 reaches."""
    kind, features, tasks, _ = known(rows, "Ball", 300)
    places = SIDE * torch.rand(300, 5, 2, generator=generator(16), dtype=torch.float64)
    gap = distance(places, features[:, None, :5].double())
    expected = mean_by_task(((gap > 2) & (gap <= 4)).double().mean(1), tasks)
    assert success_rates(kind, features, places, tasks, generator(17))["geometry"] == expected


# --- scenes of a condition ----------------------------------------------------------------------


@pytest.mark.parametrize("column", [0, 1])
def test_alone_leaves_one_object_and_its_scene_as_it_was(column: int) -> None:
    scenes = draw_scenes(ENVIRONMENTS["ball, bin"], 6, generator(24))
    scenes.present[2, column] = False
    before = scenes.present.clone()
    bare = alone(scenes, column)
    expected = torch.zeros_like(before)
    expected[:, column] = True
    expected[2, column] = False
    assert torch.equal(bare.present, expected)
    assert torch.equal(scenes.present, before) and before.sum() > 100
    assert torch.equal(bare.objects, scenes.objects) and torch.equal(bare.robot, scenes.robot)


def test_a_condition_without_any_target_is_reported() -> None:
    """A ball that lies far outside the workspace."""
    features = torch.tensor([[200.0, 200, 0.4, 0.4, 0, 0, 5, 5, 0, 1]])
    with pytest.raises(RuntimeError, match=r"1 draws found no target in 50 scenes .* of a Ball"):
        oracle_places(BALL, features, 1, generator(25))


def test_uniform_places_are_uniform_offsets(rows: pd.DataFrame) -> None:
    """Of a ball in the middle, where nothing is clipped: back in its axes, in units of its side."""
    features = torch.tensor([[10.0, 10, 0.5, 0.5, 0.7, 0, 5, 5, 0, 1]])
    places = uniform_places(BALL, features, 4_000, generator(26))[0] - 10
    cos, sin = math.cos(0.7), math.sin(0.7)
    turn = torch.tensor([[cos, -sin], [sin, cos]], dtype=torch.float64)
    offsets = places @ turn / 0.5
    for column in offsets.T.numpy():
        assert scipy.stats.kstest(column, scipy.stats.uniform(-8, 17).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(offsets.T.numpy())[0, 1]) < SIGMAS / math.sqrt(4_000)
