"""The robot's networks: the units of their rows, the types they are told, the folds, the store."""

import math
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import default_dtype, generator
from robot_sizes import SMALL, TINY, no_work
from torch import Tensor

from dualdiff.experiments import trained
from dualdiff.experiments.store import Store, key
from dualdiff.robot import members
from dualdiff.robot.dataset import SPECIAL, features_of, offsets_of
from dualdiff.robot.kinds import FEATURES, SIDE, TYPES
from dualdiff.robot.members import FOLDS, UNTOLD, Moments, Networks, OfType
from dualdiff.robot.settings import SETTINGS, Setting
from dualdiff.robot.tasks import position

BALL = TYPES.index(SPECIAL)
FIXED = [FEATURES.index(name) for name in ("held", "gripper_free")]
"""Columns that do not vary within a type."""
every_setting = pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)


def networks_of(setting: Setting | str, store: Store, seed: int = 0) -> Networks:
    made = SMALL[setting] if isinstance(setting, str) else setting
    return Networks(made, TINY, seed, store)


def rounding(n: int) -> float:
    """How far a mean or a deviation of n float32 numbers of order 10 may be off."""
    return 20 * 2.0**-23 * math.sqrt(n) + 1e-5


def standard(rows: Tensor) -> bool:
    """Whether every column that varies has mean 0 and standard deviation 1, the others 0."""
    rows = rows.double()
    varies = rows.std(0) > 1e-3
    limit = rounding(len(rows))
    assert (rows[:, ~varies].abs() < limit).all()
    one = torch.ones(int(varies.sum()), dtype=torch.float64)
    return bool(
        (rows.mean(0).abs() < limit).all()
        and torch.allclose(rows.std(0)[varies], one, atol=limit, rtol=0)
    )


# --- units --------------------------------------------------------------------------------------


def spans(rows: Tensor) -> bool:
    """Whether every column that varies reaches from -1 to 1, and what is held is 0."""
    varies = torch.ones(rows.shape[1], dtype=torch.bool)
    if rows.shape[1] == 10:
        varies[FEATURES.index("held")] = False
    ones = torch.ones(int(varies.sum()))
    assert (rows[:, ~varies] == 0).all()
    low, high = rows.amin(0)[varies], rows.amax(0)[varies]
    return torch.allclose(low, -ones, atol=1e-5) and torch.allclose(high, ones, atol=1e-5)


@every_setting
def test_units_are_those_of_the_normalisation(setting: Setting, store: Store) -> None:
    """Of all general rows, or per task: of every type in the rows and of the specialised ones."""
    networks = networks_of(setting, store)
    y, c = networks.rows("general")
    if setting.normalisation != "per-task":
        lawful = {"z-score": standard, "min-max": spans}[setting.normalisation]
        assert lawful(networks.process.encode_y(y)) and lawful(networks.process.encode_c(c))
        assert torch.equal(c, features_of(networks.general_rows))
        assert setting.frame != "object" or torch.equal(y, offsets_of(networks.general_rows))
        return
    kinds = torch.from_numpy(networks.general_rows["type"].to_numpy(copy=True))
    varying = [i for i in range(10) if i not in FIXED]
    assert len(kinds.unique()) == 9
    for own in (kinds == kind for kind in kinds.unique()):
        assert standard(y[own]) and standard(c[own])
        assert (c[own][:, varying].std(0) > 0.9).all() and (y[own].std(0) > 0.9).all()
    y, c = networks.rows("specialised")
    assert len(y) == TINY.n_specialised and standard(y) and standard(c)


@pytest.mark.parametrize("normalisation", ["z-score", "min-max"])
def test_moments_are_an_affine_change_of_units(normalisation: str) -> None:
    rows = torch.randn(50, 3, generator=generator(1)) * torch.tensor([2.0, 5.0, 0.0]) + 7
    units = Moments(rows, normalisation)
    assert torch.allclose(units.decode(units.encode(rows)), rows)
    middle = rows.mean(0) if normalisation == "z-score" else (rows.amin(0) + rows.amax(0)) / 2
    half = rows.std(0) if normalisation == "z-score" else (rows.amax(0) - rows.amin(0)) / 2
    half[2] = 1  # a column that never varies keeps its unit
    assert torch.allclose(units.encode(rows), (rows - middle) / half, atol=1e-5)


