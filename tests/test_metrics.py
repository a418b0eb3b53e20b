"""Metrics against known answers, independent references and the spread of repeated runs."""

import math

import numpy as np
import pytest
import torch
from conftest import KINDS_OF_ROWS, containers, needs_cuda
from conftest import generator as make_generator
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist
from scipy.stats import energy_distance as scipy_energy_distance
from torch import Tensor

from dualdiff import metrics
from dualdiff.experiments.scenarios import cabinet, round_table
from dualdiff.experiments.study import evaluate
from dualdiff.metrics import METRICS, Estimate, over_groups
from dualdiff.regions import Box, Region

SCENARIOS = {"cabinet": cabinet(), "round_table": round_table()}
UNIT = Box((0.0,), (1.0,), divisions=4)  # asymmetric about its condition


def perfect(region: Region, n: int, k: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """k true draws at each of n conditions, (y, c)."""
    g = make_generator(seed)
    c = 10 * torch.rand(n, region.dim, generator=g) - 4
    return region.draw(c, g, k), c


def standard_error(estimate: Estimate, freedom: int) -> float:
    """Undo the interval: half width over the t quantile."""
    return (estimate.high - estimate.low) / 2 / metrics.student.ppf(0.975, freedom)


def clustered(n: int, k: int, seed: int) -> tuple[Tensor, Tensor]:
    """Samples of UNIT whose share p_i ~ U(0, 1) of hits and place 2 + p_i of misses vary with c."""
    rng = np.random.default_rng(seed)
    p = rng.random((n, 1))
    u = np.where(rng.random((n, k)) < p, rng.random((n, k)), 2 + p)
    c = rng.normal(size=(n, 1))
    return torch.tensor((u + c)[..., None]), torch.tensor(c)


def energy_only(x: np.ndarray, z: np.ndarray) -> dict[str, float]:
    return {"energy": metrics.energy_distance(x, z)}


# ---- known answers -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_perfect_sampler(name: str) -> None:
    scenario = SCENARIOS[name]
    y, c = perfect(scenario.specialised, 500, 10)
    train, at = scenario.pairs("specialised", 128, make_generator(1))
    scores = evaluate(y, c, scenario.specialised, make_generator(2), train - at)
    assert tuple(scores) == METRICS
    assert scores["accuracy"] == (1, 1, 1) and scores["support_distance"] == (0, 0, 0)
    assert all(math.isnan(x) for x in scores["miss_distance"])
    floor = scores["total_variation_floor"]
    assert floor == (metrics.total_variation_floor(5000, scenario.specialised.n_cells),) * 3
    error = standard_error(scores["total_variation"], 499)
    assert abs(scores["total_variation"].value - floor.value) < 4 * error
    # 10 groups: 4.8 standard errors of Student's t with 9 degrees are as rare (1e-3) as 3.3 normal
    for metric, truth in {"energy_distance": 0, "density": 1, "memorisation": 0.5}.items():
        assert abs(scores[metric].value - truth) < 4.8 * standard_error(scores[metric], 9), metric
    # a ball stays empty if its 5 points come first among 499 others and 500 samples (Naeem et al.)
    covered = 1 - math.prod((499 - i) / (999 - i) for i in range(5))
    assert abs(scores["coverage"].value - covered) < 4.8 * standard_error(scores["coverage"], 9)
    # coverage counts the balls that hold a sample, precision the samples in any ball: easier
    assert min(scores["precision"].value, scores["recall"].value) > covered


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_collapsed_sampler(name: str) -> None:
    region = SCENARIOS[name].specialised
    _, c = perfect(region, 300, 1)
    point = region.draw(torch.zeros(200, 3), make_generator(3)).mean(0)
    scores = evaluate((c + point)[:, None].expand(-1, 7, -1), c, region, make_generator(4))
    assert "memorisation" not in scores and tuple(scores) == METRICS[:-1]
    assert scores["accuracy"].value == 1
    assert scores["total_variation"].value == pytest.approx(1 - 1 / region.n_cells, abs=1e-12)
    assert scores["precision"].value == 1
    assert scores["recall"].value == 0 and scores["coverage"].value < 0.1
    assert scores["energy_distance"].low > 0 and scores["frechet_distance"].low > 0


def test_replaying_the_training_set_is_memorisation_and_avoiding_it_is_not() -> None:
    region = cabinet().specialised
    y, c = perfect(region, 400, 5)
    train = region.draw(torch.zeros(16, 3), make_generator(5))
    replay = c[:, None] + train[torch.randint(16, (400, 5), generator=make_generator(6))]
    assert evaluate(replay, c, region, make_generator(), train)["memorisation"] == (1, 1, 1)
    assert evaluate(y + 9, c, region, make_generator(), train)["memorisation"] == (0, 0, 0)


def test_the_general_law_against_the_specialised_cabinet() -> None:
    scenario = cabinet()
    y, c = perfect(scenario.general, 4000, 5)
    estimate = metrics.accuracy(y, c, scenario.specialised)
    expected = math.sqrt(0.125 * 0.875 / 20_000)  # binomial
    assert abs(estimate.value - 0.125) < 4 * expected
    # a standard error from n values is itself known to about sqrt(kurtosis / 4n)
    assert standard_error(estimate, 3999) == pytest.approx(expected, rel=0.1)
    # TV = 1 - overlap = 7/8, plus what noise adds to the 125 cells: below the floor of the hits
    tv = metrics.total_variation(y, c, scenario.specialised, make_generator())
    assert 0.87 < tv.value < 0.875 + metrics.total_variation_floor(2000, 125)


def test_distances_on_a_hand_made_set() -> None:
    # UNIT = [0, 1]; offsets -2 (misses by 2), 0.5 (hit) | 4 (misses by 3), 3 (misses by 2)
    c = torch.tensor([[10.0], [-5.0]])
    y = torch.tensor([[[8.0], [10.5]], [[-1.0], [-2.0]]])
    assert metrics.accuracy(y, c, UNIT).value == 0.25
    assert metrics.support_distance(y, c, UNIT).value == (2 + 0 + 3 + 2) / 4
    ratio = metrics.miss_distance(y, c, UNIT)
    assert ratio.value == (2 + 4 + 3) / 3
    # residuals a_i - R m_i: 2 - 3 and 7 - 6, n / (n - 1) = 2, three misses in all
    assert standard_error(ratio, 1) == pytest.approx(math.sqrt(2 * (1 + 1)) / 3)
    # cells of [0, 1] in quarters: one of four samples in the third, three misses
    tv = metrics.total_variation(y, c, UNIT, make_generator())
    assert tv.value == pytest.approx((3 * 0.25 + 0 + 0.75) / 2)


# ---- intervals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metric, truth",
    # support_distance: E (1 - p)(1 + p) = 2/3; misses: E (1 - p)(2 + p) / E (1 - p) = 7/3
    [("accuracy", 1 / 2), ("support_distance", 2 / 3), ("miss_distance", 7 / 3)],
)
def test_intervals_hold_the_truth_in_95_of_100_runs_of_clustered_conditions(
    metric: str, truth: float
) -> None:
    runs, hits = 400, 0
    for seed in range(runs):
        y, c = clustered(60, 10, seed)
        estimate = getattr(metrics, metric)(y - c[:, None], 0 * c, UNIT)
        if metric == "miss_distance":  # moving all by c leaves the offsets, and the score, as is
            assert estimate.value == pytest.approx(metrics.miss_distance(y, c, UNIT).value)
        hits += estimate.low <= truth <= estimate.high
    assert abs(hits - 0.95 * runs) < 4 * math.sqrt(runs * 0.95 * 0.05)  # binomial standard error


