"""The shared kinds of figures: every number of a table is drawn, named and inside the canvas."""

import numpy as np
import pandas as pd
import pytest

from dualdiff.pages.names import CONFIGURATIONS, axis, label, style
from dualdiff.plots import facets

NAMES = ("general", "specialised", "joint")


pytestmark = pytest.mark.usefixtures("drawing")


def table(**columns) -> pd.DataFrame:
    """A row per configuration, metric and combination of the columns' values."""
    lists = {"configuration": NAMES, "metric": ("accuracy", "energy_distance"), **columns}
    found = pd.MultiIndex.from_product(lists.values(), names=[*lists]).to_frame(index=False)
    value = np.linspace(0.1, 0.9, len(found))
    return found.assign(value=value, low=value - 0.05, high=value + 0.02)


def drawn(figure) -> list[float]:
    """All numbers that lines of the figure hold, on either axis."""
    numbers = []
    for axes in figure.axes:
        for line in axes.lines:
            numbers += [*map(float, line.get_xdata()), *map(float, line.get_ydata())]
    return numbers


def lawful(figure) -> None:
    """Axes are named, the legend's entries too, and nothing is cut at the edge of the canvas."""
    figure.canvas.draw()
    whole = figure.bbox
    for axes in figure.axes:
        assert axes.get_xlabel() or axes.get_subplotspec().rowspan.stop < axes.get_gridspec().nrows
        box = axes.get_tightbbox()
        assert box.x0 >= whole.x0 - 1 and box.x1 <= whole.x1 + 1
        assert box.y0 >= whole.y0 - 1 and box.y1 <= whole.y1 + 1
    for legend in figure.legends:
        assert all(text.get_text() for text in legend.get_texts())


@pytest.mark.parametrize("column", [None, "scenario"])
@pytest.mark.parametrize("beside", [None, "recipe"])
def test_dots_draw_every_number(column, beside):
    scenarios, recipes = ("cabinet", "round_table"), ("plain", "tuned")
    rows = table(scenario=scenarios[: 2 if column else 1], recipe=recipes[: 2 if beside else 1])
    figure = facets.dots(rows, column, beside=beside, levels={"floor": 0.5})
    lawful(figure)
    assert set(np.round(rows["value"], 9)) <= set(np.round(drawn(figure), 9))


def test_dots_put_the_numbers_of_others_beside_ours():
    rows = table(scenario=("cabinet", "round_table"))
    rows = rows[rows["metric"] == "accuracy"]
    crosses = {"cabinet": {"joint": 0.123}, "round_table": {"joint": 0.321}}
    figure = facets.dots(rows, "scenario", crosses=crosses)
    lawful(figure)
    for axes, number in zip(figure.axes, (0.123, 0.321), strict=True):
        found = [line for line in axes.lines if [*line.get_xdata()] == [number]]
        assert [int(line.get_ydata()[0]) for line in found] == [NAMES.index("joint")]


@pytest.mark.parametrize("beside", [None, "recipe"])
def test_lines_go_through_every_point_in_the_order_of_the_parameter(beside):
    rows = table(n=(64, 8, 16), recipe=("plain", "tuned")[: 2 if beside else 1])
    figure, found = facets.lines(rows, "n", "pairs", beside=beside)
    lawful(figure)
    assert len(found) == 2
    for axes, part in found:
        assert axes.get_ylabel() == axis(part["metric"].iloc[0])
        curves = [line for line in axes.lines if len(line.get_xdata()) == 3]
        assert all([*line.get_xdata()] == [8, 16, 64] for line in curves)
        assert {line.get_color() for line in curves} == {style(n)["color"] for n in NAMES}


def test_against_draws_both_numbers_of_a_configuration_as_one_point():
    rows = table(recipe=("plain", "tuned"))
    figure, [(axes, _)] = facets.against(rows, "accuracy", "energy_distance", beside="recipe")
    lawful(figure)
    for name in NAMES:
        own = rows[(rows["configuration"] == name) & (rows["recipe"] == "plain")]
        x, y = (
            own.loc[own["metric"] == m, "value"].iloc[0] for m in ("accuracy", "energy_distance")
        )
        assert any([*line.get_xdata()] == [x] and [*line.get_ydata()] == [y] for line in axes.lines)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("accuracy", axis("energy_distance"))


def test_a_matrix_writes_every_number_and_leaves_blanks():
    wide = pd.DataFrame(
        [[0.1, np.nan], [0.95, 0.5]], index=[0.5, 1.0], columns=["cabinet", "boxes"]
    )
    figure = facets.matrix({"one": wide, "two": wide}, "general", "specialised", "accuracy")
    figure.canvas.draw()
    for axes in figure.axes[:2]:
        assert sorted(t.get_text() for t in axes.texts) == ["0.10", "0.50", "0.95"]
        assert [t.get_text() for t in axes.get_xticklabels()] == [label(c) for c in wide.columns]


def test_a_matrix_wraps_and_hides_what_it_has_no_table_for():
    wide = pd.DataFrame([[0.1]])
    figure = facets.matrix(dict.fromkeys("abc", wide), "x", "y", across=2)
    titles = [axes.get_title("left") for axes in figure.axes if axes.get_visible()]
    assert titles == [*"abc"] and len(figure.axes) == 4


def test_a_missing_interval_draws_its_point_alone():
    rows = table().assign(low=np.nan, high=np.nan)
    assert (facets.bars(rows) == 0).all()
    figure, _ = facets.against(rows, "accuracy", "energy_distance")
    lawful(figure)


def test_a_key_follows_the_registry_whatever_the_order():
    names = [*reversed(NAMES), "nobody"]
    labels = [handle.get_label() for handle in facets.key(names)]
    known = [n for n in CONFIGURATIONS if n in NAMES]
    assert labels == [*map(label, known), "nobody"]
