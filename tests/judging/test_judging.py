"""The judge: the truth of its problems, equal cost, and a newcomer beside the built-in rows."""

import math
import re

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import generator
from scipy import stats

from dualdiff import metrics
from dualdiff.compose import Weighted
from dualdiff.experiments.profiles import PROFILES
from dualdiff.judging import entries, run, show
from dualdiff.judging.entries import BUDGET, ENTRIES, affordable
from dualdiff.judging.problems import CELLS, PROBLEMS
from dualdiff.judging.table import joined
from dualdiff.judging.trials import JudgeTrial, judge_trials, judged
from dualdiff.process import Process
from dualdiff.publish import cli
from dualdiff.regions import Region

# ---- problems ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROBLEMS)
def test_draws_of_the_truth_score_the_floor(name: str) -> None:
    problem, k, sets = PROBLEMS[name], 50, 30
    assert problem.masses.sum() == pytest.approx(1, abs=1e-12)
    found = []
    for seed in range(sets):
        c = problem.conditions(20, generator(seed))
        if isinstance(problem.truth, Region):
            y = problem.truth.draw(c, generator(seed + 100), k)
        else:
            grid, mass = problem._fine
            pick = torch.multinomial(
                mass.flatten(), 20 * k, replacement=True, generator=generator(seed)
            )
            y = c[:, None] + grid.view(-1, 2)[pick].view(20, k, 2)
        found.append(problem.score(y, c, seed)["total_variation"].value)
    error = float(np.std(found)) / math.sqrt(sets)
    assert abs(float(np.mean(found)) - problem.floor(20 * k)) < 5 * error


def test_the_floor_of_equal_cells_is_that_of_the_metrics() -> None:
    nested = PROBLEMS["nested"]
    assert nested.floor(700) == pytest.approx(metrics.total_variation_floor(700, 125), rel=1e-9)


def test_the_product_of_gaussians_is_gaussian() -> None:
    """Cell by cell, against scipy's distribution function of the known product."""
    a, b = (np.array(v) for v in ([[0.5, 0.2], [0.2, 0.4]], [[0.3, -0.1], [-0.1, 0.6]]))
    precision = np.linalg.inv(a) + np.linalg.inv(b)
    covariance = np.linalg.inv(precision)
    mean = covariance @ (np.linalg.solve(a, [0.5, 0.0]) + np.linalg.solve(b, [-0.3, 0.4]))
    law = stats.multivariate_normal(mean, covariance)
    edges = np.linspace(-2, 2, CELLS + 1)
    below = law.cdf(np.stack(np.meshgrid(edges, edges, indexing="ij"), -1))
    expected = np.diff(np.diff(below, axis=0), axis=1)
    found = PROBLEMS["gaussians"].masses.reshape(CELLS, CELLS)
    # The square holds all but a few thousandths of the mass, the sum is exact to the grid.
    np.testing.assert_allclose(found, expected / expected.sum(), atol=2e-5)
    assert expected.sum() > 0.995


def test_the_left_piece_has_sixteen_percent() -> None:
    cdf = stats.norm(0.792, 1.0).cdf
    left, right = cdf(-0.5) - cdf(-2), cdf(2) - cdf(0.5)
    problem = PROBLEMS["pieces"]
    c = problem.conditions(3, generator())
    scores = problem.score(c[:, None] + torch.tensor([[[-1.0, 0.0], [1.0, 0.0]]]), c, 0)
    assert scores["left_truth"].value == pytest.approx(left / (left + right), abs=1e-3)
    assert scores["left_truth"].value == pytest.approx(0.16, abs=1e-3)
    assert scores["left"].value == 0.5


@pytest.mark.parametrize(
    "name", sorted(set(PROBLEMS) - {"disc"})
)  # which is flat: it has no density
def test_members_without_noise_are_their_laws(name: str) -> None:
    problem = PROBLEMS[name]
    d, noise = problem.dim, 1e-4
    process = Process(
        torch.tensor([1 - noise**2], dtype=torch.float64), *(torch.zeros(d), torch.ones(d)) * 2
    )
    u = (1.8 * torch.rand(400, d, generator=generator(), dtype=torch.float64)) - 0.9
    u = u[(u.abs() * 40 % 1 - 0.5).abs().amax(1) < 0.49]  # away from the borders of boxes
    shapes = []
    for law in problem.laws.values():
        exact = law.make(process).log_density(process.signal(0) * u, 0, torch.zeros_like(u))
        clean = law.log_p(u)
        held = clean > -50
        torch.testing.assert_close(
            exact[held] - exact[held][0], clean[held] - clean[held][0], rtol=1e-4, atol=1e-3
        )
        assert bool((exact[~held] < -40).all())
        shapes.append(bool(held.any()))
    assert all(shapes)


