"""Who leads: laws of the choice, whatever the scores."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualdiff.pages import contrast
from dualdiff.readings.adaptation import leaders

NAMES = ("general", "joint", "lora")
SCORES = st.lists(st.lists(st.floats(-1, 1), min_size=3, max_size=3), min_size=3, max_size=3)


def table(scores: list[list[float]], metric: str = "energy_distance") -> pd.DataFrame:
    """Scores by configuration and seed, at two numbers of pairs, the second all doubled."""
    rows = [
        {"pairs": n, "configuration": name, "metric": metric, "seed": seed, "value": n * value}
        for n in (1, 2)
        for name, each in zip(NAMES, scores, strict=True)
        for seed, value in enumerate(each)
    ]
    return pd.DataFrame(rows).assign(low=float("nan"), high=float("nan"))


@given(SCORES)
def test_the_leader_has_the_best_mean_and_its_ties_are_not_told_apart(
    scores: list[list[float]],
) -> None:
    for metric, best in (("energy_distance", min), ("accuracy", max)):
        made = table(scores, metric)
        means = {name: sum(each) / 3 for name, each in zip(NAMES, scores, strict=True)}
        for row in leaders(made, metric, ["pairs"]).itertuples():
            assert means[row.best] == pytest.approx(best(means.values()))
            assert row.low <= row.value <= row.high
            for rival in set(NAMES) - {row.best}:
                found = contrast(made, row.best, rival, metric, pairs=row.pairs)
                assert (found["better"].item() == 0) == (rival in row.ties)
                assert found["better"].item() >= 0  # nobody is better than the leader


def test_ties_stand_in_the_order_of_their_means() -> None:
    made = table([[0.1, 0.3, 0.3], [0.3, 0.1, 0.2], [0.3, 0.3, 0.05]])
    for row in leaders(made, "energy_distance", ["pairs"]).itertuples():
        assert (row.best, row.ties) == ("joint", ("lora", "general"))
