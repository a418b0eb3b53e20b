"""Committed tables under newer code: trials are computed anew; the table says if they agree."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_results import MAKES, SIZE

from dualdiff.experiments.members import RECIPES
from dualdiff.experiments.profiles import PROFILES
from dualdiff.experiments.scenarios import cabinet
from dualdiff.experiments.store import Store
from dualdiff.experiments.study import ScenarioTrial, trials
from dualdiff.publish import cli
from dualdiff.results import committed as results
from dualdiff.results import confirm, making
from dualdiff.results.parts import Part


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    parts = {name: Part(name, f"Table {name}", make) for name, make in MAKES.items()}
    for module in (results, confirm, making):
        monkeypatch.setattr(module, "PARTS", parts)
    monkeypatch.setitem(PROFILES, "smoke", SIZE)
    folder = tmp_path / "out"
    making.run("smoke", ["small"], store=Store(tmp_path / "store"), output=folder, quiet=True)
    return folder


def age(folder: Path) -> None:
    """Let the provenance name another source of one module."""
    path = folder / "small.json"
    record = json.loads(path.read_text())
    record["sources"]["Weighted"] = "0" * 16
    path.write_text(json.dumps(record))


def test_agreeing_trials_make_an_older_table_current(output: Path) -> None:
    age(output)
    assert results.staleness("small", output) == ["changed since: Weighted"]
    found = list(confirm.compare("small", 2, output))
    assert [compared.difference for compared in found] == [0.0, 0.0]
    assert len({compared.trial for compared in found}) == 2
    assert all(compared.rows > 10 for compared in found)
    confirm.note("small", 2, confirm.sources("small", output), output)
    assert results.staleness("small", output) == []
    assert "2 trials computed anew" in results.describe("small", output)[1]
    assert len(list(confirm.compare("small", 99, output))) == 4  # each trial once


def test_tables_of_older_sources_are_named(output: Path) -> None:
    assert results.changed_sentence(["small"], output) == ""
    age(output)
    assert "`small`" in results.changed_sentence(["small"], output)
    assert results.changed_sentence([], output) == ""


def test_a_later_edit_asks_again(output: Path) -> None:
    confirm.note("small", 1, confirm.sources("small", output), output)
    path = output / "small.json"
    record = json.loads(path.read_text())
    record["sources"]["Weighted"] = record["confirmed"]["sources"]["Weighted"] = "0" * 16
    path.write_text(json.dumps(record))
    assert results.staleness("small", output) == ["changed since: Weighted"]


def edit(folder: Path, change) -> None:  # type: ignore[no-untyped-def]
    """Change the table, with a digest that fits it."""
    import hashlib

    table = change(pd.read_csv(folder / "small.csv"))
    data = table.to_csv(index=False).encode()
    (folder / "small.csv").write_bytes(data)
    path = folder / "small.json"
    record = json.loads(path.read_text()) | {"sha256": hashlib.sha256(data).hexdigest()}
    path.write_text(json.dumps(record))


def difference(output: Path) -> float:
    """The largest of all trials."""
    return max(compared.difference for compared in confirm.compare("small", 99, output))


def test_another_number_or_a_missing_row_is_a_difference(output: Path) -> None:
    edit(output, lambda table: table.assign(value=table["value"] + 1e-3))
    assert difference(output) == pytest.approx(1e-3, rel=1e-3)
    for row in (0, 3):
        edit(output, lambda table: table.drop(index=table.index[row]))  # noqa: B023
        assert difference(output) == float("inf")


def test_a_number_that_became_nan_is_a_difference(output: Path) -> None:
    place = 2
    assert math.isfinite(pd.read_csv(output / "small.csv")["value"][place])
    edit(output, lambda table: table.assign(value=table["value"].where(table.index != place)))
    assert difference(output) == float("inf")


@pytest.mark.parametrize(("n", "count"), [(1, 1), (3, 99), (5, 1), (7, 3), (135, 1), (100, 4)])
def test_what_is_computed_anew_stands_in_the_middles_of_equal_parts(n: int, count: int) -> None:
    """So that one trial is not the first, which may be a reference that trains nothing."""
    places = confirm._spread(n, count)
    some = len(places)
    assert some == min(n, count)
    for k, place in enumerate(places):
        assert k * n / some <= place < (k + 1) * n / some
        assert abs(place + 0.5 - (k + 0.5) * n / some) <= 0.5


def test_code_edited_while_comparing_is_not_noted(output: Path) -> None:
    before = {**confirm.sources("small", output), "Weighted": "0" * 16}
    with pytest.raises(RuntimeError, match="edited meanwhile"):
        confirm.note("small", 1, before, output)
    assert "confirmed" not in json.loads((output / "small.json").read_text())


def test_the_command_refuses_to_confirm_what_differs(
    output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["results", "--output", str(output), "--confirm", "1", "small"]
    assert cli.main(arguments) == 0
    assert "equal" in capsys.readouterr().out
    edit(output, lambda table: table.assign(value=0.5))
    path = output / "small.json"
    before = path.read_text()
    assert cli.main(arguments) != 0
    said = capsys.readouterr()
    assert "differs by" in said.out and "of its half-width" in said.err
    assert path.read_text() == before


def test_a_move_within_a_tenth_of_the_half_width_passes_and_is_told(output: Path) -> None:
    """Of one number, by a share of its own interval, or of what pages show of it."""
    table = pd.read_csv(output / "small.csv")
    half = ((table["high"] - table["low"]) / 2).fillna(0)
    place = int(half.idxmax())

    def moved(share: float) -> pd.DataFrame:
        here = table.index == place
        return table.assign(value=table["value"] + share * half[place] * here)

    arguments = ["results", "--output", str(output), "--confirm", "99", "small"]
    edit(output, lambda _: moved(0.2))
    assert cli.main(arguments) != 0
    edit(output, lambda _: moved(0.05))
    assert max(c.share for c in confirm.compare("small", 99, output)) == pytest.approx(0.05, 1e-3)
    assert cli.main(arguments) == 0
    assert json.loads((output / "small.json").read_text())["confirmed"]["share"] == 0.05
    assert "half-widths" in results.describe("small", output)[1]
    bare = int(half.idxmin())
    assert half[bare] == 0
    for moves, passes in ((1e-3, False), (1e-5, True)):
        edit(output, lambda _: table.assign(value=table["value"] + moves * (table.index == bare)))  # noqa: B023
        assert (cli.main(arguments) == 0) == passes


def test_refusals(output: Path) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        next(confirm.compare("small", 0, output))
    with pytest.raises(FileNotFoundError, match="other"):
        next(confirm.compare("other", 1, output))
    record = json.loads((output / "small.json").read_text()) | {"hashes": "0"}
    (output / "small.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="stale"):
        next(confirm.compare("small", 1, output))


def test_what_a_run_measures_of_itself_may_differ() -> None:
    columns = ["target", "metric", "value"]
    before = pd.DataFrame([("Ball", "rows", 7.0), ("-", "seconds", 3.0)], columns=columns)
    later = pd.DataFrame([("Ball", "rows", 7.0), ("-", "seconds", 9.0)], columns=columns)
    later, before = (table.assign(low=np.nan, high=np.nan) for table in (later, before))
    assert confirm._difference(later, before) == (0, 0)
    later.loc[0, "value"] = 8.0
    assert confirm._difference(later, before) == (1, 1 / confirm.SHOWN)


# --- another processor: within the spread of the seeds --------------------------------------------


def seeded(seeds: list[int], values: np.ndarray) -> pd.DataFrame:
    """A table of three configurations, ``values [seeds, 3]`` of one metric."""
    names = ["a", "b", "c"]
    rows = [
        ("world", "plain", 8, 9, seed, name, "general", "accuracy", v, v, v)
        for seed, line in zip(seeds, values, strict=True)
        for name, v in zip(names, line, strict=True)
    ]
    columns = [*confirm.KEY, "target", "metric", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def test_a_new_seed_of_the_same_code_is_seldom_called_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Seeds that share an effect over all configurations, as networks shared by trials do: the
    probabilities are uniform, so one in twenty lies below 0.05, within its binomial error."""
    rng, runs, hits = np.random.default_rng(3), 800, 0
    for _ in range(runs):
        values = rng.normal(size=(6, 1)) + 0.3 * rng.normal(size=(6, 3))
        old, new = seeded([0, 1, 2], values[:3]), seeded([3, 4, 5], values[3:])
        monkeypatch.setattr(confirm.results, "as_written", lambda *_, old=old: (old, {}))
        found = confirm.within_spread("any", new)
        hits += found["p"].item() < 0.05
    assert abs(hits - 0.05 * runs) < 4 * math.sqrt(runs * 0.05 * 0.95)


