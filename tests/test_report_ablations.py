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
    found = words.changes(ablation_table(0.1))
    assert len(found) == 2 * len(words.ALONE_OR_JOINT)  # not the general model
    assert found["change"].tolist() == pytest.approx([0.1] * len(found))
    assert bool(found["clear"].all())  # although seeds differ by as much
    noisy = words.changes(ablation_table(0.1, wobble=0.2))
    assert not noisy["clear"].any()
    # d = 0.3, -0.1, 0.3: standard deviation 0.4 / sqrt(3), t quantile 4.3027 with 2 degrees
    assert noisy["half"].tolist() == pytest.approx([4.3027 * 0.4 / 3] * len(noisy), rel=1e-4)


def test_one_seed_makes_nothing_clear() -> None:
    assert not words.changes(ablation_table(seeds=(0,)))["clear"].any()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (0.1, "+0.100 on average; clearly worse in 6 and clearly better in 0 of 6"),
        (-0.1, "-0.100 on average; clearly worse in 0 and clearly better in 6 of 6"),
    ],
)
def test_the_sentence_on_parts_has_the_sign_of_the_numbers(change, said) -> None:
    text = words.ablation_sentence(ablation_table(change))
    assert said in text and "*width 64*" in text and "*tuned*" not in text


def test_the_view_has_a_line_per_recipe() -> None:
    view = words.ablation_view(ablation_table(), "cabinet")
    assert list(view.index) == ["tuned", "width 64"]
    assert list(view.columns) == ["specialised", "fine-tuned", "joint"]
    assert view.loc["width 64", "joint"].startswith("0.35")


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
