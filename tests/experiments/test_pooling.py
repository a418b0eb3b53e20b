"""Pooling over training seeds: the t interval, one seed, scores that are not numbers."""

import math

import pandas as pd
import pytest

from dualdiff.experiments.pooling import over_seeds

COLUMNS = "scenario recipe seed configuration target metric value low high".split()


def test_seeds_are_pooled_by_a_t_interval() -> None:
    rows = [
        ("shifted by 3", "tuned", seed, "joint", "specialised", "accuracy", value, 0.0, 1.0)
        for seed, value in enumerate((0.5, 0.6, 0.7))
    ]
    pooled = over_seeds(pd.DataFrame(rows, columns=COLUMNS)).iloc[0]
    half = 4.302653 * 0.1 / math.sqrt(3)  # Student's t with two degrees of freedom
    assert pooled["value"] == pytest.approx(0.6)
    assert pooled["high"] - pooled["value"] == pytest.approx(half, rel=1e-5)
    single = over_seeds(pd.DataFrame(rows[:1], columns=COLUMNS)).iloc[0]
    assert (single["low"], single["high"]) == (0.0, 1.0)


def test_a_seed_without_a_number_is_left_out() -> None:
    """Nothing misses in one run: its mean distance of misses is not a number."""
    rows = [
        ("a", "b", s, "c", "d", "miss_distance", v, v, v) for s, v in enumerate((1.0, math.nan))
    ]
    pooled = over_seeds(pd.DataFrame(rows, columns=COLUMNS)).iloc[0]
    assert pooled["value"] == 1.0 and pooled["seeds"] == 1
    assert math.isnan(pooled["low"]) and math.isnan(pooled["high"])


def test_what_is_measured_is_kept_apart_and_in_order() -> None:
    rows = [("a", "b", s, "c", "d", m, 1.0 * s, 0.0, 1.0) for s in (0, 1) for m in ("z", "y")]
    table = pd.DataFrame(rows, columns=COLUMNS).assign(n_specialised=128, profile="quick")
    pooled = over_seeds(table)
    assert list(pooled["metric"]) == ["z", "y"] and set(pooled["seeds"]) == {2}
    assert "n_specialised" in pooled and "profile" not in pooled
