"""Figures draw what they are given."""

import numpy as np
import pytest
import torch
from conftest import generator

from dualdiff.experiments.scenarios import Scenario, cabinet, round_table
from dualdiff.plots import regions

CORNER = (1.0, 2.0, 3.0)


pytestmark = pytest.mark.usefixtures("drawing")


@pytest.mark.parametrize("scenario", [cabinet(), round_table()], ids=lambda s: s.name)
def test_data_figure(scenario: Scenario) -> None:
    rows = {w: scenario.pairs(w, 30, generator(1)) for w in ("general", "specialised")}
    figure = regions.data_figure(scenario, rows, CORNER)
    assert [a.get_title() for a in figure.axes] == ["general: 30 rows", "specialised: 30 rows"]
    x, *_ = figure.axes[1].collections[-2]._offsets3d
    expected = rows["specialised"][0] - rows["specialised"][1]
    np.testing.assert_allclose(np.sort(x), np.sort(expected[:, 0] + CORNER[0]), rtol=1e-5)


@pytest.mark.parametrize("scenario", [cabinet(), round_table()], ids=lambda s: s.name)
def test_scatter_figure_draws_supports_and_counts_what_it_leaves_out(scenario: Scenario) -> None:
    points = scenario.specialised.draw(torch.tensor([CORNER]), generator(4), 20)[0]
    points[0, 0] += 100
    figure = regions.scatter_figure({"joint": points}, scenario, CORNER)
    top, side = figure.axes
    assert len(top.patches) == 2 and len(side.patches) + len(side.lines) == 2
    assert len(top.collections[0].get_offsets()) == 20
    assert [t.get_text() for t in top.texts] == ["1 beyond"]
    for patch, region in zip(top.patches, (scenario.general, scenario.specialised), strict=True):
        drawn = patch.get_path().vertices
        ends = np.array(region.frame())[:, :2] + np.array(CORNER)[:2]
        np.testing.assert_allclose([drawn.min(0), drawn.max(0)], ends, atol=1e-5)
