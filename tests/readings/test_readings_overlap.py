"""Places of samples and counts of signs: shares, and how much a fixed answer is worth."""

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualdiff.experiments.shifted import shifted_table
from dualdiff.readings.overlap import places, sign_counts, users

gains = st.tuples(st.sampled_from(["plain", "tuned"]), *[st.floats(-1, 1)] * 2)


@given(st.lists(gains, min_size=1, max_size=30))
def test_a_fixed_answer_per_recipe_is_right_at_least_half_of_the_time(
    rows: list[tuple[str, float, float]],
) -> None:
    names = ["recipe", "energy_distance_gain", "energy_score_gain"]
    for row in sign_counts(pd.DataFrame(rows, columns=names)).to_dict("records"):
        own = [(gain > 0, score > 0) for recipe, gain, score in rows if recipe == row["recipe"]]
        assert row["helps"] == sum(helps for helps, _ in own)
        assert row["right"] == sum(a == b for a, b in own)
        fixed = [sum(helps == answer for helps, _ in own) for answer in (True, False)]
        assert row["constant"] == max(fixed) >= row["settings"] / 2
        assert row["near_right"] <= row["near"] <= row["settings"] == len(own)


@pytest.mark.parametrize("distance", [0.0, 2.5, 5.0])
def test_places_are_shares_and_the_way_runs_from_centre_to_centre(distance: float) -> None:
    world = shifted_table(distance)
    source = torch.Generator().manual_seed(0)
    for region, end in ((world.general, 0), (world.specialised, 1)):
        cloud = region.draw(torch.zeros(500, 3), source)
        cloud[:, 2] += 7  # judged from above
        row = places({"here": cloud}, {"here": world}).loc["here"]
        assert row.drop("way").sum() == pytest.approx(1, abs=0.002)
        home = "general" if end == 0 else "specialised"
        assert row["in both"] + row[f"in the {home} disc only"] == 1
        if distance == 5:  # apart: all of it, and the centre
            assert row[f"in the {home} disc only"] == 1
        assert row["way"] == pytest.approx(end, abs=0.1) if distance else row.isna()["way"]


def test_users_are_told_a_sign_and_an_interval() -> None:
    """Three users of one recipe: a right sign, a wrong one, and a wrong one that is sure."""
    told = [(0.2, 0.1, 0.3), (0.2, -0.1, 0.5), (-0.2, -0.3, -0.1)]
    true = [0.5, -0.5, 0.5]
    rows = []
    for seed, (interval, gain) in enumerate(zip(told, true, strict=True)):
        where = ("plain", 0.0, 6, seed)
        rows += [(*where, "diagnosis", "held out", "energy_score_gain", *interval)]
        rows += [(*where, "specialised", "specialised", "energy_distance", 1 + gain, 0, 0)]
        rows += [(*where, "joint", "specialised", "energy_distance", 1.0, 0, 0)]
    names = ["recipe", "distance", "n_specialised", "seed", "configuration", "target", "metric"]
    found = users(pd.DataFrame(rows, columns=[*names, "value", "low", "high"]))
    assert found["gain"].tolist() == true
    assert found["helps"].tolist() == [True, False, True] == found["fixed"].tolist()
    assert found["sign"].tolist() == [True, False, False]
    assert found["sure"].tolist() == [True, False, True]
    assert found["wrong"].tolist() == [False, False, True]
