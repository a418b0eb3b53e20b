"""Fields of a diffusion equation: what is solved, what is seen of it, ways to guess the rest."""

import math
from dataclasses import replace

import pytest
import torch

from dualdiff.energy import Energy
from dualdiff.experiments.store import Store
from dualdiff.images import equations
from dualdiff.images.equations import CELLS, FIELD, GRID, KEPT, PROBLEMS, EquationTrial, Fields
from dualdiff.images.members import PictureNetworks, sized
from dualdiff.samplers import sample

SMALL = replace(sized(equations.SIZES, "smoke"), conditions=2)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# --- the equation -------------------------------------------------------------------------------


def test_the_operator_is_symmetric_positive_and_linear() -> None:
    a = equations.drawn(1, generator(0))[:, :CELLS].double().exp()
    eye = torch.eye(CELLS, dtype=torch.float64)
    matrix = equations.operator(a.expand(CELLS, -1), eye)
    torch.testing.assert_close(matrix, matrix.T)
    assert float(torch.linalg.eigvalsh(matrix).min()) > 0
    u = torch.randn(1, CELLS, generator=generator(1), dtype=torch.float64)
    torch.testing.assert_close(equations.operator(a, u), u @ matrix)


def test_solutions_fulfil_it_and_halve_where_the_ground_lets_twice_as_much_through() -> None:
    fields = equations.drawn(20, generator(0)).double()
    a = fields[:, :CELLS].exp()
    u = equations.solved(a)
    torch.testing.assert_close(equations.operator(a, u), torch.ones_like(u), rtol=0, atol=1e-9)
    torch.testing.assert_close(equations.solved(2 * a), u / 2)
    assert float(u.min()) > 0  # the maximum principle
    square = u.view(-1, GRID, GRID)
    turned = equations.solved(a.view(-1, GRID, GRID).mT.flatten(1)).view(-1, GRID, GRID)
    torch.testing.assert_close(turned, square.mT)
    assert float(equations.residual(fields).abs().max()) < 1e-4  # rows are float32


def test_of_even_ground_the_solution_is_that_of_the_series() -> None:
    """Poisson's equation on the unit square, to second order in the size of a cell."""
    u = equations.solved(torch.ones(1, CELLS, dtype=torch.float64)).view(GRID, GRID)
    x = (torch.arange(GRID, dtype=torch.float64) + 0.5) / GRID
    series = torch.zeros(GRID, GRID, dtype=torch.float64)
    for m in range(1, 80, 2):
        for n in range(1, 80, 2):
            wave = torch.outer((m * math.pi * x).sin(), (n * math.pi * x).sin())
            series += 16 / (math.pi**4 * m * n * (m**2 + n**2)) * wave
    assert float((u - series).abs().max()) < 3 / CELLS * float(series.max())


def test_the_residual_reads_as_an_error_of_the_solution() -> None:
    fields = equations.drawn(1, generator(0)).double()
    fields[:, :CELLS] = 0
    fields[:, CELLS:] = equations.solved(torch.ones(1, CELLS, dtype=torch.float64)).log()
    fields[:, CELLS:] += math.log(1.1)
    found, u = equations.residual(fields), fields[:, CELLS:].exp() / 1.1
    torch.testing.assert_close(found, 0.1 * u / u.mean(), rtol=1e-4, atol=1e-6)


def test_coefficients_have_the_covariance_and_components_keep_nearly_all() -> None:
    fields = equations.drawn(4_000, generator(3))
    a = fields[:, :CELLS].double()
    error = ((equations.prior() ** 2 + 1) / 4_000).sqrt()
    assert float(((a.T.cov() - equations.prior()) / error).abs().max()) < 6
    space = equations.space()
    torch.testing.assert_close(space.basis @ space.basis.T, torch.eye(KEPT), rtol=0, atol=1e-5)
    lost = (equations.decoded(space.encode(fields)) - fields).square().mean()
    assert float(lost.sqrt()) < equations.TOLERANCE


# --- what is observed ---------------------------------------------------------------------------


@pytest.mark.parametrize("problem", PROBLEMS)
def test_cells_are_those_of_the_problem(problem: str) -> None:
    one = equations.case(problem, 40, 3, 0)
    low, high = PROBLEMS[problem]
    assert len(one.cells.unique()) == 40 and low <= int(one.cells.min()) <= int(one.cells.max())
    assert int(one.cells.max()) < high
    off = (one.values - one.fields[one.cells]) / equations.STD
    assert float(off.abs().max()) < 4.5
    torch.testing.assert_close(equations.case(problem, 9, 3, 0).fields, one.fields)


