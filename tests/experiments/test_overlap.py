"""The overlap study: its settings, its trials, its diagnostics and how they are ranked."""

import math

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualdiff.experiments import overlap
from dualdiff.experiments.overlap import (
    DIAGNOSTICS,
    benefits,
    rank_correlations,
    score_each,
    setting_trials,
    spearman,
    sweep_trials,
    targets,
    trend,
)
from dualdiff.experiments.pooling import over_seeds
from dualdiff.experiments.scenarios import round_table
from dualdiff.experiments.shifted import SETTINGS, distance_for, overlap_fraction, shifted_table
from dualdiff.experiments.sizes import SIZES, SWEEP
from dualdiff.experiments.store import Store
from dualdiff.experiments.study import CONFIGURATIONS
from dualdiff.experiments.trial import derive, tidy
from dualdiff.metrics import energy_score
from dualdiff.regions import Disc


@pytest.fixture(scope="module")
def small(store: Store) -> pd.DataFrame:
    return tidy(sweep_trials("smoke", 0), store)


def test_settings_are_what_the_thesis_says_in_words() -> None:
    fraction = {name: overlap_fraction(d) for name, d in SETTINGS.items()}
    assert SETTINGS["far"] - 4 == 10 and SETTINGS["close"] - 4 == 3  # gaps between the edges
    assert fraction["far"] == fraction["close"] == 0
    assert 0 < fraction["below half"] < 0.5 < fraction["above half"] < 1
    assert fraction["subset at the edge"] == fraction["concentric subset"] == 1
    world = shifted_table(SETTINGS["concentric subset"])
    table = round_table()
    assert (world.general, world.specialised) == (table.general, table.specialised)


@given(st.floats(0.001, 0.999))
def test_distance_for_inverts_the_overlap_fraction(fraction: float) -> None:
    assert overlap_fraction(distance_for(fraction)) == pytest.approx(fraction, abs=1e-9)


def test_overlap_fraction_falls_with_the_distance_and_is_the_share_of_draws() -> None:
    fractions = [overlap_fraction(d) for d in sorted(SWEEP)]
    assert fractions == sorted(fractions, reverse=True) and fractions[0] == 1
    world, n = shifted_table(2.75), 40_000
    y, c = world.pairs("specialised", n, torch.Generator().manual_seed(1))
    share, expected = float(world.general.contains(y, c).double().mean()), overlap_fraction(2.75)
    assert abs(share - expected) < 4 * math.sqrt(expected * (1 - expected) / n)


def test_bad_distances_fractions_and_profiles_are_refused() -> None:
    for bad in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="distance must be at least 0 and finite"):
            shifted_table(bad)
    for bad in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="fraction must be above 0 and below 1"):
            distance_for(bad)
    with pytest.raises(ValueError, match="profile must be one of .*, not 'huge'"):
        sweep_trials("huge", 0)


def test_targets_have_an_intersection_only_where_discs_meet() -> None:
    assert set(targets(shifted_table(3.9))) == {"specialised", "fixed", "intersection"}
    assert set(targets(shifted_table(4.0))) == {"specialised", "fixed"}
    own = targets(shifted_table(7.0, 0.5))
    assert own["fixed"] == Disc(1.0, height_tolerance=0.5)


@pytest.mark.parametrize("profile", SIZES["overlap"])
def test_trials_cover_the_settings_and_the_sweep(profile: str) -> None:
    settings = setting_trials(profile, 0)
    scale = SIZES["overlap"][profile]
    assert len(settings) == len(SETTINGS) * len(CONFIGURATIONS) * scale.seeds
    kinds = {(t.recipe_name, t.configuration) for t in sweep_trials(profile, 0)}
    assert ("exact", "joint") in kinds and ("plain", "diagnosis") in kinds
    assert ("exact", "diagnosis") not in kinds
    if profile == "full":  # the sizes that the chapter promises
        assert len(scale.distances) >= 12 and len(scale.distances) * 2 >= 24 and scale.seeds > 1


def test_sweep_of_exact_members_shows_the_method_alone(small: pd.DataFrame) -> None:
    means = over_seeds(small)
    rows = means[(means["recipe"] == "exact") & (means["metric"] == "accuracy")]
    own = rows[rows["target"] == "specialised"].set_index(["configuration", "distance"])["value"]
    assert (own["specialised"] > 0.99).all()
    assert own["joint"][0.0] > 0.99 and own["joint"][7.0] == 0
    inside = rows[(rows["target"] == "intersection") & (rows["configuration"] == "joint")]
    assert (inside["value"] > 0.99).all()  # what the product asks for, where it has mass
    assert trend(small, "accuracy")["exact"] > 0
    assert trend(small, "total_variation")["exact"] == pytest.approx(1)


