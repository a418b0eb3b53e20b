"""Figures of the robot chapter show what they were given."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_hex

from dualdiff.plots import COLOURS, LABELS, MARKERS, use_style
from dualdiff.plots import robot as plots
from dualdiff.plots import robot_results as results
from tests.conftest import generator

NAMES = ("general", "specialised", "joint")


@pytest.fixture(autouse=True)
def book_style():
    with plt.rc_context():
        use_style()
        yield
    plt.close("all")


def points(n: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(n, 2, generator=generator(seed))


def drawn(axes, k: int = 0) -> int:
    return len(axes.collections[k].get_offsets())


def scores(frames=("",)) -> pd.DataFrame:
    rows = [
        {"configuration": name, "frame": frame, "value": 0.3 + place / 10}
        for frame in frames
        for place, name in enumerate(NAMES)
    ]
    table = pd.DataFrame(rows).assign(low=lambda t: t["value"] - 0.02)
    table = table.assign(high=lambda t: t["value"] + 0.03)
    return table if frames != ("",) else table.drop(columns="frame")


def shares() -> pd.DataFrame:
    table = pd.DataFrame({"configuration": list(NAMES)})
    table[list(results.OUTCOMES)] = [0.5, 0.2, 0.2, 0.08, 0.02]
    return table


def test_every_configuration_has_one_colour_label_and_marker() -> None:
    for look in (COLOURS, LABELS, MARKERS):
        assert set(look) == set(COLOURS)
        assert len(set(look.values())) == len(look)


def test_targets_have_a_panel_per_type() -> None:
    rows = {f"type {k}": points(10 + k, k) for k in range(9)}
    figure = plots.targets_by_type(rows, ("across", "up"))
    assert len(figure.axes) == 9
    assert [drawn(axes) for axes in figure.axes] == [10 + k for k in range(9)]
    assert figure.get_supxlabel() == "across" and figure.get_supylabel() == "up"
    assert figure.axes[8].get_title(loc="left") == "type 8: 18"


def test_panels_that_are_left_over_stay_empty() -> None:
    figure = plots.targets_by_type({str(k): points(3) for k in range(4)})
    assert [axes.get_visible() for axes in figure.axes] == [True] * 4 + [False] * 2


def test_train_and_test_share_their_axes() -> None:
    train, test = plots.train_and_test(points(5), 3 * points(70, 1)).axes
    assert (drawn(train), drawn(test)) == (5, 70)
    assert train.get_xlim() == test.get_xlim() and train.get_ylim() == test.get_ylim()
    assert to_hex(train.collections[0].get_facecolor()[0]) == COLOURS["specialised"].lower()


def test_principal_components_say_what_they_explain() -> None:
    figure = plots.principal_components(points(4), points(50, 1), (0.24, 0.18))
    (axes,) = figure.axes
    assert axes.get_xlabel() == "PC 1 (24 % of the variance)"
    assert (drawn(axes, 0), drawn(axes, 1)) == (50, 4)
    with pytest.raises(ValueError, match="two numbers from 0 to 1"):
        plots.principal_components(points(4), points(5), (24, 18))


def test_losses_have_what_was_recorded_and_its_means() -> None:
    curves = {"general": torch.full((3000,), 0.5), "joint": torch.full((40,), 0.25)}
    (axes,) = plots.losses(curves, every=10).axes
    assert axes.get_xscale() == axes.get_yscale() == "log"
    recorded, means, few, _ = axes.lines
    assert len(recorded.get_xdata()) == 3000 and recorded.get_xdata()[-1] == 30_000
    assert len(few.get_xdata()) == 40 and few.get_color() == COLOURS["joint"]
    assert len(means.get_xdata()) <= 120
    assert means.get_ydata() == pytest.approx(0.5)
    with pytest.raises(ValueError, match="losses of general must be positive"):
        plots.losses({"general": torch.zeros(3)})


def test_samples_begin_with_the_truth_and_say_what_is_outside() -> None:
    far = torch.cat([points(20, 1), torch.full((3, 2), 9.0)])
    figure = plots.samples_over_test({"general": far, "smc": points(8, 2)}, points(30))
    assert [axes.get_title(loc="left") for axes in figure.axes] == [
        LABELS[name] for name in ("truth", "general", "smc")
    ]
    assert [drawn(axes) for axes in figure.axes] == [30, 23, 8]
    assert figure.axes[1].get_title(loc="right") == "3 outside"
    assert figure.axes[2].get_title(loc="right") == ""
    colour = figure.axes[2].collections[0].get_facecolor()[0]
    assert to_hex(colour) == COLOURS["smc"].lower()


@pytest.mark.parametrize("wrong", [torch.zeros(4), torch.zeros(4, 3), torch.zeros(0, 2)])
def test_points_of_another_shape_are_refused(wrong: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"must have shape \[n >= 1, 2\]"):
        plots.targets_by_type({"Bin": wrong})
    with pytest.raises(ValueError, match="truth must have shape"):
        plots.samples_over_test({"general": points(3)}, wrong)


def test_no_types_are_refused() -> None:
    with pytest.raises(ValueError, match="no types"):
        plots.targets_by_type({})


# --- results ----------------------------------------------------------------------------------


def test_scores_stand_on_their_intervals() -> None:
    (axes,) = results.success_bars(scores(), floor=0.1, ceiling=(0.7, 0.8)).axes
    by = {to_hex(line.get_color()): line for line in axes.lines if line.get_marker() != "None"}
    for place, name in enumerate(NAMES):
        assert by[COLOURS[name].lower()].get_xydata()[0] == pytest.approx((0.3 + place / 10, place))
    whisker = next(line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_lw() == 2)
    assert list(whisker.get_xdata()) == pytest.approx([0.28, 0.33])
    assert [tick.get_text() for tick in axes.get_yticklabels()] == [LABELS[n] for n in NAMES]
    words = {text.get_text().strip() for text in axes.texts}
    assert {"uniform draw", "oracle draw", "0.300"} <= words
    assert len(axes.patches) == 1  # the ceiling has an interval, the floor has none


def test_frames_have_a_panel_each_and_their_own_floor() -> None:
    floor = {"object": 0.1, "world": 0.2}
    figure = results.success_bars(scores(("object", "world")), floor=floor)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["object", "world"]
    at = [next(x.get_xdata()[0] for x in axes.lines if x.get_ls() == "--") for axes in figure.axes]
    assert at == [0.1, 0.2]
    assert figure.axes[0].get_xlim() == figure.axes[1].get_xlim()


def test_scores_without_their_columns_are_refused() -> None:
    with pytest.raises(ValueError, match="lacks high"):
        results.success_bars(scores().drop(columns="high"))
    with pytest.raises(ValueError, match="lacks rows"):
        results.success_bars(scores().iloc[:0])


def test_outcomes_fill_their_bars() -> None:
    figure = results.outcomes(shares())
    (axes,) = figure.axes
    assert len(axes.patches) == len(NAMES) * len(results.OUTCOMES)
    ends = [bar.get_x() + bar.get_width() for bar in axes.containers[-1]]
    assert ends == pytest.approx([1, 1, 1])
    # what is too small for its number has none
    assert [text.get_text() for text in axes.texts].count("2") == 0
    assert [text.get_text() for text in axes.texts].count("8") == 3
    (legend,) = figure.legends
    assert [t.get_text() for t in legend.get_texts()] == [v[0] for v in results.OUTCOMES.values()]


def test_outcomes_that_are_no_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        results.outcomes(shares().assign(success=0.9))
    with pytest.raises(ValueError, match="lacks both"):
        results.outcomes(shares().drop(columns="both"))


def test_the_overlap_prints_every_number() -> None:
    values = np.array([[0.1, 0.9], [0.2, 0.3], [0.0, 1.0]])
    figure = results.overlap_matrix(values, ("Bin", "Book", "Cup"), ("object", "world"))
    axes = figure.axes[0]
    assert {t.get_text() for t in axes.texts} == {f"{v:.2f}" for v in values.ravel()}
    (book,) = [t for t in axes.texts if t.get_position() == (1, 1)]
    assert book.get_text() == "0.30"
    with pytest.raises(ValueError, match=r"must have shape \[3, 1\]"):
        results.overlap_matrix(values, ("Bin", "Book", "Cup"), ("object",))


def test_the_permutation_test_counts_itself() -> None:
    null = torch.arange(99.0)
    figure = results.permutation(null, 97.0)
    (axes,) = figure.axes
    assert axes.lines[0].get_label() == "observed, p = 0.03"
    assert sum(bar.get_height() for bar in axes.patches) == 99
    given = results.permutation(null, 97.0, p=0.5)
    assert given.axes[0].lines[0].get_label() == "observed, p = 0.5"
    with pytest.raises(ValueError, match="null must have shape"):
        results.permutation(torch.zeros(0), 1.0)