def test_unknown_normalisations_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'z-score', 'per-task' or 'min-max', not 'whitened'"):
        Setting("any", "object", "whitened")  # type: ignore[arg-type]


def world(rows: pd.DataFrame) -> Tensor:
    return position(offsets_of(rows).double(), features_of(rows)[:, :5].double())


@every_setting
def test_places_undo_the_units_and_the_frame(setting: Setting, store: Store) -> None:
    """The specialised rows' own targets, in the units of the networks, are their places."""
    networks = networks_of(setting, store)
    rows = networks.data.specialised
    y, c = networks.rows("specialised")
    found = networks.places(features_of(rows), torch.stack([y, y, y.flip(0)], dim=1))
    expected = world(rows)
    if setting.frame == "world":
        expected = expected.clamp(0, SIDE)
    assert found.shape == (TINY.n_specialised, 3, 2)
    # Targets below 10 in units down to a quarter of a length, angles of up to pi: float32.
    assert torch.allclose(found[:, 0].double(), expected, rtol=0, atol=1e-4)
    assert torch.equal(found[:, 0], found[:, 1])
    assert not torch.allclose(found[:, 2].double(), expected, atol=0.1)
    assert torch.equal(c, networks.conditions(features_of(rows)))
    back = networks.process.decode_y(networks.process.encode_y(y))
    assert torch.allclose(back, y, atol=1e-4)


@pytest.mark.parametrize("setting", SMALL.values(), ids=SMALL)
def test_all_members_of_a_setting_share_one_process(setting: Setting, store: Store) -> None:
    networks = networks_of(setting, store)
    assert (networks.process.dy, networks.process.dc) == (2, 10)
    assert networks.process.steps == setting.recipe.steps
    others = (networks.general.network, networks.specialised.network, replace(networks, fold=1))
    assert all(networks.process.difference(other.process) is None for other in others)


# --- types that are told ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["object", "world, per task"])
def test_conditions_end_with_the_type_where_types_are_told(name: str, store: Store) -> None:
    plain = networks_of(name, store)
    told = replace(plain, setting=replace(plain.setting, told=True))
    features = features_of(plain.data.test)
    bare = plain.conditions(features)
    if name == "object":
        assert torch.equal(bare, features)
    assert torch.equal(plain.conditions(features, None), bare)
    for kind in (SPECIAL, "Tray", None):
        c = told.conditions(features, kind)
        marks = torch.zeros(len(TYPES))
        if kind is not None:
            marks[TYPES.index(kind)] = 1
        assert torch.equal(c[:, :10], bare)
        assert torch.equal(c[:, 10:], marks.expand(len(features), -1))
    assert torch.equal(told.conditions(features), told.conditions(features, SPECIAL))
    assert told.process.dc == 20
    shown = told.process.encode_c(told.conditions(features))  # the marks have no other units
    assert torch.equal(shown[:, 10:], (torch.arange(10) == BALL).float().expand(len(features), -1))


def test_half_of_the_general_rows_are_told_their_type(store: Store) -> None:
    plain = networks_of("object", store)
    told = replace(plain, setting=replace(plain.setting, told=True))
    y, c = told.rows("general")
    assert torch.equal(y, plain.rows("general")[0])
    assert torch.equal(c[:, :10], plain.rows("general")[1])
    marks = c[:, 10:]
    some = marks.sum(1) == 1
    assert ((marks == 0) | (marks == 1)).all() and (marks[~some] == 0).all()
    kinds = torch.from_numpy(told.general_rows["type"].to_numpy(copy=True)).long()
    assert torch.equal(marks[some].argmax(1), kinds[some])
    n = len(some)
    assert abs(float(some.double().mean()) - UNTOLD) < 3.29 * math.sqrt(UNTOLD * (1 - UNTOLD) / n)
    with default_dtype(torch.float64):
        assert torch.equal(told.rows("general")[1], c)
    special = told.rows("specialised")[1]
    assert (special[:, 10 + BALL] == 1).all() and (special[:, 10:].sum(1) == 1).all()


