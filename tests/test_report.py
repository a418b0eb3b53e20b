"""Tables and sentences of the book, on tables whose content is known."""

import math
from itertools import pairwise

import pandas as pd
import pytest
import torch

from dualdiff import report, results
from dualdiff.members import RECIPES
from dualdiff.networks import MLP
from dualdiff.plots import LABELS
from dualdiff.pooling import over_seeds
from dualdiff.profiles import PROFILES
from dualdiff.scenarios import cabinet, round_table
from dualdiff.study import CONFIGURATIONS
from dualdiff.thesis import thesis_table


def table(accuracy: dict[str, float], recipe: str = "thesis", seed: int = 0) -> pd.DataFrame:
    """A study table with given accuracies, TV = 1 - accuracy, intervals of +-0.01."""
    rows = []
    for name, value in accuracy.items():
        for metric, v in (
            ("accuracy", value),
            ("total_variation", 1 - value),
            ("total_variation_floor", 0.03),
            ("miss_distance", 10.0),
        ):
            half = 0.0 if metric.endswith("floor") else 0.01
            rows.append(("cabinet", recipe, "quick", seed, name, metric, v, v - half, v + half))
    columns = "scenario recipe profile seed configuration metric value low high".split()
    return pd.DataFrame(rows, columns=columns)


AS_THESIS = dict(zip(CONFIGURATIONS, (0.08, 0.20, 0.50, 0.35, 0.65), strict=True))


def test_summary_of_one_seed_keeps_the_interval_over_conditions() -> None:
    summary = over_seeds(table(AS_THESIS))
    row = summary[(summary.configuration == "joint") & (summary.metric == "accuracy")].iloc[0]
    assert (row["value"], row["low"], row["high"]) == pytest.approx((0.35, 0.34, 0.36))


def test_summary_of_three_seeds_is_a_t_interval() -> None:
    runs = [table(dict(AS_THESIS, joint=v), seed=i) for i, v in enumerate((0.3, 0.35, 0.4))]
    summary = over_seeds(pd.concat(runs))
    row = summary[(summary.configuration == "joint") & (summary.metric == "accuracy")].iloc[0]
    half = 4.302653 * 0.05 / math.sqrt(3)  # t quantile with 2 degrees of freedom
    assert (row["value"], row["high"] - row["value"]) == pytest.approx((0.35, half))


def test_comparison_puts_the_thesis_beside_ours() -> None:
    tables = pd.concat([table(AS_THESIS), table({"joint": 1.0}, "exact")])
    wide = report.comparison(over_seeds(tables), "accuracy")
    assert list(wide.columns) == ["thesis (printed)", "ours, thesis", "ours, exact"]
    assert list(wide.index) == [LABELS[name] for name in CONFIGURATIONS]
    assert wide.loc["joint"].tolist() == ["0.3464", "0.350 ± 0.010", "1.000 ± 0.010"]
    assert wide.loc["general", "ours, exact"] == "–"


def ranked(*runs: dict[str, float]) -> report.Ranking:
    """How runs of these accuracies, one per seed, are ranked beside the thesis's cabinet."""
    rows = pd.concat([table(run, seed=seed) for seed, run in enumerate(runs)])
    rows = rows[rows["metric"] == "accuracy"].set_index("configuration")
    return report.ranking(thesis_table("cabinet")["accuracy"], rows)


def test_pairs_are_compared_within_their_seed() -> None:
    same = ranked(AS_THESIS)
    assert same.tau == pytest.approx(1) and not same.clear and not same.unclear
    clear = [("finetuned", "joint"), ("finetuned_joint", "joint")]
    assert ranked(dict(AS_THESIS, joint=0.9)).clear == clear
    within = ranked(dict(AS_THESIS, joint=0.505))  # one run: intervals of +-0.01 decide
    assert within.unclear == [("finetuned", "joint")] and not within.clear
    # Seeds move both by far more than they differ; only the pairing sees the difference.
    moved = [{k: v + 0.1 * seed for k, v in AS_THESIS.items()} for seed in range(3)]
    higher = [dict(run, joint=run["finetuned"] + 0.005) for run in moved]
    assert ranked(*higher).clear == [("finetuned", "joint")]
    higher[1]["joint"] = higher[1]["finetuned"] - 0.004
    assert ranked(*higher).unclear == [("finetuned", "joint")]


def test_every_clear_swap_is_named() -> None:
    runs = table(dict(AS_THESIS, joint=0.9))
    sentence = report.order_sentence(runs, "thesis")
    assert "joint beats fine-tuned; joint beats fine-tuned joint" in sentence
    assert "beats" not in report.order_sentence(table(AS_THESIS), "thesis")


