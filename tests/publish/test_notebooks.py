"""Every notebook of the project: its form, its parameters, and what it refuses.

That the notebooks run, and what they show, is tested on the book (test_book.py), which executes
each of them once.
"""

import ast
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from sphinx_external_toc.parsing import parse_toc_yaml

from dualdiff.experiments.profiles import PARAMETERS, check
from dualdiff.publish import runner
from dualdiff.publish.cli import main
from dualdiff.publish.project import chapters, project_root

NOTEBOOKS = chapters(project_root())
COMMON = {"profile", "seed", "device", "quiet"}
OWN = (
    "12_your_data",
    "12b_real_data",
    "13_home_after_home",
    "14_guidance_on_pictures",
    "14b_two_controls",
    "14c_class_and_style",
    "15_few_shots",
    "16_spaces_and_stages",
    "17_other_experts",
)
"""Pages with parameters of their own, which they check themselves."""
BAD: dict[str, list[Any]] = {
    "profile": ["enormous", 3],
    "seed": [-1, 1.5, True],
    "device": ["tpu"],
    "quiet": ["perhaps", 1],
    "scenario": ["kitchen"],
    "recipe": ["exact"],
    "height_tolerance": [0.0, -1.0, float("nan"), 11.0, "high"],
    "points": [1, 100_001, 12.5, "few"],
    "distance": [-1.0, 21, float("nan"), "far"],
    "weight_general": [0.0, float("inf"), "much"],
    "weight_specialised": [-0.5, 10.5],
    "group": [1, 201, 2.5, "many"],
}
CASES = [
    pytest.param(path, name, value, id=f"{path.stem}-{name}-{value}")
    for path in NOTEBOOKS
    for name in runner.parameters_of(path)
    for value in BAD.get(name, ())  # what one page alone asks for, it checks itself
]


def test_bad_values_are_known_for_every_parameter() -> None:
    assert set(BAD) == set(PARAMETERS)
    assert len(NOTEBOOKS) >= 2


TAGS = {"parameters", "remove-input", "remove-cell", "hide-input", "hide-cell", "once"}
TAGS |= {"key-result"}
BARS = {"hide-input", "hide-cell", "hide-output"}
"""Tags that leave a bar for a reader to open."""


def tags(cell: Any) -> set[str]:
    return set(cell.metadata.get("tags", []))


def computes(path: Path) -> bool:
    """Whether a chapter asks for a size or a store; the others only read committed tables."""
    code = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    calls = [node for node in ast.walk(ast.parse("\n".join(code))) if isinstance(node, ast.Call)]
    return any(ast.unparse(call.func) == "begin" for call in calls)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_source_has_the_house_form(path: Path) -> None:
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell in code:
        assert not cell.outputs and cell.execution_count is None, "committed with outputs"
        assert len(cell.source.splitlines()) <= 50, cell.source
        assert tags(cell) <= TAGS, cell.source
        figure = cell.metadata.get("mystnb", {})
        if "figure" in figure:
            assert figure["figure"]["caption"] and figure["image"]["alt"], cell.source
        elif any(word in cell.source for word in ("plt.", "facets.", "_figure(")):
            raise AssertionError(f"a figure without caption and alt text: {cell.source}")
    parameters = [cell for cell in code if "parameters" in tags(cell)]
    assert len(parameters) == computes(path)
    for cell in parameters:
        for node in ast.parse(cell.source).body:  # each has a type and a word on what it does
            lines = cell.source.splitlines()[node.lineno - 1 : node.end_lineno]
            assert isinstance(node, ast.AnnAssign) and "#" in "".join(lines), lines
    assert notebook.cells[0].source.startswith("# ")
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    for heading in ("learn", "long", "## Check", "## Exercises", "dropdown", "## Summary"):
        assert heading in text, f"no {heading!r}"


NO_CHAPTERS = {"09_results", "11_rerun", "benchmark", "playground", "systems", "tour"}
"""Pages to look things up in, to rerun, to play with and to show."""
CHAPTERS = [path for path in NOTEBOOKS if path.stem not in NO_CHAPTERS]