# ---- cost ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENTRIES)
def test_every_entry_spends_the_budget_and_no_more(name: str) -> None:
    steps, calls = affordable(ENTRIES[name], PROBLEMS["gaussians"])
    assert 0.95 * 2 * BUDGET <= calls <= 2 * BUDGET and steps >= entries.FEWEST


def test_a_third_member_is_paid_for() -> None:
    assert affordable(ENTRIES["smc"], PROBLEMS["three"]) == (BUDGET, 3.0 * BUDGET)


def test_what_is_too_costly_is_refused() -> None:
    def costly(members, conditions, generator, *, draws):  # type: ignore[no-untyped-def]
        c = conditions.repeat_interleave(draws, 0)
        for _ in range(BUDGET + 1):
            y = sum(member(0 * c, 0, c) for member in members.values())
        return y.view(len(conditions), draws, -1)

    with pytest.raises(ValueError, match="costs 402 calls .* must be from 1 to 400"):
        affordable(costly, PROBLEMS["gaussians"])


# ---- trials --------------------------------------------------------------------------------------


def test_trials_are_told_apart_and_leave_out_what_takes_two() -> None:
    some = judge_trials(PROFILES["smoke"])
    assert len({trial.key for trial in some}) == len(some)
    assert len(some) == len(PROBLEMS) * len(ENTRIES) - len(entries.ONLY_TWO)
    assert {type(trial) for trial in some} == {JudgeTrial}


# ---- a newcomer ----------------------------------------------------------------------------------


def total(members):  # type: ignore[no-untyped-def]
    return Weighted(members, dict.fromkeys(members, 1.0))


def couple(members):  # type: ignore[no-untyped-def]
    if len(members) > 2:
        raise ValueError("two members, please")
    return total(members)


@pytest.fixture
def small(tmp_path, monkeypatch):  # type: ignore[no-untyped-def]
    """Two problems, few samples, and made-up rows of two built-in entries."""
    some = {name: PROBLEMS[name] for name in ("gaussians", "three")}
    for module in ("run", "show", "table"):
        monkeypatch.setattr(f"dualdiff.judging.{module}.PROBLEMS", some)
    monkeypatch.setattr(run, "SIZES", {"smoke": (2, 1), "full": (4, 1)})
    rows = [
        (problem, entry, seed, metric, value, 0, 1)
        for problem in some
        for place, entry in enumerate(("smc", "sum"))
        for seed in range(3)
        for metric, value in {
            "total_variation": float(place),
            "total_variation_floor": round(some[problem].floor(4 * entries.DRAWS), 7),
            "calls": 400,
            "steps": 200,
        }.items()
    ]
    columns = ["scenario", "configuration", "seed", "metric", "value", "low", "high"]
    path = tmp_path / "judge_v1.csv"
    pd.DataFrame(rows, columns=columns).to_csv(path, index=False)
    monkeypatch.setattr(run, "BUILT_IN", path)
    monkeypatch.setattr(run.built_in, "__defaults__", (path,))
    return tmp_path


def test_a_newcomer_stands_between_the_built_in_rows(small) -> None:  # type: ignore[no-untyped-def]
    said: list[str] = []
    table = run.judge(total, output=small, quiet=True, say=said.append)
    own = table[table["entry"] == "total"]
    assert own["rank"].tolist() == [2, 2] and own["mean_rank"].tolist() == [2, 2]
    expected, _ = judged(ENTRIES["sum"], PROBLEMS["gaussians"], 4, 0)
    assert own["value"].iloc[0] == pytest.approx(expected["total_variation"].value)
    assert own["calls"].tolist() == [2 * BUDGET, 3 * BUDGET]
    written = pd.read_csv(small / "total_v1.csv")
    pd.testing.assert_frame_equal(written, table, check_dtype=False)
    assert (small / "total_v1.png").read_bytes().startswith(b"\x89PNG")
    assert any("✓ the order of the members" in line for line in said)
    assert any("→ total" in line for line in said)
    assert all(str(small / f"total_v1.{kind}") in said[-1] for kind in ("csv", "png"))
    assert not any(show.FEWER in line for line in said)


def test_fewer_samples_have_a_floor_of_their_own_and_no_rank(small) -> None:  # type: ignore[no-untyped-def]
    said: list[str] = []
    table = run.judge(total, output=small, profile="smoke", quiet=True, say=said.append)
    for one in (table, pd.read_csv(small / "total_v1.csv")):
        own, others = one[one["entry"] == "total"], one[one["entry"] != "total"]
        assert own[["rank", "mean_rank"]].isna().all(axis=None)
        # Among themselves the others stand as they would without it.
        assert others.groupby("entry")["rank"].agg(list).to_dict() == {"smc": [1, 1], "sum": [2, 2]}
        floors = [PROBLEMS[name].floor(2 * entries.DRAWS) for name in own["problem"]]
        assert own["floor"].tolist() == pytest.approx(floors, rel=1e-6)
    board = show.board(table, "total")
    assert board.index[:3].tolist() == ["floor", "→ floor", "→ total"]
    title = PROBLEMS["gaussians"].title
    assert float(board.loc["floor", title]) < float(board.loc["→ floor", title])
    assert any(show.FEWER in line for line in said)
    (axes,) = show.figure(table, "total").axes
    assert axes.get_title() == show.FEWER
    assert "floor of total" in {line.get_label() for line in axes.lines}