def test_the_bootstrap_error_of_total_variation_is_the_spread_of_repeated_runs() -> None:
    runs = [
        metrics.total_variation(*clustered(100, 5, seed), UNIT, make_generator(seed), replicates=50)
        for seed in range(150)
    ]
    spread = np.std([run.value for run in runs], ddof=1)
    claimed = np.sqrt(np.mean([standard_error(run, 99) ** 2 for run in runs]))
    assert claimed == pytest.approx(spread, rel=4 / math.sqrt(2 * 150))  # four errors of a sd


def test_group_intervals_hold_the_truth_and_energy_distance_is_unbiased() -> None:
    # Each condition repeats one point of UNIT, a U(0, 1) draw: the pooled law is the true one, but
    # samples of a condition are as dependent as can be. Pairs within a condition would add 0.06.
    runs, hits, values = 150, 0, []
    for seed in range(runs):
        y, c = perfect(UNIT, 50, 1, seed)
        y = y.expand(-1, 10, -1)
        score = over_groups(energy_only, y, c, UNIT, make_generator(1000 + seed))["energy"]
        hits += score.low <= 0 <= score.high
        values.append(score.value)
    assert abs(np.mean(values)) < 4 * np.std(values) / math.sqrt(runs)
    # the U-statistic is skewed, so allow 90 % instead of 95 % on top of the binomial error
    assert hits / runs > 0.90 - 4 * math.sqrt(0.9 * 0.1 / runs)


