"""The study: its table, its networks in the store, its independence of order and neighbours."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dualdiff import study as module
from dualdiff.metrics import METRICS
from dualdiff.profiles import PROFILES
from dualdiff.scenarios import cabinet, round_table
from dualdiff.store import Store
from dualdiff.study import (
    CONFIGURATIONS,
    RECIPES,
    exact_configurations,
    stream,
    study,
    train_members,
    training_rows,
)

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
    monkeypatch.setattr(module, "train_members", None)  # a second call trains nothing
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


def test_networks_are_trained_once_and_shared(store: Store, tmp_path: Path) -> None:
    one = train_members(cabinet(), RECIPES["thesis"], TINY, 0, store=store)
    files = sorted(tmp_path.rglob("*.safetensors"))
    stamps = [f.stat().st_mtime_ns for f in files]
    assert len(files) == 3
    two = train_members(cabinet(), RECIPES["thesis"], TINY, 0, store=store)
    assert [f.stat().st_mtime_ns for f in files] == stamps
    for name, network in one.networks.items():
        for a, b in zip(network.parameters(), two.networks[name].parameters(), strict=True):
            assert torch.equal(a, b)
        assert torch.equal(one.losses[name], two.losses[name])
    # Another specialised set leaves the general network alone.
    changed = replace(cabinet(), specialised=replace(cabinet().specialised, high=(0.5, 0.5, 0.5)))
    train_members(changed, RECIPES["thesis"], TINY, 0, store=store)
    assert len(list(tmp_path.rglob("*.safetensors"))) == 5
    # How a hit is judged is not how a network is trained.
    train_members(round_table(0.25), RECIPES["thesis"], TINY, 0, store=store)
    count = len(list(tmp_path.rglob("*.safetensors")))
    train_members(round_table(0.5), RECIPES["thesis"], TINY, 0, store=store)
    assert len(list(tmp_path.rglob("*.safetensors"))) == count


def test_fine_tuning_starts_from_the_general_network(store: Store) -> None:
    still = replace(RECIPES["thesis"].optimisation, learning_rate=1e-12)
    recipe = replace(RECIPES["thesis"], optimisation=still)
    networks = train_members(cabinet(), recipe, TINY, 0, store=store).networks
    general, tuned = (networks[n].head.weight for n in ("general", "finetuned"))
    torch.testing.assert_close(general, tuned)
    assert not torch.allclose(networks["specialised"].head.weight, general)


def test_object_frame_is_an_option(store: Store) -> None:
    framed = RECIPES["tuned"].with_object_frame()
    members = train_members(cabinet(), framed, TINY, 0, store=store)
    y, c = training_rows(cabinet(), TINY, 0)["general"]
    network = members.networks["specialised"]
    torch.testing.assert_close(network.offset, (y - c).mean(0))
    torch.testing.assert_close(network.residual, torch.ones(3))  # the process has the same scale


def test_streams_are_independent_of_each_other() -> None:
    def first(*labels: object, seed: int = 0) -> float:
        return float(torch.rand(1, generator=stream(seed, *labels)))

    assert first("a") == first("a")
    assert len({first("a"), first("b"), first("a", "b"), first("a", seed=1)}) == 4


def test_training_rows_are_from_their_regions() -> None:
    rows = training_rows(cabinet(), TINY, 0)
    assert {k: len(y) for k, (y, _) in rows.items()} == {"general": 256, "specialised": 128}
    for which, (y, c) in rows.items():
        assert cabinet().region(which).contains(y, c).all()
