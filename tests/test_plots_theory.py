"""Figures of the theory chapter draw the numbers they are given, with labelled axes."""

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.patches import Rectangle, StepPatch
from matplotlib.quiver import Quiver

from dualdiff.plots import COLOURS, LABELS, theory

BOXES = {"general": ([-1.0, -2.0], [1.0, 2.0]), "specialised": ([-1.0, -1.0], [0.0, 0.5])}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def drawn(line):
    return np.stack(line.get_data())


def check_labels(figure):
    """Every axis is named, except where a shared one is named beside it."""
    figure.canvas.draw()
    for axes in figure.axes:
        assert axes.get_xlabel() or axes.get_ylabel(), "an axes without any label"
        first_column = axes.get_subplotspec() is None or axes.get_subplotspec().colspan.start == 0
        assert axes.get_ylabel() or not first_column


def check_boxes(axes):
    patches = [p for p in axes.patches if isinstance(p, Rectangle)]
    assert [p.get_xy() for p in patches] == [tuple(low) for low, _ in BOXES.values()]
    corners = [(p.get_x() + p.get_width(), p.get_y() + p.get_height()) for p in patches]
    assert corners == [tuple(high) for _, high in BOXES.values()]


def test_noising_draws_schedule_and_densities():
    alpha_bar, y = torch.linspace(0.9, 0.1, 5), torch.linspace(-1, 1, 7)
    densities = {"general": noise(2, 7).exp(), "specialised": noise(2, 7, seed=1).exp()}
    figure = theory.noising_figure(alpha_bar, y, [0, 4], densities)
    schedule, *panels = figure.axes
    signal, sigma = (line.get_ydata() for line in schedule.lines)
    np.testing.assert_allclose(np.square(signal) + np.square(sigma), 1, rtol=1e-6)
    for axes, (name, rows) in zip(panels, densities.items(), strict=True):
        assert axes.get_title(loc="left") + axes.get_title() == LABELS[name]
        for line, row in zip(axes.lines, rows, strict=True):
            np.testing.assert_array_equal(drawn(line), np.stack([y, row]))
    check_labels(figure)


def test_noise_draws_bin_means_of_all_pairs():
    y_t, eps = noise(4000), noise(4000, seed=1)
    y = torch.linspace(-2, 2, 9)
    figure = theory.noise_figure(y_t, eps, y, 2 * y, bins=4)
    (axes,) = figure.axes
    curve = next(line for line in axes.lines if line.get_label() == "exact denoiser")
    np.testing.assert_array_equal(drawn(curve), np.stack([y, 2 * y]))
    (container,) = axes.containers
    means = container.lines[0].get_ydata()
    assert len(means) == 4
    assert np.mean(means) == pytest.approx(float(eps.mean()), abs=1e-6)  # bins of equal counts
    assert len(axes.collections[0].get_offsets()) == 1500
    check_labels(figure)


def test_scores_draw_arrows_on_one_scale():
    x, points = torch.linspace(-1, 1, 4), noise(6, 2)
    logs = {name: noise(4, 4) for name in ("general", "joint")}
    arrows = {"general": noise(6, 2, seed=1), "joint": noise(6, 2, seed=2)}
    figure = theory.score_figure(x, logs, points, arrows, BOXES)
    scales = set()
    for axes, arrow in zip(figure.axes, arrows.values(), strict=True):
        (quiver,) = (a for a in axes.collections if isinstance(a, Quiver))
        np.testing.assert_allclose(quiver.get_offsets(), points)
        np.testing.assert_allclose(np.stack([quiver.U, quiver.V], 1), arrow)
        scales.add(quiver.scale)
        mesh = axes.collections[0].get_array()
        # Rows of the mesh go up the second coordinate, columns along the first.
        log_p = logs["general" if axes is figure.axes[0] else "joint"]
        np.testing.assert_allclose(mesh.reshape(4, 4), (log_p - log_p.max()).exp().T)
        check_boxes(axes)
    assert len(scales) == 1
    check_labels(figure)


def test_paths_draw_some_ways_and_all_samples():
    states = noise(5, 8, 2)
    figure = theory.path_figure({"joint": states}, BOXES, drawn=2)
    (axes,) = figure.axes
    *ways, starts, ends = axes.lines
    assert len(ways) == 2 and ways[0].get_color() == COLOURS["joint"]
    np.testing.assert_array_equal(drawn(ways[1]), states[:, 1].T)
    np.testing.assert_array_equal(drawn(starts), states[0, :2].T)
    np.testing.assert_array_equal(drawn(ends), states[-1].T)
    check_boxes(axes)
    check_labels(figure)


