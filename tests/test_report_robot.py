"""The words of the robot chapter follow its scores, whichever way these go."""

import json
import math
from pathlib import Path

import pandas as pd
import pytest

from dualdiff import report, results
from dualdiff import report_robot as words
from dualdiff.plots import LABELS
from dualdiff.plots.robot_results import OUTCOMES

COLUMNS = [
    *("scenario", "recipe", "n_specialised", "finetune_epochs", "seed", "configuration"),
    *("target", "metric", "value", "low", "high"),
]
SUCCESS = {"general": 0.2, "specialised": 0.3, "finetuned": 0.31, "joint": 0.35, "told": 0.33}
REFERENCES = {"oracle": 0.44, "data": 0.43, "uniform": 0.15}


def rows_of(recipe: str, seed: int, name: str, success: float, half: float) -> list[tuple]:
    """The scores of one trial; the energy distance falls as success rises."""
    found = {
        ("fresh scenes", "success"): success,
        ("fresh scenes", "collision"): 0.9 - success,
        ("fresh scenes", "out_of_reach"): 0.3,
        ("fresh scenes", "invalid"): 0.0,
        ("fresh scenes", "geometry"): 2 * success,
        ("oracle", "energy_distance"): 1 - success,
        ("oracle", "coverage"): success,
    }
    if name.endswith("weighted"):
        found |= {("run", "weight general"): 0.5, ("run", "weight specialised"): 1.0}
    keys = ("robot", recipe, 442, 200, seed, name)
    out = []
    for key, value in found.items():
        width = math.nan if key[0] == "run" else half
        out.append((*keys, *key, value, value - width, value + width))
    return out


def table(
    settings: dict[str, dict[str, float]] | None = None,
    seeds: tuple[int, ...] = (0, 1, 2),
    spread: float = 0.002,
    half: float = 0.01,
) -> pd.DataFrame:
    """Settings with given success rates; seeds move all of them, and joint's a little by itself."""
    rows = []
    settings = settings or {"object": {**SUCCESS, "joint": 0.2}, "metric": SUCCESS}
    for k, seed in enumerate(seeds):
        for recipe, values in {**settings, "simulator": REFERENCES}.items():
            for name, value in values.items():
                own = spread * k * (2 if name == "joint" else 1)
                rows += rows_of(recipe, seed, name, value + own, half)
    return pd.DataFrame(rows, columns=COLUMNS)


def test_differences_are_paired_by_seed() -> None:
    found = words.difference(table(), ("metric", "joint"), ("metric", "specialised"))
    assert found is not None
    assert found.seeds == pytest.approx((0.05, 0.052, 0.054))
    assert found.value == pytest.approx(0.052)
    # t quantile of 2 degrees of freedom times the standard error
    assert found.high - found.value == pytest.approx(4.302653 * 0.002 / 3**0.5, rel=1e-5)
    assert found.better == 1 and found.wins == 3 and "3 of 3 seeds" in str(found)
    energy = words.difference(
        table(), ("metric", "joint"), ("metric", "specialised"), "energy_distance"
    )
    assert energy is not None and energy.value < 0 and energy.better == 1 and energy.wins == 3
    assert words.difference(table(), ("metric", "smc"), ("metric", "joint")) is None


def test_seeds_that_disagree_decide_nothing() -> None:
    values = {**SUCCESS, "joint": 0.299}
    found = words.difference(
        table({"metric": values}), ("metric", "joint"), ("metric", "specialised")
    )
    assert found is not None and found.better == 0 and found.wins == 2
    assert found.word == "not told apart from"


@pytest.mark.parametrize(("half", "better"), [(0.01, 1), (0.1, 0)])
def test_one_seed_is_judged_by_its_interval(half: float, better: int) -> None:
    one = table(seeds=(4,), half=half)
    found = words.difference(one, ("metric", "joint"), ("metric", "specialised"))
    assert found is not None and found.better == better
    assert found.high - found.value == pytest.approx(half * 2**0.5)
    assert "seeds" not in str(found)


