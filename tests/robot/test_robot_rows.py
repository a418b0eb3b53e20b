"""The table of the data set: its counts are those of the rows."""

from dataclasses import replace

import pytest
from robot_sizes import TINY, found_in, no_work

from dualdiff.experiments.store import Store, key
from dualdiff.robot.dataset import Chunk, generate
from dualdiff.robot.kinds import ENVIRONMENTS, TYPES
from dualdiff.robot.members import DATA_SEED
from dualdiff.robot.rows import DataTrial, data_trials, peak_memory

SIZE = replace(TINY, tasks=30)


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_counts_are_those_of_the_generated_rows(name: str, store: Store) -> None:
    table = DataTrial(SIZE, name).table(store)
    found = found_in(table)
    assert len(found) == len(table)
    assert found["run", "memory"] > 0 and found["run", "seconds"] > 0
    assert (table["seconds"] >= found["run", "seconds"]).all()
    assert table[["low", "high"]].isna().all(axis=None)
    assert set(table["profile"]) == {"smoke"} and set(table["configuration"]) == {name}
    rows = generate(SIZE.tasks, DATA_SEED, store=store, environments=[name])
    environment = ENVIRONMENTS[name]
    kinds = (environment.pickable.name, environment.container.name)
    for kind in kinds:
        own = rows[rows["type"] == TYPES.index(kind)]
        assert found[kind, "rows"] == len(own) > 0
        assert found[kind, "tasks"] == len(set(own["task"])) <= SIZE.tasks
        assert found[kind, "draws per row"] == pytest.approx(own["draws"].sum() / len(own))
        assert found[kind, "draws per row"] >= 1
    assert sum(found[kind, "rows"] for kind in kinds) == len(rows)
    # Nothing is put into a container that was not picked up before.
    assert found[kinds[1], "rows"] <= found[kinds[0], "rows"]
    assert found[kinds[1], "tasks"] <= found[kinds[0], "tasks"]
    # A task is finished if all its goals were moved.
    moved = rows[rows["gripper_free"] == 0].groupby("task").size()
    goals = rows.groupby("task")["goals"].first()
    whole = sum(moved.get(task, 0) == number for task, number in goals.items())
    assert found["tasks", "finished"] == whole
    assert 0 < whole <= found["tasks", "begun"] == SIZE.tasks


def test_peak_memory_never_falls() -> None:
    before = peak_memory()
    held = bytearray(50_000_000)
    assert peak_memory() >= before > 0
    assert len(held) / 1e9 < peak_memory() < 1e3  # in gigabytes


def test_a_table_is_made_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = DataTrial(SIZE, "cup, cupboard")
    first = trial.table(store)
    monkeypatch.setattr(DataTrial, "_make", no_work)
    monkeypatch.setattr(Chunk, "_make", no_work)
    assert trial.table(store).equals(first)
    renamed = replace(trial, profile=replace(SIZE, name="other", draws=1))
    assert renamed.table(store).equals(first.assign(profile="other"))


def test_there_is_one_trial_per_environment() -> None:
    trials = data_trials(SIZE)
    assert [trial.configuration for trial in trials] == list(ENVIRONMENTS)
    assert len({key(trial.config()) for trial in trials}) == len(trials)
    more = data_trials(replace(SIZE, tasks=31))
    assert not {key(t.config()) for t in more} & {key(t.config()) for t in trials}
    assert all(trial.cost > 0 for trial in trials)
