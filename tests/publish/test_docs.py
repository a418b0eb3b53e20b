"""What README and the page on running show runs as printed, and names what is pinned."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = (ROOT / "README.md", ROOT / "book" / "running.md")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_blocks_of_python_run_as_printed(document: Path) -> None:
    """One after the other, and what a comment says of a shape is so."""
    blocks = re.findall(r"^```python\n(.*?)^```$", document.read_text(), re.M | re.S)
    assert blocks
    names: dict[str, Any] = {}
    for block in blocks:
        exec(compile(block, document.name, "exec"), names)
        shapes = re.findall(r"^(\w+) = .*# \[([\d, ]+)\]$", block, re.M)
        assert shapes
        for name, shape in shapes:
            assert list(names[name].shape) == [int(size) for size in shape.split(",")], name
            assert bool(torch.isfinite(names[name]).all())


def test_the_torch_to_install_first_is_the_tested_one() -> None:
    pinned = re.findall(r"^torch==(.+)$", (ROOT / "constraints.txt").read_text(), re.M)
    assert re.findall(r"torch==(\S+)", (ROOT / "README.md").read_text()) == pinned != []


def imported(file: Path) -> set[Path]:
    """Files of the package that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("dualdiff."):
            for alias in node.names:
                for name in (f"{node.module}.{alias.name}", str(node.module)):
                    path = ROOT.joinpath(*name.split("."))
                    there = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
                    if there.is_file():
                        found.add(there)
                        break
    return {path for path in found if path != ROOT / "dualdiff" / "__init__.py"} - {file}


def test_no_module_imports_itself_through_others() -> None:
    """Which wing imports which is the linter's to say (pyproject.toml)."""
    graph = {file: imported(file) for file in (ROOT / "dualdiff").rglob("*.py")}
    tuple(TopologicalSorter(graph).static_order())  # raises for a circle
