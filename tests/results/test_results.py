"""The full-scale tables: how they are run, resumed and checked, and those that are committed."""

import json
import multiprocessing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from committed import write as write_made_up
from test_study import TINY

from dualdiff.experiments import provenance
from dualdiff.experiments.members import RECIPES
from dualdiff.experiments.profiles import PROFILES
from dualdiff.experiments.scenarios import cabinet
from dualdiff.experiments.store import Store
from dualdiff.experiments.study import ScenarioTrial, trials
from dualdiff.experiments.trial import KEY, Trial
from dualdiff.metrics import METRICS
from dualdiff.results import committed as results
from dualdiff.results import making
from dualdiff.results.parts import PARTS, Part


def small(profile: Any) -> list[ScenarioTrial]:
    """Two configurations of two set sizes: general is one trial of the part, not two."""
    sizes = [replace(profile, n_specialised=n) for n in (32, 128)]
    names = ("general", "specialised")
    every = [t for s in sizes for t in trials(cabinet(), [RECIPES["plain"]], s, 0)]
    return [t for t in every if t.configuration in names]


def other(profile: Any) -> list[ScenarioTrial]:
    """Another seed of the general model alone."""
    return trials(cabinet(), [RECIPES["plain"]], profile, 1)[:1]


MAKES: dict[str, Any] = {"small": small, "other": other}
SIZE = replace(TINY, name="smoke", conditions=6, draws=2)


@pytest.fixture
def tiny_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = {name: Part(name, f"Table {name}", make) for name, make in MAKES.items()}
    for module in (results, making):
        monkeypatch.setattr(module, "PARTS", parts)
    monkeypatch.setitem(PROFILES, "smoke", SIZE)


tiny = pytest.mark.usefixtures("tiny_parts")


def _run(tmp_path: Path, folder: str = "out", **options: Any) -> Path:
    output = tmp_path / folder
    store = Store(tmp_path / options.pop("store", "store"))
    options = {"quiet": True, **options}
    making.run("smoke", ["small", "other"], store=store, output=output, **options)
    return output


def _no_work(*_: Any) -> None:
    raise AssertionError("something was computed again")


@tiny
def test_a_run_writes_tables_with_their_provenance(tmp_path: Path) -> None:
    output = _run(tmp_path)
    files = ["other.csv", "other.json", "small.csv", "small.json"]
    assert sorted(p.name for p in output.iterdir()) == files
    table, record = results.load("small", output)
    some = small(PROFILES["smoke"])
    assert list(table.columns[: len(KEY)]) == list(KEY)
    assert len(table) == len(some) * len(METRICS) == record["trials"] * len(METRICS)
    assert set(table["n_specialised"]) == {32, 128}
    assert record["hashes"].split() == [results.trial_hash(trial) for trial in some]
    assert record["command"] == "dualdiff results --profile smoke small"
    assert {"torch", "numpy", "python"} <= set(record["versions"])
    assert (record["conditions"], record["draws"], record["seeds"]) == (6, 2, [0])
    assert record["recipes"]["plain"]["steps"] == 100
    assert results.staleness("small", output) == []
    assert results.describe("small", output) == ("Table small", "current")


@tiny
def test_a_second_run_computes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _run(tmp_path)
    monkeypatch.setattr(Trial, "_make", _no_work)
    second = _run(tmp_path, "again")
    for name in ("small", "other"):
        assert (first / f"{name}.csv").read_bytes() == (second / f"{name}.csv").read_bytes()


@tiny
def test_an_interrupted_run_loses_one_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made, end = Trial._make, [], [1]

    def interrupted(trial: Trial, *options: Any) -> pd.DataFrame:
        if len(made) in end:
            raise KeyboardInterrupt
        made.append(trial)
        return make(trial, *options)

    monkeypatch.setattr(Trial, "_make", interrupted)
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path)
    assert not (tmp_path / "out").exists()  # no part was complete, so no file was begun
    end.clear()
    output = _run(tmp_path)
    wanted = [t for part in results.PARTS.values() for t in part.trials(PROFILES["smoke"])]
    assert len(made) == len(wanted)  # each exactly once, over both runs
    assert results.staleness("small", output) == results.staleness("other", output) == []


@tiny
def test_the_number_of_jobs_changes_nothing(tmp_path: Path) -> None:
    one = _run(tmp_path)
    two = _run(tmp_path, "two", store="other", jobs=2)
    for name in ("small", "other"):
        # Sampling in another number of threads rounds its sums in another order.
        a, b = (pd.read_csv(folder / f"{name}.csv") for folder in (one, two))
        pd.testing.assert_frame_equal(a, b, rtol=1e-5, atol=1e-6)
    assert not multiprocessing.active_children()


@tiny
def test_progress_names_part_share_and_time_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _run(tmp_path, quiet=False)
    shown = capsys.readouterr().err.replace("\r", "\n")
    for words in ("small: ", "other: ", "100 %", "so far", "about 0:00:0", "left"):
        assert words in shown