def boxes(source: str) -> list[tuple[set[str], str]]:
    """Classes and text of every admonition in a cell."""
    found = re.findall(r"(?ms)^:::\{admonition\}[^\n]*\n:class: ([^\n]*)\n(.*?)^:::$", source)
    return [({*classes.split()}, text) for classes, text in found]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_a_chapter_says_what_it_needs(path: Path) -> None:
    """Once, on top; what it names stands before it in the book."""
    (needs,) = re.findall(
        r"(?m)^\*\*Needs\*\*: (.+(?:\n.+)*)", nbformat.read(path, 4).cells[0].source
    )
    named = [f"notebooks/{name}" for name in re.findall(r"\{doc\}`(?:[^`]*<)?([\w-]+)", needs)]
    order = [*parse_toc_yaml(project_root() / "_toc.yml")]
    assert named or path == CHAPTERS[0], needs
    assert all(order.index(name) < order.index(f"notebooks/{path.stem}") for name in named)


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda p: p.stem)
def test_a_chapter_asks_before_it_shows_and_at_its_end(path: Path) -> None:
    """A question with some answers, then the right one, folded; below them a key result."""
    cells = nbformat.read(path, 4).cells
    found = [{n: c.source for n, c in enumerate(cells) if f":class: {kind}" in c.source}
             for kind in ("predict", "think")]  # fmt: skip
    ((asked, first),), ((last, open_),) = (one.items() for one in found)
    (question, answers), (reveal, answer) = boxes(first)
    assert question == {"predict"} and 2 <= len(re.findall(r"(?m)^- ", answers)) <= 4
    assert reveal == {"predict", "dropdown"} and answer.strip()
    assert [classes for classes, _ in boxes(open_)] == [{"think"}]
    (summary,) = [n for n, c in enumerate(cells) if re.search(r"(?m)^## Summary$", c.source)]
    assert asked < summary < last == len(cells) - 2
    key = [n for n, cell in enumerate(cells) if "key-result" in tags(cell)]
    figures = [cell for cell in cells if "figure" in cell.metadata.get("mystnb", {})]
    assert len(key) <= 2 and (not figures or asked < key[-1] < summary)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_reader_sees_how_the_module_is_used(path: Path) -> None:
    """The set-up fits in a few imports and is in view, and so is a cell that uses the module."""
    code = [cell for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    seen = [cell.source for cell in code if not tags(cell)]
    nodes = [node for source in seen for node in ast.parse(source).body]
    imports = [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    assert len(imports) <= 8, [ast.unparse(node) for node in imports]
    assert any("dd." in source for source in seen)


def test_little_is_folded_away() -> None:
    cells = [cell for path in NOTEBOOKS for cell in nbformat.read(path, 4).cells]
    assert sum(bool(tags(cell) & BARS) for cell in cells) <= 20


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_parameters_are_the_registered_ones_with_good_defaults(path: Path) -> None:
    defaults = runner.parameters_of(path)
    check(**{name: value for name, value in defaults.items() if name in PARAMETERS})
    assert {*defaults} <= {*PARAMETERS} or path.stem in OWN
    if not computes(path):
        assert not defaults, "parameters without effect"
        return
    assert set(defaults) >= COMMON
    assert defaults["profile"] == "quick" and defaults["device"] == "auto"


@pytest.mark.parametrize(("path", "name", "value"), CASES)
def test_bad_values_are_refused_before_a_kernel_starts(
    path: Path, name: str, value: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_process(*_: Any, **__: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", no_process)
    with pytest.raises(ValueError, match=f"parameter '{name}' is .*must be") as error:
        runner.run(path, {name: value}, tmp_path / "out.ipynb")
    assert repr(value) in str(error.value) and PARAMETERS[name].allowed in str(error.value)
    assert not (tmp_path / "out.ipynb").exists()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_unknown_parameters_are_refused(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", str(path), "-p", "sede", "1"]) == 2
    message = capsys.readouterr().err
    allowed = "seed" if computes(path) else "takes none"
    assert "'sede'" in message and allowed in message and "Traceback" not in message


def test_plain_papermill_refuses_a_bad_value_in_its_second_cell(tmp_path: Path) -> None:
    """Without our runner the chapter itself must say what is wrong, before it computes."""
    source = next(p for p in NOTEBOOKS if p.stem.startswith("02"))
    out = tmp_path / "out.ipynb"
    command = [sys.executable, "-m", "papermill", str(source), str(out), "-p", "recipe", "best"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode != 0
    assert "parameter 'recipe' is 'best'; it must be one of 'plain', 'tuned'" in result.stderr
    executed = [c for c in nbformat.read(out, 4).cells if c.get("execution_count")]
    assert len(executed) <= 3  # parameters, papermill's injected ones, the check


def levels(value: ast.expr) -> int:
    """How many levels an expression's index has, if it sets one and leaves it unsorted."""
    calls = [n for n in ast.walk(value) if isinstance(n, ast.Call)]
    named = {n.func.attr: n for n in calls if isinstance(n.func, ast.Attribute)}
    keys = named["set_index"].args[0] if "set_index" in named else None
    unsorted = isinstance(keys, ast.List) and "sort_index" not in named
    return len(keys.elts) if unsorted and isinstance(keys, ast.List) else 0


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_no_cell_looks_up_part_of_an_unsorted_index(path: Path) -> None:
    """pandas warns on the page, where a check needs a larger profile than the tests run."""
    code = [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]
    nodes = list(ast.walk(ast.parse("\n".join(code))))
    assigned = [node for node in nodes if isinstance(node, ast.Assign)]
    depth = {ast.unparse(node.targets[0]): levels(node.value) for node in assigned}
    for node in nodes:
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple):
            given = len(node.slice.elts)
            assert given >= depth.get(ast.unparse(node.value), 0), ast.unparse(node)


@pytest.mark.parametrize("folder", [".", "notebooks", "elsewhere"])
def test_the_chapter_on_sweeps_finds_its_notebook_from_any_folder(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain papermill runs a chapter in the folder in which it is called."""
    monkeypatch.setenv("DUALDIFF_STORE", str(tmp_path / "store"))
    (source,) = (path for path in NOTEBOOKS if path.stem.startswith("11"))
    notebook = nbformat.read(source, 4)
    begins = next(n for n, cell in enumerate(notebook.cells) if "sweep.run(" in cell.source)
    notebook.cells = notebook.cells[:begins]  # what follows has nothing to do with folders
    nbformat.write(notebook, tmp_path / "begin.ipynb")
    (tmp_path / "elsewhere").mkdir()
    here = tmp_path / "elsewhere" if folder == "elsewhere" else project_root() / folder
    words = [str(tmp_path / "begin.ipynb"), str(tmp_path / "out.ipynb"), "-p", "profile", "smoke"]
    command = [sys.executable, "-m", "papermill", *words]
    result = subprocess.run(command, capture_output=True, text=True, cwd=here)
    assert result.returncode == 0, result.stderr[-2000:]
    refused = [
        o
        for cell in nbformat.read(tmp_path / "out.ipynb", 4).cells
        for o in cell.get("outputs", [])
    ]
    assert any("unknown parameter 'distanse'" in output.get("text", "") for output in refused)


def test_what_a_chapter_calls_next_is_next() -> None:
    documents = [*parse_toc_yaml(project_root() / "_toc.yml")]
    found = 0
    for here, following in itertools.pairwise(documents):
        notebook = project_root() / f"{here}.ipynb"
        if not notebook.is_file():
            continue
        cells = nbformat.read(notebook, 4).cells
        text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        for name in re.findall(r"\*\*Next\*\*[^`]*\{doc\}`([^`]+)`", text):
            assert os.path.normpath(f"notebooks/{name}") == following, here
            found += 1
    assert found > 10
