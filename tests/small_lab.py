"""A lab of one function, for tests of what building and marking do with it."""

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbformat import v4

from dualdiff.teaching import sandbox
from dualdiff.teaching.labs import build


def _no_box() -> str:
    """Why submissions cannot be shut in on this computer: empty if they can."""
    try:
        sandbox.check()
    except RuntimeError as error:
        return str(error)
    return ""


needs_box = pytest.mark.skipif(bool(_no_box()), reason=_no_box() or "there is a box")

CONFIG = """\
# ASSIGNMENT CONFIG
name: lab0_small
init_cell: true
export_cell: false
check_all_cell: false
show_question_points: true
tests:
  files: false
  ok_format: false
generate: true
"""
ANSWER = '''\
def twice(f):
    """The function that applies f two times."""
    # BEGIN SOLUTION
    return lambda x: f(f(x))
    # END SOLUTION'''
VISIBLE = '''\
""" # BEGIN TEST CONFIG
points: 1
failure_message: Twice adding one adds two
""" # END TEST CONFIG
def test_number(twice):
    assert twice(lambda x: x + 1)(3) == 5


test_number(twice)'''
HIDDEN = '''\
""" # BEGIN TEST CONFIG
points: 2
hidden: true
failure_message: It works on tensors, and the order of calls is kept
""" # END TEST CONFIG
def test_tensor(twice):
    import torch

    x = torch.tensor([2.0, -1.0])
    assert torch.equal(twice(lambda y: 3 * y + 1)(x), 9 * x + 4)


test_tensor(twice)'''
LAST = '''\
""" # BEGIN TEST CONFIG
points: 1
failure_message: seven is 7
""" # END TEST CONFIG
def test_seven(seven):
    assert seven == 7


test_seven(seven)'''


def source() -> nbformat.NotebookNode:
    """The instructor's notebook: two questions with tests and one that is answered in words."""
    raw, code, words = v4.new_raw_cell, v4.new_code_cell, v4.new_markdown_cell
    kernel = {"name": "python3", "language": "python", "display_name": "Python 3"}
    cells = [raw(CONFIG), words("# Small lab"), code("from dualdiff.teaching.labs import size")]
    for name, answer, tests in (
        ("q1", ANSWER, (VISIBLE, HIDDEN)),
        ("q2", "seven = 7  # SOLUTION", (LAST,)),
    ):
        cells += [raw(f"# BEGIN QUESTION\nname: {name}"), words(f"Write {name}.")]
        cells += [raw("# BEGIN SOLUTION"), code(answer), raw("# END SOLUTION")]
        cells += [raw("# BEGIN TESTS"), *map(code, tests), raw("# END TESTS")]
        cells += [raw("# END QUESTION")]
    cells += [raw("# BEGIN QUESTION\nname: open1\nmanual: true\npoints: 2"), words("Why?")]
    cells += [raw("# BEGIN SOLUTION"), words("Because. *Rubric*: 2."), raw("# END SOLUTION")]
    cells += [raw("# END QUESTION"), words("Hand in.")]
    return v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def built(root: Path) -> Path:
    """A checkout with this lab alone; what is made of it."""
    folder = root / "notebooks" / "labs"
    folder.mkdir(parents=True)
    nbformat.write(source(), folder / "lab0_small.ipynb")
    assert list(build(root, root / "built")) == [("lab0_small", True)]
    return root / "built"


def load(path: Path) -> dict[str, Any]:
    """A notebook as a dictionary."""
    return json.loads(path.read_text("utf-8"))


def with_cell(notebook: dict[str, Any], code: str, at: int | None = None) -> dict[str, Any]:
    """The notebook with one more cell, by default at the end."""
    copy = json.loads(json.dumps(notebook))
    cell = v4.new_code_cell(code)
    copy["cells"].insert(len(copy["cells"]) if at is None else at, cell)
    return copy
