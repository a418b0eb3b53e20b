"""The knobs of the correctors at a tiny size."""

import pytest

from dualdiff.experiments import ablations, composition
from dualdiff.store import Store


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(composition.SIZES, "smoke", composition.Size(2, 50))


def test_group_sizes_divide_the_draws_and_hold_the_readers_own(small, tmp_path) -> None:
    table = ablations.groups_table("smoke", 0, 10, store=Store(tmp_path))
    assert sorted(set(table["group"])) == [2, 5, 10, 25, 50]
    unique = table[table["metric"] == "unique"]["value"]
    assert bool((unique > 0).all() and (unique <= 1).all())
    with pytest.raises(ValueError, match="group must divide the 50 draws"):
        ablations.groups_table("smoke", 0, 3, store=Store(tmp_path))


def test_longer_chains_cost_what_they_should(small, tmp_path) -> None:
    table = ablations.steps_table("smoke", 0, store=Store(tmp_path))
    calls = table[table["metric"] == "calls"].set_index(["method", "steps"])["value"]
    assert calls["SMC", 400] == calls["plain sum", 400] == 800
    assert calls["HMC", 50] == 50 * 2 * 7


def test_amdm_without_aggregation_is_the_specialised_model(small, tmp_path) -> None:
    table = ablations.amdm_table("smoke", 0, store=Store(tmp_path))
    rows = table[(table["scene"] == "cabinet") & (table["aggregated"] == 0)]
    accuracy = rows[rows["metric"] == "accuracy"]
    assert set(accuracy["interpolation"]) == set(ablations.INTERPOLATIONS)
    assert bool((accuracy["value"] == 1).all())
    assert set(table["deviation"]) == {0.0, 3.0}