def test_told_says_its_type_whatever_the_condition_says(store: Store) -> None:
    networks = networks_of(replace(SMALL["object"], told=True), store)
    network = networks.general.network
    torch.nn.init.normal_(network.head.weight, generator=generator(1))  # the start says nothing
    features = features_of(networks.data.test)
    y = torch.randn(len(features), 2, generator=generator(2))
    true = networks.conditions(features, "Cup")
    other = torch.cat([features, torch.randn(len(features), 10, generator=generator(3))], 1)
    with torch.no_grad():
        expected = network(y, 3, true)
        for c in (true, networks.conditions(features, None), other):
            told = OfType(network, "Cup")
            assert torch.equal(told(y, 3, c), expected)
            assert torch.allclose(told.bind(c)(y, 3), network.bind(true)(y, 3))
        nothing = OfType(network, None)(y, 3, other)
        assert torch.equal(nothing, network(y, 3, networks.conditions(features, None)))
        assert not torch.allclose(nothing, expected)
        assert not torch.allclose(OfType(network, "Tray")(y, 3, true), expected)
    assert OfType(network, "Cup").process is network.process


# --- sets of rows -------------------------------------------------------------------------------


@every_setting
def test_only_a_complete_general_set_has_balls_and_none_that_is_tested(
    setting: Setting, store: Store
) -> None:
    networks = networks_of(setting, store)
    kinds = set(networks.general_rows["type"])
    assert kinds == set(range(10)) - (set() if setting.complete else {BALL})
    seen = set(networks.general_rows["task"])
    assert not seen & set(networks.data.test["task"])
    assert not seen & set(networks.data.specialised["task"])
    assert len(networks.rows("general")[0]) == len(networks.general_rows)


def test_folds_hold_out_whole_tasks_each_once(store: Store) -> None:
    networks = networks_of("metric", store)
    everything = networks.data.specialised
    y, c = networks.rows("specialised")
    held = []
    for k in range(FOLDS):
        own = replace(networks, fold=k)
        assert own.data.specialised.equals(everything)
        out, kept = own.rows("specialised", held_out=True), own.rows("specialised")
        mask = own._held_out()
        assert torch.equal(out[0], y[mask]) and torch.equal(out[1], c[mask])
        assert torch.equal(kept[0], y[~mask]) and torch.equal(kept[1], c[~mask])
        tasks = everything["task"].to_numpy()
        assert not set(tasks[mask.numpy()]) & set(tasks[~mask.numpy()])
        assert 0 < mask.sum() < len(mask)
        assert torch.equal(own.rows("general")[0], networks.rows("general")[0])
        held.append(mask)
    assert torch.equal(torch.stack(held).sum(0), torch.ones(len(everything), dtype=torch.long))
    tasks_held = [everything["task"][mask.numpy()].nunique() for mask in held]
    assert max(tasks_held) - min(tasks_held) <= 1
    with pytest.raises(ValueError, match="fold"):  # training rows are not handed out as unseen
        networks.rows("specialised", held_out=True)


# --- networks -----------------------------------------------------------------------------------

NETWORKS = ("general", "specialised", "finetuned")


