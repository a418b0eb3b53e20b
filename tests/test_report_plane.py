"""The words on the plane of weights follow its numbers; its front is the one of Pareto."""

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualdiff import report_plane as words
from dualdiff.weighting import MAP
from tests.test_report_weights import alone_table, map_table, ways_table

scores = st.lists(
    st.tuples(st.integers(0, 8).map(lambda k: k / 8), st.integers(0, 8).map(lambda k: k / 8)),
    min_size=1,
    max_size=20,
)


@given(scores)
def test_nothing_beats_the_front_and_the_front_beats_the_rest(pairs) -> None:
    points = pd.DataFrame(pairs, columns=["accuracy", "total_variation"])
    on = words.front(points)

    def beats(a: tuple, b: tuple) -> bool:
        return a != b and a[0] >= b[0] and a[1] <= b[1]

    best = [pair for pair, chosen in zip(pairs, on, strict=True) if chosen]
    for pair, chosen in zip(pairs, on, strict=True):
        assert chosen == (not any(beats(other, pair) for other in pairs))
        assert chosen or any(beats(other, pair) for other in best)


def test_the_plane_has_every_pair_once_with_its_own_scores() -> None:
    points = words.plane(pd.concat([map_table(), ways_table()]), "cabinet")
    assert len(points) == len(MAP) ** 2 - 1 == len(points.groupby(["general", "specialised"]))
    row = points[(points["general"] == 0.5) & (points["specialised"] == 2)].iloc[0]
    assert row["accuracy"] == pytest.approx(4.5 / 12)
    assert row["total_variation"] == pytest.approx(0.1 + 0.02 * 1.375)


def test_the_plane_is_read_where_it_is_best() -> None:
    text = words.plane_sentence(map_table())
    assert text.count("\n") == 3 and "Round table, recipe `thesis`" in text
    assert text.count("TV is lowest at $(w_g, w_s) = (0.125, 1)$ (0.100") == 4
    assert text.count("accuracy highest at $(4, 4)$ (1.000") == 4
    assert text.count("is on the front") == 4  # more accurate than all that have less TV
    worse = map_table()
    worse.loc[(worse["configuration"] == "1, 1") & (worse["metric"] == "accuracy"), "value"] = 0
    assert words.plane_sentence(worse).count("is off the front") == 4


def test_the_weight_of_the_general_model_is_followed_at_unit_weight() -> None:
    text = words.flat_sentence(map_table())
    said = "TV from 0.103 to 0.177, accuracy from 0.167 to 0.500 at $w_g = 4$"
    assert text.count(said) == 4 and "round table, recipe `thesis`" in text


def test_the_specialised_model_alone_is_compared_with_the_plain_sum() -> None:
    weak = alone_table(0.9, 0.7, joint=0.4).assign(recipe="thesis")
    table = pd.concat([weak, alone_table(0.2, 0.2, 0.2, joint=0.3)])
    text = words.baseline_sentence(table)
    assert text.count("**lowers** TV by 0.400") == 2 and text.count("raises TV by 0.100") == 2
    line = text.splitlines()[0]
    assert line.startswith("- Cabinet, recipe `thesis` (2 seeds): specialised alone has accuracy")
