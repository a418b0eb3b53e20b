"""The words on ablations and on AMDM's settings follow the numbers, whichever way these go."""

import pandas as pd
import pytest

from dualdiff import report_ablations as words
from dualdiff.aggregate import INTERPOLATIONS

NAMES = ["scenario", "recipe", "seed", "configuration", "target", "metric", "value", "low", "high"]


def ablation_table(change: float = 0.1, wobble: float = 0.0, seeds=(0, 1, 2)) -> pd.DataFrame:
    """Seeds differ a lot, the changed recipe by ``change`` and an alternating ``wobble``."""
    rows = []
    for scenario in ("cabinet", "round_table"):
        for recipe in ("tuned", "width 64"):
            for seed in seeds:
                for configuration in ("general", *words.ALONE_OR_JOINT):
                    value = 0.2 + 0.05 * seed
                    if recipe != "tuned":
                        value += change + wobble * (-1) ** seed
                    keys = (scenario, recipe, seed, configuration, "specialised")
                    rows.append((*keys, "total_variation", value, value - 0.01, value + 0.01))
    return pd.DataFrame(rows, columns=NAMES)


def amdm_table(spherical: float = 0.3, best: int = 0, rho: float = 0.0) -> pd.DataFrame:
    """TV of linear is 0.4 after aggregation; ``best`` steps and ``rho`` take 0.25 off."""
    rows = []
    for scene in ("cabinet", "ring_and_bar"):
        for kind in INTERPOLATIONS:
            for s in (0, 40, 80, 100):
                tv = 0.35 if s < 100 else {"spherical": spherical, "linear": 0.4}.get(kind, 0.9)
                tv -= 0.25 if best and s == best else 0
                rows.append((scene, kind, s, 0.0, tv))
        for deviation in (0.3, 3.0):
            tv = spherical + (-0.25 if deviation == rho else 0.1)
            rows.append((scene, "spherical", 100, deviation, tv))
    names = ["scene", "interpolation", "aggregated", "deviation", "value"]
    table = pd.DataFrame(rows, columns=names)
    scores = [table.assign(metric=metric) for metric in ("accuracy", "total_variation")]
    return pd.concat(scores, ignore_index=True)


def test_changes_are_paired_over_seeds() -> None:
    found = words.changes(ablation_table(0.1, wobble=0.2))
    assert len(found) == 2 * len(words.ALONE_OR_JOINT)  # not the general model
    assert found["change"].tolist() == pytest.approx([0.1 + 0.2 / 3] * len(found))
    for each in found["seeds"]:  # although the seeds of the recipe itself differ
        assert each == pytest.approx((0.3, -0.1, 0.3))
    other = ablation_table(0.1, wobble=0.2).assign(target="fixed", value=9.0)
    both = pd.concat([ablation_table(0.1, wobble=0.2), other])
    assert words.changes(both).equals(found)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (0.1, "+0.100 on average, from +0.090 to +0.110; TV is higher in 12 of 12."),
        (-0.1, "-0.100 on average, from -0.110 to -0.090; TV is higher in 0 of 12."),
    ],
)
def test_the_sentence_on_parts_has_the_sign_of_the_numbers(change, said) -> None:
    text = words.ablation_sentence(ablation_table(change, wobble=0.01, seeds=(0, 1)))
    assert said in text and "*width 64*" in text and "*tuned*" not in text
    assert "2 training seeds; no test" in text


def test_the_view_has_a_line_per_recipe_with_every_seed() -> None:
    table = ablation_table(0.1, wobble=0.01)
    view = words.ablation_view(table, "cabinet")
    assert list(view.index) == ["tuned: TV", "width 64"]
    assert list(view.columns) == ["specialised", "fine-tuned", "joint"]
    assert view.loc["tuned: TV", "joint"] == "0.200, 0.250, 0.300"
    assert view.loc["width 64", "joint"] == "+0.110, +0.090, +0.110"
    other = table.assign(target="fixed", value=9.0)
    assert words.ablation_view(pd.concat([table, other]), "cabinet").equals(view)


@pytest.mark.parametrize(("spherical", "winner"), [(0.3, "spherical"), (0.5, "linear")])
def test_interpolations_are_compared_at_few_and_at_many_steps(spherical, winner) -> None:
    text = words.interpolation_sentence(amdm_table(spherical))
    many = f"after 100 aggregation steps TV is {spherical:.3f} with spherical and 0.400 with linear"
    assert text.count(f"{many} interpolation ({winner} is lower)") == 2
    few = "after 40 aggregation steps TV is 0.350 with spherical and 0.350 with linear"
    assert text.count(f"{few} interpolation (the same within 0.02)") == 2


def test_the_number_of_steps_is_compared_with_none() -> None:
    text = words.aggregated_sentence(amdm_table(0.5))
    assert text.count("0.350 without aggregation, within 0.02 of that up to 80 steps") == 2
    assert text.count("clearly lower with no number of steps") == 2
    text = words.aggregated_sentence(amdm_table(0.5, best=40))
    assert text.count("without aggregation and lowest after 40 steps (0.100)") == 2
    assert text.count("aggregation to the end gives 0.500") == 2


def test_the_deviation_step_is_compared_with_none() -> None:
    text = words.deviation_sentence(amdm_table())
    assert text.count("0.300 without it and no step is clearly better") == 2
    text = words.deviation_sentence(amdm_table(rho=0.3))
    assert text.count("Accuracy is highest at $\\rho = 3$ (0.400, TV 0.400)") == 2
    assert text.count("lowest at $\\rho = 0.3$ (0.050)") == 2 and "(100 aggregation steps)" in text
