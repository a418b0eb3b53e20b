"""The house stays small: code lines have budgets, and files can be read in one sitting."""

import tomllib

import pytest
from code_lines import ROOT, code_lines, wings

CORE = (
    "process denoisers networks regions scenarios lens interpolation exact compose chunks samplers "
    "mcmc resampling correct aggregate methods train metrics pooling weights store workers profiles"
).split()
"""The flat core, which knows nothing of studies, pages and tools: import-linter keeps that."""

BUDGETS = {
    "core": 3_100,
    "pages": 450,
    "readings": 450,
    "plots": 1_100,
    "widgets": 1_250,
    "robot": 1_500,
}
"""Code lines at most; lowered when a wing shrinks, raised with a reason alone."""


def counted() -> dict[str, int]:
    """Code lines by wing."""
    package = ROOT / "dualdiff"
    core = sum(code_lines((package / f"{name}.py").read_text("utf-8")) for name in CORE)
    return {**wings(package), "core": core}


@pytest.mark.parametrize("wing", BUDGETS)
def test_a_wing_keeps_its_budget(wing: str) -> None:
    assert counted()[wing] <= BUDGETS[wing]


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


def test_the_linter_of_imports_knows_the_same_core() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    assert set(contract["layers"][-1].split(" : ")) == {*CORE, "definitions"}
