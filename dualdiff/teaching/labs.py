"""The labs: how long a notebook computes, and what students and the marker get of a source.

The sources in ``notebooks/labs`` are in the format of Otter Assign: raw cells mark questions,
solutions and tests. ``build`` makes of each a notebook for students, without solutions and hidden
tests, one with the solutions, and the archive of tests that ``otter run`` and ``dualdiff grade``
read.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import yaml

T = TypeVar("T")

SIZE = "DUALDIFF_LAB_SIZE"
SIZES = ("full", "smoke")
FOLDERS = {"student": ".ipynb", "solutions": ".ipynb", "autograder": ".zip"}
# Otter in a process of its own, without the seconds that `notebooks.nbformat` explains.
_OTTER = (
    "import sys; sys.modules['rfc3987_syntax'] = None; "
    "from otter.cli import cli; cli(prog_name='otter')"
)


def size() -> str:
    """How much a lab computes: ``full`` as in class, or ``smoke`` to try it in seconds.

    It is the value of the environment variable ``DUALDIFF_LAB_SIZE``, ``full`` where it is not set.

    Raises
    ------
    ValueError
        For any other value.
    """
    value = os.environ.get(SIZE, SIZES[0])
    if value not in SIZES:
        raise ValueError(f"{SIZE} must be one of {', '.join(SIZES)}, not {value!r}")
    return value


def sized(full: T, smoke: T) -> T:
    """The value for the present :func:`size`, so that a lab says both where it uses one."""
    return full if size() == "full" else smoke


def sources(root: Path) -> dict[str, Path]:
    """The labs of a checkout: the name of each and its source, in order."""
    return {path.stem: path for path in sorted((root / "notebooks" / "labs").glob("*.ipynb"))}


def build(root: Path, out: Path, names: list[str] | None = None) -> Iterator[tuple[str, bool]]:
    """Make what is missing or older than its source, one lab after the other.

    Parameters
    ----------
    root : Path
        The checkout.
    out : Path
        Gets ``student/NAME.ipynb``, ``solutions/NAME.ipynb`` and ``autograder/NAME.zip``.
    names : list of str, optional
        The labs; all by default.

    Yields
    ------
    (str, bool)
        A lab that is there now, and whether it was made.

    Raises
    ------
    ValueError
        For an unknown name, before anything is made.
    RuntimeError
        If otter-grader is not installed or refuses a source.
    """
    known = sources(root)
    for name in names or ():
        if name not in known:
            raise ValueError(f"there is no lab {name!r}; the labs are {', '.join(known)}")
    otter = _otter() if known else ""
    for name in names or known:
        yield name, _build_one(known[name], out, otter)


def _otter() -> str:
    try:
        return version("otter-grader")
    except PackageNotFoundError:
        raise RuntimeError(
            "the labs need otter-grader: install it with `pip install 'dualdiff[labs]'`"
        ) from None


def _build_one(source: Path, out: Path, otter: str) -> bool:
    """Whether it had to be made."""
    state = hashlib.sha256(source.read_bytes()).hexdigest() + f" otter-grader {otter}"
    stamp = out / f".{source.stem}"
    results = {kind: out / kind / f"{source.stem}{suffix}" for kind, suffix in FOLDERS.items()}
    there = all(path.is_file() for path in results.values()) and stamp.is_file()
    if there and stamp.read_text("utf-8") == state:
        return False
    for path in results.values():
        path.parent.mkdir(parents=True, exist_ok=True)
    stamp.unlink(missing_ok=True)
    # In the same file system, so that what it makes can be put in place by renaming.
    with tempfile.TemporaryDirectory(dir=out) as folder:
        made = _assign(source, Path(folder))
        for kind, path in results.items():
            os.replace(made[kind], path)
    stamp.write_text(state, "utf-8")
    return True


def _assign(source: Path, folder: Path) -> dict[str, Path]:
    """What Otter Assign makes of a source: which file is which."""
    # Its copy: Otter Assign leaves files beside what it reads.
    copy = shutil.copy(source, folder)
    command = [sys.executable, "-c", _OTTER, "assign", "--no-run-tests", "--no-pdfs"]
    result = subprocess.run(
        [*command, copy, str(folder / "out")], capture_output=True, text=True, errors="replace"
    )
    if result.returncode:
        raise RuntimeError(f"Otter Assign refuses {source}:\n{result.stderr or result.stdout}")
    marker = folder / "out" / "autograder"
    return {
        "student": folder / "out" / "student" / source.name,
        "solutions": marker / source.name,
        "autograder": next(marker.glob("*.zip")),
    }


def questions(source: Path) -> dict[str, str]:
    """The code that answers each question of a source, by the question's name.

    A question has one cell of code between ``# BEGIN SOLUTION`` and ``# END SOLUTION``, or none if
    it is answered in words.
    """
    return {question: text for question, part, text in _parts(source) if part == "SOLUTION"}


def points(source: Path) -> dict[str, int]:
    """The points of each question of a source, the sum over its tests."""
    found: dict[str, int] = {}
    for question, part, text in _parts(source):
        if part == "TESTS" and (points := re.search(r"^points: *(\d+)", text, re.M)):
            found[question] = found.get(question, 0) + int(points[1])
    return found


def _parts(source: Path) -> Iterator[tuple[str, str, str]]:
    """The cells of code in the blocks of a source: question, kind of the block, code."""
    question = part = ""
    for cell in json.loads(source.read_text("utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "raw":
            if named := re.match(r"# BEGIN QUESTION\n(?:.*\n)*?name: *(\S+)", text):
                question = named[1]
            block = re.match(r"# (BEGIN|END) (SOLUTION|TESTS)", text)
            part = block[2] if block and block[1] == "BEGIN" else ""
        elif part and cell["cell_type"] == "code":
            yield question, part, text


def mistakes(source: Path) -> list[dict[str, Any]]:
    """Typical wrong answers to a lab.

    Each has a ``title``, the ``question``, the ``answer`` in the place of the solution, the
    ``marks`` of the questions that lose some, and ``caught_by``, the hint of the test that tells.
    """
    path = source.parent / "mistakes" / f"{source.stem}.yaml"
    found: list[dict[str, Any]] = yaml.safe_load(path.read_text("utf-8"))
    return found


# A page has a title of its own, sets formulas without their numbers smaller where they do not fit,
# and reads what is folded as Markdown if it stands apart.
_ON_A_PAGE = {
    r"\A# .*\n": "",
    r"\\tag\{(\d+)\}": r"\\qquad (\1)",
    r"(</summary>|(?=</details>))": r"\1\n\n",
}


def text(notebook: Path) -> str:
    """A student's copy to be read on a page: its cells one after the other, in Markdown.

    Code is shown as it is given out, and not run; the cell that starts the tests is left out.
    """
    parts = []
    for cell in json.loads(notebook.read_text("utf-8"))["cells"]:
        words = "".join(cell["source"])
        if cell["cell_type"] != "code":
            for pattern, replaced in _ON_A_PAGE.items():
                words = re.sub(pattern, replaced, words)
            parts.append(words)
        elif not words.startswith("# Initialize Otter"):
            parts.append(f"```python\n{words}\n```")
    return "\n\n".join(parts)
