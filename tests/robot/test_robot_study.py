"""The robot study: what is composed, drawn, compared, and run as parts of the results."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from robot_sizes import SMALL, TINY, found_in, no_work
from torch import Tensor

from dualdiff.compose import Weighted
from dualdiff.experiments.profiles import PROFILES
from dualdiff.experiments.store import Store, key
from dualdiff.experiments.trial import KEY
from dualdiff.results import committed as results
from dualdiff.results import making
from dualdiff.results.parts import PARTS
from dualdiff.robot import study
from dualdiff.robot.dataset import SPECIAL, features_of, offsets_of
from dualdiff.robot.judge import RATES
from dualdiff.robot.kinds import SIDE, TYPES
from dualdiff.robot.members import FOLDS, Networks, OfType
from dualdiff.robot.rows import DataTrial, data_trials
from dualdiff.robot.settings import REFERENCE, SCALES, SETTINGS
from dualdiff.robot.study import (
    CONFIGURATIONS,
    GROUP,
    REFERENCES,
    THESIS,
    RobotTrial,
    ablation_trials,
    compose,
    draw,
    folds,
    guidance,
    learned_constants,
    main_trials,
    nearest_type,
    reference,
    told_setting,
    unseen,
)
from dualdiff.robot.tasks import position

OBJECT = SMALL["object"]
RATES_OF = [("fresh scenes", name) for name in RATES]
LAW = [("oracle", "energy_distance"), ("oracle", "coverage")]
ROBOT_PARTS = ["robot", "robot_ablation", "robot_data"]


@pytest.fixture(scope="module")
def networks(store: Store) -> Networks:
    return Networks(OBJECT, TINY, 0, store)


# --- compositions -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["general", "specialised", "finetuned"])
def test_a_single_network_is_itself(name: str, networks: Networks) -> None:
    made = compose(networks, name)
    assert made.denoiser is getattr(networks, name).network
    assert made.notes == {} and not made.corrected


@pytest.mark.parametrize("small", ["specialised", "finetuned"])
@pytest.mark.parametrize("how", ["joint", "smc", "weighted"])
def test_a_sum_has_weights_1_and_1_or_those_that_were_learned(
    how: str, small: str, networks: Networks
) -> None:
    made = compose(networks, how if small == "specialised" else f"finetuned_{how}")
    assert isinstance(made.denoiser, Weighted) and made.corrected == (how == "smc")
    members, weights = made.denoiser.members, made.denoiser.weights
    expected = {"general": 1, "specialised": 1}
    if how == "weighted":
        curve = learned_constants(networks, small)
        expected = dict(zip(curve.names, curve.values[0].tolist(), strict=True))
        assert min(weights.values()) >= 0 and sum(weights.values()) > 0
    assert set(members) == set(weights) == set(expected) and weights == expected
    assert members["general"] is networks.general.network
    assert members["specialised"] is getattr(networks, small).network
    noted = {f"weight {name}": w for name, w in weights.items()}
    assert made.notes == (noted if how == "weighted" else {})


def test_told_is_the_finetuned_network_that_is_told_its_type(networks: Networks) -> None:
    made = compose(networks, "told")
    assert isinstance(made.denoiser, OfType)
    told = told_setting(networks)
    assert told.setting.told and not networks.setting.told
    assert replace(told.setting, told=False) == networks.setting
    expected = torch.zeros(len(TYPES))
    expected[TYPES.index(SPECIAL)] = 1
    assert torch.equal(made.denoiser.told, expected)
    ours, theirs = made.denoiser.network.state_dict(), told.finetuned.network.state_dict()
    assert all(torch.equal(ours[k], theirs[k]) for k in theirs)


def test_guidance_is_the_formula(networks: Networks) -> None:
    """The noise of no type, and from there towards two others."""
    told = told_setting(networks)
    c = told.conditions(features_of(networks.data.test))
    y = torch.randn(len(c), 2, generator=torch.Generator().manual_seed(1))
    # All tiny networks are near zero at the start of their training: give them weights.
    told = replace(told, scale=replace(TINY, general_steps=5))
    for i, name in enumerate(("general", "finetuned")):
        weight = getattr(told, name).network.head.weight
        torch.nn.init.normal_(weight, generator=torch.Generator().manual_seed(i))
    general, finetuned = told.general.network, told.finetuned.network
    with torch.no_grad():
        nothing = OfType(general, None)(y, 2, c)
        ball, cup = OfType(finetuned, SPECIAL)(y, 2, c), OfType(general, "Cup")(y, 2, c)
        found = guidance(told, "Cup", 0.7, 0.4)(y, 2, c)
    expected = nothing + 0.7 * (ball - nothing) + 0.4 * (cup - nothing)
    assert torch.allclose(found, expected, atol=1e-5)
    assert not torch.allclose(ball, cup, atol=0.1) and not torch.allclose(cup, nothing, atol=0.1)


def test_guided_says_its_weights_and_the_type_that_is_nearest(networks: Networks) -> None:
    made = compose(networks, "guided")
    assert set(made.notes) == {"weight concept", "weight task", "nearest type"}
    assert made.notes["weight concept"] >= 0 and made.notes["weight task"] >= 0
    kind = nearest_type(told_setting(networks))
    assert made.notes["nearest type"] == TYPES.index(kind) and kind != SPECIAL
    assert isinstance(made.denoiser, Weighted)
    weights = sorted(made.denoiser.weights.values())
    concept, task = made.notes["weight concept"], made.notes["weight task"]
    assert weights == pytest.approx(sorted([1 - concept - task, concept, task]))


def test_weights_are_learned_from_rows_that_the_networks_have_not_seen(networks: Networks) -> None:
    made = folds(networks, "specialised")
    assert len(made) == FOLDS
    everything = {tuple(row) for row in networks.rows("specialised")[0].tolist()}
    held = [{tuple(row) for row in fold.y.tolist()} for fold in made]
    assert set().union(*held) == everything and sum(map(len, held)) == len(everything)
    for k, fold in enumerate(made):
        own = replace(networks, fold=k)
        assert fold.members["general"] is networks.general.network
        ours, theirs = fold.members["specialised"], own.specialised.network
        assert all(map(torch.equal, ours.state_dict().values(), theirs.state_dict().values()))
        assert not held[k] & {tuple(row) for row in own.rows("specialised")[0].tolist()}


# --- samples ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_samples_are_places_at_the_test_conditions(name: str, networks: Networks) -> None:
    test = unseen(networks)
    n, law = len(test.features), TINY.law_conditions
    drawn = draw(networks, name, test)
    assert drawn.places.shape == (n, GROUP if name.endswith("smc") else 1, 2)
    assert drawn.law.shape == (law, TINY.draws, 2)
    assert torch.isfinite(drawn.places).all() and torch.isfinite(drawn.law).all()
    again = draw(networks, name, test)
    assert torch.equal(again.places, drawn.places) and again.notes == drawn.notes
    if name.endswith("smc"):
        assert 0 < drawn.notes["unique"] <= 1
    assert drawn.places[:, 0].std(0).min() > 0


@pytest.mark.parametrize("name", REFERENCES)
def test_references_have_the_shape_of_samples(name: str, networks: Networks) -> None:
    test = unseen(networks)
    drawn = reference(networks, name, test)
    own = name == "data"
    assert drawn.places.shape == (len(test.features), 1, 2)
    assert drawn.law.shape == (TINY.law_conditions, 1 if own else TINY.draws, 2)
    if own:
        rows = networks.data.test
        exact = position(offsets_of(rows).double(), features_of(rows)[:, :5].double())
        assert torch.allclose(drawn.places[:, 0].double(), exact, atol=1e-4)
    else:
        assert ((drawn.places >= 0) & (drawn.places <= SIDE)).all()


def test_the_test_conditions_are_of_tasks_that_nothing_was_trained_on(networks: Networks) -> None:
    test, data = unseen(networks), networks.data
    assert len(test.features) == len(data.test) >= TINY.conditions
    seen = {*data.general["task"], *data.specialised["task"]}
    assert not seen & set(test.tasks.tolist())
    assert len(test.law.unique()) == TINY.law_conditions
    assert test.law[0] == 0 and test.law[-1] == len(data.test) - 1
    other = unseen(replace(networks, seed=1, setting=SMALL["world, min-max"]))
    assert torch.equal(other.features, test.features) and torch.equal(other.law, test.law)


# --- trials -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*CONFIGURATIONS, *REFERENCES])
def test_a_trials_table_holds_every_metric(name: str, store: Store) -> None:
    setting = REFERENCE if name in REFERENCES else OBJECT
    table = RobotTrial(setting, TINY, 0, name).table(store)
    found = found_in(table)
    notes = {
        "smc": ["unique"],
        "weighted": ["weight general", "weight specialised"],
        "guided": ["weight concept", "weight task", "nearest type"],
    }.get(name.removeprefix("finetuned_"), [])
    expected = [*RATES_OF, *(LAW if name != "data" else []), *(("run", note) for note in notes)]
    assert set(found) == set(expected) and len(table) == len(expected)
    rates = table[table["target"] == "fresh scenes"]
    assert rates["value"].between(0, 1).all()
    assert ((rates["low"] <= rates["value"]) & (rates["value"] <= rates["high"])).all()
    success, geometry = found["fresh scenes", "success"], found["fresh scenes", "geometry"]
    assert success <= geometry and success <= 1 - found["fresh scenes", "collision"] + 1e-12
    assert set(table["configuration"]) == {name} and set(table["profile"]) == {"smoke"}
    assert set(table["recipe"]) == {setting.name} and set(table["seed"]) == {0}
    assert (table["seconds"] > 0).all()


@pytest.mark.parametrize("name", ["oracle", "joint", "finetuned_smc", "weighted", "guided"])
def test_a_trial_has_the_same_numbers_in_any_store(
    name: str, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trial = RobotTrial(REFERENCE if name in REFERENCES else OBJECT, TINY, 0, name)
    first = trial.table(store)
    again = trial.table(Store(tmp_path))
    assert again.drop(columns="seconds").equals(first.drop(columns="seconds"))
    monkeypatch.setattr(RobotTrial, "_make", no_work)  # what is stored is not made again
    assert trial.table(store).equals(first)


def test_references_are_in_order(store: Store) -> None:
    size = replace(TINY, tasks=40, conditions=200, law_conditions=60, draws=24)
    oracle, data, uniform = (
        found_in(RobotTrial(REFERENCE, size, 0, name).table(store))
        for name in ("oracle", "data", "uniform")
    )
    for true in (oracle, data):
        assert true["fresh scenes", "success"] > uniform["fresh scenes", "success"]
        assert true["fresh scenes", "geometry"] == 1
    assert oracle["oracle", "energy_distance"] < uniform["oracle", "energy_distance"]


def truth_of(networks: Networks) -> Tensor:
    return study._truth(SPECIAL, networks, unseen(networks))


def test_all_trials_of_a_seed_are_judged_by_the_same_truth(store: Store) -> None:
    trials = [RobotTrial(SMALL[name], TINY, 0, "general") for name in ("object", "world")]
    truths = [truth_of(trial.networks(store)) for trial in trials]
    assert torch.equal(*truths)
    assert truths[0].shape == (TINY.law_conditions, TINY.draws, 2)
    other = replace(trials[0], seed=1)
    networks = other.networks(store)
    assert not torch.equal(truth_of(networks), truths[0])


def test_the_truth_is_not_the_oracle_that_is_compared_with_it(store: Store) -> None:
    """Else its distance would be zero by construction, not by the law."""
    trial = RobotTrial(REFERENCE, TINY, 0, "oracle")
    networks = trial.networks(store)
    test = unseen(networks)
    truth, drawn = truth_of(networks), reference(networks, "oracle", test).law
    assert not (truth[:, :, None] == drawn[:, None]).all(-1).any()


@pytest.mark.parametrize("name", ["average", "data, oracle", ""])
def test_unknown_configurations_are_refused(name: str, networks: Networks) -> None:
    for make in (lambda: RobotTrial(OBJECT, TINY, 0, name), lambda: compose(networks, name)):
        with pytest.raises(ValueError, match=f"must be one of general, .*, not {name!r}"):
            make()


def test_a_trial_is_what_it_is_made_of() -> None:
    base = RobotTrial(OBJECT, TINY, 0, "joint")
    assert json.loads(json.dumps(base.config())) == base.config()
    for same in (
        replace(base, profile=replace(TINY, name="other", seeds=9)),
        replace(base, setting=replace(OBJECT, name="other")),
    ):
        assert same.config() == base.config()
    changed = [replace(TINY, **{size: 16}) for size in vars(TINY) if size not in ("name", "seeds")]
    others = [replace(base, profile=profile) for profile in changed]
    others += [replace(base, seed=1), replace(base, configuration="general")]
    others += [replace(base, setting=setting) for setting in SMALL.values() if setting != OBJECT]
    assert len({key(trial.config()) for trial in (base, *others)}) == 1 + len(others)


def test_trials_of_a_table_can_be_told_apart() -> None:
    size = replace(TINY, seeds=3)
    main, ablated = main_trials(size, 4), ablation_trials(size, 4)
    assert len(main) == 3 * (len(REFERENCES) + len(study.MAIN) * len(CONFIGURATIONS))
    assert {trial.seed for trial in main} == {4, 5, 6}
    assert len(ablated) == len(SETTINGS) * len(THESIS) and {t.seed for t in ablated} == {4}
    assert {trial.profile.general_steps for trial in ablated} == {TINY.general_steps // 2}
    for trials in (main, ablated):
        assert len({trial.key for trial in trials}) == len(trials)
        assert len({key(trial.config()) for trial in trials}) == len(trials)
        assert all(trial.cost > 0 and len(trial.key) == len(KEY) for trial in trials)


def test_a_trial_is_the_same_in_another_process() -> None:
    """What a worker is sent is what was meant: trials survive pickling."""
    for trial in (*main_trials(TINY, 0), *ablation_trials(TINY, 0), *data_trials(TINY)):
        copy = pickle.loads(pickle.dumps(trial))
        assert copy == trial and copy.config() == trial.config()


# --- parts of the results -----------------------------------------------------------------------


def test_the_robots_parts_run_and_are_not_run_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At sizes of seconds, the ablation with four of its settings."""
    monkeypatch.setitem(SCALES, "smoke", TINY)
    for name in set(SETTINGS) - {"object", "metric", "world, min-max", "object, ten types"}:
        monkeypatch.delitem(SETTINGS, name)
    for name in SETTINGS:
        monkeypatch.setitem(SETTINGS, name, SMALL[name])

    def run(folder: str) -> Path:
        output = tmp_path / folder
        making.run("smoke", ROBOT_PARTS, store=store, output=output, quiet=True)
        return output

    first = run("first")
    for part in ROBOT_PARTS:
        wanted = PARTS[part].trials(PROFILES["smoke"])
        table, record = results.load(part, first)
        assert record["trials"] == len(wanted) and record["tasks"] == TINY.tasks
        assert set(table[KEY].itertuples(index=False, name=None)) == {trial.key for trial in wanted}
        assert results.staleness(part, first) == []
        assert set(table["scenario"]) == {"robot"}
    monkeypatch.setattr(RobotTrial, "_make", no_work)
    monkeypatch.setattr(DataTrial, "_make", no_work)
    second = run("second")
    for part in ROBOT_PARTS:
        name = f"{part}.csv"
        assert (first / name).read_bytes() == (second / name).read_bytes()
