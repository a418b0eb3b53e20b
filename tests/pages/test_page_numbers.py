"""What pages say: looking up, comparing and claiming, on tables of any shape."""

import math
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from dualdiff.experiments.members import RECIPES
from dualdiff.experiments.methods import METHODS
from dualdiff.experiments.pooling import over_seeds
from dualdiff.experiments.profiles import PROFILES
from dualdiff.experiments.rules import RULES
from dualdiff.networks import MLP
from dualdiff.pages import (
    Claims,
    Numbers,
    committed,
    contrast,
    grid,
    interval,
    recipes,
    select,
    show_table,
    verdicts,
)
from dualdiff.pages.names import CONFIGURATIONS, SCORES, axis, label, lower, style
from dualdiff.results import committed as results

NAMES = ("general", "specialised", "joint")
finite = st.floats(-10, 10).map(lambda x: round(x, 6))


@st.composite
def tables(draw, metrics=("accuracy", "total_variation")) -> pd.DataFrame:
    """Tidy: every configuration and metric at some seeds, in any order of rows."""
    seeds = draw(st.lists(st.integers(0, 9), min_size=1, max_size=5, unique=True))
    rows = []
    for name in NAMES:
        for metric in metrics:
            for seed in seeds:
                value, half = draw(finite), draw(st.floats(0.001, 1))
                rows.append((name, metric, seed, value, value - half, value + half))
    columns = ["configuration", "metric", "seed", "value", "low", "high"]
    return pd.DataFrame(draw(st.permutations(rows)), columns=columns)


@given(tables())
def test_select_keeps_the_rows_that_have_all_values(table):
    found = select(table, configuration=("joint", "general"), metric="accuracy")
    keep = table["configuration"].isin(["joint", "general"]) & (table["metric"] == "accuracy")
    pd.testing.assert_frame_equal(found, table[keep])
    assert len(select(table, configuration="nobody")) == 0
    with pytest.raises(KeyError, match="colour.*configuration"):
        select(table, colour="red")


@given(tables())
def test_a_grid_has_every_number_in_its_place(table):
    pooled = over_seeds(table)
    wide = grid(pooled, "configuration")
    for row in pooled.itertuples():
        cell = wide.loc[label(row.configuration), label(row.metric)]
        assert cell == interval(row.value, row.low, row.high)
    assert wide.size == len(pooled)
    assert [*wide.index] == [label(n) for n in dict.fromkeys(pooled["configuration"])]
    turned = grid(pooled, "metric", "configuration").T
    assert (turned.to_numpy() == wide.loc[turned.index, turned.columns].to_numpy()).all()


def test_a_grid_says_what_is_missing_and_refuses_two_numbers_in_one_cell():
    table = pd.DataFrame(
        {"configuration": ["joint", "general"], "metric": ["accuracy", "recall"]}
        | {name: [0.5, 0.25] for name in ("value", "low", "high")}
    )
    assert grid(table, "configuration").loc["joint", "recall"] == "–"
    assert grid(table, "configuration", digits=".1f").loc["joint", "accuracy"] == "0.5"
    with pytest.raises(ValueError, match="configuration"):
        grid(pd.concat([table, table]), "configuration")


@given(tables())
def test_a_contrast_is_the_paired_difference(table):
    (found,) = contrast(table, "joint", "general", "accuracy").itertuples()
    rows = select(table, metric="accuracy").set_index(["configuration", "seed"]).sort_index()
    each = rows.loc["joint"]["value"] - rows.loc["general"]["value"]
    assert found.value == pytest.approx(each.mean(), abs=1e-12)
    assert sorted(found.seeds) == pytest.approx(sorted(each), abs=1e-12)
    if len(each) > 1:
        half = stats.sem(each) * stats.t.ppf(0.975, len(each) - 1)
        signs = each
    else:
        halves = [
            (rows.loc[n]["high"] - rows.loc[n]["value"]).iloc[0] for n in ("joint", "general")
        ]
        half = math.hypot(*halves)
        signs = np.array([each.iloc[0] - half, each.iloc[0] + half])
    assert found.high - found.value == pytest.approx(half, abs=1e-9)
    assert found.low + found.high == pytest.approx(2 * found.value, abs=1e-9)
    assert found.better == (1 if (signs > 0).all() else -1 if (signs < 0).all() else 0)


