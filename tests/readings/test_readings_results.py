"""Our tables beside the thesis's: spread, order and sensitivity, on made-up tables."""

from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from committed import ERROR, write
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dualdiff.experiments.shifted import SETTINGS
from dualdiff.readings.results import ranking, sensitivity, widening, with_error, with_setting
from dualdiff.results import committed as results
from dualdiff.results.thesis import overlap_table, printed, thesis_table

NAMES = ("general", "specialised", "joint", "finetuned")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results")
    write(path, "cabinet", "overlap", "sensitivity")
    return path


def pooled(folder: Path, part: str) -> pd.DataFrame:
    table, record = results.load(part, folder)
    return with_error(table, record["conditions"])


def test_the_error_of_one_seed_stands_beside_the_interval_over_seeds(folder: Path) -> None:
    table, record = results.load("cabinet", folder)
    rows = table[(table["configuration"] == "joint") & (table["metric"] == "accuracy")]
    found = with_error(table, record["conditions"])
    row = found[(found["configuration"] == "joint") & (found["metric"] == "accuracy")].iloc[0]
    interval = stats.t.interval(0.95, 2, rows["value"].mean(), stats.sem(rows["value"]))
    assert (row["low"], row["high"]) == pytest.approx(interval)
    assert row["spread"] == pytest.approx(rows["value"].std())
    assert row["error"] == pytest.approx(ERROR, rel=1e-3)
    assert row["seeds"] == 3 and row["conditions"] == record["conditions"] == 100_000
    one = with_error(table[table["seed"] == 0], 100_000)
    row = one[(one["configuration"] == "joint") & (one["metric"] == "accuracy")].iloc[0]
    assert row["low"] == rows["low"].iloc[0] and np.isnan(row["spread"])


@given(st.permutations(range(4)), st.permutations(range(4)))
def test_a_ranking_counts_the_pairs_that_are_swapped(ours, theirs) -> None:
    known = pd.Series(theirs, index=NAMES, dtype=float)
    rows = pd.DataFrame({"configuration": NAMES, "value": np.array(ours, dtype=float)})
    rows = pd.concat([rows.assign(seed=seed) for seed in (0, 1)])
    found = ranking(known, rows.assign(low=rows["value"], high=rows["value"]))
    mine = dict(zip(NAMES, ours, strict=True))
    swapped = {
        (a, b) for a, b in permutations(NAMES, 2) if mine[a] < mine[b] and known[a] > known[b]
    }
    assert set(found.clear) == swapped and not found.unclear
    pairs = len([*combinations(NAMES, 2)])
    assert found.tau == pytest.approx(1 - 2 * len(swapped) / pairs)


def test_a_pair_that_is_swapped_on_the_mean_only_is_unclear() -> None:
    rows = pd.DataFrame(
        [("joint", 0, 0.6), ("joint", 1, 0.1), ("general", 0, 0.2), ("general", 1, 0.3)],
        columns=["configuration", "seed", "value"],
    )
    rows = rows.assign(low=rows["value"], high=rows["value"])
    found = ranking(pd.Series({"joint": 0.1, "general": 0.2}), rows)
    assert found.clear == [] and found.unclear == [("general", "joint")] and found.tau == -1


def test_intervals_widen_by_what_test_conditions_explain(folder: Path) -> None:
    rows = pooled(folder, "cabinet")
    rows = rows[rows["metric"] == "accuracy"]
    assert widening(rows, 100_000).tolist() == pytest.approx([1] * 5)
    no_training = rows.assign(spread=rows["error"])
    assert widening(no_training, 25_000).tolist() == pytest.approx([2] * 5)


def test_settings_stand_in_the_order_of_the_thesis(folder: Path) -> None:
    found = with_setting(pooled(folder, "overlap"))
    assert [*dict.fromkeys(found["setting"])] == list(SETTINGS)


def test_the_thesis_s_tables_are_as_printed() -> None:
    table = overlap_table()
    assert list(dict.fromkeys(table.index.get_level_values("setting"))) == list(SETTINGS)
    assert table.loc[("far", "specialised")].tolist() == [0.0, 22.6468]
    assert table.loc[("subset at the edge", "joint")].tolist() == [0.2779, 1.5768]
    assert table["accuracy"].sum() == pytest.approx(1.5278)
    tidy = printed("cabinet").set_index(["configuration", "metric"])["value"]
    assert tidy["joint", "accuracy"] == thesis_table("cabinet")["accuracy"]["joint"] == 0.3464


def test_sensitivity_finds_the_change_that_was_made(folder: Path) -> None:
    moved = sensitivity(pooled(folder, "sensitivity"), "cabinet", "accuracy")
    changed = moved[moved["moves"]]
    assert set(changed.index.get_level_values("recipe")) == {"T = 50"}
    assert moved.loc[("T = 50", "joint"), "difference"] == pytest.approx(-0.2, abs=1e-6)
    # The other recipes have the base's own scores: no difference, and the same two seeds.
    assert moved.loc["width 64", "difference"].abs().max() < 1e-9
