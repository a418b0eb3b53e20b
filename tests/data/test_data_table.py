"""Tables: what becomes of the columns of a file, what is refused, and how rows are split."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dualdiff.data.columns import LEVELS, TRANSFORMS, Column
from dualdiff.data.pairs import Pairs
from dualdiff.data.table import Table, writer_of

N = 40


def columns(**more: Any) -> pd.DataFrame:
    """A frame whose column y grows and whose x goes round."""
    frame = pd.DataFrame({"y": np.arange(N) / 4.0, "x": np.arange(N) % 7 / 2.0})
    return frame.assign(**more)


def file(folder: Path, frame: pd.DataFrame, suffix: str = "csv") -> Path:
    path = folder / f"rows.{suffix}"
    writer_of(path)(frame)
    return path


def read(folder: Path, frame: pd.DataFrame, c: tuple[str, ...] = ("x",), **options: Any) -> Table:
    return Table.read(file(folder, frame), ["y"], [*c], **options)


def done(table: Table, column: str) -> dict[str, int]:
    own = table.report[table.report["column"] == column]
    return dict(zip(own["what"], own["rows"], strict=True))


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_what_is_read_is_what_was_written(tmp_path: Path, suffix: str) -> None:
    path = file(tmp_path, columns(), suffix)
    table = Table.read(path, ["y"], ["x"], transform={"y": "asinh"})
    torch.testing.assert_close(table.y[:, 0].double().sinh().float(), torch.arange(N) / 4)
    pd.testing.assert_frame_equal(table.frame(), columns(), check_dtype=False, rtol=1e-5)
    assert table.digest == Table.read(path, ["y"], ["x"], transform={"y": "asinh"}).digest
    assert table.digest != Table.read(path, ["y"], ["x"]).digest


@given(st.sampled_from(sorted(TRANSFORMS)), st.floats(-0.9, 1e4))
def test_a_transform_has_its_inverse(name: str, value: float) -> None:
    if not value > TRANSFORMS[name][2]:
        value = 1 + abs(value)
    column = Column("x", name)
    back = column.decode(column.encode(pd.Series([value]), "here"))
    assert back.iloc[0] == pytest.approx(value, rel=1e-9, abs=1e-12)


def test_arrays_frames_and_tensors_are_one_table() -> None:
    y, c = np.arange(1.0, 7.0).reshape(3, 2), np.arange(3)[:, None]
    first = Table(y, c)
    for other in (Table(torch.tensor(y), torch.tensor(c)), Table(pd.DataFrame(y), c.tolist())):
        assert other.digest == first.digest and other.y.dtype == torch.float32
    assert first.y_names == ("y0", "y1") and Table(y, c, y_names=["a", "b"]).y_names == ("a", "b")
    assert Table(y, c, y_names=["a", "b"]).digest != first.digest
    assert Table(y, np.empty((3, 0))).c.shape == (3, 0)
    for bad in ((y[:2], c), (y[:0], c[:0]), (y[:, 0], c), (y * np.nan, c), (y * np.inf, c)):
        with pytest.raises(ValueError, match="rows"):
            Table(*bad)
    with pytest.raises(ValueError, match="2 columns and 1 names"):
        Table(y, c, y_names=["a"])


def test_missing_and_infinite_rows_are_dropped_and_counted(tmp_path: Path) -> None:
    frame = columns()
    frame.loc[[3, 8], "y"] = np.nan
    frame.loc[8, "x"] = np.inf
    table = read(tmp_path, frame)
    kept = frame.drop([3, 8])
    assert table.y[:, 0].tolist() == kept["y"].tolist()
    assert done(table, "y") == {"dropped: missing": 2}
    assert done(table, "x")["dropped: infinite"] == 1
    report = table.report.set_index(["column", "what"])["first"]
    assert report["y", "dropped: missing"] == "4, 9" and report["x", "dropped: infinite"] == "9"


def test_a_table_may_have_no_conditions_and_lose_those_that_never_vary(tmp_path: Path) -> None:
    assert read(tmp_path, columns(), ()).c.shape == (N, 0)
    frame = columns(**{"a=1": 3.0, "b": "one"})
    table = read(tmp_path, frame, ("a=1", "x", "b"))
    assert table.c_names == ("x",) and table.c[:, 0].tolist() == frame["x"].tolist()
    assert done(table, "a=1") == done(table, "b") == {"left out: constant": N}
    assert table.shared(table).all() and read(tmp_path, frame, ("b",)).c.shape == (N, 0)


def test_texts_are_a_column_each_and_dates_are_days(tmp_path: Path) -> None:
    kind = np.array(["b", "a", "c", "a"])[np.arange(N) % 4]
    day = pd.date_range("1970-01-02", periods=N, freq="12h").astype(str)
    table = read(tmp_path, columns(kind=kind, day=day), ("kind", "day"))
    assert table.c_names == ("kind=a", "kind=b", "kind=c", "day")
    assert table.c[0].tolist() == [0, 1, 0, 1] and table.c[3].tolist() == [1, 0, 0, 2.5]
    frame = table.frame()
    assert frame["kind"].tolist() == [*kind] and frame["day"].iloc[3] == pd.Timestamp(
        "1970-01-03 12:00"
    )
    assert "encoded: a column per text" in done(table, "kind")
    assert "encoded: days since 1970" in done(table, "day")


def test_the_special_table_is_read_like_the_general_one(tmp_path: Path) -> None:
    kind = np.array(["a", "b", "c"])[np.arange(N) % 3]
    general = read(
        tmp_path, columns(kind=kind, flat=1.0), ("kind", "flat"), transform={"y": "log1p"}
    )
    assert general.c_names == ("kind=a", "kind=b", "kind=c")  # a constant is left out
    assert done(general, "flat") == {"left out: constant": N}
    special = Table.read(file(tmp_path, columns(kind="b")), like=general)
    assert special.c.unique(dim=0).tolist() == [[0, 1, 0]] and special.c_names == general.c_names
    torch.testing.assert_close(special.y, general.y)
    with pytest.raises(ValueError, match="rows.csv, column 'kind', row 1: 'z' must be one of"):
        Table.read(file(tmp_path, columns(kind="z")), like=general)
    with pytest.raises(ValueError, match="like stands in place"):
        Table.read(file(tmp_path, columns(kind="z")), ["y"], like=general)


def test_whole_numbers_and_equal_rows_are_noted(tmp_path: Path) -> None:
    frame = pd.concat([columns(), columns().head(5)], ignore_index=True)
    table = read(tmp_path, frame.assign(x=frame["x"] * 2))
    assert done(table, "x") == {"noted: whole numbers": N + 5}
    assert done(table, "") == {"noted: equal to an earlier row": 5}


SPELT = columns(t="a").assign(t=[f"text {i}" for i in range(N)])
MIXED = columns().astype({"x": object})
MIXED.loc[4, "x"] = "none"
REFUSED = {
    "a column that is not there": (columns(), ("z",), {}, "has no column 'z'; it has y, x"),
    "too many texts": (SPELT, ("t",), {}, f"'t' holds {N} different texts.*{LEVELS}"),
    "a text among numbers": (MIXED, ("x",), {}, "column 'x', row 5: 'none' must be a number"),
    "a text as a target": (columns(y="a"), ("x",), {}, "column 'y', row 1: a target must be"),
    "a target that never varies": (columns(y=2.5), ("x",), {}, "'y': a target must vary.*2.5"),
    "rows that are all equal": (columns(y=1.0, x=1.0), ("x",), {}, "all 40 rows are equal"),
    "an empty column": (columns(x=np.nan), ("x",), {}, "no row|empty"),
    "a logarithm of zero": (columns(), (), {"y": "log"}, "column 'y', row 1: .*above 0"),
    "an unknown transform": (columns(), (), {"y": "sqrt"}, "'y' is 'sqrt'; it must be one of"),
    "a transform of no column": (columns(), (), {"q": "log"}, "transform names q"),
    "a column twice": (columns(), ("y",), {}, "once in targets and conditions, not y"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_in_words(tmp_path: Path, case: str) -> None:
    frame, c, transform, words = REFUSED[case]
    with pytest.raises(ValueError, match=words):
        read(tmp_path, frame, c, transform=transform)


def test_files_that_are_none_are_refused(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.parquet"
    damaged.write_bytes(b"PAR1, or not")
    for path in (tmp_path / "absent.csv", tmp_path / "rows.xlsx", damaged):
        with pytest.raises(ValueError, match=path.name):
            Table.read(path, ["y"])
    for path in (tmp_path / "out.xlsx", tmp_path / "nowhere" / "out.csv"):
        with pytest.raises(ValueError, match="output is"):
            writer_of(path)


@given(st.integers(0, 99), st.floats(0.1, 0.9))
def test_a_split_is_a_partition_that_keeps_equal_rows_together(seed: int, share: float) -> None:
    y = torch.arange(N).div(2, rounding_mode="floor").float()[:, None]  # every row twice
    table = Table(y, torch.zeros(N, 1))
    parts = table.split(share, torch.Generator().manual_seed(seed))
    assert sorted(torch.cat([part.y for part in parts]).flatten().tolist()) == y.flatten().tolist()
    assert not parts[0].shared(parts[1]).any() and abs(len(parts[1]) - share * N) <= 2
    again = table.split(share, torch.Generator().manual_seed(seed))
    assert torch.equal(parts[1].y, again[1].y)


@pytest.mark.parametrize("share", [0, 1, -0.5, float("nan"), 1e-3, 0.999])
def test_a_share_that_leaves_nothing_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=f"held_out .* {share}"):
        Table(torch.arange(9.0)[:, None], torch.zeros(9, 1)).split(share, torch.Generator())


def test_a_seed_is_no_generator() -> None:
    with pytest.raises(ValueError, match="must be a torch.Generator"):
        Table(torch.arange(9.0)[:, None], torch.zeros(9, 1)).split(0.3, 0)  # type: ignore[arg-type]


def visits(n: int, seed: int) -> pd.DataFrame:
    """Several rows of every patient, with numbers so coarse that many are equal."""
    random = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "patient": random.integers(0, n // 4, n) + 1_000 * seed,
            "dose": random.integers(1, 6, n),
            "level": random.integers(1, 9, n),
        }
    )


def test_rows_of_a_unit_stay_on_one_side() -> None:
    many, few = visits(400, 0), visits(60, 1)
    many = pd.concat([many, few.iloc[:10]], ignore_index=True)
    general = Table.read(many, "level", "dose", unit="patient")
    special = Table.read(few, like=general, unit="patient")
    pairs = Pairs.of(general, special, 0.3, torch.Generator().manual_seed(0))
    assert not {*pairs.held_out.units} & {*pairs.special.units}
    assert len(pairs.held_out) + len(pairs.special) == 60
    # Those of shared patients, and none that is equal by chance; without units nearly all are.
    assert pairs.removed == int(many["patient"].isin(few["patient"]).sum()) >= 10
    plain = [Table.read(frame, ["level"], ["dose"]) for frame in (many, few)]
    by_chance = Pairs.of(*plain, 0.3, torch.Generator().manual_seed(0)).removed
    assert by_chance > 5 * pairs.removed
    # What is learned from does not depend on whose rows they are.
    assert general.digest == plain[0].digest


def test_mistakes_of_a_first_hour_are_told() -> None:
    frame = visits(40, 0).assign(day=[f"{i % 28 + 1:02}.05.2021" for i in range(40)])
    frame = frame.assign(note=[f"{i}" for i in range(40)])
    cases = {
        "'subject', the unit; it has patient": {"unit": "subject"},
        "no column 'levels'; it has": {"y": "levels"},
        "transform names crp, neither a target nor a condition": {"transform": {"crp": "log"}},
        "28 different texts.*write dates as 2021-05-01": {"c": ["day"]},
    }
    for words, changed in cases.items():
        with pytest.raises(ValueError, match=words):
            Table.read(frame, **{"y": "level", "c": ["dose"], **changed})
    with pytest.raises(ValueError, match="must be a file or a frame, not a list"):
        Table.read([1, 2], "level", "dose")
    report = Table.read(frame, "level", "dose").report
    assert "noted: all above zero" in {*report.loc[report["column"] == "level", "what"]}


def test_other_separators_and_dates_are_told(tmp_path: Path) -> None:
    path = tmp_path / "excel.csv"
    visits(20, 0).to_csv(path, sep=";", index=False)
    with pytest.raises(ValueError, match="excel.csv is separated by ';'"):
        Table.read(path, "level", "dose")
    good = pd.DataFrame({"day": ["2021-05-01", "2021-05-02"] * 5, "level": range(10)})
    table = Table.read(good, "level", "day")
    bad = good.assign(day=["2021-05-01", "02.05.2021"] * 5)
    with pytest.raises(ValueError, match=r"column 'day', row 2: '02.05.2021' must be a date"):
        Table.read(bad, like=table)


def test_a_unit_is_the_same_however_it_is_written() -> None:
    few = visits(60, 1)
    tables = [
        Table.read(few.assign(patient=few["patient"].astype(kind)), "level", "dose", unit="patient")
        for kind in (int, float, str)
    ]
    assert all((table.units == tables[0].units).all() for table in tables)
    missing = few.assign(patient=few["patient"].astype(float).where(few.index != 3))
    with pytest.raises(ValueError, match="column 'patient', row 4: nan must be there.*its unit"):
        Table.read(missing, "level", "dose", unit="patient")
