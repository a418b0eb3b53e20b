"""The words of the chapter on learned weights follow its numbers, whichever way these go."""

import math

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualdiff import report_weights as words
from dualdiff import results
from dualdiff.overlap import SETTINGS, shifted_table
from dualdiff.process import Process
from dualdiff.weighting import FINETUNED, MAP, WEIGHTINGS

NAMES = [
    *("scenario", "recipe", "profile", "seed", "configuration", "target", "metric"),
    *("value", "low", "high"),
]
STEPS = range(0, 100, 11)


def judged(keys: tuple, accuracy: float, variation: float) -> list[tuple]:
    """Rows of one trial: three scores."""
    found = {"accuracy": accuracy, "total_variation": variation, "energy_distance": 0.01}
    return [(*keys, "specialised", m, v, v - 0.01, v + 0.01) for m, v in found.items()]


def map_table(recipes=("thesis", "tuned"), scenarios=words.SCENARIOS, weights=MAP) -> pd.DataFrame:
    """A plane whose TV is lowest at (0.125, 1) and whose accuracy grows with the weights."""
    rows = []
    for scenario in scenarios:
        for recipe in recipes:
            for g in weights:
                for s in weights:
                    keys = (scenario, recipe, "quick", 0, f"{g:g}, {s:g}")
                    variation = 0.1 + 0.02 * (abs(g - 0.125) + abs(s - 1))
                    rows += judged(keys, (g + 2 * s) / 12, variation) if g + s else []
    return pd.DataFrame(rows, columns=NAMES)


def ways_table(
    learned: float = 0.17, oracle: float = 0.16, curve: float = 0.15, seeds=(0, 1, 2)
) -> pd.DataFrame:
    """Scores and weights of every way on both scenarios, of constants on the settings."""
    rows = []
    worlds = {name: (*WEIGHTINGS, *FINETUNED) for name in words.SCENARIOS}
    settings = [shifted_table(distance).name for distance in SETTINGS.values()]
    worlds |= {name: ("learned constant", "oracle constant") for name in settings}
    for scenario, ways in worlds.items():
        for seed in seeds:
            for way in ways:
                keys = (scenario, "tuned", "quick", seed, way)
                variation = oracle if "oracle" in way else curve if "curve" in way else learned
                rows += judged(keys, 0.95, variation)
                for t in STEPS:
                    bent = "curve" in way or way == "stacked"
                    for member, at in (("general", 0.1 + seed / 100), ("specialised", 0.9)):
                        value = at + (t / 100 if bent else 0)
                        run = ("run", f"{member} at {t}", value, math.nan, math.nan)
                        rows.append((*keys, *run))
    return pd.DataFrame(rows, columns=NAMES)


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


def test_weights_come_back_as_they_were_written() -> None:
    table = ways_table()
    curve = words.weights(table, "cabinet", "learned curve")
    assert len(curve) == 3 * len(STEPS)
    at = curve.set_index(["seed", "t"])
    assert at.loc[(2, 11), "general"] == pytest.approx(0.23)
    assert at.loc[(0, 99), "specialised"] == pytest.approx(1.89)
    assert words.weights(table, "cabinet", "no such way").empty
    assert words.range_of(pd.Series([0.5, 0.5])) == "0.50"
    assert words.range_of(pd.Series([0.1, 0.3])) == "0.20 (0.10 .. 0.30)"


def test_log_snr_is_the_logarithm_of_signal_over_noise() -> None:
    process = Process.log_snr(50)
    signal, noise = process.signal(7) ** 2, process.noise(7) ** 2
    assert words.log_snr(process, [7])[0] == pytest.approx(math.log(signal / noise))


def test_the_view_has_a_line_for_every_way() -> None:
    view = words.ways_view(ways_table(), "cabinet")
    assert list(view.index) == [words.title(way) for way in (*WEIGHTINGS, *FINETUNED)]
    assert view.index[-1] == "fine-tuned, oracle SMC"
    assert view.loc["learned constant", "TV"] == "0.170"  # seeds agree
    assert view.loc["oracle constant", "w_s"] == "0.90"
    assert view.loc["learned curve", "w_s"] == "0.90 .. 1.89"


