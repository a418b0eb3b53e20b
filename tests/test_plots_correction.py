"""Figures of the chapter on correctors show what they were given."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch

from dualdiff import report_correction as words
from dualdiff.methods import METHODS
from dualdiff.plots import correction as plots
from dualdiff.regions import Box
from tests.test_report_correction import learned, methods_table


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def test_every_method_has_a_look_of_its_own() -> None:
    assert set(plots.FAMILIES) == set(METHODS)
    looks = {(colour, marker) for _, colour, marker in plots.FAMILIES.values()}
    assert len(looks) == len(METHODS)


def test_a_new_method_is_in_every_figure_and_table(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, copied in (("mine", "sum"), ("another", "smc")):  # titles need not differ
        monkeypatch.setitem(METHODS, name, METHODS[copied])
    names = ["sum", "mine", "another"]
    looks = {plots.look(name)[1:] for name in METHODS}
    assert len(looks) == len(METHODS)

    table = methods_table()
    own = [table[table["name"] == "sum"].assign(name=name) for name in names[1:]]
    table = pd.concat([table, *own])
    axes = plots.cost_figure(table).axes[0]
    drawn = [line for line in axes.lines if len(line.get_xdata()) == 1]
    assert len(drawn) == table["name"].nunique()
    assert len(words.methods_view(table, "cabinet")) == table["name"].nunique()

    pooled = learned()
    own = [pooled[pooled["configuration"] == "sum"].assign(configuration=n) for n in names[1:]]
    pooled = pd.concat([pooled, *own])
    figure = plots.learned_figure(pooled)
    assert len(figure.legends[0].get_texts()) == pooled["configuration"].nunique()
    view = words.learned_view(pooled, "cabinet", "accuracy")
    assert len(view) == pooled["configuration"].nunique()
    y = torch.rand(100, 3, generator=torch.Generator().manual_seed(0))
    box = Box((0, 0, 0), (1, 1, 1))
    figure = plots.profile_figure({"boxes": dict.fromkeys(names, y)}, {"boxes": box})
    assert len(figure.axes[0].patches) == len(names)


def test_cost_figure_puts_every_method_at_its_price() -> None:
    figure = plots.cost_figure(methods_table())
    assert len(figure.axes) == 2
    axes = figure.axes[0]
    points = [tuple(line.get_xydata()[0]) for line in axes.lines if len(line.get_xydata()) == 1]
    assert (200.0, 0.3) in points and (140.0, 0.03) in points
    assert axes.get_xlabel() and axes.get_ylabel()


def test_profile_figure_has_a_density() -> None:
    y = torch.rand(4000, 3, generator=torch.Generator().manual_seed(0))
    figure = plots.profile_figure({"boxes": {"sum": y}}, {"boxes": Box((0, 0, 0), (1, 1, 1))})
    (stairs,) = figure.axes[0].patches
    assert float(stairs.get_data().values.mean()) == pytest.approx(1, abs=0.01)


def test_group_and_step_figures_follow_their_tables() -> None:
    rows = [
        (k, metric, value, value, value)
        for k in (2, 50)
        for metric, value in (
            ("total_variation", 0.1 * k),
            ("unique", 0.7),
            ("effective", 0.6),
            ("total_variation_floor", 0.03),
        )
    ]
    names = ["group", "metric", "value", "low", "high"]
    figure = plots.groups_figure(pd.DataFrame(rows, columns=names))
    assert figure.axes[0].lines[0].get_ydata().tolist() == [0.2, 5.0]
    rows = [
        (method, steps, metric, value, value, value)
        for method in ("plain sum", "SMC", "HMC")
        for steps in (50, 100)
        for metric, value in (
            ("total_variation", 0.2),
            ("calls", 2.0 * steps),
            ("total_variation_floor", 0.03),
        )
    ]
    figure = plots.steps_figure(pd.DataFrame(rows, columns=["method", "steps", *names[1:]]))
    assert figure.axes[0].lines[0].get_xdata().tolist() == [100.0, 200.0]


def test_learned_figure_has_a_panel_per_scenario_and_recipe() -> None:
    figure = plots.learned_figure(learned())
    assert len(figure.axes) == 4
    assert {axes.get_title(loc="left") or axes.get_title() for axes in figure.axes} == {
        f"{scenario}, {recipe}"
        for scenario in ("cabinet", "round table")
        for recipe in ("exact", "tuned")
    }