def test_kriging_draws_have_the_moments_of_the_conditioned_gaussian() -> None:
    one, prior = equations.case("forward", 16, 0, 0), equations.prior()
    draws = equations.conditioned(torch.zeros(CELLS).double(), prior, one, 4_000, generator(0))
    seen = prior[one.cells][:, one.cells] + equations.STD**2 * torch.eye(16).double()
    gain = torch.linalg.solve(seen, prior[one.cells]).T
    deviation = (prior - gain @ prior[one.cells]).diagonal().clamp(min=0).sqrt()
    off = (draws.mean(0) - gain @ one.values.double()) / (deviation + 1e-6) * 4_000**0.5
    assert float(off.abs().max()) < 5
    torch.testing.assert_close(draws.std(0), deviation, rtol=0.07, atol=1e-4)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("store"))


def test_an_untrained_network_guided_with_the_covariance_is_kriging(store: Store) -> None:
    """It is the best linear one, so what is left is the Gaussian with the same moments."""
    network = PictureNetworks(Fields(), equations.FIELDS, SMALL, 0, store)._new("general")
    one = equations.case("inverse", 16, 0, 0)
    spread = equations.space().spread / network.process.y_std
    rule = Energy(network, equations.seen(one, network.process, spread.square().diag()))
    z = sample(rule, torch.zeros(1, 0), generator(0), draws=1_000)[0]
    mean = equations.moments()[0].float()
    found = equations.decoded(z).mean(0)
    known = equations.conditioned(*equations.moments(), one, 1_000, generator(1)).float().mean(0)
    for part in FIELD.values():
        off = (found - known)[part].norm() / (one.fields - mean)[part].norm()
        assert float(off) < 0.12  # components, tolerance and chance


def test_the_equation_is_about_as_wrong_as_expected_of_its_model(store: Store) -> None:
    network = PictureNetworks(Fields(), equations.FIELDS, SMALL, 0, store).general.network
    law, process = equations.Equation(network, 4.0), network.process
    assert set(law.square) == {0.0, *(process.noise(t) for t in range(process.steps))}
    z = equations.space().encode(equations.drawn(300, generator(5)))
    found = law(z, 0.0)
    assert found.shape == (300,) and bool((found <= 0).all())
    assert -2.5 < float(found.mean()) < -0.4  # -w/2 log(1 + chi), chi about 1
    twice = equations.Equation(network, 8.0)(z, 0.0)
    torch.testing.assert_close(twice, 2 * found)


# --- trials -------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["kriging", "exact", "data", "normalised at 1", "few", "smc"])
def test_ways_score_both_fields(store: Store, way: str) -> None:
    scores = EquationTrial(Fields("forward", 8), SMALL, 0, way).scores(store, "cpu", True)
    assert {target for target, _ in scores} == {"samples", *FIELD}
    assert 0 < scores["coefficient", "relative"].value < 3
    assert 0 <= scores["solution", "coverage"].value <= 1
    if way == "exact":
        assert scores["samples", "residual"].value < 1e-4


def test_the_equation_says_what_it_changes(store: Store) -> None:
    trial = EquationTrial(Fields("both", 8), SMALL, 0, "residual at 0")
    scores = trial.scores(store, "cpu", True)
    assert scores["coefficient", "gain"].value == 0  # no weight, no change
    heavy = replace(trial, configuration="residual at 64").scores(store, "cpu", True)
    assert heavy["samples", "residual"].value < scores["samples", "residual"].value


def test_what_is_no_problem_or_way_is_refused(store: Store) -> None:
    for wrong in ({"problem": "sideways"}, {"observed": 0}, {"observed": 257}):
        with pytest.raises(ValueError, match="problem must be one of forward, inverse, both"):
            Fields(**wrong)
    with pytest.raises(ValueError, match="configuration must be one of kriging; exact"):
        EquationTrial(Fields(), SMALL, 0, "residual")
    with pytest.raises(ValueError, match="exact is for problem forward only"):
        EquationTrial(Fields("both"), SMALL, 0, "exact").scores(store, "cpu", True)


def test_trials_are_distinct_and_all_seeds_have_the_same(store: Store) -> None:
    trials = equations.equation_trials("full", 0)
    assert len({t.key for t in trials}) == len(trials)
    by_seed = [[t.key[0] + t.configuration for t in trials if t.seed == s] for s in range(3)]
    assert by_seed[0] == by_seed[1] == by_seed[2]


def test_networks_are_the_same_whatever_is_observed(store: Store) -> None:
    worlds = (Fields("forward", 4), Fields("both", 64))
    both = [PictureNetworks(w, equations.FIELDS, SMALL, 0, store) for w in worlds]
    assert torch.equal(*(networks.rows("general")[0] for networks in both))
    assert both[0].asked("general").config == both[1].asked("general").config