@pytest.mark.parametrize(("learned", "count"), [(0.17, (2, 6)), (0.2, (0, 0))])
def test_ratios_count_what_is_within_ten_per_cent(learned, count) -> None:
    found = words.ratios(ways_table(learned=learned))
    constants = found[found["shape"] == "constant"]
    assert len(constants) == 8 and constants["ratio"].unique() == pytest.approx(learned / 0.16)
    assert set(found["shape"]) == {"constant", "curve", "finetuned: smc"}
    curves = found[found["shape"] == "curve"]
    assert len(curves) == 2 and bool(curves["close"].all())  # 0.15 against 0.16
    text = words.ratio_sentence(found)
    assert f"within 10 % on {count[0]} of 2 scenarios" in text
    assert f"on {count[1]} of 6 overlap settings" in text
    assert f"{learned / 0.16:.2f}" in text
    view = words.ratios_view(found)
    assert len(view) == len(found)
    assert view.loc[("cabinet", "curve"), "ratio"] == "0.94"


def test_ratios_of_one_scenario_say_that_settings_are_missing() -> None:
    table = ways_table()
    text = words.ratio_sentence(words.ratios(table[table["scenario"] == "cabinet"]))
    assert "of 1 scenarios" in text and "full-scale table only" in text


@pytest.mark.parametrize(("curve", "verb"), [(0.15, ", lower"), (0.18, ", no lower")])
def test_a_curve_is_compared_with_constants_of_the_same_choice(curve, verb) -> None:
    text = words.shape_sentence(ways_table(curve=curve))
    assert text.count(f"learned: curve {curve:.3f}{verb} than constants' 0.170") == 2
    assert text.count("oracle: curve 0.160, no lower than constants' 0.160") == 2


def test_the_curve_is_read_at_both_ends() -> None:
    text = words.curve_sentence(ways_table(), "learned curve")
    assert "noisy $w_g$ 1.10 (1.09 .. 1.11), $w_s$ 1.89, sum 2.99" in text
    assert "clean $w_g$ 0.11 (0.10 .. 0.12), $w_s$ 0.90, sum 1.01" in text
    assert words.curve_sentence(ways_table(), "no such way") == ""


def test_the_lead_changes_where_the_weights_cross() -> None:
    table, process = ways_table(), Process.log_snr(100)
    text = words.lead_sentence(table, "stacked", process)
    assert "on the cabinet at 0 of 10 noise levels shown (nowhere)" in text
    general = table["metric"].isin([f"general at {t}" for t in (22, 33)])
    table.loc[general, "value"] = 5.0
    low, high = words.log_snr(process, (33, 22))
    text = words.lead_sentence(table, "stacked", process)
    assert text.count(f"2 of 10 noise levels shown (log SNR {low:.0f} to {high:.0f})") == 2


def test_the_committed_table_comes_before_the_own_one(monkeypatch) -> None:
    own, committed = map_table(), ways_table()
    record = {"date": "2026-01-01", "seeds": [0, 1], "conditions": 400, "draws": 50}
    record["command"] = "dualdiff results --profile thesis weights"

    def missing(part: str):
        raise FileNotFoundError(part)

    monkeypatch.setattr(results, "load", missing)
    table, text = words.shown("weights", own)
    assert table is own and "this run" in text
    table, text = words.shown("ablation")
    assert table.empty and "dualdiff results --profile thesis ablation" in text
    monkeypatch.setattr(results, "load", lambda part: (committed, record))
    monkeypatch.setattr(results, "describe", lambda part: ("title", "current"))
    table, text = words.shown("weights", own)
    assert table is committed
    assert all(part in text for part in ("2026-01-01", "0, 1", "400", "current"))
