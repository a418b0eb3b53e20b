"""The study: its table, its networks in the store, its independence of order and neighbours."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from dualdiff.experiments import study as module
from dualdiff.experiments.members import RECIPES
from dualdiff.experiments.profiles import PROFILES
from dualdiff.experiments.scenarios import Scenario, cabinet, round_table
from dualdiff.experiments.store import Store
from dualdiff.experiments.study import (
    CONFIGURATIONS,
    EXACT_CONFIGURATIONS,
    ScenarioTrial,
    exact_configurations,
    study,
    trials,
)
from dualdiff.metrics import METRICS
from dualdiff.regions import Box

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
    first = study(cabinet(), [RECIPES["plain"]], TINY, 0, store=store)
    again = study(cabinet(), [RECIPES["plain"]], TINY, 0, store=Store(tmp_path / "other"))
    assert first.equals(again)
    other = study(cabinet(), [RECIPES["plain"]], TINY, 1, store=store)
    assert not first["value"].equals(other["value"])
    monkeypatch.setattr(module, "Networks", None)  # a second call trains nothing
    assert study(cabinet(), [RECIPES["plain"]], TINY, 0, store=store).equals(first)


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


@pytest.mark.parametrize("dim", [1, 2])
@pytest.mark.parametrize("recipe", ["exact", *RECIPES.values()], ids=str)
def test_a_study_has_the_dimensions_of_its_scenario(
    store: Store,
    recipe: Any,
    dim: int,
) -> None:
    """A box of any dimension, judged as the three-dimensional ones are."""
    boxes = [Box((-1.0,) * dim, (high,) * dim) for high in (1.0, 0.0)]
    world = Scenario("own", *boxes, (-2.0,) * dim, (2.0,) * dim)
    table = study(world, [recipe], TINY, 0, store=store)
    assert set(table["metric"]) == set(METRICS) - ({"memorisation"} if recipe == "exact" else set())
    hits = table[table["metric"] == "accuracy"].set_index("configuration")["value"]
    if recipe == "exact":
        error = (0.25 / TINY.conditions / TINY.draws) ** 0.5
        assert hits["specialised"] > 0.99
        assert abs(hits["general"] - 0.5**dim) < 4.5 * error


def test_samples_are_judged_where_they_were_drawn(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The conditions are drawn once: a scenario that never gives the same twice is judged right."""
    drawn = []

    class Once(Scenario):
        def conditions(self, n: int, generator: torch.Generator, device: Any = "cpu") -> Any:
            drawn.append(n)
            return super().conditions(n, generator, device) + 100 * len(drawn)

    home = round_table()
    world = Once("once", home.general, home.specialised)
    monkeypatch.setattr(Once, "store_key", lambda _: "once", raising=False)
    table = study(world, ["exact"], TINY, 0, store=store)
    assert len(drawn) == len(EXACT_CONFIGURATIONS)
    hits = table[table["metric"] == "accuracy"].set_index("configuration")["value"]
    assert hits["specialised"] > 0.99


def test_a_law_or_trial_of_ones_own_is_part_of_a_table(store: Store) -> None:
    """Two versions of a cell give two tables, and running one of them again gives the first."""

    def tables(sign: float) -> list[Any]:
        class Mine(Box):
            def _draw(self, n: int, generator: torch.Generator) -> torch.Tensor:
                return sign * super()._draw(n, generator)

            def _distance(self, u: torch.Tensor) -> torch.Tensor:
                return super()._distance(sign * u)

        class Shifted(ScenarioTrial):
            def sampled(self, networks: Any, conditions: torch.Tensor) -> Any:
                samples, notes = super().sampled(networks, conditions)
                return samples + 2 * sign, notes

        box = Mine((-1.0, -1.0), (1.0, 0.0))
        own = Scenario("own", box, box, (0.0, 0.0), (1.0, 1.0))
        thesis = RECIPES["plain"]
        return [
            trial.table(store).drop(columns="seconds")
            for trial in (
                ScenarioTrial(own, thesis, TINY, 0, "general"),
                ScenarioTrial(
                    cabinet(), "exact", TINY, 0, "general", {"mine": Mine((-1,) * 3, (0,) * 3)}
                ),
                Shifted(cabinet(), "exact", TINY, 0, "general"),
            )
        ]

    for one, same, other in zip(tables(1.0), tables(1.0), tables(-1.0), strict=True):
        assert one.equals(same)
        assert not one["value"].equals(other["value"])


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
