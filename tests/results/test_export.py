"""The committed tables as one archive."""

import io
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from committed import write

from dualdiff.publish import cli
from dualdiff.results import committed, export


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two made-up tables."""
    for name in ("cabinet", "round_table"):
        write(tmp_path / "tables", name)
    return tmp_path / "tables"


def asked(folder: Path, *words: str) -> int:
    return cli.main(["results", "--output", str(folder), "--export", *words])


def test_an_archive_holds_all_tables_and_says_what_they_are(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "tables.zip"
    assert asked(folder, str(file)) == 0
    with zipfile.ZipFile(file) as opened:
        names = {Path(name).name: opened.read(name) for name in opened.namelist()}
    for name in ("cabinet", "round_table"):
        for path in (folder / f"{name}.csv", folder / f"{name}.json"):
            assert names.pop(path.name) == path.read_bytes()
    readme = names.pop("README.md").decode()
    assert not names
    table, record = committed.as_written("cabinet", folder)
    for column in table.columns:
        assert f"`{column}`" in readme
    for metric in table["metric"].unique():
        assert f"| `{metric}` |" in readme
    assert "| `energy_distance` | energy distance | units of y | yes |" in readme
    assert "| `accuracy` | accuracy |  | no |" in readme
    assert f"| `cabinet` | {record['title']} | {len(table)} | full | 0, 1, 2 |" in readme


def test_the_same_tables_give_the_same_bytes(folder: Path) -> None:
    def meaning(metric: str) -> tuple[str, str, None]:
        return metric, "", None

    first = export.archive(["cabinet"], meaning, folder)
    for path in folder.iterdir():
        path.touch()
    assert export.archive(["cabinet"], meaning, folder) == first
    with zipfile.ZipFile(io.BytesIO(first)) as opened:
        assert {one.date_time for one in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_another_file_is_kept(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:  # type: ignore[type-arg]
    file = tmp_path / "tables.zip"
    file.write_text("mine")
    assert asked(folder, str(file)) == 2 and "--force" in capsys.readouterr().err
    assert file.read_text() == "mine"
    assert asked(folder, str(file), "--force") == asked(folder, str(file)) == 0
    assert asked(folder, str(tmp_path / "tables.csv")) == 2
    assert [*tmp_path.glob("*.csv")] == []


def test_a_table_that_is_not_its_own_is_not_exported(folder: Path, tmp_path: Path) -> None:
    pd.read_csv(folder / "cabinet.csv").iloc[1:].to_csv(folder / "cabinet.csv", index=False)
    assert asked(folder, str(tmp_path / "tables.zip")) == 2
    assert not (tmp_path / "tables.zip").exists()
