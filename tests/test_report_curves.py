"""The words on curves of weights follow their numbers."""

import math

import pandas as pd
import pytest

from dualdiff import report_curves as words
from dualdiff.process import Process
from tests.test_report_weights import ways_table


def test_log_snr_is_the_logarithm_of_signal_over_noise() -> None:
    process = Process.log_snr(50)
    signal, noise = process.signal(7) ** 2, process.noise(7) ** 2
    assert words.log_snr(process, [7])[0] == pytest.approx(math.log(signal / noise))


@pytest.mark.parametrize(
    ("curve", "said"),
    [(0.15, "lower than"), (0.19, "higher than"), (0.169, "the same within 0.01 as")],
)
def test_a_curve_is_compared_with_constants_of_the_same_choice(curve, said) -> None:
    text = words.shape_sentence(ways_table(curve=curve))
    assert text.count(f"learned: curve {curve:.3f}, {said} constants' 0.170") == 2
    assert text.count("oracle: curve 0.160, the same within 0.01 as constants' 0.160") == 2


def test_a_range_is_given_where_there_is_one() -> None:
    assert words.range_of(pd.Series([0.5, 0.5])) == "0.50"
    assert words.range_of(pd.Series([0.1, 0.3])) == "0.20 (0.10 .. 0.30)"


def test_the_curve_is_read_at_both_ends() -> None:
    text = words.curve_sentence(ways_table(), "learned curve")
    assert "noisy $w_g$ 1.10 (1.09 .. 1.11), $w_s$ 1.89, sum 2.99" in text
    assert "clean $w_g$ 0.11 (0.10 .. 0.12), $w_s$ 0.90, sum 1.01" in text
    assert words.curve_sentence(ways_table(), "no such way") == ""


def lead(table: pd.DataFrame, steps, value: float, seeds=(0, 1, 2)) -> pd.DataFrame:
    """A table in which stacking gives the general model this weight at these timesteps."""
    rows = table["metric"].isin([f"general at {t}" for t in steps]) & table["seed"].isin(seeds)
    return table.assign(value=table["value"].where(~rows, value))


def test_a_lead_is_said_run_by_run() -> None:
    process = Process.log_snr(100)
    at = {t: f"{words.log_snr(process, [t])[0]:.0f}" for t in range(0, 100, 11)}
    text = words.lead_sentence(ways_table(), "stacked", process)
    assert (
        text.count(f"the general model at none, the specialised model at {at[99]} to {at[0]}") == 2
    )
    table = lead(ways_table(), (22, 33, 77), 5.0)  # not contiguous
    text = words.lead_sentence(table, "stacked", process)
    assert text.count(f"the general model at {at[77]}, {at[33]} to {at[22]},") == 2
    behind = f"{at[99]} to {at[88]}, {at[66]} to {at[44]}, {at[11]} to {at[0]}"
    assert text.count(f"the specialised model at {behind}") == 2


def test_a_lead_needs_a_margin_and_every_seed() -> None:
    process = Process.log_snr(100)
    close = lead(ways_table(), (33,), 0.9 + 0.33 + 0.04)
    most = lead(ways_table(), (33,), 5.0, seeds=(0, 2))
    for table in (close, most):
        found = words.runs(process, words.weights(table, "cabinet", "stacked"))
        assert found["general"] == [] and len(found["specialised"]) == 2
