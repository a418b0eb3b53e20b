"""Networks trained in stacks are those that are trained alone, and are trained once."""

from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from test_study import TINY
from torch import Tensor

from dualdiff.experiments import trained
from dualdiff.experiments.members import ADAPTATIONS, RECIPES, Networks
from dualdiff.experiments.profiles import Profile
from dualdiff.experiments.scenarios import Scenario, cabinet, round_table
from dualdiff.experiments.store import Store
from dualdiff.experiments.study import study
from dualdiff.experiments.trained import Asked, kept, train_together

SMALL = replace(TINY, specialised_epochs=4, finetune_epochs=3)


class Flat:
    """The rows of a scenario with two numbers of the target."""

    def __init__(self, whole: Scenario) -> None:
        self.whole, self.name, self.roots = whole, "flat", whole.roots

    def pairs(self, *asked: Any) -> tuple[Tensor, Tensor]:
        y, c = self.whole.pairs(*asked)
        return y[:, :2], c

    def described(self, which: str) -> dict[str, Any]:
        return {**self.whole.described(which), "flat": which}


def asked(store: Store, recipe: str, size: Profile = SMALL) -> list[Asked]:
    """Networks of two scenes, two set sizes, two seeds, a fold and every method."""
    first = Networks(cabinet(), RECIPES[recipe], size, 0, store)
    sources = [
        first,
        replace(first, scenario=round_table()),
        replace(first, profile=replace(size, n_specialised=50)),
        replace(first, seed=1),
        replace(first, fold=(1, 4)),
    ]
    methods = ("specialised", "finetuned")
    found = [one.asked(method) for one in sources for method in methods]
    return [*found, *(first.asked(method) for method in ADAPTATIONS), first.asked("general")]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_stack_puts_into_the_store_what_is_made_alone(tmp_path: Path, recipe: str) -> None:
    stacked, alone = Store(tmp_path / "stacked"), Store(tmp_path / "alone")
    todo = asked(stacked, recipe)
    train_together(stacked, todo)
    made = {*(tmp_path / "stacked").rglob("*.safetensors")}
    assert len(made) == 5 * 2 + 3  # and the generals from which fine-tuning starts
    for one, other in zip(todo, asked(alone, recipe), strict=True):
        found, expected = kept(stacked, one), kept(alone, other)
        torch.testing.assert_close(
            [found.losses, *found.network.state_dict().values()],
            [expected.losses, *expected.network.state_dict().values()],
            rtol=0,
            atol=0,
        )


def test_what_is_there_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    todo = asked(store, "plain")[:6]
    kept(store, todo[2])
    sizes = []
    real = trained.fit_together
    monkeypatch.setattr(
        trained, "fit_together", lambda own, *a, **k: sizes.append(len(own)) or real(own, *a, **k)
    )
    train_together(store, [*todo, *todo])
    assert sorted(sizes) == [2, 3]  # of specialised networks one is there
    train_together(store, todo)
    assert len(sizes) == 2


def _ask(root: Path, numbers: list[int]) -> None:
    store = Store(root)
    todo = asked(store, "plain")
    train_together(store, [todo[k] for k in numbers])


def test_two_processes_that_ask_for_overlapping_stacks_do_not_wait_for_each_other(
    tmp_path: Path,
) -> None:
    context = get_context("spawn")
    orders = [[0, 2, 4, 1, 3], [4, 3, 0, 6, 2]]
    workers = [context.Process(target=_ask, args=(tmp_path, order)) for order in orders]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
        assert worker.exitcode == 0
    assert not [*tmp_path.rglob("*.damaged")]


def test_a_study_trains_its_networks_in_stacks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    real = trained.fit_together
    monkeypatch.setattr(
        trained, "fit_together", lambda own, *a, **k: sizes.append(len(own)) or real(own, *a, **k)
    )
    size = replace(SMALL, seeds=2)
    both = study(cabinet(), [RECIPES["plain"]], size, 0, store=Store(tmp_path / "both"))
    assert sizes == [2, 2]  # specialised and fine-tuned ones of two seeds
    one = study(cabinet(), [RECIPES["plain"]], SMALL, 0, store=Store(tmp_path / "one"))
    own = both[both["seed"] == 0].drop(columns="profile").reset_index(drop=True)
    assert own.equals(one.drop(columns="profile"))


def test_networks_of_other_steps_and_dimensions_stand_in_stacks_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One study over recipes with chains of 50 and 100 steps, two networks of each."""
    sizes = []
    real = trained.fit_together
    monkeypatch.setattr(
        trained, "fit_together", lambda own, *a, **k: sizes.append(len(own)) or real(own, *a, **k)
    )
    store, plain = Store(tmp_path), RECIPES["plain"]
    recipes = [plain, replace(plain, name="T = 50", steps=50)]
    worlds = [cabinet(), Flat(cabinet())]
    todo = [
        Networks(world, recipe, SMALL, seed, store).asked("specialised")  # type: ignore[arg-type]
        for world in worlds
        for recipe in recipes
        for seed in (0, 1)
    ]
    train_together(store, todo)
    assert sizes == [2] * 4
    assert all(store.has("network", one.config) for one in todo)


def test_divergence_is_told(tmp_path: Path) -> None:
    wild = replace(
        RECIPES["plain"], optimisation=replace(RECIPES["plain"].optimisation, learning_rate=1e30)
    )
    store = Store(tmp_path)
    networks = Networks(cabinet(), wild, SMALL, 0, store)
    todo = [networks.asked("specialised"), replace(networks, seed=1).asked("specialised")]
    with pytest.raises(FloatingPointError, match="diverged"):
        train_together(store, todo)
    assert not [*tmp_path.rglob("*.safetensors")]
