"""The tables of rules and methods: all of them, stored, and charged for what they ask."""

import pytest

from dualdiff.correct import product
from dualdiff.experiments import composition
from dualdiff.experiments.rules import RULES, Rule, weighted
from dualdiff.experiments.sizes import SIZES, Size
from dualdiff.experiments.store import Store
from dualdiff.randomness import stream


def test_tables_have_every_rule_and_method_and_are_stored(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(SIZES["composition"], "smoke", Size(2, 50))
    store = Store(tmp_path)
    rules = composition.rules_table("smoke", 0, store=store, scenes=["ring_and_bar"])
    assert set(rules["configuration"]) == {"joint", *composition.RULES} - {"sum"}
    methods = composition.methods_table("smoke", 0, store=store, scenes=["ring_and_bar"])
    assert set(methods["configuration"]) == {"joint", *composition.METHODS} - {"sum"}
    calls = methods[methods["metric"] == "calls"].set_index("configuration")["value"]
    assert calls["joint"] == calls["smc"] == 200 and calls["amdm"] == 140
    monkeypatch.setattr(composition, "seen", pytest.fail)  # made again, it would fail
    again = composition.methods_table("smoke", 0, store=store, scenes=["ring_and_bar"])
    assert again.equals(methods)


def test_an_edited_rule_or_run_is_drawn_anew(tmp_path, monkeypatch) -> None:
    """An entry of the reader's own under the same name, and a function handed to ``tidy``."""
    monkeypatch.setitem(SIZES["composition"], "smoke", Size(2, 10))
    store, rules = Store(tmp_path), {}
    monkeypatch.setattr(composition, "RULES", rules)

    def table(general: float):
        rules["mine"] = Rule("mine", "p", weighted(general, 1.0))
        monkeypatch.setitem(RULES, "mine", rules["mine"])

        def run(scene, c, progress):
            rule = weighted(general, 1.0)(scene.members)
            return product(rule, c, stream(0, "own"), draws=10, weights=None)

        own = composition.tidy({"mine": run}, ["cabinet"], "smoke", 0, kind="own", store=store)
        return composition.rules_table("smoke", 0, store=store, scenes=["cabinet"]), own

    first, again = table(1.0), table(1.0)
    assert all(a.equals(b) for a, b in zip(first, again, strict=True))
    rule, run = table(2.0)
    assert not rule["value"].equals(first[0]["value"])
    assert not run["value"].equals(first[1]["value"])


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setitem(SIZES["composition"], "smoke", Size(2, 50))


def test_group_sizes_divide_the_draws_and_hold_the_readers_own(small, tmp_path) -> None:
    table = composition.groups_table("smoke", 0, 10, store=Store(tmp_path))
    assert sorted(set(table["group"])) == [2, 5, 10, 25, 50]
    unique = table[table["metric"] == "unique"]["value"]
    assert bool((unique > 0).all() and (unique <= 1).all())
    with pytest.raises(ValueError, match="group must divide the 50 draws"):
        composition.groups_table("smoke", 0, 3, store=Store(tmp_path))


def test_longer_chains_cost_what_they_should(small, tmp_path) -> None:
    table = composition.steps_table("smoke", 0, store=Store(tmp_path))
    calls = table[table["metric"] == "calls"].set_index(["configuration", "steps"])["value"]
    assert calls["smc", 400] == calls["joint", 400] == 800
    assert calls["hmc", 50] == 50 * 2 * 7


def test_amdm_without_aggregation_is_the_specialised_model(small, tmp_path) -> None:
    table = composition.amdm_table("smoke", 0, store=Store(tmp_path))
    rows = table[(table["scene"] == "cabinet") & (table["aggregated"] == 0)]
    accuracy = rows[rows["metric"] == "accuracy"]
    assert set(accuracy["configuration"]) == set(composition.INTERPOLATIONS)
    assert bool((accuracy["value"] == 1).all())
    assert set(table["deviation"]) == {0.0, 3.0}
