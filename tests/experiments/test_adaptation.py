"""Adapting or composing: what is tried at each profile, its laws, its costs."""

from itertools import pairwise

import pytest
import torch
from conftest import generator
from test_study import TINY

from dualdiff import metrics
from dualdiff.experiments.adaptation import (
    EPOCH_METHODS,
    POINTS,
    budget_trials,
    cost,
    epoch_trials,
    least_sum,
    mixture,
    numbers,
    overlap_trials,
    size_trials,
)
from dualdiff.experiments.members import METHODS, RECIPES
from dualdiff.experiments.profiles import PROFILES
from dualdiff.experiments.scenarios import cabinet, round_table
from dualdiff.experiments.shifted import overlap_fraction
from dualdiff.experiments.sizes import SIZES, Size
from dualdiff.experiments.store import Store
from dualdiff.experiments.study import SUMS
from dualdiff.experiments.trial import KEY, Trial, tidy


def key(trial: Trial) -> tuple[object, ...]:
    size = trial.profile
    names = (trial.scenario.name, trial.recipe_name, trial.configuration)
    return (*names, size.n_specialised, size.finetune_epochs, trial.seed)


def test_every_profile_has_a_scale_and_the_full_one_is_the_issue() -> None:
    own = SIZES["adaptation"]
    full = own["full"]
    assert full.sizes == tuple(2**k for k in range(3, 12))
    assert full.epochs == (10, 20, 50, 100, 200, 500, 1000, 2000)
    assert full.seeds == 3 and "generated" in full.methods
    for scale in own.values():
        assert POINTS in scale.sizes  # costs are judged there, and chapter 02 trains there
        assert set(scale.epoch_networks) <= set(RECIPES)
        for several in (scale.sizes, scale.epochs, scale.overlap_sizes):
            assert all(a < b for a, b in pairwise(several))


@pytest.mark.parametrize("profile", PROFILES)
def test_trials_cover_every_combination_once(profile: str) -> None:
    scale = SIZES["adaptation"][profile]
    sizes, epochs = size_trials(profile, 5), epoch_trials(profile, 5)
    shifted = overlap_trials(profile, 5)
    for some in (sizes, epochs, shifted):
        assert len(set(map(key, some))) == len(some)
        assert {t.seed for t in some} == set(range(5, 5 + scale.seeds))
        for trial in some:
            world = trial.scenario
            laws = {"specialised": world.specialised, "general": world.general}
            assert trial.targets == laws
            assert trial.profile.conditions == scale.conditions
            assert trial.profile.draws == scale.draws
            assert trial.profile.n_general == PROFILES[profile].n_general
    assert len(sizes) == len(RECIPES) * len(scale.sizes) * scale.seeds * len(scale.methods)
    followed = 3 + len(EPOCH_METHODS) * len(scale.epochs)
    assert len(epochs) == len(scale.epoch_networks) * followed * scale.seeds
    assert {t.profile.n_specialised for t in epochs} == {POINTS}
    found = {overlap_fraction(d) for d in scale.distances}
    assert {0.0, 1.0} <= found and (profile != "full" or any(abs(f - 0.5) < 1e-9 for f in found))


def test_studies_share_what_they_have_in_common() -> None:
    """Trials that two studies name alike are the same: the store makes them once."""
    named = {key(t): t.config() for t in size_trials("full", 0)}
    shared = [t for t in epoch_trials("full", 0) if key(t) in named]
    assert {t.configuration for t in shared} == {"specialised", "joint", *EPOCH_METHODS}
    assert all(t.config() == named[key(t)] for t in shared)


@pytest.mark.parametrize("make", [size_trials, epoch_trials, overlap_trials])
def test_unknown_profiles_are_named(make) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match="profile must be one of .*, not 'big'"):
        make("big", 0)


def test_least_sum_and_mixture_of_the_cabinet() -> None:
    """27 of the 125 general cells meet the specialised box; one eighth of the law lies in it."""
    bound = least_sum(cabinet())
    assert bound == pytest.approx(1 - 27 / 125)
    for weight in (0.25, 1.0, 4.0):
        wanted, lost = mixture(cabinet(), weight)
        assert wanted == pytest.approx(weight / (1 + weight) * 7 / 8, abs=0.004)
        assert lost == pytest.approx(bound / (1 + weight))
        assert wanted + lost >= bound - 0.004


