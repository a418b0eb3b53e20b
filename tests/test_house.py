"""The house stays small: code lines have budgets, and files can be read in one sitting."""

import tomllib

import pytest
from code_lines import ROOT, code_lines, wings

BUDGETS = {
    ".": 3_192,  # of it 168 for functions as experts, 22 that say which extra has what is missing
    "experiments": 3_766,  # of it 24 that say where an installed package has its notebooks
    "checks": 430,
    "judging": 545,
    "robot": 1_600,
    "images": 1_415,  # of it 720 for latents, cascade, editing, an equation and strokes
    "results": 656,  # of it 49 for the archive of all tables
    "data": 1_585,
    "pages": 485,
    "readings": 420,
    "plots": 1_055,  # of it 11 for strokes as vector graphics, which were in images
    "widgets": 1_375,
    "publish": 2_249,  # of it 166 to install and launch, 158 for heads, slides, exercises
    "teaching": 2_610,
}
"""Code lines at most; lowered when a wing shrinks, raised with a reason alone."""


@pytest.mark.parametrize("wing", BUDGETS)
def test_a_wing_keeps_its_budget(wing: str) -> None:
    """The flat files (".") are the core, which knows nothing of studies, pages and tools."""
    assert 0 < wings(ROOT / "dualdiff")[wing] <= BUDGETS[wing]


def test_the_top_of_the_package_is_the_core() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    flat = {path.stem for path in (ROOT / "dualdiff").glob("*.py")}
    assert flat - {"__init__"} == {*contract["layers"][-1].split(" : ")} and len(flat) <= 24
    assert {*BUDGETS} == {".", *(path.parent.name for path in (ROOT / "dualdiff").glob("*/*.py"))}


def test_no_file_is_long() -> None:
    long = {
        path.name: lines
        for path in (ROOT / "dualdiff").rglob("*.py")
        if (lines := len(path.read_text("utf-8").splitlines())) > 400
    }
    assert not long


def test_comments_docstrings_and_blank_lines_are_no_code() -> None:
    source = (
        '"""A\nmodule."""\n\n# why\nx = """two\nlines"""  # code\n\n\ndef f():\n    """Doc."""\n'
    )
    assert code_lines(source) == 3
    assert code_lines("") == 0
