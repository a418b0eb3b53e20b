"""Figures of the chapter on adapting or composing draw the numbers they are given."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from test_report_adaptation import POOLED, fake

from dualdiff import report_adaptation as words
from dualdiff.adaptation import ALONE, JOINT, SCALES
from dualdiff.members import RECIPES
from dualdiff.plots import COLOURS, LABELS, MARKERS, adaptation, use_style
from dualdiff.pooling import over_seeds

BOUND, OPTIMUM = 0.784, (0.44, 0.39)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    use_style()
    yield
    plt.close("all")


def points(axes, colour: str) -> list[np.ndarray]:  # type: ignore[no-untyped-def]
    lines = [line for line in axes.lines if to_hex(line.get_color()) == colour.lower()]
    return [line.get_xydata() for line in lines if line.get_marker() not in ("None", None, "")]


def test_every_method_has_a_colour_a_label_and_a_marker_of_its_own() -> None:
    names = {name for scale in SCALES.values() for name in scale.methods}
    for look in (COLOURS, LABELS, MARKERS):
        assert names <= set(look)
        assert len(set(look.values())) == len(look)


def test_size_figure_draws_every_network_and_score() -> None:
    rows = words.by_size(POOLED)
    figure = adaptation.size_figure(rows)
    assert [a.get_title(loc="left") for a in figure.axes[: len(RECIPES)]] == list(RECIPES)
    assert len(figure.axes) == len(RECIPES) * len(adaptation.METRIC_LABELS)
    assert all(a.get_ylabel() for a in figure.axes[:: len(RECIPES)])
    assert all("specialised pairs" in a.get_xlabel() for a in figure.axes[-len(RECIPES) :])
    here = rows[(rows["recipe"] == "thesis") & (rows["metric"] == "accuracy")]
    here = here[here["target"] == "specialised"]
    for name in (*ALONE, *JOINT):
        part = here[here["configuration"] == name].sort_values("n_specialised")
        (drawn,) = points(figure.axes[0], COLOURS[name])
        np.testing.assert_allclose(drawn, part[["n_specialised", "value"]])
    (legend,) = figure.legends
    assert {t.get_text() for t in legend.get_texts()} == {LABELS[n] for n in (*ALONE, *JOINT)}


def test_size_figure_takes_several_seeds_and_missing_intervals() -> None:
    adaptation.size_figure(words.by_size(over_seeds(fake(3))))
    adaptation.size_figure(words.by_size(POOLED.assign(low=np.nan, high=np.nan)))


def test_epoch_figure_joins_the_epochs_and_keeps_joint_at_the_general_model() -> None:
    rows = words.by_epoch(POOLED)
    figure = adaptation.epoch_figure(rows, BOUND, OPTIMUM)
    (axes,) = figure.axes
    tv = rows[rows["metric"] == "total_variation"]
    wide = tv.pivot(index=["configuration", "finetune_epochs"], columns="target", values="value")
    (path,) = points(axes, COLOURS["lora"])
    assert len(path) == 3
    np.testing.assert_allclose(path, wide.loc["lora"].sort_index()[["general", "specialised"]])
    (joint,) = points(axes, COLOURS["joint"])
    expected = [wide.loc["general", "general"].iloc[0], wide.loc["joint", "specialised"].iloc[0]]
    np.testing.assert_allclose(joint, [expected])
    assert [0.39, 0.44] in [[*xy] for xy in points(axes, "#000000")[0]]
    assert {"20", "1,000", "two networks"} <= {t.get_text() for t in axes.texts}
    (triangle,) = axes.collections[:1]
    corners = triangle.get_paths()[0].vertices
    assert corners.max() == pytest.approx(BOUND) and corners.min() == 0


def test_epoch_figure_has_a_column_per_network() -> None:
    home = POOLED[POOLED["recipe"] == "tuned"]
    both = pd.concat([home, home.assign(recipe="thesis")])
    figure = adaptation.epoch_figure(words.by_epoch(both), BOUND, OPTIMUM)
    assert [a.get_title(loc="left") for a in figure.axes] == ["thesis", "tuned"]


def test_cost_figure_places_every_method_twice() -> None:
    rows = words.by_size(POOLED)
    rows = rows[rows["n_specialised"] == 128]
    costs = pd.DataFrame(
        [("tuned", n, 1.0 + i, 1_000 * (i + 1), 1, 1) for i, n in enumerate((*ALONE, *JOINT))],
        columns=["recipe", "configuration", "seconds", "stored", "held", "calls"],
    )
    figure = adaptation.cost_figure(rows, costs)
    value = rows.query(
        "recipe == 'tuned' and configuration == 'lora' and metric == 'total_variation' "
        "and target == 'specialised'"
    )["value"].iloc[0]
    for axes, x in zip(figure.axes, (3.0, 3_000.0), strict=True):
        (drawn,) = points(axes, COLOURS["lora"])
        np.testing.assert_allclose(drawn, [[x, value]])
        assert axes.get_xlabel() and axes.get_xscale() == "log"
