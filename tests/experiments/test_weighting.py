"""Trials of corrected and learned compositions: what they run, and that they are told apart."""

from dataclasses import asdict, replace
from unittest.mock import Mock

import pytest
import torch

from dualdiff import metrics
from dualdiff.compose import Weighted
from dualdiff.experiments import sizes, weighting
from dualdiff.experiments.members import RECIPES, Networks
from dualdiff.experiments.methods import METHODS, Method, corrected
from dualdiff.experiments.profiles import PROFILES
from dualdiff.experiments.scenarios import cabinet
from dualdiff.experiments.store import Store
from dualdiff.experiments.weighting import MapTrial, MethodTrial, WeightTrial, sized
from dualdiff.randomness import stream
from dualdiff.results.parts import PARTS
from dualdiff.samplers import sample

SIZES = {"n_general": 256, "n_specialised": 16, "conditions": 4, "draws": 50}
EPOCHS = {"general_epochs": 1, "specialised_epochs": 2, "finetune_epochs": 2}
TINY = replace(sized("smoke"), **SIZES, **EPOCHS)


def values(table, target="specialised"):
    rows = table[table["target"] == target]
    return rows.set_index("metric")["value"]


def test_folds_hold_out_every_pair_once_and_never_train_on_it(store) -> None:
    networks = Networks(cabinet(), RECIPES["tuned"], TINY, 0, store)
    everything = networks.rows("specialised")[0]
    held = []
    for k in range(weighting.FOLDS):
        own = replace(networks, fold=(k, weighting.FOLDS))
        y, _ = own.held_out()
        kept, _ = own.rows("specialised")
        assert not (kept[:, None] == y[None]).all(2).any()
        assert len(kept) + len(y) == len(everything)
        held.append(y)
    union = {tuple(row) for row in torch.cat(held).tolist()}
    assert union == {tuple(row) for row in everything.tolist()}
    assert torch.equal(own.rows("general")[0], networks.rows("general")[0])
    with pytest.raises(ValueError, match="fold"):
        networks.held_out()


def test_an_edited_method_is_sampled_anew(store, monkeypatch) -> None:
    def table(weight: float):
        def rule(general, specialised):
            both = {"general": general, "specialised": specialised}
            return Weighted(both, {"general": weight, "specialised": 1.0})

        own = Method("mine", corrected(rule, weights=None))
        monkeypatch.setitem(METHODS, "mine", own)
        return values(MethodTrial(cabinet(), "exact", TINY, 0, "mine").table(store))

    first = table(1.0)
    assert table(1.0).equals(first) and not table(0.5).equals(first)


def test_a_method_trial_says_what_it_cost(store) -> None:
    for name, calls in (("sum", 200), ("smc", 200), ("amdm", 140)):
        table = MethodTrial(cabinet(), "exact", TINY, 0, name).table(store)
        assert values(table, "run")["calls"] == calls
        assert values(table)["accuracy"] == 1


def test_the_map_is_the_weighted_sum_with_those_weights(store) -> None:
    alone, general = (
        values(MapTrial(cabinet(), "exact", TINY, 0, pair).table(store))
        for pair in ("0, 1", "1, 0")
    )
    assert alone["accuracy"] == 1 and 0.02 < general["accuracy"] < 0.3
    c = cabinet().conditions(4, stream(0, "test conditions"))
    trial = MapTrial(cabinet(), "exact", TINY, 0, "0.5, 2")
    rule = Weighted(weighting.members(cabinet(), None), {"general": 0.5, "specialised": 2.0})
    expected = sample(rule, c, stream(0, "test samples"), draws=TINY.draws)
    assert torch.equal(trial.sampled(None, c)[0], expected)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights are judged with few samples."""
    known = sizes.SIZES["weighting"]
    fewer = replace(known["smoke"], score_draws=2, oracle=40)
    monkeypatch.setitem(known, "smoke", fewer)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("way", [*weighting.WEIGHTINGS, *weighting.FINETUNED])
def test_only_an_oracle_sees_the_support(way, store, monkeypatch) -> None:
    networks = Networks(cabinet(), RECIPES["tuned"], TINY, 0, store)
    judge = Mock(return_value=metrics.Estimate(0.5, 0.4, 0.6))
    monkeypatch.setattr(weighting, "total_variation", judge)
    WeightTrial(cabinet(), RECIPES["tuned"], TINY, 0, way).weights(networks)
    assert judge.called == ("oracle" in way)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("way", [*weighting.WEIGHTINGS, *weighting.FINETUNED])
def test_every_way_gives_usable_weights_and_stores_them(way, tmp_path, monkeypatch) -> None:
    store = Store(tmp_path)
    trial = WeightTrial(cabinet(), RECIPES["tuned"], TINY, 0, way)
    notes = values(trial.table(store), "run")
    assert notes["general at 0"] >= 0 and notes["specialised at 99"] >= 0
    networks = Networks(cabinet(), RECIPES["tuned"], TINY, 0, store)
    monkeypatch.setattr(WeightTrial, "_learn", pytest.fail)  # learned again, it would fail
    again = trial.weights(networks)
    assert float(again["general"][0]) == pytest.approx(notes["general at 0"])
    if not way.endswith("curve") and way != "stacked":
        assert len(set(again["general"].tolist())) == 1


def test_unknown_ways_and_exact_members_are_refused(store) -> None:
    for way in ("learnt constant", "stack", "learned foo", "sum"):
        with pytest.raises(ValueError, match=f"one of stacked, .*, not '{way}'"):
            WeightTrial(cabinet(), RECIPES["tuned"], TINY, 0, way)
    with pytest.raises(ValueError, match="trained members"):
        WeightTrial(cabinet(), "exact", TINY, 0, "stacked").table(store)


def test_ablations_change_one_thing_each() -> None:
    base, *others = weighting.ablation_recipes()
    assert base == RECIPES["tuned"] and len({recipe.name for recipe in others}) == len(others)
    for recipe in others:
        ours, theirs = asdict(base), asdict(recipe)
        changed = [name for name in ours if ours[name] != theirs[name] and name != "name"]
        assert len(changed) == 1, recipe.name
        if isinstance(ours[changed[0]], dict):
            pair = ours[changed[0]], theirs[changed[0]]
            assert sum(pair[0][name] != pair[1][name] for name in pair[0]) == 1, recipe.name


@pytest.mark.parametrize("part", ["ablation", "corrected", "weight_map", "weights"])
@pytest.mark.parametrize("profile", ["smoke", "quick", "full"])
def test_parts_have_trials_that_can_be_told_apart(part: str, profile: str) -> None:
    some = PARTS[part].trials(PROFILES[profile])
    assert some and len({trial.key for trial in some}) == len(some)


def test_new_options_do_not_rename_old_results() -> None:
    # Recipes of before are described as before, so their results keep their names.
    described = RECIPES["plain"].described()
    assert "log_snr" not in described and "fourier" not in described["architecture"]
    tuned = RECIPES["tuned"].described()
    assert tuned["architecture"]["fourier"] == 3 and tuned["architecture"]["init"] == "kaiming"
    other = replace(RECIPES["tuned"], log_snr=(8.0, -6.0)).described()
    assert tuple(other["log_snr"]) == (8.0, -6.0)