def test_trajectories_run_from_noise_to_data():
    steps, y = [2, 1, 0, -1], torch.linspace(-2, 2, 5)
    states = {"DDPM": noise(4, 3), "DDIM": noise(4, 3, seed=1)}
    panels = {title: ("specialised", s) for title, s in states.items()}
    figure = theory.trajectory_figure(steps, panels, y, noise(3, 5), (-1.0, 0.5))
    for axes, s in zip(figure.axes, states.values(), strict=True):
        assert axes.get_xlim() == (2, -1)
        *chains, low, high = axes.lines
        for i, chain in enumerate(chains):
            np.testing.assert_array_equal(drawn(chain), np.stack([steps, s[:, i]]))
        assert (low.get_ydata()[0], high.get_ydata()[0]) == (-1.0, 0.5)
    check_labels(figure)


def test_moments_draw_three_curves_per_panel():
    steps = list(range(9, -2, -1))
    panels = {"variance": tuple(noise(11, seed=i) for i in range(3)), "mean": (noise(11),) * 3}
    figure = theory.moment_figure(steps, panels)
    for axes, curves in zip(figure.axes, panels.values(), strict=True):
        for line, curve in zip(axes.lines, curves, strict=True):
            np.testing.assert_array_equal(drawn(line), np.stack([steps, curve]))
        left, right = axes.get_xlim()
        assert left > right
    assert len(figure.legends[0].get_texts()) == 3
    check_labels(figure)


def test_products_draw_both_densities():
    y, needed, described = torch.linspace(-1, 1, 6), noise(2, 6), noise(2, 6, seed=1)
    figure = theory.product_figure(y, [40, 3], needed, described, (-1.0, 0.0))
    for i, axes in enumerate(figure.axes):
        first, second = axes.lines
        np.testing.assert_array_equal(drawn(first), np.stack([y, needed[i]]))
        np.testing.assert_array_equal(drawn(second), np.stack([y, described[i]]))
        assert first.get_color() == COLOURS["truth"] != second.get_color()
    check_labels(figure)


def test_histograms_are_relative_to_the_uniform_truth():
    centres = torch.tensor([0.25, 0.75, 1.25, 1.75])  # one in each of four bins of [0, 2]
    samples = {"specialised": centres, "joint": torch.tensor([0.25, 0.25, 5.0, 5.0])}
    figure = theory.histogram_figure({"axis": (samples, (0.0, 2.0))}, "offset", bins=4)
    (axes,) = figure.axes
    flat, crowded = (p.get_data().values for p in axes.patches if isinstance(p, StepPatch))
    np.testing.assert_allclose(flat, [0, 0, 1, 1, 1, 1, 0, 0])
    np.testing.assert_allclose(crowded, [0, 0, 2, 0, 0, 0, 0, 0])  # misses stay in the count
    assert axes.get_xlabel() == "offset"
    check_labels(figure)


def test_occupancy_prints_ratios_where_they_belong():
    share = torch.zeros(2, 2)
    share[1, 0] = 0.5  # right along the first coordinate, low along the second
    figure = theory.occupancy_figure({"joint": share}, (-1.0, -1.0), (0.0, 0.0))
    axes = figure.axes[0]
    texts = {t.get_position(): t.get_text() for t in axes.texts}
    assert texts[(-0.25, -0.75)] == "2.00"
    assert sorted(texts.values()) == ["0.00", "0.00", "0.00", "2.00"]
    np.testing.assert_allclose(axes.images[0].get_array(), [[0, 2], [0, 0]])
    assert axes.images[0].origin == "lower"
    check_labels(figure)


def test_variations_draw_one_row_each():
    columns = ["member", "accuracy", "tv", "low", "high"]
    rows = {"alone": ["specialised", 0.9, 0.1, 0.05, 0.15], "sum": ["joint", 1.0, 0.3, 0.2, 0.4]}
    table = pd.DataFrame.from_dict(rows, "index", columns=columns)
    figure = theory.variation_figure(table, 0.03)
    left, right = figure.axes
    assert [line.get_xdata()[0] for line in left.lines] == [0.9, 1.0]
    assert [t.get_text() for t in left.get_yticklabels()] == ["alone", "sum"]
    low, high = left.get_ylim()
    assert low > high  # the first row is on top
    *marks, floor = right.lines
    np.testing.assert_array_equal(drawn(marks[2]), [[0.2, 0.4], [1, 1]])
    assert marks[3].get_xdata()[0] == 0.3 and marks[3].get_color() == COLOURS["joint"]
    assert floor.get_xdata()[0] == 0.03
    assert left.get_xlabel() and right.get_xlabel()  # the rows are named by their ticks
