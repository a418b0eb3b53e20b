"""The tables of rules and methods: all of them, stored, and charged for what they ask."""

import pytest

from dualdiff.compose import RULES, Rule, weighted
from dualdiff.correct import product
from dualdiff.experiments import composition
from dualdiff.experiments.composition import SIZES
from dualdiff.randomness import stream
from dualdiff.store import Store


def test_tables_have_every_rule_and_method_and_are_stored(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(SIZES, "smoke", composition.Size(2, 50))
    store = Store(tmp_path)
    rules = composition.rules_table("smoke", 0, store=store, scenes=["ring_and_bar"])
    assert set(rules["name"]) == set(composition.RULES)
    methods = composition.methods_table("smoke", 0, store=store, scenes=["ring_and_bar"])
    assert set(methods["name"]) == set(composition.METHODS)
    calls = methods[methods["metric"] == "calls"].set_index("name")["value"]
    assert calls["sum"] == calls["smc"] == 200 and calls["amdm"] == 140
    monkeypatch.setattr(composition, "seen", pytest.fail)  # made again, it would fail
    again = composition.methods_table("smoke", 0, store=store, scenes=["ring_and_bar"])
    assert again.equals(methods)


def test_an_edited_rule_or_run_is_drawn_anew(tmp_path, monkeypatch) -> None:
    """An entry of the reader's own under the same name, and a function handed to ``tidy``."""
    monkeypatch.setitem(SIZES, "smoke", composition.Size(2, 10))
    store, rules = Store(tmp_path), {}
    monkeypatch.setattr(composition, "RULES", rules)

    def table(general: float):
        rules["mine"] = Rule("mine", "p", weighted(general, 1.0))
        monkeypatch.setitem(RULES, "mine", rules["mine"])

        def run(scene, c, progress):
            rule = weighted(general, 1.0)(scene.general, scene.specialised, scene.unconditional)
            return product(rule, c, stream(0, "own"), draws=10, weights=None)

        own = composition.tidy({"mine": run}, ["cabinet"], "smoke", 0, kind="own", store=store)
        return composition.rules_table("smoke", 0, store=store, scenes=["cabinet"]), own

    first, again = table(1.0), table(1.0)
    assert all(a.equals(b) for a, b in zip(first, again, strict=True))
    rule, run = table(2.0)
    assert not rule["value"].equals(first[0]["value"])
    assert not run["value"].equals(first[1]["value"])