def test_groups_are_disjoint_bounded_and_compare_at_the_same_conditions() -> None:
    seen: list[np.ndarray] = []

    def spy(x: np.ndarray, z: np.ndarray) -> dict[str, float]:
        assert x.shape == z.shape and z.min() >= 0 and z.max() <= 1 + 1e-5
        seen.append(np.floor(x[:, 0, 0]))
        return {"samples": float(x.shape[0] * x.shape[1])}

    # (conditions, draws) -> groups and samples in each
    cases = {(30_000, 1): (10, 1000), (2000, 50): (10, 1000), (300, 10): (10, 300)}
    cases |= {(20, 10): (5, 40), (3, 100): (1, 300), (1, 3000): (1, 1000), (7, 1): (1, 7)}
    for (n, k), (groups, samples) in cases.items():
        seen.clear()
        c = torch.zeros(n, 1)
        y = torch.arange(n)[:, None, None] + torch.full((n, k, 1), 0.5)  # the offset names its row
        score = over_groups(spy, y, c, UNIT, make_generator())["samples"]
        rows = np.concatenate(seen)
        assert (len(seen), score.value) == (groups, samples)
        assert len(np.unique(rows)) == len(rows)
        assert n < 10 or (np.diff(rows) < 0).any()  # sorted conditions are shuffled
        assert math.isnan(score.low) == (groups == 1)


def test_one_condition_has_values_without_bounds() -> None:
    region = cabinet().specialised
    y, c = perfect(region, 1, 200)
    scores = evaluate(y, c, region, make_generator())
    for name, score in scores.items():
        if name not in ("miss_distance", "centre_distance", "total_variation_floor"):
            assert math.isfinite(score.value) and math.isnan(score.low) and math.isnan(score.high)


# ---- total variation -----------------------------------------------------------------------------


@pytest.mark.parametrize("n, cells", [(1, 1), (1, 7), (7, 7), (50, 125), (999, 40), (1000, 40)])
def test_the_floor_is_the_mean_over_simulated_perfect_samples(n: int, cells: int) -> None:
    counts = np.random.default_rng(n).multinomial(n, np.full(cells, 1 / cells), size=4000)
    scores = 0.5 * np.abs(counts / n - 1 / cells).sum(1)
    error = 4 * scores.std() / math.sqrt(4000) + 1e-12
    assert abs(metrics.total_variation_floor(n, cells) - scores.mean()) <= error


def test_the_floor_of_a_million_is_the_normal_limit() -> None:
    n, cells, p = 1_000_000, 125, 1 / 125
    normal = cells / 2 * math.sqrt(2 / math.pi * p * (1 - p) / n)
    # Edgeworth: the relative error of the normal limit is of order 1 / (n p)
    assert metrics.total_variation_floor(n, cells) == pytest.approx(normal, rel=1 / (n * p))


# ---- references for the two-cloud statistics -----------------------------------------------------


def clouds(seed: int, n: int = 80, m: int = 60, d: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(m, d)) @ rng.normal(size=(d, d)) + 0.5


def test_energy_distance_against_scipy_on_a_line() -> None:
    x, z = clouds(0, d=1)
    # scipy returns the root of the V-statistic, which averages over equal pairs too: undo both
    within = cdist(x, x).mean() / (len(x) - 1) + cdist(z, z).mean() / (len(z) - 1)
    expected = scipy_energy_distance(x[:, 0], z[:, 0]) ** 2 - within
    assert metrics.energy_distance(x, z) == pytest.approx(expected, abs=1e-12)


def test_energy_distance_leaves_out_pairs_of_one_condition() -> None:
    x, z = clouds(1, n=12, m=8)
    owner = np.repeat(np.arange(4), 3)
    apart = owner[:, None] != owner
    expected = 2 * cdist(x, z).mean() - cdist(x, x)[apart].mean() - cdist(z, z).sum() / (8 * 7)
    assert metrics.energy_distance(x.reshape(4, 3, 3), z) == pytest.approx(expected, abs=1e-12)