@pytest.mark.parametrize("world", [cabinet(), round_table()], ids=lambda w: w.name)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_no_samples_lie_below_the_least_sum(world, share: float) -> None:  # type: ignore[no-untyped-def]
    """Mixtures of the two laws come closest; samples beside both or bunched in a corner do not."""
    c = world.conditions(4_000, generator(1))
    own, other = (region.draw(c, generator(2), 5) for region in (world.specialised, world.general))
    pick = torch.rand(4_000, 5, 1, generator=generator(3)) < share
    corner = other[:, :1].expand(-1, 5, -1)
    for y in (torch.where(pick, own, other), torch.where(pick, own, own * 0.9 + 0.1 * c[:, None])):
        assert sum(scores(y, c, world)) >= least_sum(world) - 1e-6
    assert sum(scores(torch.where(pick, own, corner + 20), c, world)) >= least_sum(world) - 1e-6


def scores(y, c, world) -> list[float]:  # type: ignore[no-untyped-def]
    laws = (world.specialised, world.general)
    return [metrics.total_variation(y, c, law, generator(4), 2).value for law in laws]


def test_the_mixture_is_what_its_samples_score() -> None:
    world, weight = cabinet(), 1.0
    c = world.conditions(20_000, generator(1))
    own, other = (region.draw(c, generator(2)) for region in (world.specialised, world.general))
    pick = torch.rand(20_000, 1, generator=generator(3)) < 1 / (1 + weight)
    y = torch.where(pick, own, other)[:, None]
    assert scores(y, c, world) == pytest.approx(mixture(world, weight), abs=0.02)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile whose training takes no time."""
    methods = ("lora", "lora_joint", "joint")
    size = Size(40, 5, 1, (0.0,), (4, 8), (4,), (1, 2), methods=methods)
    monkeypatch.setitem(SIZES["adaptation"], "smoke", size)
    monkeypatch.setitem(PROFILES, "smoke", TINY)


def test_tidy_holds_every_trial_once_with_its_sizes(tiny: None, store: Store) -> None:
    some = epoch_trials("smoke", 0, 4)
    table = tidy([*some, *some[:2]], store)
    trials = table.drop_duplicates(KEY)
    assert len(trials) == len(some)
    assert set(table["n_specialised"]) == {4} and set(table["finetune_epochs"]) == {1, 2}
    assert "seconds" not in table
    one = some[0].table(store).drop(columns="seconds")
    assert table[list(one)].head(len(one)).equals(one)
    # Memorisation is asked of the specialised law alone: the training pairs are drawn from it.
    assert set(table.loc[table["metric"] == "memorisation", "target"]) == {"specialised"}


def test_cost_counts_what_is_stored_and_held(tiny: None, store: Store) -> None:
    costs = cost("smoke", 0, store, points=4)
    assert (costs["seconds"] > 0).all()
    for recipe in RECIPES.values():
        rows = costs[costs["recipe"] == recipe.name].set_index("configuration")
        full = int(rows.loc["joint", "stored"])
        width, out = recipe.architecture.width, 3
        inputs = (full - 3 * (width * width + width) - width - width * out - out) // width
        layers = [inputs + width, *[2 * width] * 3, width + out]
        assert rows.loc["lora", "stored"] == 4 * sum(layers)
        assert rows.loc["lora_joint", "stored"] == rows.loc["lora", "stored"]
        assert rows["calls"].to_dict() == {"lora": 1, "lora_joint": 2, "joint": 2}
        assert rows.loc["lora", "held"] == full
        assert rows.loc["joint", "held"] == 2 * full
        assert rows.loc["lora_joint", "held"] == full + 4 * sum(layers)


def test_numbers_of_a_network() -> None:
    network = torch.nn.utils.skip_init(torch.nn.Linear, 3, 2).requires_grad_(False)
    assert numbers(network) == 8 and numbers(network, trainable=True) == 0
    assert numbers(network.requires_grad_(True), trainable=True) == 8


def test_methods_are_those_that_the_workshop_knows() -> None:
    names = {name for size in SIZES["adaptation"].values() for name in size.methods}
    assert {SUMS.get(name, name) for name in names} <= set(METHODS)


@pytest.mark.parametrize("profile", PROFILES)
def test_equal_budgets_end_with_the_epochs_of_the_specialised_network(profile: str) -> None:
    found = budget_trials(profile, 0)
    adapted = [t for t in found if t.configuration in ("finetuned", "finetuned_joint")]
    sizes = SIZES["adaptation"][profile].sizes
    for n in sizes:
        own = {t.profile.finetune_epochs for t in adapted if t.profile.n_specialised == n}
        assert max(own) == found[0].profile.specialised_epochs
    beside = {t.profile.n_specialised for t in found if t.configuration == "specialised"}
    assert beside == set(sizes)
    assert len({key(t) for t in found}) == len(found)
