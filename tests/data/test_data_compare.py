"""Comparisons by held-out rows, their intervals, what is recommended, and models in files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from test_data_pairs import TINY, example

from dualdiff.data.compare import (
    FLOOR,
    RULES,
    compare,
    compare_models,
    diagnosis,
    judged,
    model,
    over_rows,
    recommend,
    summary,
    weights,
)
from dualdiff.data.model import Model
from dualdiff.data.pairs import Networks
from dualdiff.exact import ExactBox
from dualdiff.experiments.members import RECIPES
from dualdiff.experiments.overlap import DIAGNOSTICS
from dualdiff.experiments.store import Store
from dualdiff.process import Process
from dualdiff.randomness import stream
from dualdiff.samplers import sample

SIZE = replace(TINY, conditions=10)


@pytest.fixture(scope="module")
def networks(store: Store) -> Networks:
    return Networks(example(), RECIPES["tuned"], SIZE, 0, store)


def test_intervals_hold_rows_and_seeds_as_often_as_they_say() -> None:
    """Means of rows and seeds with normal effects of both: 95 % of intervals hold the truth."""
    random, hits, repeats = np.random.default_rng(0), 0, 400
    for _ in range(repeats):
        rows, seeds = random.normal(size=40), 0.3 * random.normal(size=(4, 1))
        found = over_rows(rows + seeds + random.normal(size=(4, 40)))
        hits += found.low <= 0 <= found.high
    error = (0.95 * 0.05 / repeats) ** 0.5
    assert 0.95 - 4 * error <= hits / repeats <= 1
    one = over_rows(rows[None])
    half = 2.0227 * rows.std(ddof=1) / 40**0.5  # Student's t with 39 degrees of freedom
    assert one.high - one.value == pytest.approx(half, rel=1e-4)
    assert over_rows(np.ones((2, 5))) == (1, 1, 1)


def test_differences_are_taken_row_by_row() -> None:
    hard = 10 * np.arange(6.0)  # rows differ by far more than ways
    noise = np.array([0.1, -0.1, 0.2, -0.2, 0.1, -0.1])
    scores = {
        FLOOR: (hard + 3)[None],
        "specialised": (hard + 1)[None],
        "average": (hard + noise)[None],
    }
    table = summary(scores, scores).set_index(["configuration", "metric"])
    assert table.loc[("average", "minus_specialised"), "high"] < 0
    assert (
        table.loc[("average", "energy_score"), "high"] > table.loc[(FLOOR, "energy_score"), "low"]
    )
    assert table.loc[("specialised", "minus_best"), "value"] == pytest.approx(1)
    best = recommend(summary(scores, scores))
    assert best.way == "average" and best.open == ()
    assert best.gain is not None and best.gain.value == pytest.approx(-1)
    assert best.floor is not None and best.floor.value == pytest.approx(-3)


def test_samples_of_the_truth_cover_as_often_as_they_say() -> None:
    """Draws and targets of one distribution: 80 % lie between the quantiles, of any number of
    draws; of draws half as wide fewer do."""
    source = stream(0, "coverage")
    for draws in (20, 50, 100):
        samples = torch.randn(1_000, draws, 2, generator=source)
        y = torch.randn(1_000, 2, generator=source)
        seen = judged(samples, y)["covered"]
        assert abs(seen.mean() - 0.8) < 4 * seen.sem()
        assert judged(samples / 2, y)["covered"].mean() < 0.6


def test_models_of_ones_own_are_judged_without_training() -> None:
    process, source = Process.linear(50, dy=2, dc=2), stream(0, "rows")
    wide, small = ExactBox(process, (-2, -2), (2, 2)), ExactBox(process, (0, 0), (1, 1))
    c = torch.randn(60, 2, generator=source)
    y = sample(small, c, source)[:, 0]
    table = compare_models({"wide": wide, "small": small}, y.numpy(), c.numpy(), 0)
    scores = table.set_index(["configuration", "metric"])
    assert scores.loc[("wide", "minus_small"), "low"] > 0
    assert scores.loc[("sum", "minus_wide"), "high"] < 0
    # A member's score does not depend on what it is compared with.
    few = compare_models({"small": small, "wide": wide}, y, c, 0, ways=["sum"])
    again = few.set_index(["configuration", "metric"])["value"].xs("energy_score", level=1)
    both = scores["value"].xs("energy_score", level=1)[again.index]
    assert (again - both).abs().drop("sum").max() == 0
    other = ExactBox(Process.linear(60, dy=2, dc=2), (0, 0), (1, 1))
    bad = {
        "two or more": ({"small": small}, y, c),
        "names of their own": ({"small": small, "sum": wide}, y, c),
        "one Process": ({"small": small, "other": other}, y, c),
        "two rows or more": ({"small": small, "wide": wide}, y[:1], c[:1]),
        "vary in every column": ({"small": small, "wide": wide}, 0 * y, c),
        "y must have shape": ({"small": small, "wide": wide}, y[:, :1], c),
    }
    for words, (members, targets, conditions) in bad.items():
        with pytest.raises(ValueError, match=words):
            compare_models(members, targets, conditions, 0)


def test_what_is_not_told_apart_is_said_and_the_floor_is_no_way() -> None:
    hard = np.arange(6.0)
    wobble = np.array([1.0, -1, 1, -1, 1, -1])
    scores = {FLOOR: hard[None] - 2, "specialised": hard[None], "sum": (hard + wobble + 0.1)[None]}
    best = recommend(summary(scores, scores))
    assert best.way == "specialised" and best.open == ("sum",) and best.gain is None
    assert best.floor is not None and best.floor.low > 0  # resampled rows are better
    with pytest.raises(ValueError, match="no way with a model"):
        recommend(summary({FLOOR: hard[None]}, {}))


def test_a_comparison_has_every_way_and_is_made_once(networks: Networks, monkeypatch) -> None:
    store = networks.store
    table = compare(networks.scenario, RECIPES["tuned"], SIZE, 0, store=store)
    assert [*dict.fromkeys(table["configuration"])] == [*RULES, "sum", "smc"]
    assert set(table["rows"]) == {10} and set(table["seeds"]) == {1}
    monkeypatch.setattr("dualdiff.data.compare.model", lambda *_: pytest.fail("sampled again"))
    again = compare(networks.scenario, RECIPES["tuned"], SIZE, 0, store=store)
    pd.testing.assert_frame_equal(table, again)
    with pytest.raises(ValueError, match="rules must be of .*, not best"):
        compare(networks.scenario, RECIPES["tuned"], SIZE, 0, store=store, rules=["best"])


def test_weights_that_are_learned_never_saw_the_rows_that_judge(networks: Networks) -> None:
    other = replace(networks.scenario, held_out=networks.scenario.held_out.rows(torch.arange(3)))
    found, changed = (
        weights(networks, "stacked"),
        weights(replace(networks, scenario=other), "stacked"),
    )
    assert all(torch.equal(found[name], changed[name]) for name in found)
    assert all(len(w) == networks.general.network.process.steps for w in found.values())


def test_the_diagnosis_of_chapter_03_takes_tables(networks: Networks) -> None:
    assert {*DIAGNOSTICS} < {*diagnosis(networks)["metric"]}


@pytest.mark.parametrize("way", ["finetuned", "average", "stacked", "smc"])
def test_a_model_comes_back_from_its_file(networks: Networks, tmp_path: Path, way: str) -> None:
    made = Model.of(networks, way)
    made.save(tmp_path / "model.safetensors")
    back = Model.load(tmp_path / "model.safetensors")
    rows = networks.scenario.special.frame().head(3)
    found = [m.sample(rows, stream(0, "x"), draws=4) for m in (made, back)]
    pd.testing.assert_frame_equal(*found)
    assert found[0]["draw"].tolist() == [1, 2, 3, 4] * 3
    assert found[0]["a"].tolist() == rows["a"].repeat(4).tolist()  # conditions are carried along
    assert (back.way, back.method) == (way, "smc" if way == "smc" else "")


def test_samples_come_in_the_units_of_the_table(networks: Networks) -> None:
    made = Model.of(networks, "general")
    rows = networks.scenario.special.frame().head(2)
    plain = made.sample(rows, stream(0, "x"), draws=3)
    bent = replace(made, y=tuple(replace(column, transform="asinh") for column in made.y))
    other = bent.sample(rows, stream(0, "x"), draws=3)
    np.testing.assert_allclose(np.sinh(plain["y0"]), other["y0"], rtol=1e-12)


def test_conditions_that_a_model_does_not_know_are_refused(
    networks: Networks, tmp_path: Path
) -> None:
    made = Model.of(networks, "general")
    rows = networks.scenario.special.frame()[["a", "b", "c"]].head(3)
    cases = {
        "has no column 'b'": rows.drop(columns="b"),
        "ask.csv, column 'b', row 2: the condition is missing": rows.assign(b=[0, None, 0]),
        "column 'c', row 3: 99.* outside the range of training": rows.assign(c=[0, 0, 99]),
        "column 'a', row 1: 'much' must be a number": rows.assign(a=["much", 0, 0]),
    }
    for words, frame in cases.items():
        frame.to_csv(tmp_path / "ask.csv", index=False)
        with pytest.raises(ValueError, match=words):
            made.sample(tmp_path / "ask.csv", stream(0, "x"))
    with pytest.raises(ValueError, match="draws must be at least 1"):
        made.sample(rows, stream(0, "x"), draws=0)


def test_ways_and_files_that_are_none_are_refused(networks: Networks, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="way must be one of .*, not 'resampled'"):
        model(networks, FLOOR)
    from dualdiff import save

    save(tmp_path / "bare.safetensors", networks.general.network)
    with pytest.raises(ValueError, match="without columns"):
        Model.load(tmp_path / "bare.safetensors")


def test_intervals_of_shares_stay_between_none_and_all() -> None:
    """Two seeds that differ by much, with one degree of freedom."""
    covered = {"specialised": np.array([[0.4] * 5, [0.9] * 5])}
    table = summary(covered, covered).set_index("metric")
    low, high = table.loc["coverage", ["low", "high"]]
    assert 0 <= low < 0.65 < high <= 1
    assert table.loc["energy_score", "high"] > 1  # which a score may be