def neighbour_scores_by_definition(x: np.ndarray, z: np.ndarray, k: int) -> dict[str, float]:
    radius_x, radius_z = (np.sort(cdist(p, p), axis=1)[:, k] for p in (x, z))
    apart = cdist(x, z)
    in_z, in_x = apart <= radius_z, apart <= radius_x[:, None]
    return {
        "precision": in_z.any(1).mean(),
        "recall": in_x.any(0).mean(),
        "density": in_z.sum() / (k * len(x)),
        "coverage": in_z.any(0).mean(),
    }


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 3))
def test_neighbour_scores_against_their_definition(seed: int, k: int, d: int) -> None:
    x, z = clouds(seed, n=40, m=25, d=d)
    scores = metrics.neighbour_scores(x, z, k)
    assert tuple(scores) == metrics.NEIGHBOUR_METRICS
    assert scores == pytest.approx(neighbour_scores_by_definition(x, z, k), abs=1e-12)


def test_frechet_distance_against_the_matrix_root_and_on_flat_clouds() -> None:
    x, z = clouds(2)
    s_x, s_z = np.cov(x.T), np.cov(z.T)
    shift = ((x.mean(0) - z.mean(0)) ** 2).sum()
    expected = shift + np.trace(s_x + s_z - 2 * sqrtm(s_x @ s_z).real)
    assert metrics.frechet_distance(x, z) == pytest.approx(expected, rel=1e-9)
    assert metrics.frechet_distance(x, x) == pytest.approx(0, abs=1e-12)
    # flattened in height and moved: the planar distance plus the square of the move
    x[:, 2], z[:, 2] = 10, 10.5
    planar = metrics.frechet_distance(x[:, :2], z[:, :2])
    assert metrics.frechet_distance(x, z) == pytest.approx(planar + 0.25, rel=1e-7)


