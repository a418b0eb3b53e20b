"""Tables, sentences and figures of the results chapter, on made-up tables of known content."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from committed import ERROR, write
from IPython.display import Markdown
from scipy import stats

from dualdiff import report_assumptions, results
from dualdiff import report_results as module
from dualdiff.overlap import SETTINGS
from dualdiff.plots import results as figures
from dualdiff.report_results import ABOVE, BELOW, INSIDE, Results
from dualdiff.study import CONFIGURATIONS
from dualdiff.thesis import overlap_table, thesis_table

PARTS = ("cabinet", "round_table", "cabinet_tuned", "overlap", "sensitivity")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results")
    write(path, *PARTS)
    return path


@pytest.fixture(scope="module")
def found(folder: Path) -> Results:
    return module.read(folder)


def test_over_seeds_pools_what_the_table_holds(folder: Path, found: Results) -> None:
    table, record = results.load("cabinet", folder)
    rows = table[(table["configuration"] == "joint") & (table["metric"] == "accuracy")]
    pooled = found["cabinet"].pooled
    row = pooled[(pooled["configuration"] == "joint") & (pooled["metric"] == "accuracy")].iloc[0]
    interval = stats.t.interval(0.95, 2, rows["value"].mean(), stats.sem(rows["value"]))
    assert (row["low"], row["high"]) == pytest.approx(interval)
    assert row["spread"] == pytest.approx(rows["value"].std())
    assert row["error"] == pytest.approx(ERROR, rel=1e-3)
    assert row["seeds"] == 3 and row["conditions"] == record["conditions"] == 100_000
    one = module.with_error(table[table["seed"] == 0], 100_000)
    row = one[(one["configuration"] == "joint") & (one["metric"] == "accuracy")].iloc[0]
    assert row["low"] == rows["low"].iloc[0] and np.isnan(row["spread"])


@pytest.mark.parametrize(
    ("theirs", "low", "high", "where"),
    [
        (0.5, 0.4, 0.6, INSIDE),
        (0.7, 0.4, 0.6, ABOVE),
        (0.3, 0.4, 0.6, BELOW),
        (0.3, np.nan, np.nan, module.UNKNOWN),
    ],
)
def test_where_the_thesis_lies(theirs: float, low: float, high: float, where: str) -> None:
    assert module.lies(theirs, low, high) == where


def test_beside_thesis_marks_by_word_and_colour(found: Results) -> None:
    pooled = found["cabinet"].pooled
    styler = module.beside_thesis(pooled, "accuracy")
    frame, html = styler.data, styler.to_html()
    assert frame.loc["joint", "thesis (printed)"] == "0.3464"
    rows = pooled[(pooled["metric"] == "accuracy")].set_index("configuration")
    theirs = thesis_table("cabinet")["accuracy"]
    for name, label in zip(CONFIGURATIONS, frame.index, strict=True):
        inside = rows.loc[name, "low"] <= theirs[name] <= rows.loc[name, "high"]
        assert (frame.loc[label, "thesis lies"] == INSIDE) == inside
    assert {INSIDE, ABOVE, BELOW} & set(frame["thesis lies"])
    assert module.BLUE in html and module.ORANGE in html
    assert html == module.beside_thesis(pooled, "accuracy").to_html()
    assert "Cabinet, recipe thesis: accuracy" in html and 'class="dataframe"' in html


def test_ranking_agrees_with_its_definition() -> None:
    theirs = pd.Series({"general": 0.1, "specialised": 0.2, "joint": 0.3, "finetuned": 0.4})
    values = {"general": 0.1, "specialised": 0.3, "joint": 0.25, "finetuned": 0.02}
    half = 0.04  # so that a difference of one seed is known to within 0.057
    ours = pd.DataFrame({"value": values}).assign(
        seed=0, low=lambda f: f["value"] - half, high=lambda f: f["value"] + half
    )
    result = module.ranking(theirs, ours)
    # Four of the six pairs are swapped, one of them by less than that.
    assert result.tau == pytest.approx((2 - 4) / 6)
    assert result.unclear == [("joint", "specialised")]
    assert len(result.clear) == 3 and all(a == "finetuned" for a, _ in result.clear)
    perfect = module.ranking(theirs, ours.assign(value=theirs, low=theirs, high=theirs))
    assert perfect == (1.0, [], [])


def test_order_of_all_tables(found: Results) -> None:
    table = module.order_table(found)
    main = table.loc[("Table 4.1, recipe thesis", "accuracy")]
    assert main["Kendall's tau"] == "+1.00" and main["swapped in every seed"] == 0
    assert ("Table 4.5, recipe thesis, joint", "accuracy, fixed disc") in table.index
    assert module.swaps_sentence({}) == "" and module.order_table({}).empty
    changed = found["cabinet"].rows.copy()
    pick = (changed["configuration"] == "general") & (changed["metric"] == "accuracy")
    changed.loc[pick, ["value", "low", "high"]] = (0.99, 0.98, 1.0)
    other = {"cabinet": found["cabinet"]._replace(rows=changed)}
    sentence = module.swaps_sentence(other)
    assert "Table 4.1, recipe thesis, accuracy" in sentence
    assert "general above fine-tuned joint" in sentence


def test_spread_over_seeds_against_conditions(found: Results) -> None:
    pooled = found["cabinet"].pooled
    rows = pooled[pooled["metric"] == "accuracy"]
    table = module.spread_table(pooled)
    assert table.loc["general", "ratio"] == f"{(rows['spread'] / rows['error']).iloc[0]:.1f}"
    sentence = module.spread_sentence(pooled, 10_000, 5)
    assert f"median {(rows['spread'] / rows['error']).median():.1f}" in sentence
    assert "With 10,000 instead of 100,000" in sentence and "5 seeds at 10,000" in sentence
    assert module.widening(rows, 100_000).tolist() == pytest.approx([1] * 5)
    no_training = rows.assign(spread=rows["error"])
    assert module.widening(no_training, 25_000).tolist() == pytest.approx([2] * 5)
    assert "no spread" in module.spread_sentence(pooled.assign(seeds=1), 10_000, 5)


def test_overlap_table_has_both_readings(found: Results) -> None:
    pooled = found["overlap"].pooled
    frame = report_assumptions.overlap_comparison(pooled, "accuracy").data
    assert frame.shape == (18, 3)
    assert frame.loc[("far (0%)", "joint"), "thesis (printed)"] == "0.0000"
    assert frame.loc[("concentric subset (100%)", "general"), "fixed disc"].endswith(ABOVE[0])
    fit = report_assumptions.misfits(pooled)  # the made-up own disc is the thesis's own number
    assert fit.loc[("accuracy", "general"), "own disc"] < 0.01
    assert fit.loc[("accuracy", "general"), "fixed disc"] > 0.03
    sentence = report_assumptions.reading_sentence(pooled)
    assert "0.0784 to 0.0835 in the thesis" in sentence and "own disc fits better" in sentence
    assert report_assumptions.overlap_all(pooled, "accuracy").shape == (6, 3)
    twice = report_assumptions.thesis_spread_sentence()
    assert "joint 0.6653 and 0.5876" in twice


def test_thesis_overlap_table_is_as_printed() -> None:
    table = overlap_table()
    assert list(dict.fromkeys(table.index.get_level_values("setting"))) == list(SETTINGS)
    assert table.loc[("far", "specialised")].tolist() == [0.0, 22.6468]
    assert table.loc[("subset at the edge", "joint")].tolist() == [0.2779, 1.5768]
    assert table["accuracy"].sum() == pytest.approx(1.5278)


def test_sensitivity_finds_the_change_that_was_made(found: Results) -> None:
    pooled = found["sensitivity"].pooled
    moved = report_assumptions.sensitivity(pooled, "cabinet", "accuracy")
    changed = moved[moved["moves"]]
    assert set(changed.index.get_level_values("recipe")) == {"T = 50"}
    assert moved.loc[("T = 50", "joint"), "difference"] == pytest.approx(-0.2, abs=1e-6)
    # The other recipes have the base's own scores: no difference, and the same two seeds.
    assert moved.loc["width 64", "difference"].abs().max() < 1e-9
    frame = report_assumptions.sensitivity_table(pooled, "cabinet", "accuracy").data
    assert "▼" in frame.loc["T = 50", "joint"] and "+0.0" in frame.loc["width 64", "joint"]
    sentence = report_assumptions.sensitivity_sentence(pooled, "accuracy")
    assert "10 of 60 comparisons" in sentence and "cabinet, T = 50: general" in sentence
    assert "away from the thesis" in sentence
    single = pooled.assign(seeds=1, spread=np.nan)
    assert "no spread" in report_assumptions.sensitivity_sentence(single, "accuracy")
    frame = report_assumptions.sensitivity_table(single, "cabinet", "accuracy").data
    assert "(" not in frame.loc["T = 50", "joint"]


def test_a_part_that_is_not_there_is_said_with_its_command(found: Results, folder: Path) -> None:
    words = module.show(found, "round_table_tuned", module.beside_thesis, "accuracy")
    assert isinstance(words, Markdown)
    assert "has not been run yet" in words.data and "thesis round_table_tuned`" in words.data
    shown = module.show(found, "overlap", report_assumptions.reading_sentence)
    assert isinstance(shown, Markdown) and shown.data.startswith("- ")
    assert module.read(folder / "nowhere") == {}
    assert module.gather({}, ["cabinet"]).empty and module.inside_sentence({}) == module.NOTHING
    assert len(module.gather(found, ("cabinet", "round_table_tuned"))) == len(
        found["cabinet"].pooled
    )


def test_provenance_of_every_part(folder: Path, found: Results) -> None:
    table = module.provenance_table(folder)
    assert list(table.index) == list(results.PARTS)
    row = table.loc["cabinet"]
    assert row["state"] == "current" and row["conditions × draws"] == "100,000 × 10"
    assert row["configuration"] == found["cabinet"].record["configuration"][:12]
    assert table.loc["round_table_tuned", "state"] == "not run"
    there = [part for part in table.index if table.loc[part, "state"] != "not run"]
    hours = sum(results.load(part, folder)[1]["seconds"] for part in there) / 3600
    said = module.compute_sentence(folder)  # of the very tables that are listed
    assert f"{len(there)} tables" in said and f"{hours:.1f} hours" in said


def test_inside_sentence_counts(found: Results) -> None:
    sentence = module.inside_sentence(found)
    marks = module.beside_thesis(found["cabinet"].pooled, "accuracy").data["thesis lies"]
    assert f"Table 4.1, recipe thesis: {(marks == INSIDE).sum()} of 5 by accuracy" in sentence


def test_every_setting_shows_what_varies(found: Results) -> None:
    wide = module.every_setting(found["overlap"].pooled, "accuracy")
    assert wide.index.names == ["scenario", "recipe"] and wide.shape == (6, 3)


def test_figures_draw_what_is_there_and_survive_what_is_not(found: Results) -> None:
    main = module.gather(found, ("cabinet", "round_table", "cabinet_tuned"))
    intervals = figures.intervals_figure(main)
    assert len(intervals.axes) == 4
    crosses = [line for line in intervals.axes[0].lines if line.get_marker() == "x"]
    printed = thesis_table("cabinet")["accuracy"]
    assert [line.get_ydata()[0] for line in crosses] == printed[list(CONFIGURATIONS)].tolist()
    assert len(figures.overlap_figure(found["overlap"].pooled).axes) == 3
    assert len(figures.sensitivity_figure(found["sensitivity"].pooled).axes) == 10
    assert figures.spread_figure(main).axes[0].get_xscale() == "log"
    nothing = module.gather({}, [])
    for draw in (
        figures.intervals_figure,
        figures.spread_figure,
        figures.overlap_figure,
        figures.sensitivity_figure,
    ):
        figure = draw(nothing)
        assert all("not run yet" in axes.texts[0].get_text() for axes in figure.axes)
        figure.canvas.draw()
    plt.close("all")
