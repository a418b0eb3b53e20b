"""The words of the chapter on learned weights follow its numbers, whichever way these go."""

import math

import pandas as pd
import pytest

from dualdiff import report_weights as words
from dualdiff import results
from dualdiff.overlap import SETTINGS, shifted_table
from dualdiff.weighting import FINETUNED, MAP, WEIGHTINGS

NAMES = [
    *("scenario", "recipe", "profile", "seed", "configuration", "target", "metric"),
    *("value", "low", "high"),
]
STEPS = range(0, 100, 11)


def judged(keys: tuple, accuracy: float, variation: float) -> list[tuple]:
    """Rows of one trial: four scores."""
    found = {"accuracy": accuracy, "total_variation": variation, "energy_distance": 0.01}
    found["total_variation_floor"] = 0.02
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


SHIFT = 0.001
"""Added to every total variation per seed, so that seeds differ and their mean is known."""


def ways_table(
    learned: float = 0.17,
    oracle: float = 0.16,
    curve: float = 0.15,
    seeds=(0, 1, 2),
    recipe: str = "tuned",
) -> pd.DataFrame:
    """Scores and weights of every way on both scenarios (all seeds), of constants on the settings.

    Settings have the first seed. Seeds differ around their mean, the given numbers.
    """
    rows = []
    worlds = {name: (*WEIGHTINGS, *FINETUNED) for name in words.SCENARIOS}
    settings = [shifted_table(distance).name for distance in SETTINGS.values()]
    worlds |= {name: ("learned constant", "oracle constant") for name in settings}
    middle = sum(seeds) / len(seeds)
    for scenario, ways in worlds.items():
        for seed in seeds if scenario in words.SCENARIOS else seeds[:1]:
            for way in ways:
                keys = (scenario, recipe, "quick", seed, way)
                variation = oracle if "oracle" in way else curve if "curve" in way else learned
                own = SHIFT * (seed - middle) if scenario in words.SCENARIOS else 0
                rows += judged(keys, 0.95, variation + own)
                for t in STEPS:
                    bent = "curve" in way or way == "stacked"
                    for member, at in (("general", 0.1 + seed / 100), ("specialised", 0.9)):
                        value = at + (t / 100 if bent else 0)
                        run = ("run", f"{member} at {t}", value, math.nan, math.nan)
                        rows.append((*keys, *run))
    return pd.DataFrame(rows, columns=NAMES)


def alone_table(*values: float, scenarios=words.SCENARIOS, joint: float = 0.3) -> pd.DataFrame:
    """The specialised model alone with these total variations by seed, and the plain sum."""
    rows = []
    for scenario in scenarios:
        for seed, value in enumerate(values):
            rows += judged((scenario, "tuned", "quick", seed, "specialised"), 0.9, value)
            rows += judged((scenario, "tuned", "quick", seed, "joint"), 0.97, joint)
    return pd.DataFrame(rows, columns=NAMES)


def test_weights_come_back_as_they_were_written() -> None:
    table = ways_table()
    curve = words.weights(table, "cabinet", "learned curve")
    assert len(curve) == 3 * len(STEPS)
    at = curve.set_index(["seed", "t"])
    assert at.loc[(2, 11), "general"] == pytest.approx(0.23)
    assert at.loc[(0, 99), "specialised"] == pytest.approx(1.89)
    assert words.weights(table, "cabinet", "no such way").empty
    both = pd.concat([table, table.assign(recipe="thesis", value=7.0)])
    assert words.weights(both, "cabinet", "learned curve").equals(curve)


def test_the_baselines_are_cells_of_the_own_plane_or_committed_with_the_same_seeds(
    monkeypatch,
) -> None:
    own = words.with_baselines(map_table(recipes=["tuned"], scenarios=["cabinet"]))
    found = words.scores(own, "cabinet")
    for name, cell in (("specialised", "0, 1"), ("joint", "1, 1")):
        assert found.loc[name].tolist() == found.loc[cell].tolist()

    def load(part: str):
        if part != "cabinet_tuned":
            raise FileNotFoundError(part)
        return alone_table(0.1, 0.2, 0.6, scenarios=["cabinet"]), {}

    monkeypatch.setattr(results, "load", load)
    table = words.with_baselines(ways_table(seeds=(0, 1)))
    assert words.scores(table, "cabinet").loc["specialised", "total_variation"] == (
        pytest.approx(0.15)  # without seed 2, which the ways do not have
    )
    assert "specialised" not in words.scores(table, "round_table").index


def test_the_view_has_a_line_for_every_way_and_for_what_needs_no_choice() -> None:
    table = pd.concat([ways_table(), alone_table(0.19, 0.2, 0.21)])
    view = words.ways_view(table, "cabinet")
    order = (*words.BASELINES, *WEIGHTINGS, *FINETUNED)
    assert list(view.index) == [words.title(way) for way in order]
    assert view.index[-1] == "fine-tuned, oracle SMC"
    # t quantile 4.3027 times 0.001 over the root of three seeds
    assert view.loc["learned constant", "TV"] == "0.170 ± 0.002"
    assert view.loc["learned constant", "w_g"] == "0.10 .. 0.12"
    assert view.loc["oracle constant", "w_s"] == "0.90"
    assert view.loc["learned curve", "w_s"] == "0.90 .. 1.89"
    assert view.loc["specialised alone", ["w_g", "w_s"]].tolist() == ["0.00", "1.00"]
    assert set(view["floor of TV"]) == {"0.020"}
    other = pd.concat([table, ways_table(learned=0.9, recipe="thesis")])
    assert words.ways_view(other, "cabinet").equals(view)