@given(tables())
def test_a_contrast_turns_its_sign_with_its_sides_and_with_what_is_better(table):
    more, turned = (
        contrast(table, *pair, "accuracy").iloc[0]
        for pair in (("joint", "general"), ("general", "joint"))
    )
    # The same numbers under a metric of which less is better.
    renamed = table[table["metric"] == "accuracy"].assign(metric="total_variation")
    less = contrast(renamed, "joint", "general", "total_variation").iloc[0]
    assert more["value"] == less["value"] == pytest.approx(-turned["value"])
    assert more["better"] == -less["better"] == -turned["better"]


@given(tables())
def test_a_contrast_by_a_column_is_that_of_each_part(table):
    both = pd.concat(
        [table.assign(recipe="plain"), table.assign(recipe="tuned", value=table["value"] * 2)]
    )
    found = contrast(both, "joint", "specialised", "accuracy", by="recipe").set_index("recipe")
    for recipe in ("plain", "tuned"):
        alone = contrast(both, "joint", "specialised", "accuracy", recipe=recipe).iloc[0]
        assert found.loc[recipe, "value"] == alone["value"]
        assert found.loc[recipe, "better"] == alone["better"]


def accuracies(*rows):
    """Of a configuration at a seed, without intervals."""
    table = pd.DataFrame(rows, columns=["configuration", "seed", "value"])
    return table.assign(metric="accuracy", low=table["value"], high=table["value"])


def test_what_cannot_be_compared_is_refused():
    table = accuracies(("joint", 0, 1.0), ("general", 1, 0.0))
    with pytest.raises(ValueError, match="no seed"):
        contrast(table, "joint", "general", "accuracy")
    with pytest.raises(ValueError, match="two rows"):
        contrast(pd.concat([table, table.assign(seed=0)]), "joint", "general", "accuracy")


@given(tables())
def test_numbers_are_the_means_over_seeds(table):
    numbers = Numbers(table, "accuracy")
    for name in NAMES:
        own = select(table, configuration=name, metric="accuracy")["value"]
        assert numbers.value(name) == pytest.approx(own.mean(), abs=1e-12)
        assert numbers[name] == Numbers(over_seeds(table), "accuracy")[name]
    with pytest.raises(KeyError, match="nobody.*joint"):
        numbers["nobody"]
    two = pd.concat([table.assign(recipe="a"), table.assign(recipe="b")])
    with pytest.raises(ValueError, match="name more columns"):
        Numbers(two, "accuracy")


@given(st.floats(-5, 5), st.floats(1e-6, 3))
def test_an_interval_is_written_to_its_own_precision(value, half):
    shown = interval(value, value - half, value + half)
    middle, width = shown.split(" ± ")
    assert float(middle) != 0 or not middle.startswith("-")
    unit = 10.0 ** -len(width.partition(".")[2])
    assert 1e-4 <= unit <= max(half, 1e-4)  # the first digit of the interval shows
    for written, true in ((middle, value), (width, half)):
        assert abs(float(written) - true) <= unit * (0.5 + 1e-9)
    assert interval(math.nan, 0, 1) == "–" and interval(0.5, math.nan, math.nan) == "0.500"


@given(tables())
def test_a_claim_is_said_where_it_fails_and_asserted_in_the_check(table):
    claim = Claims()
    sign = int(contrast(table, "joint", "general", "accuracy")["better"].iloc[0])
    assert claim.better(table, "joint", "general", "accuracy", sign) == ""
    claim.check()
    wrong = claim.better(table, "joint", "general", "accuracy", 1 if sign < 1 else -1)
    assert wrong != ""
    claim.check(asserted=False)
    with pytest.raises(AssertionError, match="joint"):
        claim.check()
    claim = Claims()
    assert claim(False, "it rains") and claim(True, "it rains") == ""
    claim.check()  # a claim that is made again counts once


