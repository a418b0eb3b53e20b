"""Figures draw what they are given."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from conftest import generator
from matplotlib.colors import to_hex
from matplotlib.patches import Circle, Rectangle

from dualdiff.plots import COLOURS, LABELS, MARKERS, synthetic, use_style
from dualdiff.pooling import over_seeds
from dualdiff.scenarios import Scenario, cabinet, round_table
from dualdiff.study import CONFIGURATIONS

CORNER = (1.0, 2.0, 3.0)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    use_style()
    yield
    plt.close("all")


def draws(scenario: Scenario) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Perfect samples for one configuration, general ones for another."""
    c = scenario.conditions(50, generator(1))
    return {
        "specialised": scenario.specialised.draw(c, generator(2), 4),
        "general": scenario.general.draw(c, generator(3), 4),
    }, c


def test_every_configuration_has_one_colour_label_and_marker() -> None:
    for look in (COLOURS, LABELS, MARKERS):
        assert set(CONFIGURATIONS) <= set(look)
        assert len(set(look.values())) == len(look)


@pytest.mark.parametrize("scenario", [cabinet(), round_table()], ids=lambda s: s.name)
def test_data_figure(scenario: Scenario) -> None:
    rows = {w: scenario.pairs(w, 30, generator(1)) for w in ("general", "specialised")}
    figure = synthetic.data_figure(scenario, rows, CORNER)
    assert [a.get_title() for a in figure.axes] == [
        "general: 30 rows",
        "specialised: 30 rows",
    ]
    x, *_ = figure.axes[1].collections[-2]._offsets3d
    expected = rows["specialised"][0] - rows["specialised"][1]
    np.testing.assert_allclose(np.sort(x), np.sort(expected[:, 0] + CORNER[0]), rtol=1e-5)


def test_loss_figure() -> None:
    figure = synthetic.loss_figure({"general": torch.tensor([3.0, 2.0, 1.0])})
    (line,) = figure.axes[0].lines
    assert line.get_xdata().tolist() == [1, 2, 3] and line.get_ydata().tolist() == [3, 2, 1]
    assert to_hex(line.get_color()) == COLOURS["general"].lower()


@pytest.mark.parametrize(("scenario", "shape"), [(cabinet(), Rectangle), (round_table(), Circle)])
def test_scatter_figure_draws_supports_and_counts_what_it_leaves_out(scenario, shape) -> None:  # type: ignore[no-untyped-def]
    points = scenario.specialised.draw(torch.tensor([CORNER]), generator(4), 20)[0]
    points[0, 0] += 100
    figure = synthetic.scatter_figure({"joint": points}, scenario, CORNER)
    top = figure.axes[0]
    outlines = [p for p in top.patches if isinstance(p, shape)]
    assert len(outlines) == 2
    assert len(top.collections[0].get_offsets()) == 20
    assert [t.get_text() for t in top.texts] == ["1 beyond"]


@pytest.mark.parametrize("scenario", [cabinet(), round_table()], ids=lambda s: s.name)
def test_miss_figure_shares(scenario: Scenario) -> None:
    samples, c = draws(scenario)
    _, table = synthetic.miss_figure(samples, c, scenario)
    assert table.loc["specialised"].tolist() == [1, 0, 0]
    np.testing.assert_allclose(table.sum(axis=1), 1, rtol=1e-6)
    assert table.loc["general", "outside both"] == 0


def test_tolerance_figure_rises_to_the_planar_check() -> None:
    scenario = round_table()
    samples, c = draws(scenario)
    samples["general"][..., 2] += 0.5
    figure = synthetic.tolerance_figure(samples, c, scenario, 0.25)
    curve = figure.axes[0].lines[2]
    planar = (samples["general"] - c[:, None])[..., :2].norm(dim=-1) <= 1
    assert curve.get_ydata()[0] == 0  # no sample is within 0.01 in height
    assert curve.get_ydata()[-1] == pytest.approx(float(planar.float().mean()))
    assert (np.diff(curve.get_ydata()) >= 0).all()


def test_frontier_figure_places_every_point() -> None:
    columns = "scenario recipe profile seed configuration metric value low high".split()
    values = {"accuracy": 0.4, "total_variation": 0.7, "total_variation_floor": 0.03}
    rows = [("cabinet", "tuned", "quick", 0, "joint", m, v, v, v) for m, v in values.items()]
    table = over_seeds(pd.DataFrame(rows, columns=columns))
    axes = synthetic.frontier_figure(table).axes[0]
    assert [0.4, 0.7] in [[*line.get_xydata()[0]] for line in axes.lines]


def test_unknown_regions_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot draw a region of type"):
        synthetic.outline(plt.figure().gca(), object(), CORNER, "plan")  # type: ignore[arg-type]
