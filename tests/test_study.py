"""The study: its table, its networks in the store, its independence of order and neighbours."""

from dataclasses import replace
from pathlib import Path

import pytest

from dualdiff import study as module
from dualdiff.members import RECIPES
from dualdiff.metrics import METRICS
from dualdiff.profiles import PROFILES
from dualdiff.scenarios import cabinet, round_table
from dualdiff.store import Store
from dualdiff.study import CONFIGURATIONS, exact_configurations, study, trials

TINY = replace(
    PROFILES["smoke"],
    n_general=256,
    general_epochs=1,
    specialised_epochs=2,
    finetune_epochs=1,
    conditions=40,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.mark.parametrize("recipe", RECIPES)
def test_table_holds_every_configuration_and_metric(store: Store, recipe: str) -> None:
    table = study(cabinet(), [RECIPES[recipe]], TINY, 3, store=store)
    assert tuple(table["configuration"].unique()) == CONFIGURATIONS
    assert list(table["metric"].unique()) == list(METRICS)
    assert len(table) == len(CONFIGURATIONS) * len(METRICS)
    assert set(table["seed"]) == {3} and set(table["recipe"]) == {recipe}
    known = table.dropna()
    assert ((known["low"] <= known["value"]) & (known["value"] <= known["high"])).all()


def test_table_is_repeatable_and_kept(store: Store, tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    first = study(cabinet(), [RECIPES["thesis"]], TINY, 0, store=store)
    again = study(cabinet(), [RECIPES["thesis"]], TINY, 0, store=Store(tmp_path / "other"))
    assert first.equals(again)
    other = study(cabinet(), [RECIPES["thesis"]], TINY, 1, store=store)
    assert not first["value"].equals(other["value"])
    monkeypatch.setattr(module, "Workshop", None)  # a second call trains nothing
    assert study(cabinet(), [RECIPES["thesis"]], TINY, 0, store=store).equals(first)


def test_several_seeds_are_the_single_ones(store: Store) -> None:
    both = study(cabinet(), ["exact"], replace(TINY, seeds=2), 0, store=store)
    single = study(cabinet(), ["exact"], TINY, 1, store=store)
    second = both[both["seed"] == 1].reset_index(drop=True)
    assert second.drop(columns="profile").equals(single.drop(columns="profile"))


def test_exact_members_are_accurate(store: Store) -> None:
    table = study(round_table(), ["exact"], TINY, 0, store=store)
    accuracy = table[table["metric"] == "accuracy"].set_index("configuration")["value"]
    assert accuracy["specialised"] >= 0.99 and accuracy["joint"] >= 0.99
    assert set(accuracy.index) == set(exact_configurations(round_table()))


def test_a_trial_is_what_it_is_made_of(store: Store) -> None:
    """Names and the number of seeds are not part of a result; sizes, targets and seeds are."""
    world = cabinet()
    (general, *_) = trials(world, ["exact"], TINY, 0)
    (renamed, *_) = trials(world, ["exact"], replace(TINY, name="other", seeds=5), 0)
    assert renamed.config() == general.config()
    for other in (
        trials(world, ["exact"], TINY, 1)[0],
        trials(world, ["exact"], replace(TINY, draws=3), 0)[0],
        trials(world, ["exact"], TINY, 0, {"general": world.general})[0],
        trials(round_table(), ["exact"], TINY, 0)[0],
    ):
        assert other.config() != general.config()


def test_several_targets_judge_the_same_samples(store: Store) -> None:
    world = cabinet()
    targets = {"specialised": world.specialised, "general": world.general}
    both = study(world, ["exact"], TINY, 0, store=store, targets=targets)
    single = study(world, ["exact"], TINY, 0, store=store)
    own = both[both["target"] == "specialised"].reset_index(drop=True)
    assert own.equals(single)
    hits = both[both["metric"] == "accuracy"].set_index(["configuration", "target"])["value"]
    assert hits["general", "general"] > 0.99 > 0.2 > hits["general", "specialised"]
