"""What the overlap chapter says and draws: from made-up tables whose content is known."""

import math
from collections.abc import Callable

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.figure import Figure

from dualdiff import report_overlap as module
from dualdiff.overlap import SETTINGS, SWEEP, benefits, overlap_fraction, shifted_table
from dualdiff.plots import overlap as figures

COLUMNS = "scenario recipe profile seed configuration target metric value low high".split()
METRICS = ("accuracy", "total_variation", "energy_distance")


def table(score: Callable[[float, str], float]) -> pd.DataFrame:
    """A sweep in which every score of joint is ``score(overlap, metric)``, the specialist's 0.5."""
    rows = []
    for recipe in ("exact", "thesis"):
        for distance in SWEEP:
            world, share = shifted_table(distance).name, overlap_fraction(distance)
            for metric in METRICS:
                for name, value in (("joint", score(share, metric)), ("specialised", 0.5)):
                    for target in ("specialised", "fixed", *(["intersection"] if share else [])):
                        rows.append((world, recipe, "x", 0, name, target, metric, *3 * [value]))
            if recipe != "exact":
                for metric in module.DIAGNOSTICS:
                    rows.append((world, recipe, "x", 0, "diagnosis", "held out", metric, *3 * [1]))
    return pd.DataFrame(rows, columns=COLUMNS)


def follows(share: float, metric: str) -> float:
    return share if metric == "accuracy" else 1 - share


def test_fractions_are_those_of_the_settings() -> None:
    frame = module.fractions_table()
    assert list(frame.index) == list(SETTINGS)
    assert frame.loc["far"].tolist() == [14, 10, 0]
    assert frame["overlap fraction"].between(0, 1).all()


def test_trend_is_stated_and_a_plateau_is_explained() -> None:
    sentence = module.trend_sentence(table(follows))
    assert "exact members 1.00 and 1.00; recipe `thesis` 1.00 and 1.00" in sentence
    assert f"over {len(SWEEP)} distances" in sentence and "plateau" not in sentence
    flat = table(lambda share, m: float(share > 0) if m == "accuracy" else 1 - share)
    sentence = module.trend_sentence(flat)
    assert "For exact members and recipe `thesis` accuracy ranks" in sentence
    assert "plateau" in sentence and "at most 0.98" in sentence


def test_gap_names_the_score_at_the_nearest_distances() -> None:
    lines = module.gap_sentence(table(follows)).splitlines()
    assert [line.split("(")[0].strip() for line in lines] == [
        f"- Centres {d} apart" for d in (0, 2, 3, 5)
    ]
    share = overlap_fraction(3.0)
    assert f"(overlap {share:.2f}): TV of joint to the own law {1 - share:.2f} (exact)" in lines[2]


@pytest.fixture
def drawn() -> Figure:
    return figures.sweep_figure(table(follows))


def test_sweep_figure_has_a_curve_per_configuration_and_recipe(drawn: Figure) -> None:
    first = drawn.axes[0]
    assert len(first.containers) == 4
    joint = first.containers[0].lines[0]
    assert list(joint.get_xdata()) == sorted(SWEEP)
    plt.close(drawn)


def test_diagnostic_figure_has_a_point_per_setting() -> None:
    gains = benefits(table(follows))
    drawn = figures.diagnostic_figure(gains)
    points = sum(len(c.get_offsets()) for c in drawn.axes[0].collections)
    assert points == len(gains) == len(SWEEP)
    assert math.isclose(gains["accuracy_gain"].max(), 0.5)
    plt.close(drawn)


def test_corrected_view_shows_the_intersection_by_method_and_distance() -> None:
    rows = [
        (f"shifted by {distance:g}", method, target, "total_variation", value, value, value)
        for distance, value in ((0.0, 0.1), (2.5, 0.2))
        for method in ("sum", "hmc")
        for target in ("specialised", "intersection")
    ]
    names = ["scenario", "configuration", "target", "metric", "value", "low", "high"]
    table = pd.DataFrame(rows, columns=names)
    view = module.corrected_view(table, "total_variation")
    assert view.shape == (2, 2)
    assert view.loc["HMC", "2.5"] == "0.200" and view.loc["plain sum", "0"] == "0.100"
