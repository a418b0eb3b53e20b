"""Whether a target is reached, by whom and what limits: as the numbers say."""

import pandas as pd
import pytest

from dualdiff import report_targets as goals
from dualdiff import results
from dualdiff.weighting import FINETUNED, WEIGHTINGS
from tests.test_report_weights import alone_table, map_table, ways_table

RECORD = {"seeds": [0, 1, 2], "conditions": 400, "draws": 50}


def give(monkeypatch, **tables: pd.DataFrame) -> None:
    """Make these the committed tables; ``corrected`` is stale."""
    states = {"corrected": "stale: another configuration"}

    def load(part: str):
        if part not in tables:
            raise FileNotFoundError(part)
        return tables[part], RECORD

    monkeypatch.setattr(results, "describe", lambda part: (part, states.get(part, "current")))
    monkeypatch.setattr(results, "load", load)


def test_stale_tables_are_shown_with_their_state(monkeypatch) -> None:
    method = alone_table(0.2, 0.2, 0.2).query("configuration == 'joint'")
    method = method.assign(configuration="smc")
    give(monkeypatch, cabinet_tuned=alone_table(0.2, 0.3, 0.4), corrected=method)
    found, origin = goals.contenders(ways_table())
    names = {"specialised", "joint", "smc", *WEIGHTINGS, *FINETUNED}
    assert set(found["configuration"]) == names
    assert "this run" in origin and "`corrected` (20,000 samples each; stale" in origin
    assert set(found[found["tested"]]["configuration"]) == {"specialised", "joint", "smc"}


def test_means_are_over_the_seeds_that_the_tables_share(monkeypatch) -> None:
    alone = alone_table(0.1, 0.2, 0.6, scenarios=["cabinet"])
    give(monkeypatch, weights=ways_table(seeds=(0, 1)), cabinet_tuned=alone)
    found, origin = goals.contenders(ways_table())
    own = found[found["scenario"] == "cabinet"].set_index("configuration")["total_variation"]
    assert own["specialised"] == pytest.approx(0.15)
    assert own["learned constant"] == pytest.approx(0.17)
    assert "share (0, 1)" in origin and "this run" not in origin


def reached(**ways: tuple[float, float]) -> pd.DataFrame:
    rows = [("cabinet", way.replace("_", " "), *both, 0.02, True) for way, both in ways.items()]
    names = ["scenario", "configuration", "accuracy", "total_variation", "total_variation_floor"]
    return pd.DataFrame(rows, columns=[*names, "tested"])


def test_the_target_is_reached_without_the_support_or_not() -> None:
    near = {"learned_constant": (0.96, 0.18), "joint": (0.99, 0.3)}
    plane, unable = map_table(), map_table(weights=(0.0, 0.125))
    text = goals.reach_sentence(reached(**near, finetuned=(0.97, 0.17)), plane)
    assert "**Reached** without the support by fine-tuned." in text
    lucky = reached(**near, finetuned=(0.97, 0.17)).assign(tested=False)
    assert "by fine-tuned (this run only)." in goals.reach_sentence(lucky, plane)
    text = goals.reach_sentence(reached(**near, oracle_constant=(0.98, 0.16)), unable)
    assert "**Not reached**" in text and "nearest is learned constant" in text
    assert "Of the 3 pairs of constants on the plane (training seed 0), 0 reach it." in text


def test_constants_that_reach_the_target_are_counted() -> None:
    plane = map_table(scenarios=("cabinet",))
    good = plane["configuration"].isin(["1, 1", "0.5, 1"])
    plane.loc[good & (plane["metric"] == "accuracy"), "value"] = 0.98
    text = goals.reach_sentence(reached(joint=(0.99, 0.3)), plane)
    assert "Of the 48 pairs of constants on the plane (training seed 0), 2 reach it." in text


def test_the_view_of_targets_orders_by_what_is_missing() -> None:
    table = reached(joint=(0.99, 0.3), oracle_constant=(0.98, 0.16), learned_constant=(0.96, 0.16))
    assert goals.short_of(table).tolist() == pytest.approx([0.13, 0.0, 0.01])
    view = goals.reach_view(table, "cabinet")
    assert list(view.index) == [
        "thesis: fine-tuned joint",
        "learned constant",
        "joint (plain sum)",
        "oracle constant (sees the support)",
        "target",
    ]
    assert view["floor of TV"].tolist() == ["–", "0.020", "0.020", "0.020", "–"]
    assert view["reached"].tolist() == ["–", "short by 0.010", "short by 0.130", "yes", "–"]
