"""Figures of the chapter on learned weights show what they were given."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from dualdiff import report_curves, report_plane
from dualdiff import report_weights as words
from dualdiff.plots import COLOURS
from dualdiff.plots import weights as plots
from dualdiff.process import Process
from dualdiff.weighting import MAP
from tests.test_report_ablations import ablation_table, amdm_table
from tests.test_report_weights import SHIFT, STEPS, alone_table, map_table, ways_table


@pytest.fixture(autouse=True)
def close():
    yield
    plt.close("all")


def labelled(figure) -> bool:
    """Whether every panel says what its axes are."""
    return all(axes.get_xlabel() for axes in figure.axes)


def test_every_way_has_a_look_of_its_own() -> None:
    assert set(plots.LOOKS) == set(words.WAYS)
    assert len(set(plots.LOOKS.values())) == len(words.WAYS)


def test_the_plane_prints_the_number_of_every_cell() -> None:
    table = map_table()
    figure = plots.plane_figure(table, ways_table(), "cabinet")
    panels = [axes for axes in figure.axes if axes.images]
    assert len(panels) == 4 and all(axes.get_xlabel() and axes.get_ylabel() for axes in panels)
    assert all(len(axes.texts) == len(MAP) ** 2 - 1 for axes in panels)
    points = report_plane.plane(table, "cabinet", "thesis")
    row = points[(points["general"] == 2) & (points["specialised"] == 0.25)].iloc[0]
    at = (MAP.index(2), MAP.index(0.25) + 0.26)
    (text,) = [t for t in panels[1].texts if t.get_position() == at]
    assert float(text.get_text()) == pytest.approx(row["total_variation"], abs=6e-4)  # three digits


def test_the_plane_marks_constants_where_they_lie_on_recipe_tuned_only() -> None:
    figure = plots.plane_figure(map_table(), ways_table(), "cabinet")
    thesis, _, tuned, _ = [axes for axes in figure.axes if axes.images]
    assert not thesis.lines and len(tuned.lines) == 2 * 3  # two ways, three seeds
    # 0.1 lies at 0.8 of the way from 0 to 0.125, 0.9 at 0.8 of the way from 0.5 to 1
    (x, y) = tuned.lines[0].get_xydata()[0]
    assert (x, y) == pytest.approx((0.8, MAP.index(0.5) + 0.8))


def test_the_front_climbs_and_the_ways_stand_at_their_scores() -> None:
    ways = ways_table()
    ways.loc[(ways["seed"] == 1) & (ways["target"] == "specialised"), "value"] = 0.5
    figure = plots.frontier_figure(map_table(), ways)  # a plane of seed 0
    assert len(figure.axes) == 4 and labelled(figure)
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    x, y = lines["front of these"].get_data()
    assert bool((np.diff(x) > 0).all() and (np.diff(y) > 0).all())
    assert lines["learned constant"].get_xydata()[0] == pytest.approx([0.17 - SHIFT, 0.95])
    assert {words.title(way) for way in words.WAYS} <= set(lines)


def test_ratios_stand_side_by_side_with_the_specialised_model_alone() -> None:
    table = pd.concat([ways_table(), alone_table(0.2, 0.21, 0.22)])
    figure = plots.ratio_figure(words.ratios(table))
    (axes,) = figure.axes
    assert axes.get_ylabel() and len(axes.get_xticklabels()) == 7
    heights = {round(float(line.get_ydata()[0]), 3) for line in axes.lines if len(line.get_ydata())}
    assert heights == {0.15, 0.16, 0.17, 0.21}
    alone = [line for line in axes.lines if line.get_color() == COLOURS["specialised"]]
    assert sum(len(line.get_ydata()) for line in alone) == 2  # a mark per scenario


def test_colours_of_configurations_stand_for_nothing_else() -> None:
    taken = set(COLOURS.values()) - {COLOURS["truth"]}
    own = {colour for way, (colour, _) in plots.LOOKS.items() if not way.startswith("finetuned")}
    own |= {colour for colour, _ in plots.INTERPOLATED.values()}
    assert not own & taken


def test_curves_have_a_line_per_seed_and_their_mean() -> None:
    process = Process.log_snr(100)
    figure = plots.curves_figure(ways_table(), process)
    assert len(figure.axes) == 6 and labelled(figure)
    curve = figure.axes[1]
    assert len(curve.lines) == 2 * (3 + 1 + 1)  # members by seeds, mean and constant
    mean = curve.lines[3]
    assert len(mean.get_xdata()) == len(STEPS)
    assert mean.get_ydata()[0] == pytest.approx(0.11)  # the mean over seeds at t = 0
    assert mean.get_xdata()[0] == pytest.approx(report_curves.log_snr(process, [0])[0])


def test_the_ablation_has_a_mark_per_seed() -> None:
    figure = plots.ablation_figure(ablation_table(0.1, wobble=0.2))
    assert len(figure.axes) == 6 and labelled(figure)
    marks = figure.axes[0].lines[-1]
    assert list(marks.get_xdata()) == pytest.approx([0.3, -0.1, 0.3])
    assert [tick.get_text() for tick in figure.axes[0].get_yticklabels()] == ["width 64"]


def test_amdm_has_a_line_per_interpolation() -> None:
    figure = plots.amdm_figure(amdm_table(0.3))
    assert len(figure.axes) == 6 and labelled(figure)
    lower = figure.axes[3]
    by = {line.get_label(): line.get_ydata()[-1] for line in lower.lines}
    assert by == {"spherical": 0.3, "linear": 0.4, "variance preserving": 0.9}
    assert figure.axes[5].lines[0].get_ydata().tolist() == pytest.approx([0.3, 0.4, 0.4])