@pytest.mark.parametrize("name", RECIPES)
def test_a_network_can_be_built_from_the_table_of_its_recipe(name: str) -> None:
    """Layers, weights, betas and the learning rate, read back from what the reader sees."""
    recipe, source = RECIPES[name], torch.Generator().manual_seed(0)
    y, c = (torch.randn(50, 3, generator=source) for _ in range(2))
    process = recipe.process(y, c)
    spread = (torch.zeros(3), torch.ones(3)) if recipe.architecture.object_frame else ()
    network = MLP(process, recipe.architecture, source, *spread)
    seen = report.recipes_view({name: network}, PROFILES["thesis"])[f"recipe {name}"]
    sizes = list(map(int, seen["layers"].split("-")))
    weights = sum((a + 1) * b for a, b in pairwise(sizes))
    assert weights == int(seen["weights"].replace(",", ""))
    first, last = map(float, seen["betas, from clean to noisy"].split(" (")[0].split(" .. "))
    ends = [float(process.beta[0]), float(process.beta[-1])]
    assert (first, last) == pytest.approx(ends, rel=5e-3)
    assert float(seen["learning rate"].split(",")[0]) == recipe.optimisation.learning_rate


def test_sentences_hold_the_numbers() -> None:
    tables = pd.concat(
        [table(AS_THESIS), table({"general": 0.12, "specialised": 0.99, "joint": 0.98}, "exact")]
    )
    summary = over_seeds(tables)
    frontier = report.frontier_sentence(summary)
    assert "fine-tuned joint has the highest accuracy (0.650, at TV 0.350)" in frontier
    assert "0.030" in frontier
    text = report.summary_sentence(summary)
    assert "from accuracy 0.200 to 0.350" in text and "TV falls from 0.800 to 0.650" in text
    assert "0.020 where the specialised law itself scores 0.010" in text


def test_misses_sentence() -> None:
    places = pd.DataFrame(
        {"specialised": [0.5, 1.0], "general only": [0.4, 0.0], "outside both": [0.1, 0.0]},
        index=["joint", "specialised"],
    )
    assert report.misses_sentence(places).endswith("joint 80%.")


def test_tolerance_sentence() -> None:
    c = torch.zeros(1, 3)
    flat = torch.tensor([[[0.0, 0.0, 10.0], [0.5, 0.0, 10.5], [2.0, 0.0, 10.0], [0.0, 0.0, 20.0]]])
    text = report.tolerance_sentence({"joint": flat}, c, round_table(0.25))
    assert "planar" in text and "joint 0.250 becomes 0.750" in text
    inside = torch.tensor([[[-0.5, -0.5, 0.2], [0.05, -0.5, 0.2]]])
    text = report.tolerance_sentence({"joint": inside, "general": inside - 9}, c, cabinet())
    assert "joint 0.500 becomes 1.000, general 0.000 becomes 0.000" in text
    assert text.endswith("does not change.")


@pytest.mark.parametrize(
    ("value", "half", "text"),
    [
        (0.5, 0.011, "0.500 ± 0.011"),
        (0.5, 0.0044, "0.500 ± 0.004"),
        (0.5, 0.0002, "0.5000 ± 0.0002"),
        (10.0, 0.5, "10.00 ± 0.50"),
        (math.nan, 0, "–"),
        (1, 0, "1.000"),
    ],
)
def test_interval(value: float, half: float, text: str) -> None:
    assert report.interval(value, value - half, value + half) == text


def test_thesis_tables_are_as_printed() -> None:
    assert thesis_table("round_table").loc["joint"].tolist() == [0.6653, 8.0266]
    assert report.order(thesis_table("cabinet")["accuracy"])[0] == "general"
    with pytest.raises(ValueError, match="cabinet, round_table, not 'kitchen'"):
        thesis_table("kitchen")


def test_all_metrics_and_environment() -> None:
    wide = report.all_metrics(over_seeds(table(AS_THESIS)), "thesis")
    assert wide.shape == (4, 5)
    assert "torch" in report.environment(seed=3) and "seed=3" in report.environment(seed=3)


def test_the_committed_table_comes_before_the_own_one(monkeypatch: pytest.MonkeyPatch) -> None:
    own, committed = table(AS_THESIS), table(AS_THESIS, seed=1)

    def missing(*parts: str, **_: object) -> results.Together:
        raise FileNotFoundError(parts)

    monkeypatch.setattr(results, "together", missing)
    found, text = report.shown("weights", own=own)
    assert found is own and "**this run**" in text
    found, text = report.shown("sweep", "sweep_tuned")
    assert found.empty and "dualdiff results --profile thesis sweep sweep_tuned" in text
    record = {"date": "2026-01-01", "seeds": [0, 1], "conditions": 4_000, "draws": 50}
    full = results.Together(committed, record, "current")
    monkeypatch.setattr(results, "together", lambda *_, **__: full)
    found, text = report.shown("weights", own=own)
    assert found is committed
    assert all(part in text for part in ("2026-01-01", "seeds 0, 1", "4,000", "state: current"))