@pytest.mark.parametrize("name", ["mine", "a_rule_of_which_the_name_is_as_long_as_a_sentence"])
@pytest.mark.parametrize("conditions", [4, 80])
def test_what_is_printed_fits_a_terminal(name: str, conditions: int) -> None:
    """All built-in entries on all problems and one more, of fewer samples or of as many."""
    rows = [
        (problem, entry, 0, metric, value)
        for problem, one in PROBLEMS.items()
        for entry in (*ENTRIES, name)
        for metric, value in {
            "total_variation": 1.0,
            "total_variation_floor": one.floor((conditions if entry == name else 80) * 50),
            "calls": 600.0,
        }.items()
    ]
    columns = ["scenario", "configuration", "seed", "metric", "value"]
    lines = show.words(joined(pd.DataFrame(rows, columns=columns)), name).splitlines()
    assert max(map(len, lines)) <= 100
    assert (show.FEWER in lines) == (conditions == 4)


def test_a_rule_of_two_is_judged_on_pairs(small) -> None:  # type: ignore[no-untyped-def]
    said: list[str] = []
    table = run.judge(couple, profile="smoke", quiet=True, say=said.append)
    assert table[table["entry"] == "couple"]["problem"].tolist() == ["gaussians"]
    assert any("Left out of 'three members': two members, please" in line for line in said)
    assert "–" in show.board(table, "couple").loc["→ couple", "three members"]


def test_intervals_are_over_seeds() -> None:
    values = (0.1, 0.2, 0.4)
    rows = pd.DataFrame(
        [("boxes", "sum", seed, "total_variation", v) for seed, v in enumerate(values)]
        + [("boxes", "sum", seed, "total_variation_floor", 0.05) for seed in range(3)],
        columns=["scenario", "configuration", "seed", "metric", "value"],
    )
    (row,) = joined(rows).itertuples()
    low, high = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (row.low, row.high) == (pytest.approx(max(low, 0)), pytest.approx(high))


def uneven(members):  # type: ignore[no-untyped-def]
    return Weighted(members, {name: 1.0 + k for k, name in enumerate(members)})


@pytest.mark.parametrize(
    "rule, options, message",
    [
        (uneven, {}, "the order of the members does not matter"),
        (3, {}, "a rule must be a function"),
        (total, {"name": "smc"}, f"none of {', '.join(ENTRIES)}"),
        (total, {"profile": "huge"}, "profile must be one of smoke"),
    ],
)
def test_what_cannot_be_judged_is_refused_at_once(small, rule, options, message) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        run.judge(rule, quiet=True, **options)


def test_without_the_built_in_rows_nothing_runs(small) -> None:  # type: ignore[no-untyped-def]
    (small / "judge_v1.csv").unlink()
    with pytest.raises(FileNotFoundError, match="dualdiff results judge_v1"):
        run.judge(total, quiet=True)


RULE = "from dualdiff.compose import Weighted\n\n\ndef mine(members):\n    return 1\n"


@pytest.mark.parametrize(
    "text, what, message",
    [
        (None, "rule.py", "of a file that exists"),
        (RULE, "rule.txt", "must be FILE.py"),
        ("1 / 0", "rule.py", "cannot be executed: ZeroDivisionError"),
        ("x = 1", "rule.py", "must hold one rule, not none"),
        (RULE + "\n\ndef other(members):\n    pass\n", "rule.py", r"2 functions \(mine, other\)"),
        (RULE, "rule.py:yours", "has no function 'yours', but mine"),
        (RULE, "rule.py:mine", "is a int, not a Denoiser"),
    ],
)
def test_files_without_a_rule_are_refused(  # type: ignore[no-untyped-def]
    small, monkeypatch, capsys, text, what, message
) -> None:
    monkeypatch.chdir(small)
    if text is not None:
        (small / "rule.py").write_text(text)
    assert cli.main(["judge", what, "--quiet"]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_file_is_judged_by_the_command(small, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(small)
    (small / "rule.py").write_text(
        RULE.replace("1", "Weighted(members, dict.fromkeys(members, 1))")
    )
    assert cli.main(["judge", "rule.py", "--profile", "smoke", "--quiet"]) == 0
    assert "→ mine" in capsys.readouterr().out
    assert (small / "mine_v1.csv").is_file() and (small / "mine_v1.png").is_file()
