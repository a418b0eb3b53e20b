"""The steps from the thesis's specialist to ours, and compositions to second order."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dualdiff.data.improvements import (
    SecondOrderTrial,
    StepTrial,
    Stopped,
    improvement_trials,
    second_order_trials,
    steps,
)
from dualdiff.experiments.members import RECIPES, Networks
from dualdiff.experiments.profiles import PROFILES
from dualdiff.experiments.scenarios import cabinet
from dualdiff.experiments.sizes import sized
from dualdiff.experiments.store import Store
from dualdiff.experiments.weighting import MethodTrial

SIZE = sized("adaptation", "smoke", n_specialised=16)


def test_the_steps_lead_from_plain_to_tuned_and_each_changes_something() -> None:
    found = steps()
    assert found[0] == RECIPES["plain"] and found[-1] == RECIPES["tuned"]
    described = [str(replace(recipe, name="").described()) for recipe in found]
    assert len({*described}) == len(found)


def test_stopping_early_keeps_the_frame_and_the_general_network(tmp_path: Path) -> None:
    plain = Networks(cabinet(), RECIPES["tuned"], SIZE, 0, Store(tmp_path))
    own = Stopped(cabinet(), RECIPES["tuned"], SIZE, 0, Store(tmp_path))
    assert own.asked("general").run is None and plain.asked("specialised").run is None
    found = own.specialised()
    assert found.network.architecture.object_frame
    assert found.held_out is not None
    # as many epochs as the folds' mean held-out loss asks for
    assert len(found.losses) == int(found.held_out.argmin()) + 1
    fold = replace(own, fold=(1, 4))
    y, _ = fold.held_out()
    kept, _ = fold.rows("specialised")
    assert len(y) == 4 and len(kept) == 12
    whole = own.rows("specialised")[0]
    assert torch.equal(torch.cat([y, kept]).sort(0).values, whole.sort(0).values)


@pytest.mark.parametrize("name", ["stopped", "ensemble_smc"])
def test_every_step_is_judged(name: str, tmp_path: Path) -> None:
    table = StepTrial(cabinet(), RECIPES["tuned"], SIZE, 0, name).table(Store(tmp_path))
    scores = table[table["target"] == "specialised"].set_index("metric")["value"]
    assert 0 <= scores["total_variation"] <= 1


def test_second_order_on_exact_boxes_keeps_to_the_product(tmp_path: Path) -> None:
    """The product is the cabinet; the sum is more contracted than what second order gives."""
    size = replace(SIZE, conditions=40, draws=50)
    found = {}
    for name, kind in (
        ("sum", MethodTrial),
        ("gauss", SecondOrderTrial),
        ("jac", SecondOrderTrial),
    ):
        table = kind(cabinet(), "exact", size, 0, name).table(Store(tmp_path))
        found[name] = table.set_index("metric")[["value", "low", "high"]].astype(float)
    for name in ("gauss", "jac"):
        assert found[name]["value"]["accuracy"] > 0.97
    assert found["jac"]["high"]["total_variation"] < found["sum"]["low"]["total_variation"]


def test_the_tables_have_every_trial_once() -> None:
    for trials in (improvement_trials, second_order_trials):
        found = trials(PROFILES["full"])
        assert len({trial.key for trial in found}) == len(found)
