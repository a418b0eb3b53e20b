"""Whether a target is reached, by whom and what limits: as the numbers say."""

import pandas as pd
import pytest

from dualdiff import report_targets as goals
from dualdiff import results
from dualdiff.weighting import FINETUNED, WEIGHTINGS
from tests.test_report_weights import map_table, ways_table


def test_stale_tables_take_no_part_in_the_comparison(monkeypatch) -> None:
    record = {"seeds": [0, 1, 2], "conditions": 400, "draws": 50}
    states = {"weights": "not run", "corrected": "stale: another configuration"}
    joint = map_table(weights=(1.0,)).assign(configuration="joint", seed=1)
    monkeypatch.setattr(results, "describe", lambda part: (part, states.get(part, "current")))
    monkeypatch.setattr(results, "load", lambda part: (joint, record))
    found, origin = goals.contenders(ways_table())
    assert set(found["configuration"]) == {"joint", *WEIGHTINGS, *FINETUNED}
    assert "this run" in origin and "`cabinet_tuned` (seeds: 3, samples each: 20,000" in origin
    assert "corrected" not in origin
    assert set(found[found["tested"]]["configuration"]) == {"joint"}


def reached(**ways: tuple[float, float]) -> pd.DataFrame:
    rows = [("cabinet", way.replace("_", " "), *both, True) for way, both in ways.items()]
    names = ["scenario", "configuration", "accuracy", "total_variation", "tested"]
    return pd.DataFrame(rows, columns=names)


def test_the_target_is_reached_without_the_support_or_not() -> None:
    near = {"learned_constant": (0.96, 0.18), "joint": (0.99, 0.3)}
    plane, unable = map_table(), map_table(weights=(0.0, 0.125))
    text = goals.reach_sentence(reached(**near, finetuned=(0.97, 0.17)), plane)
    assert "**Reached** without the support by fine-tuned." in text and "no choice" not in text
    lucky = reached(**near, finetuned=(0.97, 0.17)).assign(tested=False)
    assert "by fine-tuned (this run only)." in goals.reach_sentence(lucky, plane)
    text = goals.reach_sentence(reached(**near, oracle_constant=(0.98, 0.16)), unable)
    assert "**Not reached**" in text and "nearest is learned constant" in text
    assert "Of the 3 pairs of constants on the plane, 0 reach it: no choice" in text


def test_constants_that_reach_the_target_are_counted() -> None:
    plane = map_table(scenarios=("cabinet",))
    good = plane["configuration"].isin(["1, 1", "0.5, 1"])
    plane.loc[good & (plane["metric"] == "accuracy"), "value"] = 0.98
    assert "Of the 48 pairs of constants on the plane, 2 reach it." in goals.reach_sentence(
        reached(joint=(0.99, 0.3)), plane
    )


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
    assert view["reached"].tolist() == ["–", "short by 0.010", "short by 0.130", "yes", "–"]
