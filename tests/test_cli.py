"""The command: what it refuses, what it prints, and the book that it builds."""

import os
import re
import subprocess
import sys

import pytest
from test_runner import write

from dualdiff import book, cli

CONFIG = """\
sphinx:
  config:
    dualdiff_pages:
      notebooks/02_round_table:
        source: notebooks/02_scenarios
        title: The round table
        parameters: {scenario: round_table}
"""
TOC = "format: jb-book\nroot: book/intro\nchapters: [{file: notebooks/01_theory}]\n"


@pytest.fixture
def project(tmp_path, monkeypatch):
    (tmp_path / "_config.yml").write_text(CONFIG)
    (tmp_path / "_toc.yml").write_text(TOC)
    write(tmp_path / "notebooks" / "01_theory.ipynb", "print(seed)")
    scenario = 'scenario: str = "cabinet"  # which, cabinet or round_table\nseed: int = 0\n'
    write(tmp_path / "notebooks" / "02_scenarios.ipynb", "print(scenario)", parameters=scenario)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_run(project, capsys):
    code = cli.main(["run", "02", "-p", "scenario", "round_table", "-p", "seed", "4"])
    assert code == 0
    assert capsys.readouterr().out.strip() == "02_scenarios-executed.ipynb"
    assert "round_table" in (project / "02_scenarios-executed.ipynb").read_text()


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["run", "03"], "'03' names no notebook; it must be a path or one of: 01_theory, 02_s"),
        (["run", "0"], "'0' names more than one notebook"),
        (["run", "01", "-p", "sed", "1"], "unknown parameter 'sed' .* did you mean 'seed'"),
        (["run", "01", "-p", "seed", "1.5"], "'seed' is '1.5'; it must be an integer"),
        (["run", "01", "-p", "quiet", "maybe"], "'quiet' is 'maybe'; it must be True or False"),
        (["run", "02", "-p", "scenario", "table"], "'scenario' is 'table'; it must be one of"),
        (["book", "--profile", "huge"], "'profile' is 'huge'; it must be one of 'smoke'"),
        (["book", "--jobs", "0"], "jobs is 0; it must be at least 1"),
    ],
)
def test_bad_input(arguments, message, project, capsys, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a process was started"))
    assert cli.main(arguments) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1

    assert re.search(message, errors)


def test_a_failed_chapter_is_code_1(project, capsys):
    write(project / "notebooks" / "01_theory.ipynb", "1 / 0")
    assert cli.main(["run", "01"]) == 1
    errors = capsys.readouterr().err
    assert "01_theory failed in cell 3: ZeroDivisionError" in errors and "1 / 0" in errors
    assert "Traceback" not in errors


def test_list(project, capsys):
    assert cli.main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["01_theory", "02_scenarios"]
    (scenario,) = (line for line in lines if line.startswith("  scenario"))
    assert "'cabinet'" in scenario and "one of 'cabinet', 'round_table'" in scenario


def test_usage_and_speed(tmp_path):
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    command = [sys.executable, "-m", "dualdiff.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert all(word in done.stdout for word in ("book", "run", "list", "bench", "clean"))
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "papermill", "sphinx", "pandas"}


@pytest.mark.parametrize("arguments", [[], ["bake"], ["run"], ["book", "--jobs", "two"]])
def test_usage_errors(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2 and "usage: dualdiff" in capsys.readouterr().err


def test_outside_of_a_project(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "dualdiff" / "cli.py"))
    assert cli.main(["list"]) == 2
    assert "not inside the project" in capsys.readouterr().err


def test_clean(project):
    for name in ("_build/html/a.html", "_build/store/b.parquet", "_build/book.sha256"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    book.write_variants(project, book.variants(project))
    variant = project / "notebooks" / "02_round_table.ipynb"
    assert variant.exists()
    assert cli.main(["clean", "--keep-store"]) == 0
    assert not variant.exists() and (project / "notebooks" / "02_scenarios.ipynb").exists()
    assert [path.name for path in (project / "_build").iterdir()] == ["store"]
    assert cli.main(["clean"]) == 0 and not any((project / "_build").iterdir())
