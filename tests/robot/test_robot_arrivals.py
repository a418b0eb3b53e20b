"""Type after type: what the networks may see, what they are told, and what is refused."""

from dataclasses import replace

import pytest
import torch
from robot_sizes import TINY, found_in
from torch import Tensor

from dualdiff.compose import Weighted
from dualdiff.experiments import continual
from dualdiff.experiments.continual import FOLDED
from dualdiff.experiments.continual_study import KEPT
from dualdiff.experiments.store import Store
from dualdiff.robot import arrivals
from dualdiff.robot.arrivals import ORDER, TOLD, WATCHED, Types, TypesTrial, sized, types_trials
from dualdiff.robot.judge import RATES
from dualdiff.robot.kinds import TYPES
from dualdiff.robot.members import Networks, OfType
from dualdiff.robot.settings import SCALES

SMALL = replace(TINY, tasks=40, n_specialised=12, conditions=10, law_conditions=4)


@pytest.fixture(scope="module")
def loop(store: Store) -> Types:
    return Types(SMALL, 0, store)


def tasks(networks: Networks) -> set[int]:
    """Those of its test and of its specialist."""
    data = networks.data
    return {*data.test["task"], *data.specialised["task"]}


def test_the_large_set_has_no_row_of_what_arrives_nor_of_its_tasks(loop: Types) -> None:
    taken = set().union(*(tasks(own) for own in loop.lived))
    first = loop.lived[0].general_rows
    for own in loop.lived:
        assert own.general_rows.equals(first)
        assert torch.equal(own.process.y_std, loop.lived[0].process.y_std)
        kinds = {TYPES[i] for i in own.general_rows["type"]}
        assert kinds == {*TYPES} - {*ORDER}
    assert not taken & {*first["task"]}
    y, c = loop.general_rows(0)
    plain = loop.lived[0].rows("general")
    assert torch.equal(y.sort(0).values, plain[0].sort(0).values)
    assert len(c) == len(first) and not torch.equal(c, plain[1])


def test_every_arrival_is_told_its_own_type(loop: Types) -> None:
    for kind, own in zip(ORDER, loop.lived, strict=True):
        y, c = own.rows("specialised")
        assert len(y) == SMALL.n_specialised
        code = torch.zeros(len(TYPES))
        code[TYPES.index(kind)] = 1
        assert torch.equal(c[:, -len(TYPES) :], code.expand(len(c), -1))


def test_with_one_type_general_and_specialist_are_those_of_the_robot_study(store: Store) -> None:
    def weights(trained: continual.Trained) -> list[Tensor]:
        return [*trained.network.parameters()]

    one, plain = Types(SMALL, 1, store, order=("Ball",)), Networks(TOLD, SMALL, 1, store)
    assert all(map(torch.equal, weights(one.lived[0].general), weights(plain.general)))
    assert all(map(torch.equal, weights(one.specialist(0)), weights(plain.specialised)))


def test_what_has_not_arrived_is_asked_for_without_its_name(
    loop: Types, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(continual, "NOISED", 4)

    def told(rule: object) -> str | None:
        assert isinstance(rule, OfType)
        where = rule.told.nonzero().flatten().tolist()
        return TYPES[where[0]] if where else None

    for way in ("finetuned", "generated"):
        trial = TypesTrial(SMALL, 0, way, 1)
        found = [told(trial.member(loop, kind)) for kind in (*ORDER, WATCHED)]
        assert found == ["Ball", None, None, WATCHED]
    trial = TypesTrial(SMALL, 0, "joint", 2)
    rules = [trial.member(loop, kind) for kind in (*ORDER, WATCHED)]
    assert [isinstance(rule, Weighted) for rule in rules] == [True, True, False, False]
    first = rules[0]
    assert isinstance(first, Weighted)
    assert [told(member) for member in first.members.values()] == [None, "Ball"]
    assert [told(rule) for rule in rules[2:]] == [None, WATCHED]


@pytest.mark.parametrize("way", ["general", *FOLDED, *KEPT])
def test_every_way_is_judged_on_every_type(
    way: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(continual, "NOISED", 4)
    monkeypatch.setattr(arrivals, "REMEMBERED", 64)
    trial = TypesTrial(SMALL, 0, way, 0 if way == "general" else 2)
    found = found_in(trial.table(store))
    for kind in (*ORDER, WATCHED):
        assert all(0 <= found[kind, rate] <= 1 for rate in RATES)
        assert found[kind, "success"] <= found[kind, "geometry"]
        assert found[kind, "energy_distance"] == found[kind, "energy_distance"]


def test_refusals() -> None:
    with pytest.raises(ValueError, match="way must be one of general, finetuned"):
        TypesTrial(SMALL, 0, "none", 1)
    with pytest.raises(ValueError, match="arrivals must be from 1 to 3, not 4"):
        TypesTrial(SMALL, 0, "replay", 4)
    for order in ((), ("Ball", "Bin"), ("Book",), ("Ball", "Ball")):
        with pytest.raises(ValueError, match="order must have types of different environments"):
            TypesTrial(SMALL, 0, "replay", 1, order)
    with pytest.raises(ValueError, match="object type must be one of"):
        TypesTrial(SMALL, 0, "replay", 1, ("Moon",))


def test_the_table_has_every_way_after_every_arrival() -> None:
    found = types_trials(SCALES["full"], 0)
    assert len({trial.key for trial in found}) == len(found) == 3 * (1 + 3 * 10)
    for scale in SCALES.values():
        assert sized(scale).finetune_epochs == scale.specialised_epochs
