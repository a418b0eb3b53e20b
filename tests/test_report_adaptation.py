"""From the table of the chapter on adapting or composing to what its reader is told."""

import itertools
from typing import Any

import numpy as np
import pandas as pd

from dualdiff import report_adaptation as words
from dualdiff.adaptation import ALONE, JOINT, SCORE
from dualdiff.members import RECIPES
from dualdiff.overlap import shifted_table
from dualdiff.pooling import over_seeds

COLUMNS = [*SCORE, "seed", "value", "low", "high"]
METRICS = ("accuracy", "total_variation", "total_variation_floor", "energy_distance")


def fake(seeds: int = 1) -> pd.DataFrame:
    """A table like that of a run; fine-tuned is best at 8 pairs, LoRA at 128, joint worst."""
    random = np.random.default_rng(3)
    rows: list[tuple[Any, ...]] = []

    def add(world: str, recipe: str, n: int, epochs: int, name: str) -> None:
        base = 0.2 + 0.05 * (*ALONE, *JOINT, "general").index(name)
        if name == ("finetuned" if n == 8 else "lora"):
            base = 0.1
        for seed, target in itertools.product(range(seeds), ("specialised", "general")):
            own = ("memorisation",) if target == "specialised" else ()
            for metric in (*METRICS, *own):
                value = base + 0.002 * random.standard_normal()
                keys = (world, recipe, n, epochs, name, target, metric, seed)
                rows.append((*keys, value, value - 0.01, value + 0.01))

    for recipe, n, name in itertools.product(RECIPES, (8, 128), (*ALONE, *JOINT)):
        add("cabinet", recipe, n, 200, name)
    add("cabinet", "tuned", 128, 200, "general")
    for epochs, name in itertools.product((20, 1000), ("finetuned", "lora", "replay")):
        add("cabinet", "tuned", 128, epochs, name)
    for distance, name in itertools.product((0.0, 7.0), ("specialised", "lora", *JOINT)):
        add(shifted_table(distance).name, "tuned", 128, 200, name)
    return pd.DataFrame(rows, columns=COLUMNS)


POOLED = over_seeds(fake())


def test_rows_of_every_study_are_found() -> None:
    sizes, epochs, shifted = (f(POOLED) for f in (words.by_size, words.by_epoch, words.by_overlap))
    assert set(sizes["finetune_epochs"]) == {200} and set(sizes["scenario"]) == {"cabinet"}
    assert set(sizes["configuration"]) == {*ALONE, *JOINT}
    assert set(epochs["finetune_epochs"]) == {20, 200, 1000} and set(epochs["recipe"]) == {"tuned"}
    assert set(epochs["n_specialised"]) == {128}
    assert set(shifted["overlap"]) == {0.0, 1.0}


def test_sizes_that_only_some_methods_tried_are_left_out() -> None:
    """Another number of points in the study of epochs adds no half-empty size to the other."""
    other = POOLED[POOLED["configuration"].isin(["specialised", "lora"])].assign(n_specialised=16)
    assert set(words.by_size(pd.concat([POOLED, other]))["n_specialised"]) == {8, 128}


def test_recommendation_is_the_lowest_and_ties_are_overlapping_intervals() -> None:
    best = words.recommendation(words.by_size(POOLED)).set_index(["recipe", "n_specialised"])
    for recipe in RECIPES:
        assert best.loc[(recipe, 8), "best"] == "finetuned"
        assert best.loc[(recipe, 128), "best"] == "lora"
        assert best.loc[(recipe, 8), "ties"] == ()
    wide = POOLED.assign(low=POOLED["value"] - 0.06, high=POOLED["value"] + 0.06)
    tied = words.recommendation(words.by_size(wide)).set_index(["recipe", "n_specialised"])
    assert tied.loc[("tuned", 8), "ties"] == ("specialised",)


def test_recommendation_table_and_sentences_name_the_winners() -> None:
    table = words.recommendation_table(POOLED)
    assert table.loc[("cabinet", "tuned", "1", 8), "lowest energy distance"] == "fine-tuned"
    assert len(table) == len(RECIPES) * 2 + 2
    text = words.recommendation_sentence(POOLED)
    assert "of 2 cases, fine-tuned 1, LoRA 1. With 8 pairs: fine-tuned." in text
    assert "With 128 pairs: LoRA." in text
    assert "LoRA at overlap 1, LoRA at overlap 0" in text
    composing = words.composing_sentence(POOLED)
    assert "that of a joint configuration for 0 of 2 networks" in composing
    assert "overlap 0, 128 pairs: the best single network is LoRA at 0." in composing


def test_sentences_hold_the_numbers() -> None:
    sizes = words.size_sentence(POOLED)
    assert sizes.count("- Network") == len(RECIPES)
    assert "with 8 pairs fine-tuned has the lowest TV (0.1" in sizes
    assert "at 2 of 2 numbers of pairs" not in words.bias_sentence(POOLED)
    epochs = words.epoch_sentence(words.by_epoch(POOLED))
    assert epochs.count("- Network") == 1 and "from 20 to 1,000 epochs" in epochs
    law = words.law_sentence(0.784, (0.4375, 0.392))
    assert "0.216" in law and "0.784" in law and "0.392" in law


def test_size_table_has_a_row_per_method_in_the_order_of_the_book() -> None:
    table = words.size_table(words.by_size(POOLED), "tuned")
    assert list(table.columns) == [8, 128] and len(table) == len((*ALONE, *JOINT))
    assert table.loc["LoRA", 128].startswith("0.1") and "±" in table.loc["LoRA", 128]


def test_costs_in_words() -> None:
    names = ("specialised", "finetuned", "lora", "replay")
    costs = pd.DataFrame(
        [("tuned", n, 2.0, 100 if n == "lora" else 1_000, 1_000, 1) for n in names],
        columns=["recipe", "configuration", "seconds", "stored", "held", "calls"],
    )
    assert "100 numbers for this home, 10% of the 1,000" in words.cost_sentence(costs, "tuned")
    table = words.cost_table(costs, "tuned")
    assert table.loc["LoRA", "numbers stored for this home"] == "100"
