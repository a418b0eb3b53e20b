"""Readings of the weights: planes come back as they were written, and the front is Pareto's."""

from itertools import product

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualdiff.experiments.trial import derive
from dualdiff.readings import weights as reading

KEYS = ["scenario", "recipe", "seed", "configuration", "target", "metric", "value"]
eighths = st.integers(0, 8).map(lambda k: k / 8)
scores = st.lists(st.tuples(eighths, eighths), min_size=1, max_size=20)


@given(scores)
def test_nothing_beats_the_front_and_the_front_beats_the_rest(pairs: list[tuple]) -> None:
    points = pd.DataFrame(pairs, columns=reading.SCORES)
    on = reading.front(points)

    def beats(a: tuple, b: tuple) -> bool:
        return a != b and a[0] >= b[0] and a[1] <= b[1]

    best = [pair for pair, chosen in zip(pairs, on, strict=True) if chosen]
    for pair, chosen in zip(pairs, on, strict=True):
        assert chosen == (not any(beats(other, pair) for other in pairs))
        assert chosen or any(beats(other, pair) for other in best)


def test_the_plane_has_every_pair_once_with_its_own_scores() -> None:
    weights = (0.0, 0.5, 4.0)
    others = product(("cabinet", "round_table"), ("tuned", "plain"), ("specialised", "general"))
    rows = [  # of the first of them, and of seven that are another's
        (scenario, recipe, seed, f"{g:g}, {s:g}", target, metric, g + 10 * s + seed + shift)
        for shift, (scenario, recipe, target) in enumerate(others)
        for seed, g, s, metric in product((0, 1), weights, weights, reading.SCORES)
    ]
    other = ("cabinet", "tuned", 0, "learned constant", "specialised", "accuracy", 99.0)
    points = reading.plane(derive(pd.DataFrame([*rows, other], columns=KEYS)), "cabinet")
    assert len(points) == 9 == len(points.groupby(["general", "specialised"]))
    own = points["general"] + 10 * points["specialised"] + 0.5
    for metric in reading.SCORES:
        assert points[metric].tolist() == pytest.approx(own.tolist())
    assert points["front"].all()  # both scores are the same number: what is better is worse


def test_learned_weights_come_back_as_they_were_written() -> None:
    written = pd.DataFrame(
        [
            (scenario, "tuned", seed, way, t, seed + t / 100, 1 - t / 100)
            for scenario, seed, way, t in product(
                ("cabinet", "round_table"), (0, 1), ("learned curve", "stacked"), (0, 11, 99)
            )
        ],
        columns=["scenario", "recipe", "seed", "configuration", "t", "general", "specialised"],
    )
    rows = [
        (*row[:4], "run", f"{member} at {row[4]}", row[place])
        for row in written.itertuples(index=False)
        for member, place in (("general", 5), ("specialised", 6))
    ]
    rows += [(*row[:4], "specialised", "accuracy", 0.5) for row in rows]
    found = reading.learned(derive(pd.DataFrame(rows, columns=KEYS)))
    pd.testing.assert_frame_equal(found, written)
