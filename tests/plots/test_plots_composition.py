"""Drawings of the scenes of composition show what they are given."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from dualdiff.experiments.rules import RULES, Rule, weighted
from dualdiff.experiments.scenes import SCENES, Boxes, Plane
from dualdiff.pages.names import label
from dualdiff.plots import composition as figures
from dualdiff.randomness import stream

RING, BOXES = SCENES["ring_and_bar"](), SCENES["boxes"]()
assert isinstance(RING, Plane) and isinstance(BOXES, Boxes)


pytestmark = pytest.mark.usefixtures("drawing")


def visible(figure: Figure) -> list[plt.Axes]:
    figure.canvas.draw()
    return [axes for axes in figure.axes if axes.get_visible()]


def title(axes: plt.Axes) -> str:
    return axes.get_title(loc="left")


def rectangles(axes: plt.Axes) -> list[tuple[float, ...]]:
    """Corner, width and height of every outline."""
    return [patch.get_path().get_extents().bounds for patch in axes.patches]


@pytest.mark.parametrize("n", [1, 4])
def test_figures_have_a_place_for_every_new_rule(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(n):
        own = Rule(f"own rule {i}", "p_s^2 / p_g", weighted(-1.0, 0.5 * i + 2))
        monkeypatch.setitem(RULES, f"own {i}", own)
    more, inside = list(RULES), BOXES.truth(50, stream(0, "truth"))
    titles = {label(name) for name in more}
    panels = visible(figures.box_figure(BOXES, dict.fromkeys(more, inside)))
    assert {title(axes).partition(":")[0] for axes in panels} == titles
    assert sum(bool(axes.get_xlabel()) for axes in panels) == -(-len(more) // 3)
    clouds = dict.fromkeys(["truth", *more], RING.truth(50, stream(0, "truth")))
    shown = visible(figures.density_figure(RING, clouds, dict.fromkeys(clouds)))
    assert titles < {title(axes) for axes in shown}


def test_scenes_show_both_members_and_their_product() -> None:
    scenes = {name: make() for name, make in SCENES.items()}
    figure = figures.scene_figure(scenes)
    panels = visible(figure)
    assert [title(axes) for axes in panels] == [label(name) for name in scenes]
    # General, specialised, product, from above.
    assert rectangles(panels[1]) == [(-1, -1, 2, 2), (0, -1, 2, 2), (0, -1, 1, 2)]
    # In the plane: the shaded product and an outline of each member.
    assert len(panels[2].collections) == 3 and not rectangles(panels[2])
    words = [text.get_text() for text in figure.legends[0].get_texts()]
    assert words == ["general", "specialised", "product"]
    assert all(axes.get_xlabel() for axes in panels) and panels[0].get_ylabel()


def test_densities_show_aim_and_samples_on_one_scale() -> None:
    cloud = RING.truth(4000, stream(0, "truth"))
    clouds = {"truth": cloud, "sum": cloud + 0.5, "concept": 3 * cloud}
    aims = {"truth": RING.target, "sum": RING.density(RING.rule("sum")), "concept": None}
    figure = figures.density_figure(RING, clouds, aims, columns=2)
    panels = visible(figure)
    assert len(figure.axes) == 8 and len(panels) == 6  # the last band has an empty place
    above, below = figure.axes[0], figure.axes[2]
    wanted, got = above.images[0], below.images[0]
    assert wanted.get_clim() == got.get_clim()
    np.testing.assert_allclose(wanted.get_array(), RING.masses(RING.target).T)
    np.testing.assert_allclose(got.get_array(), RING.histogram(cloud)[0].T)
    # A rule without a density to aim at says so, and samples out of sight are counted.
    empty, spread = figure.axes[4], figure.axes[6]
    assert not empty.images and "no density" in empty.texts[0].get_text()
    assert "outside the frame" in spread.texts[0].get_text() and not below.texts


def test_boxes_show_every_rule_with_its_share_in_both() -> None:
    inside = BOXES.truth(200, stream(0, "truth"))
    away = inside + torch.tensor([1.0, 0.0, 0.0])  # in the specialised box alone
    clouds = {name: inside for name in RULES} | {"ramp": torch.cat([inside, away])}
    figure = figures.box_figure(BOXES, clouds)
    assert {title(axes) for axes in visible(figure)} == {
        f"{label(name)}:\n{'50%' if name == 'ramp' else '100%'} in both, 0% in neither"
        for name in RULES
    }
    assert rectangles(figure.axes[0]) == [(-1, -1, 2, 2), (0, -1, 2, 2)]
    np.testing.assert_allclose(figure.axes[0].collections[0].get_offsets(), inside[:, :2])
