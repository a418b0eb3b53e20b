"""The command: what it refuses, what it prints, and the book that it builds."""

import contextlib
import os
import re
import signal
import subprocess
import sys

import nbformat
import pytest
from committed import write as write_made_up
from test_runner import write

from dualdiff import EXTRAS
from dualdiff.experiments.store import STORE
from dualdiff.publish import book, cli, runner
from dualdiff.publish import project as projects

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
    write(tmp_path / "notebooks" / "01_theory.ipynb", "print(seed)", checked=True)
    scenario = 'scenario: str = "cabinet"  # which, cabinet or round_table\nseed: int = 0\n'
    second = tmp_path / "notebooks" / "02_scenarios.ipynb"
    write(second, "print(scenario)", parameters=scenario, checked=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_run(project, capsys):
    code = cli.main(["run", "02", "-p", "scenario", "round_table", "-p", "seed", "4"])
    assert code == 0
    assert capsys.readouterr().out.strip() == "02_scenarios-executed.ipynb"
    assert "round_table" in (project / "02_scenarios-executed.ipynb").read_text()


NUMBERS = ("-1e-3", "-1E+3", "-.5", "-2", "-3.25", "-inf", "-1_000", "1e-3", "nan", "-nan")


@pytest.mark.parametrize("value", NUMBERS)
def test_a_negative_value_is_a_value(value, project, monkeypatch):
    write(project / "own.ipynb", parameters="x: float = 1\nseed = 1")
    asked = []
    monkeypatch.setattr(runner, "run", lambda *given: asked.append(given[1]))
    assert cli.main(["run", "own.ipynb", "-p", "x", value, "-p", "seed", "-1"]) == 0
    assert cli.main(["run", "-p", "x", value, "own.ipynb", "-o", "new.ipynb"]) == 0
    x = pytest.approx(float(value), nan_ok=True)
    assert asked == [{"x": x, "seed": -1}, {"x": x}]


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["run", "03"], "'03' names no notebook; it must be a path or one of: 01_theory, 02_s"),
        (["run", "0"], "'0' names more than one notebook"),
        (["run", "01", "-p", "sed", "1"], "unknown parameter 'sed' .* did you mean 'seed'"),
        (["run", "01", "-p", "seed", "1.5"], "'seed' is '1.5'; it must be an integer"),
        (["book", "--profile", "huge"], "'profile' is 'huge'; it must be one of 'smoke'"),
        (["book", "--jobs", "0"], "jobs is 0; it must be at least 1"),
        (["results", "kitchen"], "part must be one of cabinet, .*, not 'kitchen'"),
        (["results", "--list", "kitchen"], "part must be one of cabinet, .*, not 'kitchen'"),
        (["results", "--profile", "huge"], "'profile' is 'huge'; it must be one of 'smoke'"),
        (["results", "cabinet", "--jobs", "0"], "jobs must be at least 1, not 0"),
    ],
)
def test_bad_input(arguments, message, project, capsys, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a process was started"))
    assert cli.main(arguments) == 2
    errors = capsys.readouterr().err
    assert errors.count("\n") == 1 and re.search(message, errors)


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


def test_results_list(project, capsys):
    folder = project / "tables"
    write_made_up(folder, "cabinet")
    (folder / "cabinet_tuned.csv").write_text("scenario\n")
    (folder / "cabinet_tuned.json").write_text("{}")
    assert cli.main(["results", "--list", "--output", str(folder)]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["cabinet"].endswith("current") and "Table 4.1" in lines["cabinet"]
    assert lines["round_table"].endswith("not run")
    assert "stale: the table is not the one" in lines["cabinet_tuned"]
    assert cli.main(["results", "--list", "--profile", "smoke", "overlap"]) == 0
    assert capsys.readouterr().out.split()[0] == "overlap"


def test_usage_and_speed(tmp_path):
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}
    command = [sys.executable, "-m", "dualdiff.publish.cli", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert all(word in done.stdout for word in ("book", "run", "list", "clean"))
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert not imported & {"torch", "papermill", "sphinx", "pandas"}


@pytest.mark.parametrize("words", ["", "bake", "run", "book --jobs two", "sweep 03"])
def test_usage_errors(words, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(words.split())
    assert caught.value.code == 2 and "usage: dualdiff" in capsys.readouterr().err.lower()


@pytest.mark.parametrize(("name", "extra"), EXTRAS.items())
def test_a_command_says_which_extra_it_lacks(name, extra, monkeypatch, capsys):
    def lacking(_):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(cli, "writable", lacking)
    assert cli.main(["grade", "."]) == 1
    said = capsys.readouterr().err
    assert f"pip install 'dualdiff[{extra}]'" in said and said.count("\n") == 1


def test_outside_of_a_project(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(projects, "PROJECT", tmp_path)
    assert cli.main(["list"]) == 2
    assert "not inside the project" in capsys.readouterr().err


UNFIT = ("{file}", "{file}/deep", "/proc/nobody/{{}}", "{folder}/" + 300 * "x")


@pytest.mark.parametrize("output", UNFIT)
@pytest.mark.parametrize(
    "command", ["run 01", "results overlap", "labs", "sweep 01 -f grid.yaml", "grade ."]
)
def test_outputs_that_cannot_be_written_are_refused_at_once(
    command, output, project, capsys, monkeypatch
):
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: pytest.fail("a process was started"))
    write(project / "notebooks" / "01_theory.ipynb", "record({'a': 1})")
    (project / "grid.yaml").write_text("grid: {seed: [1]}")
    (project / "file").write_text("mine")
    output = output.format(file=project / "file", folder=project)
    output += ".ipynb" if "run" in command and output != str(project / "file") else ""
    option = "--output" if "results" in command else "-o"
    before = sorted(project.rglob("*"))
    assert cli.main([*command.split(), option, output]) == 2
    errors = capsys.readouterr().err
    assert "must be a f" in errors and output in errors and errors.count("\n") == 1
    assert sorted(project.rglob("*")) == before and (project / "file").read_text() == "mine"


def test_clean(project, capsys):
    built = ["_build/html/a.html", "_build/book.sha256"]
    stored = ["_store/table/b.parquet", "_build/store/c.parquet"]
    for name in (*built, *stored):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).touch()
    book.write_variants(project, book.variants(project))
    variant = project / "notebooks" / "02_round_table.ipynb"
    assert variant.exists()
    assert cli.main(["clean", "--keep-store"]) == 0
    assert not variant.exists() and (project / "notebooks" / "02_scenarios.ipynb").exists()
    assert not any((project / name).exists() for name in built)
    assert all((project / name).exists() for name in stored)
    said = {tuple(line.split()[:2]) for line in capsys.readouterr().out.splitlines()}
    gone = ("notebooks/02_round_table.ipynb", "_build/html", "_build/book.sha256")
    kept = ("_store", "_build/store")
    assert said == {*(("removed", name) for name in gone), *(("kept", name) for name in kept)}
    assert cli.main(["clean"]) == 0
    assert not any((project / name).exists() for name in stored)
    assert {line.split()[1] for line in capsys.readouterr().out.splitlines()} == set(kept)


def test_jupyter_book_cleans_no_networks(project):
    network = project / STORE / "network" / "a.safetensors"
    network.parent.mkdir(parents=True)
    network.touch()
    for words in ([], ["--all"]):
        (project / "_build" / "html").mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-c", book._JUPYTER_BOOK, "clean", str(project), *words]
        subprocess.run(command, check=True, capture_output=True)
        assert network.exists() and not (project / "_build" / "html").exists()


def test_a_variant_has_its_own_values_title_and_labels(project):
    source = project / "notebooks" / "02_scenarios.ipynb"
    notebook = nbformat.read(source, as_version=4)
    notebook.cells[0].source = """\
# Two scenarios

(sec-data)=
## The data
The word sec-data is not a label.
{ref}`sec-data`, {numref}`Figure %s <fig-loss>` and [](#eq-sum) are.

$$
a + b
$$ (eq-sum)

```{figure} a.png
:name: fig-loss
```
"""
    figure = {"name": "fig-rows", "caption": "Rows as in {eq}`eq-sum`"}
    notebook.cells[2].metadata["mystnb"] = {"figure": figure}
    nbformat.write(notebook, source)
    book.write_variants(project, book.variants(project))
    path = project / "notebooks" / "02_round_table.ipynb"
    variant = nbformat.read(path, as_version=4)
    nbformat.validate(variant)
    text, own = variant.cells[0].source, "-02-round-table"
    assert text.startswith("# The round table\n")
    words = [f"(sec-data{own})=", "The word sec-data is not", f"{{ref}}`sec-data{own}`"]
    words += [f"<fig-loss{own}>", f"[](#eq-sum{own})", f"$$ (eq-sum{own})", f"fig-loss{own}\n"]
    assert all(word in text for word in words)
    expected = {"name": f"fig-rows{own}", "caption": f"Rows as in {{eq}}`eq-sum{own}`"}
    assert variant.cells[2].metadata["mystnb"]["figure"] == expected
    assert runner.parameters_of(path) == {"scenario": "round_table", "seed": 0}
    assert "# which, cabinet or round_table" in variant.cells[1].source
    # Written only when it changes: Sphinx looks at times.
    before = path.stat().st_mtime_ns
    book.write_variants(project, book.variants(project))
    assert path.stat().st_mtime_ns == before


def test_bad_variants(project):
    for entry, message in (
        ({"source": "notebooks/09"}, "the source of 'notebooks/x' is .*09.ipynb, not a file"),
        ({"source": "notebooks/01_theory", "parameters": {"sed": 1}}, "unknown parameter 'sed'"),
        ({"source": "notebooks/01_theory", "parameters": {"seed": -1}}, "'seed' is -1"),
    ):
        with pytest.raises(ValueError, match=message):
            book.write_variants(project, {"notebooks/x": entry})
    assert not (project / "notebooks" / "x.ipynb").exists()


def test_pages_of_the_book(project):
    toc = "[{file: notebooks/01_theory}, {file: notebooks/02_round_table}]"
    (project / "_toc.yml").write_text(TOC.replace("[{file: notebooks/01_theory}]", toc))
    entries = book.variants(project)
    book.write_variants(project, entries)
    theory, table = book.book_pages(project, entries, "smoke")
    assert theory.parameters == {"profile": "smoke", "quiet": True}
    # It has neither, and the scenario is in its file.
    assert (table.name, table.parameters) == ("notebooks/02_round_table", {})


@pytest.mark.parametrize("become", [KeyboardInterrupt, ImportError, RuntimeError, None])
def test_an_interruption_that_a_library_swallows_is_one(monkeypatch, tmp_path, capsys, become):
    """While modules are imported it may come out as another error, or not at all."""
    from dualdiff.teaching import collected

    def imported(_):
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        if become:
            raise become
        return tmp_path

    monkeypatch.setattr(signal, "getsignal", lambda _: signal.default_int_handler)
    monkeypatch.setattr(cli, "writable", imported)
    monkeypatch.setattr(collected, "handed_in", pytest.fail)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        assert cli.main(["grade", str(tmp_path)]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert capsys.readouterr().err == "dualdiff: interrupted\n"