@tiny
@pytest.mark.parametrize(
    ("profile", "parts", "jobs", "message"),
    [
        ("huge", ["small"], 1, "profile must be one of .*smoke.* not 'huge'"),
        ("smoke", ["small", "tiny"], 1, "part must be one of small, other, not 'tiny'"),
        ("smoke", ["small"], 0, "jobs must be at least 1, not 0"),
    ],
)
def test_bad_requests(
    profile: str, parts: list[str], jobs: int, message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        making.run(profile, parts, store=Store(tmp_path), output=tmp_path, jobs=jobs)
    with pytest.raises(ValueError, match="part must be one of"):
        results.load("tiny")
    with pytest.raises(FileNotFoundError, match="dualdiff results --profile full small"):
        results.load("small", tmp_path)
    assert results.describe("small", tmp_path) == ("Table small", "not run")


@tiny
def test_trials_that_cannot_be_told_apart_are_refused() -> None:
    def twice(profile: Any) -> list[ScenarioTrial]:
        other = replace(profile, conditions=7)
        return [t for p in (profile, other) for t in trials(cabinet(), ["exact"], p, 0)]

    with pytest.raises(ValueError, match="part x has two different trials"):
        Part("x", "", twice).trials(TINY)
    same = Part("x", "", lambda p: 2 * trials(cabinet(), ["exact"], p, 0))
    assert len(same.trials(TINY)) == 3


@tiny
def test_staleness_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _run(tmp_path)
    edit_code(monkeypatch)
    assert results.staleness("other", folder) == ["changed since: fit"]
    monkeypatch.undo()
    _tiny(monkeypatch, "small", lambda p: small(replace(p, general_epochs=9)))
    (reason,) = results.staleness("small", folder)
    assert reason.startswith("stale: 4 trials differ, such as cabinet plain")
    _tiny(monkeypatch, "small", lambda p: small(p)[1:])
    (reason,) = results.staleness("small", folder)
    assert reason.startswith("stale: 1 trials differ, such as cabinet plain")


@tiny
def test_an_edited_or_half_written_table_is_noticed(tmp_path: Path) -> None:
    folder = _run(tmp_path)
    path = folder / "small.csv"
    text = path.read_text()
    path.write_bytes(text.replace("\n", "\r\n").encode())  # as git may give it on another system
    assert results.staleness("small", folder) == []
    path.write_text(text.replace("accuracy", "recall", 1))
    assert "not the one that its provenance" in results.describe("small", folder)[1]
    with pytest.raises(ValueError, match=r"not the table that small.json was written for"):
        results.load("small", folder)
    path.with_suffix(".json").unlink()  # as after a kill between the two
    assert results.describe("small", folder)[1] == "not run"


@tiny
def test_code_that_is_edited_during_a_run_stops_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def make(trial: Trial, store: Store) -> pd.DataFrame:
        made.append(trial)
        edit_code(monkeypatch)
        return pd.DataFrame({"scenario": ["x"], "recipe": [""], "profile": [""], "seconds": [1.0]})

    monkeypatch.setattr(Trial, "table", make)
    with pytest.raises(RuntimeError, match=r"source of fit was edited during the run"):
        _run(tmp_path)
    assert len(made) == 1 and not (tmp_path / "out").exists()


def _work_counted(monkeypatch: pytest.MonkeyPatch) -> list[Trial]:
    make, made = Trial._make, []

    def counted(trial: Trial, *options: Any) -> pd.DataFrame:
        made.append(trial)
        return make(trial, *options)

    monkeypatch.setattr(Trial, "_make", counted)
    return made


@tiny
def test_a_table_that_lacks_trials_is_extended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new configuration computes its own trials, and the rest stays byte for byte."""
    folder = _run(tmp_path)
    before = (folder / "small.csv").read_text().splitlines()
    every = results.PARTS["small"].trials(PROFILES["smoke"])
    more = [replace(every[0], configuration="joint"), *every]
    _tiny(monkeypatch, "small", lambda _: more)
    assert results.staleness("small", folder)[0].startswith("stale: 1 trials differ")
    made = _work_counted(monkeypatch)
    making.run("smoke", ["small"], store=Store(tmp_path / "new"), output=folder, quiet=True)
    after = (folder / "small.csv").read_text().splitlines()
    assert [trial.configuration for trial in made] == ["joint"]
    assert after[0] == before[0] and after[-len(before) + 1 :] == before[1:]
    assert len(after) == len(before) + len(METRICS) and results.staleness("small", folder) == []
    # What is no trial any more leaves the table, and nothing is computed for that.
    _tiny(monkeypatch, "small", lambda _: every)
    making.run("smoke", ["small"], store=Store(tmp_path / "new"), output=folder, quiet=True)
    assert (folder / "small.csv").read_text().splitlines() == before and len(made) == 1


@tiny
def test_trials_of_edited_code_are_computed_anew_unless_the_table_is_extended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = _run(tmp_path)
    edit_code(monkeypatch)
    made = _work_counted(monkeypatch)
    every = results.PARTS["small"].trials(PROFILES["smoke"])
    _tiny(monkeypatch, "small", lambda _: [*every, replace(every[0], configuration="joint")])
    run = partial(making.run, "smoke", ["small"], output=folder, quiet=True)
    run(store=Store(tmp_path / "one"), extend=True)
    assert len(made) == 1
    assert results.staleness("small", folder) == ["changed since: fit"]  # until it is confirmed
    run(store=Store(tmp_path / "two"))
    assert len(made) == 1 + len(every) + 1 and results.staleness("small", folder) == []


def edit_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if ``fit`` had been edited."""
    real = provenance.definitions_of

    def edited(*roots: object) -> dict[str, str]:
        return {**real(*roots), "fit": "0" * 16}

    monkeypatch.setattr(results, "definitions_of", edited)


def _tiny(monkeypatch: pytest.MonkeyPatch, name: str, make: Any) -> None:
    for module in (results, making):
        monkeypatch.setattr(module, "PARTS", {name: Part(name, f"Table {name}", make)})
    monkeypatch.setitem(PROFILES, "smoke", SIZE)


def test_what_the_parts_hold() -> None:
    size = PROFILES["full"]
    main = results.PARTS["cabinet"].trials(size)
    assert len(main) == 3 * 5 and {t.profile.conditions for t in main} == {100_000}
    tuned = results.PARTS["round_table_tuned"].trials(size)
    assert len(tuned) == 5 * 5 and {t.profile.conditions for t in tuned} == {2_000}
    overlap = results.PARTS["overlap"].trials(size)
    assert len(overlap) == 6 * 3 * 5 and "fixed" in (overlap[0].targets or {})
    sensitivity = results.PARTS["sensitivity"].trials(size)
    names = list(dict.fromkeys(t.recipe_name for t in sensitivity))
    assert names[0] == "plain" and len(names) == 1 + 3 + 2 + 1
    assert {t.profile.conditions for t in sensitivity} == {1_000}
    general, _, _, joint, _ = (trial.cost for trial in main[:5])
    assert general == 1_000_000 + 200_000 and joint == 2_000_000  # a joint sample takes two calls
    for part in PARTS.values():  # every part has a smoke size
        assert part.trials(PROFILES["smoke"])


def test_parts_of_one_study_read_as_one_table(tmp_path: Path) -> None:
    def together(*parts: str, **change: Any) -> results.Together:
        """With a record of the second part that was changed."""
        path.write_text(json.dumps(record | change))
        return results.together("sweep", *parts or ["sweep_tuned"], folder=tmp_path)

    write_made_up(tmp_path, "sweep", "sweep_tuned")
    path = tmp_path / "sweep_tuned.json"
    record = json.loads(path.read_text())
    both = together()
    assert list(both.table["recipe"].unique()) == ["exact", "plain", "tuned"]
    assert both.state == "current" and both.record["part"] == "sweep"
    state = together(sources=record["sources"] | {"process": "another"}).state
    assert state == "sweep current, sweep_tuned changed since: process"
    assert together(date="2020-01-02").record["date"].startswith("2020-01-02 and 20")
    with pytest.raises(ValueError, match="conditions differ.*sweep 500, sweep_tuned 7"):
        together(conditions=7)
    with pytest.raises(FileNotFoundError, match="adaptation"):
        together("adaptation")


COMMITTED = sorted(path.stem for path in results.FOLDER.glob("*.csv"))


@pytest.mark.parametrize("part", COMMITTED)
def test_committed_tables_are_what_the_code_would_make(part: str) -> None:
    """A table that is out of date fails here, with the part and the reason."""
    table, record = results.load(part)
    stale = [reason for reason in results.staleness(part) if reason.startswith("stale")]
    assert not stale, f"{part}: {stale}; run: {record['command']}"
    assert record["profile"] == "full" and record["seconds"] > 0
    some = results.PARTS[part].trials(PROFILES["full"])
    written, _ = results.as_written(part)  # where names still hold numbers
    assert len(written.groupby(KEY)) == len(some)
    sure = table[table["metric"].isin(["accuracy", "total_variation"])]
    assert np.isfinite(sure[["value", "low", "high"]]).all(axis=None)
    assert table[table["metric"] == "accuracy"]["value"].between(0, 1).all()


def test_committed_folder_holds_nothing_else() -> None:
    found = {path.name for path in results.FOLDER.glob("*")}
    assert set(COMMITTED) <= set(results.PARTS)
    assert found == {f"{part}.{kind}" for part in COMMITTED for kind in ("csv", "json")}