def test_memorisation_against_the_median_by_hand() -> None:
    z = np.array([[1.0], [2.0], [3.0], [8.5], [14.0]])  # distances 1 2 3 1.5 4, median 2
    x = np.array([[1.9], [2.1], [-1.0], [10.0]])
    assert metrics.memorisation(x, z, np.array([[0.0], [10.0]])) == 0.75


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 5))
def test_energy_score_against_its_definition(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    y, target = rng.normal(size=(6, k, 3)), rng.normal(size=(6, 3))
    scores = []
    for draws, truth in zip(y, target, strict=True):
        pairs = [np.linalg.norm(draws[i] - draws[j]) for i in range(k) for j in range(i)]
        scores.append(np.linalg.norm(draws - truth, axis=1).mean() - np.mean(pairs) / 2)
    estimate = metrics.energy_score(torch.tensor(y), torch.tensor(target))
    assert estimate.value == pytest.approx(np.mean(scores), abs=1e-12)
    assert standard_error(estimate, 5) == pytest.approx(np.std(scores, ddof=1) / math.sqrt(6))


def test_energy_score_is_chunked_unbiased_over_draws_and_prefers_the_truth(monkeypatch) -> None:
    region = round_table().specialised
    y, c = perfect(region, 2000, 12)
    target = region.draw(c, make_generator(11))
    whole = metrics.energy_score(y, target)
    monkeypatch.setattr(metrics, "PAIR_LIMIT", 5000)
    assert metrics.energy_score(y, target) == pytest.approx(whole, rel=1e-12)
    few = metrics.energy_score(y[:, :2], target)
    # the error of the difference is below the sum of the two errors
    errors = standard_error(whole, 1999) + standard_error(few, 1999)
    assert abs(few.value - whole.value) < 4 * errors
    collapsed = (y - c[:, None]).mean() + 0 * y + c[:, None]
    assert metrics.energy_score(collapsed, target).low > whole.high
    general = round_table().general.draw(c, make_generator(12), k=12)
    assert metrics.energy_score(general, target).low > whole.high


# ---- laws of evaluate ----------------------------------------------------------------------------


def test_scores_do_not_change_when_everything_moves_with_the_condition() -> None:
    region = cabinet().specialised
    y, c = perfect(cabinet().general, 60, 8)
    y, c = (torch.round(x * 1024) / 1024 for x in (y, c))  # exact sums
    here = evaluate(y, c, region, make_generator(3))
    step = torch.tensor([4.0, -2.0, 8.0])
    there = evaluate(y + step, c + step, region, make_generator(3))
    for name in here:
        # true draws around the moved condition are rounded anew, in float64
        assert here[name] == pytest.approx(there[name], abs=1e-9), name


def test_evaluate_repeats_with_the_seed_and_leaves_the_global_generators_alone() -> None:
    region = round_table().specialised
    y, c = perfect(round_table().general, 50, 6)
    numpy_state = np.random.get_state()[1].copy()
    first = evaluate(y, c, region, make_generator(1), torch.zeros(4, 3))
    assert first == evaluate(y, c, region, make_generator(1), torch.zeros(4, 3))
    other = evaluate(y, c, region, make_generator(2), torch.zeros(4, 3))
    assert first["accuracy"] == other["accuracy"]
    assert first["energy_distance"] != other["energy_distance"]
    assert first["total_variation"].value == other["total_variation"].value
    assert first["total_variation"].low != other["total_variation"].low
    assert np.array_equal(np.random.get_state()[1], numpy_state)


@needs_cuda
def test_samples_on_cuda_score_as_on_the_cpu() -> None:
    region = cabinet().specialised
    y, c = perfect(region, 50, 6)
    scores = evaluate(y.cuda(), c.cuda(), region, make_generator(1), torch.zeros(4, 3).cuda())
    expected = evaluate(y, c, region, make_generator(1), torch.zeros(4, 3))
    assert repr(scores) == repr(expected)  # repr, because nan is not equal to itself


# ---- what is refused -----------------------------------------------------------------------------

BOX = cabinet().specialised
Y, C = torch.zeros(4, 5, 3), torch.zeros(4, 3)
BAD = Y.clone()
BAD[0, 0, 0], BAD[1, 0, 0] = math.nan, math.inf
POINTS = np.arange(9.0).reshape(3, 3)
REFUSED = [
    (lambda: evaluate(BAD, C, BOX, make_generator()), "y must be finite, got 2 NaN .* of 60"),
    (lambda: evaluate(Y, C / 0, BOX, make_generator()), "c must be finite, got 12 NaN"),
    (lambda: evaluate(Y[:, 0], C, BOX, make_generator()), r"y must .*\[\*, \*, 3\], got \[4, 3\]"),
    (lambda: evaluate(Y[..., :2], C, BOX, make_generator()), r"y must have shape \[\*, \*, 3\]"),
    (lambda: evaluate(Y, C[:3], BOX, make_generator()), r"c must .*\[4, 3\], got \[3, 3\]"),
    (lambda: evaluate(Y[:0], C[:0], BOX, make_generator()), "y must not be empty"),
    (lambda: evaluate(Y[:, :0], C, BOX, make_generator()), "y must not be empty"),
    (lambda: evaluate(Y, C, BOX, make_generator(), Y[:0, 0]), "train_offsets must not be empty"),
    (lambda: evaluate(Y, C, BOX, make_generator(), Y), "train_offsets must have shape"),
    (lambda: evaluate(Y[:1, :1], C[:1], BOX, make_generator()), "at least 2 points"),
    (lambda: metrics.accuracy(BAD, C, BOX), "y must be finite"),
    (lambda: metrics.total_variation(Y, C, BOX, make_generator(), 1), "replicates .*got 1"),
    (lambda: metrics.total_variation_floor(0, 5), "at least 1, got n=0"),
    (lambda: metrics.energy_score(Y[:, :1], C), "y must hold at least 2 draws .* got 1"),
    (lambda: metrics.energy_score(Y, C[:, :2]), r"target must have shape \[4, 3\], got \[4, 2\]"),
    (lambda: metrics.neighbour_scores(POINTS, POINTS, 3), "k must be from 1 to 2 .*got 3"),
    (lambda: metrics.frechet_distance(POINTS[:1], POINTS), "at least 2 points, got 1"),
    (lambda: metrics.energy_distance(POINTS, POINTS[:, :2]), r"z must .*\[\*, 3\], got \[3, 2\]"),
    (lambda: over_groups(dict, Y, C, BOX, make_generator(), groups=0), "groups must .*got 0"),
]


@pytest.mark.parametrize("call, message", REFUSED, ids=[m for _, m in REFUSED])
def test_bad_input_is_refused_by_name(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("kind", KINDS_OF_ROWS)
def test_samples_of_any_type_have_the_same_scores(kind: str) -> None:
    region = Box((-1.0, -1.0), (2.0, 2.0), divisions=3)
    y, c = torch.randint(4, (2, 12, 2), generator=make_generator(3)).float()
    expected = metrics.accuracy(y[:, None], c, region)
    given_y, given_c = containers(y)[kind], containers(c)[kind]
    assert torch.equal(region.cells(given_y, given_c), region.cells(y, c))  # type: ignore[arg-type]
    one = [[row] for row in y.tolist()]
    assert metrics.accuracy(one, given_c, region) == expected  # type: ignore[arg-type]
    distance = metrics.support_distance(y[:, None], c, region)
    assert metrics.support_distance(y[:, None].int(), given_c, region) == distance  # type: ignore[arg-type]