def test_verdicts_show_sign_and_mark():
    ours = [("joint", seed, 0.5 + 0.01 * seed) for seed in range(3)]
    table = accuracies(*ours, *(("general", seed, 0.25) for seed in range(3)))
    assert verdicts(contrast(table, "joint", "general", "accuracy"))[0].startswith("✓ +0.26")
    assert verdicts(contrast(table, "general", "joint", "accuracy"))[0].startswith("✗ −0.26")


def test_a_table_has_a_caption_and_its_numbers_as_csv(monkeypatch):
    frame = pd.DataFrame({"a < b": ["1 & 2"]}, index=["<i>row</i>"])
    shown = []
    monkeypatch.setattr("dualdiff.pages.tables.display", shown.append)
    show_table(frame, "what <b>to</b> see", "name")
    page = shown[0].data
    assert "what &lt;b&gt;to&lt;/b&gt; see" in page and "<i>row" not in page
    assert 'id="table-name"' in page and "data:text/csv;base64," in page


@pytest.mark.parametrize("name", [*CONFIGURATIONS, *METHODS, *RULES, *SCORES, "nobody knows it"])
def test_everything_has_a_name_and_a_look(name):
    assert label(name) and isinstance(lower(name), bool)
    # A score may have the name of a configuration, as "concept" has: an axis is of the score.
    assert axis(name).startswith(SCORES[name].label if name in SCORES else label(name))
    assert set(style(name)) == {"color", "marker"}


def test_no_two_configurations_look_alike():
    different = {name: known for name, known in CONFIGURATIONS.items() if name != "sum"}
    assert CONFIGURATIONS["sum"] == CONFIGURATIONS["joint"]  # two names of one thing
    looks = {(known.colour, known.marker) for known in different.values()}
    assert len(looks) == len(different) == len({known.label for known in different.values()})


@pytest.mark.parametrize("name", RECIPES)
def test_a_network_can_be_built_from_the_table_of_its_recipe(name):
    """Layers, weights, betas and the learning rate, read back from what the reader sees."""
    recipe, source = RECIPES[name], torch.Generator().manual_seed(0)
    y, c = (torch.randn(50, 3, generator=source) for _ in range(2))
    process = recipe.process(y, c)
    spread = (torch.zeros(3), torch.ones(3)) if recipe.architecture.object_frame else ()
    network = MLP(process, recipe.architecture, source, *spread)
    seen = recipes({name: network}, PROFILES["full"])[f"recipe {name}"]
    sizes = list(map(int, seen["layers"].split("-")))
    weights = sum((a + 1) * b for a, b in pairwise(sizes))
    assert weights == int(seen["weights"].replace(",", ""))
    first, last = map(float, seen["betas, from clean to noisy"].split(" (")[0].split(" .. "))
    ends = [float(process.beta[0]), float(process.beta[-1])]
    assert (first, last) == pytest.approx(ends, rel=5e-3)
    assert float(seen["learning rate"].split(",")[0]) == recipe.optimisation.learning_rate


def test_the_committed_table_comes_before_the_own_one(tmp_path):
    own = pd.DataFrame({"value": [1.0]})
    found = committed("cabinet", own=own, folder=tmp_path)
    assert found.table is own and not found.full and "dualdiff results" in found.origin
    found = committed("sweep", "sweep_tuned", folder=tmp_path)
    assert found.table.empty and "--profile full sweep sweep_tuned" in found.origin
    found, (table, record) = committed("cabinet", own=own), results.load("cabinet")
    assert found.full and len(found.table) == len(table)
    assert all(part in found.origin for part in (record["date"], "seeds 0, 1, 2", "100,000"))