def state(networks: Networks, name: str) -> dict[str, Tensor]:
    return getattr(networks, name).network.state_dict()


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_trained_once_and_the_same_anywhere(
    name: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = networks_of("object, per task", store)
    weights = state(first, name)
    elsewhere = networks_of("object, per task", Store(tmp_path))
    assert equal(state(elsewhere, name), weights)
    monkeypatch.setattr(Networks, "_options", no_work)  # a second networks trains nothing
    again = networks_of("object, per task", store)
    assert equal(state(again, name), weights)
    one, two = getattr(first, name), getattr(again, name)
    assert torch.equal(one.losses, two.losses) and one.seconds == two.seconds > 0
    epochs = {"general": 4, "specialised": 2, "finetuned": 1}[name]
    assert one.losses.shape == (epochs,) and torch.isfinite(one.losses).all()
    assert not one.network.training


def test_finetuning_starts_from_the_general_network(store: Store) -> None:
    """With a rate near zero nothing else is left of the training."""
    setting = SMALL["object"]
    still = replace(setting.recipe.optimisation, learning_rate=1e-12)
    networks = networks_of(
        replace(setting, recipe=replace(setting.recipe, optimisation=still)), store
    )
    for weight, other in zip(
        state(networks, "finetuned").values(), state(networks, "general").values(), strict=True
    ):
        assert torch.allclose(weight, other, atol=1e-9)
    general, special = state(networks, "general"), state(networks, "specialised")
    assert any(not torch.allclose(general[k], special[k], atol=1e-3) for k in general)


@pytest.mark.parametrize("steps", [1, 7, 100, 150, 299])
def test_the_general_network_takes_as_many_steps_as_asked(
    steps: int, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, taken = trained.fit, []

    def counted(*args: object, **options: object) -> object:
        for step in fit(*args, **options):  # type: ignore[arg-type]
            taken.append(step)
            yield step

    monkeypatch.setattr(trained, "fit", counted)
    scale = replace(TINY, general_steps=steps, batch=2)
    found = Networks(SMALL["object"], scale, 0, store).general
    assert len(taken) == steps
    assert 1 <= len(found.losses) <= members.MARKS


def test_what_decides_a_network_is_in_its_key(store: Store) -> None:
    base = networks_of("object", store)
    other_seed, other_frame = replace(base, seed=1), replace(base, setting=SMALL["metric"])
    more_steps = replace(base, scale=replace(TINY, general_steps=5))
    fold, next_fold = replace(base, fold=0), replace(base, fold=1)
    told = replace(base, setting=replace(base.setting, told=True))
    for name in NETWORKS:
        some = [base, other_seed, other_frame, more_steps, told]
        some += [] if name == "general" else [fold, next_fold]
        keys = [key(networks._config(name)) for networks in some]
        assert len(set(keys)) == len(keys)
    assert len({key(base._config(name)) for name in NETWORKS}) == 3
    # The general network sees no specialised row, so it is the same one for every fold.
    assert base._config("general") == fold._config("general")
    renamed = replace(base, setting=replace(base.setting, name="other"), quiet=False)
    sampled = replace(base, scale=replace(TINY, name="x", draws=4, law_conditions=2, budget=9))
    for networks in (renamed, sampled):  # of what judges it, nothing is
        assert all(networks._config(name) == base._config(name) for name in NETWORKS)
    longer = replace(base, scale=replace(TINY, specialised_epochs=9, finetune_epochs=9))
    assert longer._config("general") == base._config("general")
    assert longer._config("specialised") != base._config("specialised")


def test_settings_are_told_apart_by_all_but_their_name() -> None:
    described = [key(setting.described()) for setting in SETTINGS.values()]
    assert len(set(described)) == len(SETTINGS)
    assert all(name == setting.name for name, setting in SETTINGS.items())
    renamed = replace(SETTINGS["object"], name="other")
    assert renamed.described() == SETTINGS["object"].described()


def test_folds_give_networks_of_their_own(store: Store) -> None:
    networks = networks_of("object", store)
    weights = [state(replace(networks, fold=k), "specialised") for k in (None, 0, 1)]
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert not equal(weights[a], weights[b])
    same = [state(replace(networks, fold=k), "general") for k in (None, 0)]
    assert equal(*same)