def test_gains_are_paired_by_seed() -> None:
    table = pd.concat([ways_table(), alone_table(0.18, 0.19, 0.2, joint=0.185)])
    found = words.gains(table).set_index(["scenario", "configuration"])
    row = found.loc[("cabinet", "learned constant")]
    assert row["seeds"] == pytest.approx((-0.011, -0.02, -0.029))
    assert row["total_variation"] == pytest.approx(-0.02) and row["verdict"] == "lower"
    assert row["accuracy"] == pytest.approx(0.05)
    assert found.loc[("cabinet", "joint"), "verdict"] == "neither"  # 0.005, -0.005, -0.015
    view = words.gains_view(found.reset_index())
    assert view.loc[("cabinet", "learned constant"), "TV, seed by seed"] == (
        "-0.011, -0.020, -0.029"
    )
    text = words.gain_sentence(table)
    assert text.count("learned constant (-0.020, accuracy +0.050)") == 4  # fine-tuned too
    assert "in all 3 seeds" in text and text.count("neither clearly: joint (plain sum).") == 2
    assert text.count("higher: nothing") == 2
    assert "not in these tables" in words.gain_sentence(ways_table())


@pytest.mark.parametrize(
    ("stacked", "said"),
    [(0.175, "the same within 0.01 as"), (0.2, "lower than"), (0.15, "higher than")],
)
def test_least_squares_may_be_as_good(stacked, said) -> None:
    table = ways_table()
    rows = (table["configuration"] == "stacked") & (table["metric"] == "total_variation")
    table.loc[rows, "value"] = stacked
    text = words.stacking_sentence(table)
    count = {0.175: 3, 0.2: 3, 0.15: 0}[stacked]
    assert text.count(f"0.170, {said} stacking's {stacked:.3f} (lower in {count} of 3 seeds)") == 2


@pytest.mark.parametrize(("learned", "count"), [(0.17, (2, 5)), (0.2, (0, 0))])
def test_ratios_count_what_is_within_ten_per_cent(learned, count) -> None:
    found = words.ratios(ways_table(learned=learned))
    constants = found[found["shape"] == "constant"]
    assert len(constants) == 7 and constants["ratio"].tolist() == pytest.approx(
        [learned / 0.16] * 7
    )
    assert words.AGAIN not in set(found["scenario"])  # the round table once more
    assert set(found["shape"]) == {"constant", "curve", "finetuned: smc"}
    curves = found[found["shape"] == "curve"]
    assert len(curves) == 2 and bool(curves["close"].all())  # 0.15 against 0.16
    most = (learned - SHIFT) / (0.16 - SHIFT)  # of seed 0, both lowered by the same
    assert constants["seeds"].iloc[0] == pytest.approx(
        (most, learned / 0.16, (learned + SHIFT) / (0.16 + SHIFT))
    )
    text = words.ratio_sentence(found)
    assert text.count(f"{learned / 0.16:.2f} (at most {most:.2f} in a seed)") == 2
    assert f"within 10 % on {count[0]} of 2 scenarios" in text
    assert f"with one seed, on {count[1]} of 5 overlap settings" in text
    view = words.ratios_view(found)
    assert len(view) == len(found)
    assert view.loc[("cabinet", "curve"), "learned / oracle"] == "0.94"
    assert set(view["specialised alone / oracle"]) == {"–"}


def test_ratios_show_the_specialised_model_alone_and_one_recipe() -> None:
    table = pd.concat([ways_table(), alone_table(0.2, 0.2, 0.2, scenarios=["cabinet"])])
    found = words.ratios(table)
    assert "cabinet 1.06 (at most 1.06 in a seed), specialised alone 1.25;" in (
        words.ratio_sentence(found)
    )
    other = ways_table(learned=0.9, recipe="thesis")
    assert words.ratios(pd.concat([table, other])).equals(found)
    thesis = words.ratios(pd.concat([table, other]), "thesis")
    assert thesis["learned"].max() == pytest.approx(0.9) and thesis["alone"].isna().all()


def test_ratios_of_one_scenario_say_that_settings_are_missing() -> None:
    table = ways_table()
    text = words.ratio_sentence(words.ratios(table[table["scenario"] == "cabinet"]))
    assert "of 1 scenarios" in text and "full-scale table only" in text


def test_the_settings_name_their_seed_and_their_weights() -> None:
    text = words.settings_sentence(ways_table(seeds=(4, 5)))
    assert "6 settings (training seed 4): learned $w_g$ 0.14 and $w_s$ 0.90" in text
    own = ways_table()
    assert "full-scale" in words.settings_sentence(own[own["scenario"] == "cabinet"])