def test_what_is_noticed_has_the_least_probability(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(4).normal(size=(4, 3))
    monkeypatch.setattr(confirm.results, "as_written", lambda *_: (seeded([*range(4)], values), {}))
    noticed = confirm.within_spread("any", seeded([9], values[:1]))["noticed"].item()
    shifted = np.tile(values.mean() + noticed, (1, 3))
    found = confirm.within_spread("any", seeded([9], shifted)).iloc[0]
    assert found["shift"] == pytest.approx(noticed)
    assert found["p"] == pytest.approx(confirm.LEAST_P)


def test_a_metric_without_spread_must_be_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    old = seeded([0, 1], np.ones((2, 3)))
    monkeypatch.setattr(confirm.results, "as_written", lambda *_: (old, {}))
    assert confirm.within_spread("any", seeded([2], np.ones((1, 3))))["p"].item() == 1
    assert confirm.within_spread("any", seeded([2], np.full((1, 3), 1.1)))["p"].item() == 0


def test_the_command_confirms_with_a_new_seed_or_names_what_differs(
    output: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def three(profile: Any) -> list[ScenarioTrial]:
        return [trials(cabinet(), [RECIPES["plain"]], profile, seed)[0] for seed in range(3)]

    monkeypatch.setitem(results.PARTS, "small", Part("small", "Three seeds", three))
    making.run("smoke", ["small"], store=Store(output / "store"), output=output, quiet=True)
    age(output)
    arguments = ["results", "--output", str(output), "--new-seeds", "small"]
    assert cli.main(arguments) != 0
    assert "give both" in capsys.readouterr().err
    arguments += ["--confirm", "2"]
    assert cli.main(arguments) == 0, capsys.readouterr().err
    assert "noticed" in capsys.readouterr().out
    assert "new seeds" in results.describe("small", output)[1]
    assert results.staleness("small", output) == []
    edit(output, lambda table: table.assign(value=0.5 + 1e-4 * table["seed"]))
    before = (output / "small.json").read_text()
    assert cli.main(arguments) != 0
    assert "moved by" in capsys.readouterr().err
    assert (output / "small.json").read_text() == before


def test_a_table_of_one_seed_has_no_spread(output: Path) -> None:
    with pytest.raises(ValueError, match="several seeds"):
        next(confirm.repeat("small", 1, output))