def test_diagnosis_reports_every_diagnostic_with_an_interval(small: pd.DataFrame) -> None:
    asked = small[small["configuration"] == "diagnosis"]
    assert set(asked["recipe"]) == {"plain", "tuned"} and set(asked["target"]) == {"held out"}
    assert set(DIAGNOSTICS) < set(asked["metric"])
    assert (asked["low"] <= asked["value"]).all() and (asked["value"] <= asked["high"]).all()
    wide = asked.pivot(index=["recipe", "scenario"], columns="metric", values="value")
    difference = wide["energy_score_specialised"] - wide["energy_score_joint"]
    pd.testing.assert_series_equal(wide["energy_score_gain"], difference, check_names=False)
    assert wide["effective_share"].between(1 / 50, 1).all()


def test_score_of_each_pair_averages_to_the_energy_score() -> None:
    source = torch.Generator().manual_seed(0)
    samples = torch.randn(6, 5, 3, generator=source)
    y = torch.randn(6, 3, generator=source)
    assert float(score_each(samples, y).mean()) == pytest.approx(energy_score(samples, y).value)


def test_benefits_and_correlations_have_the_right_signs() -> None:
    """A made-up table in which joint helps where the overlap is: every diagnostic ranks it."""
    rows = []
    for distance in (0.0, 2.5, 3.0, 5.0):
        helps = overlap_fraction(distance) - 0.1 * distance
        scores = {
            ("specialised", "specialised", "energy_distance"): 1.0,
            ("joint", "specialised", "energy_distance"): 1.0 - helps,
            ("specialised", "specialised", "accuracy"): 0.2,
            ("joint", "specialised", "accuracy"): 0.2 + helps / 10,
            ("diagnosis", "held out", "energy_score_gain"): helps / 2,
            ("diagnosis", "held out", "effective_share"): 0.1 + helps / 20,
            ("diagnosis", "held out", "log_weight"): helps,
            ("diagnosis", "held out", "disagreement"): 2 - helps,
        }
        name = shifted_table(distance).name
        rows += [(name, "tuned", "x", 0, *key, v, v, v) for key, v in scores.items()]
    columns = "scenario recipe profile seed configuration target metric value low high".split()
    gains = benefits(derive(pd.DataFrame(rows, columns=columns)))
    assert list(gains["distance"]) == [0.0, 2.5, 3.0, 5.0]
    helped = [overlap_fraction(d) - 0.1 * d for d in gains["distance"]]
    assert gains["energy_distance_gain"].tolist() == pytest.approx(helped)
    assert rank_correlations(gains)["correlation"].tolist() == pytest.approx([1.0] * 16)
    assert math.isnan(spearman(pd.Series([1.0, 1.0]), pd.Series([1.0, 2.0])))


def test_clouds_are_offsets_of_the_sweeps_networks(store: Store) -> None:
    clouds = overlap.clouds("smoke", 0, [0.0, 7.0], ["exact"], store=store, draws=50)
    assert list(clouds["exact"]) == ["0", "7"]
    world = shifted_table(0.0)
    assert world.specialised.contains(clouds["exact"]["0"], torch.zeros(1, 3)).all()


# --- near the border ----------------------------------------------------------------------------


def test_a_quarter_is_kept_aside_and_asked(tmp_path_factory: pytest.TempPathFactory) -> None:
    found = overlap.border_trials("smoke", 0)
    assert len({trial.key for trial in found}) == len(found)
    asked = [trial for trial in found if isinstance(trial, overlap.Kept)]
    assert len(asked) == len(found) / 3  # beside specialised and joint
    for trial in asked:
        n = trial.profile.n_specialised
        assert trial.held_out == max(4, n // 3)
    one = next(trial for trial in asked if trial.recipe_name == "tuned")
    scores = one.scores(Store(tmp_path_factory.mktemp("kept")), "cpu", True)
    gain = scores["held out", "energy_score_gain"]
    parts = [scores["held out", f"energy_score_{name}"] for name in ("specialised", "joint")]
    assert gain.value == pytest.approx(parts[0].value - parts[1].value)
    assert gain.low < gain.value < gain.high


def test_the_border_table_has_every_size_at_every_distance() -> None:
    found = overlap.border_trials("full", 0)
    settings = {(t.profile.n_specialised, t.scenario_name, t.recipe_name) for t in found}
    assert len(settings) == len(overlap.BORDER_SIZES) * len(overlap.BORDER_DISTANCES) * 2
    assert len({trial.key for trial in found}) == len(found) == 3 * 3 * len(settings)
