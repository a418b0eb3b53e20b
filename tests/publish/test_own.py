"""Commands fit and sample: what they hand over, write and refuse."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from dualdiff.data.columns import Column
from dualdiff.data.model import Model
from dualdiff.data.table import writer_of
from dualdiff.networks import MLP, Architecture
from dualdiff.process import Process
from dualdiff.publish import cli, declared, runner
from dualdiff.publish.project import find_notebook


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rows = pd.DataFrame({"y": range(60), "x": [i % 7 for i in range(60)], "flat": 1})
    writer_of(tmp_path / "all.csv")(rows)
    writer_of(tmp_path / "one.parquet")(rows.tail(30).assign(y=lambda f: f["y"] + 0.5))
    monkeypatch.chdir(tmp_path)
    return tmp_path


FIT = ["fit", "all.csv", "one.parquet", "--targets", "y", "--conditions", "x", "-o", "found"]


def test_fit_runs_the_chapter_with_the_tables(folder: Path, monkeypatch, capsys) -> None:
    asked = []
    monkeypatch.setattr(runner, "run", lambda *given: asked.append(given) or given[2])
    words = ["--transform", "y=asinh", "--held-out", "0.4", "--seed", "3", "--profile", "smoke"]
    assert cli.main([*FIT, *words]) == 0
    ((notebook, given, out),) = asked
    assert out == Path("found/report.ipynb") and given["general"] == str(folder / "all.csv")
    full = declared.validate(notebook, given)
    assert (full["targets"], full["conditions"], full["held_out"]) == (["y"], ["x"], 0.4)
    assert (full["transforms"], full["seed"], full["profile"]) == ({"y": "asinh"}, 3, "smoke")
    assert Path(full["output"]) == folder / "found"
    # Names may stand apart, and a column may say whose rows these are.
    assert cli.main([*FIT, "--conditions", " x , flat", "--unit", "flat"]) == 2
    assert "leaves 0 of the 30 rows" in capsys.readouterr().err  # all are of one unit
    assert cli.main([*FIT, "--conditions", "x , flat", "--unit", "y"]) == 0
    full = declared.validate(notebook, asked[1][1])
    assert (full["conditions"], full["unit"]) == (["x", "flat"], "y")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--conditions", "z"], "all.csv has no column 'z'"),
        (["--transform", "y"], "transform is 'y'"),
        (["--transform", "z=log"], "transform names z, neither a target nor a condition"),
        (["--unit", "who"], "all.csv has no column 'who', the unit"),
        (["--transform", "y=log"], "column 'y', row 1: 0"),
        (["--held-out", "0.001"], "leaves 0 of the 30 rows"),
        (["--held-out", "0.9"], "has 3 rows to learn from"),
        (["--profile", "huge"], "parameter 'profile' is 'huge'"),
    ],
)
def test_fit_refuses_before_anything_runs(folder: Path, words, said, monkeypatch, capsys) -> None:
    monkeypatch.setattr(runner, "run", lambda *_: pytest.fail("it ran"))
    assert cli.main([*FIT, *words]) == 2
    assert said in capsys.readouterr().err


def test_sample_writes_rows_in_their_units(folder: Path, capsys) -> None:
    process = Process.linear(4, dy=1, dc=1)
    network = MLP(process, Architecture(width=8), torch.Generator().manual_seed(0))
    reach = torch.tensor([0.0]), torch.tensor([6.0])
    Model(network, (Column("y", "asinh"),), (Column("x"),), *reach).save("model.safetensors")
    command = ["sample", "model.safetensors", "all.csv", "-n", "3", "-o"]
    for name in ("out.csv", "out.parquet"):
        assert cli.main([*command, name]) == 0
        assert "180 rows" in capsys.readouterr().out
    first, second = pd.read_csv("out.csv"), pd.read_parquet("out.parquet")
    pd.testing.assert_frame_equal(first, second, check_dtype=False)
    assert [*first] == ["x", "flat", "draw", "y"]
    pd.DataFrame({"x": [0, 7]}).to_csv("all.csv", index=False)
    assert cli.main([*command, "out.csv"]) == 2
    assert "all.csv, column 'x', row 2: 7.0 is outside" in capsys.readouterr().err
    assert cli.main([*command, "out.xlsx"]) == 2
    pd.testing.assert_frame_equal(first, pd.read_csv("out.csv"))  # what was there stays


def test_the_chapter_is_there_with_its_tables() -> None:
    notebook = find_notebook("12")
    known = declared.parameters(notebook)
    for name in ("general", "special"):
        assert (notebook.parent / known[name].default).is_file()
    assert sum(f.stat().st_size for f in (notebook.parent / "data").iterdir()) < 300_000
