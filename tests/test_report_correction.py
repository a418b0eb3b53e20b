"""The sentences of the chapter on correctors follow its numbers."""

import math

import pandas as pd
import pytest

from dualdiff import report_correction as words


def methods_table(smc: float = 0.08) -> pd.DataFrame:
    rows = []
    for scene in ("cabinet", "boxes"):
        for name, variation in (("sum", 0.3), ("smc", smc), ("amdm", 0.03)):
            variation = 0.5 if (scene, name) == ("boxes", "amdm") else variation
            seen = {
                "accuracy": (1.0, 1.0, 1.0),
                "total_variation": (variation, variation - 0.01, variation + 0.01),
                "total_variation_floor": (0.03, 0.03, 0.03),
                "energy_distance": (0.01, 0.0, 0.02),
                "calls": (140.0 if name == "amdm" else 200.0, math.nan, math.nan),
                "unique": (0.75 if name == "smc" else 1.0, math.nan, math.nan),
                "accepted": (1.0, math.nan, math.nan),
            }
            rows += [(scene, name, metric, *value) for metric, value in seen.items()]
    return pd.DataFrame(rows, columns=["scene", "name", "metric", "value", "low", "high"])


def learned(tuned_gain: float = -0.1) -> pd.DataFrame:
    rows = []
    for scenario in ("cabinet", "round_table"):
        for recipe in ("exact", "tuned"):
            for method in ("sum", "smc"):
                for metric in ("accuracy", "total_variation", "energy_distance"):
                    value = 0.4 + (tuned_gain if method == "smc" else 0.0)
                    row = (scenario, recipe, method, "specialised", metric, value)
                    rows.append((*row, value - 0.02, value + 0.02))
    names = ["scenario", "recipe", "configuration", "target", "metric", "value", "low", "high"]
    return pd.DataFrame(rows, columns=names)


def test_the_view_has_scores_with_intervals_and_costs_without() -> None:
    view = words.methods_view(methods_table(), "cabinet")
    assert view.loc["Feynman-Kac SMC", "TV"] == "0.080 ± 0.010"
    assert view.loc["Feynman-Kac SMC", "calls"] == "200"
    assert view.loc["AMDM", "unique"] == "1.00"


def test_the_gain_is_that_of_the_table() -> None:
    text = words.gain_sentence(methods_table(0.123))
    assert text.count("from 0.300 to 0.123") == 2
    assert "75%" in text


def test_ignoring_the_general_model_shows_where_it_is_wrong() -> None:
    text = words.ignoring_sentence(methods_table())
    assert "0.030" in text and "0.500" in text


def test_group_and_step_sentences_name_the_best_and_the_ends() -> None:
    rows = [
        (k, metric, value)
        for k, tv, unique in ((2, 0.2, 0.9), (50, 0.08, 0.7), (200, 0.1, 0.6))
        for metric, value in (("total_variation", tv), ("unique", unique))
    ]
    text = words.groups_sentence(pd.DataFrame(rows, columns=["group", "metric", "value"]))
    assert "lowest at K = 50 (0.080)" in text and "0.90 to 0.60" in text
    steps = pd.DataFrame(
        [
            (method, count, "total_variation", value)
            for method, values in (("plain sum", (0.25, 0.24)), ("SMC", (0.2, 0.05)))
            for count, value in zip((50, 400), values, strict=True)
        ],
        columns=["method", "steps", "metric", "value"],
    )
    text = words.steps_sentence(steps)
    assert "plain sum goes from 0.250 at 50 steps to 0.240 at 400" in text
    assert "SMC goes from 0.200 at 50 steps to 0.050 at 400" in text


@pytest.mark.parametrize(("gain", "verb"), [(-0.1, "lowers TV by 0.100"), (0.2, "raises TV by")])
def test_the_sentence_on_learned_members_has_the_sign_of_the_numbers(gain, verb) -> None:
    text = words.learned_sentence(learned(gain))
    assert text.count(verb) == 4 and "recipe tuned" in text
    view = words.learned_view(learned(gain), "cabinet", "accuracy")
    assert view.loc["plain sum", "tuned"] == "0.400 ± 0.020"
    assert list(view.columns) == ["exact", "tuned"]
