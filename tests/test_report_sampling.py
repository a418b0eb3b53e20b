"""What the playground says of samplers: predicted and sampled spreads, and its sentence."""

import pandas as pd
import pytest

from dualdiff import report_sampling
from dualdiff.members import RECIPES, Workshop
from dualdiff.process import Process
from dualdiff.profiles import PROFILES
from dualdiff.scenarios import make_scenario
from dualdiff.store import Store

FINE = Process.log_snr(400, dy=2, dc=2)


def test_one_model_keeps_its_variance_by_either_sampler() -> None:
    for sampler in ("ancestral", "dpm++"):
        assert report_sampling.predicted_variance(FINE, 1.0, sampler) == pytest.approx(1)


def test_predictions_are_those_of_the_equations() -> None:
    left = FINE.alpha_bar_at(FINE.steps - 1)
    assert report_sampling.predicted_variance(FINE, 2.0, "dpm++") == pytest.approx(left)
    assert report_sampling.predicted_variance(FINE, 2.0, "ancestral") == pytest.approx(1 / 3, 1e-3)
    # Euler's method on dv/dtau = (1 - 2w) beta v + beta, which the formula solves.
    weight, variance, steps = 1.3, 1.0, 200_000
    total = -float(FINE.alpha_bar[-1].log())
    for _ in range(steps):
        variance += ((1 - 2 * weight) * variance + 1) * total / steps
    assert report_sampling.predicted_variance(FINE, weight, "ancestral") == pytest.approx(
        variance, rel=1e-3
    )


def test_sampled_spreads_follow_the_predictions() -> None:
    n = 4_000
    table = report_sampling.spreads(FINE, (0.75, 1.0, 2.0), n, seed=1)
    for row in table.itertuples():
        error = (2 / (2 * n)) ** 0.5  # relative, of a variance from 2 n normal numbers
        steps = 0.06  # 400 steps in place of continuous time
        assert abs(row.sampled / row.predicted - 1) < 4 * error + steps, row
    view = report_sampling.spreads_view(table)
    assert list(view.index) == ["0.75", "1", "2"] and view.loc["2", "product p^w"] == "0.5"


def test_the_table_of_samplers_and_its_sentence(tmp_path: object) -> None:
    size = PROFILES["smoke"]
    shop = Workshop(make_scenario("cabinet"), RECIPES["tuned"], size, 0, Store(str(tmp_path)))
    table = report_sampling.samplers({"cabinet": shop}, size, 0)
    assert len(table) == 4 and len(report_sampling.samplers_view(table)) == 4
    again = report_sampling.samplers({"cabinet": shop}, size, 0)
    pd.testing.assert_frame_equal(table, again)
    said = report_sampling.collapse_sentence(table)
    for value in table["accuracy"]:
        assert f"{value:.3f}" in said