def test_the_winner_has_to_beat_both_rivals_in_its_setting() -> None:
    found = words.contest(table()).set_index(["recipe", "configuration"])
    assert found.loc[("metric", "joint"), "beats"] and not found.loc[("object", "joint"), "beats"]
    assert len(found) == 2  # told is one network, not a composition
    text = words.verdict_sentence(table())
    assert "in all 3 seeds" in text and "Setting *object*: none." in text
    assert "Setting *metric*: joint (0.354" in text
    only_one = {"metric": {**SUCCESS, "finetuned": 0.5}}
    assert "Setting *metric*: none." in words.verdict_sentence(table(only_one))
    assert "the one seed" in words.verdict_sentence(table(seeds=(0,)))
    assert list(words.contest_view(words.contest(table()))["beats both"]) == ["no", "yes"]
    assert "No composition" in words.verdict_sentence(table({"metric": {"general": 0.1}}))


def test_best_by_either_direction() -> None:
    text = words.best_sentence(table())
    assert "best composition: joint in setting *metric*, 0.354" in text
    assert "best single network: fine-tuned, told the type in setting *object*" in text
    assert "floor 0.152" in text and "ceiling 0.442" in text
    assert "joint in setting *metric*, 0.646" in words.best_sentence(table(), "energy_distance")


def test_the_ceiling_can_be_exceeded() -> None:
    assert words.ceiling_sentence(table()).startswith("No configuration")
    sharp = table({"metric": {**SUCCESS, "joint": 0.6}})
    assert words.ceiling_sentence(sharp).startswith("More often")
    without = table()[lambda t: t["recipe"] != "simulator"]
    assert "not in this table" in words.ceiling_sentence(without)
    assert words.level(without, "oracle") is None


def test_thesis_sentence_names_who_leads() -> None:
    five = {**SUCCESS, "finetuned_joint": 0.1}
    assert "here joint leads, not the specialised model" in words.thesis_sentence(
        table({"metric": five}), "metric"
    )
    text = words.thesis_sentence(table({"object": {**five, "specialised": 0.7}}), "object")
    assert "here the specialised model leads, joint is worse than specialised" in text
    assert "fine-tuned joint is worse than fine-tuned" in text


def test_views_hold_configurations_in_their_order_and_references() -> None:
    view = words.scores_view(table(), "metric")
    assert list(view.index) == [
        *("general", "specialised", "fine-tuned", "joint", "fine-tuned, told the type"),
        *("oracle draw (ceiling)", "test rows' own targets", "uniform draw (floor)"),
    ]
    bars = words.bars(table(), ["object", "metric"])
    assert set(bars["frame"]) == {"object", "metric"} and set(bars["configuration"]) <= set(LABELS)
    low, high = words.level(table(), "oracle") or (0, 0)
    assert low < 0.442 < high
    shares = words.outcome_shares(table(), "metric")
    assert shares[list(OUTCOMES)].sum(axis=1).to_numpy() == pytest.approx(1)
    joint = shares.set_index("configuration").loc["joint"]
    assert joint["both"] == pytest.approx(0.2)


def test_the_size_of_a_committed_table_is_said(tmp_path: Path) -> None:
    part = results.PARTS["robot"]
    some = part.trials(results.PROFILES["smoke"])
    made = {
        results.trial_key(t): pd.DataFrame(
            rows_of(t.recipe_name, 0, t.configuration, 0.3, 0.01), columns=COLUMNS
        )
        .drop(columns=["n_specialised", "finetune_epochs"])
        .assign(profile="smoke", seconds=1.0)[
            [c for c in COLUMNS if c not in ("n_specialised", "finetune_epochs")]
            + ["profile", "seconds"]
        ]
        for t in some
    }
    results._write(part, some, made, "smoke", tmp_path, results.sources_of(some))
    found, text = report.shown("robot", size=words.size_of, folder=tmp_path)
    assert len(found)
    record = json.loads((tmp_path / "robot.json").read_text())
    assert record["date"] in text and "state: current" in text and "training seed 0" in text
