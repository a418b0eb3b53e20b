"""The tables of rules and methods: all of them, stored, and charged for what they ask."""

import pytest

from dualdiff import composition
from dualdiff.composition import SIZES
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
    monkeypatch.setattr(composition, "_scored", pytest.fail)  # made again, it would fail
    again = composition.methods_table("smoke", 0, store=store, scenes=["ring_and_bar"])
    assert again.equals(methods)
