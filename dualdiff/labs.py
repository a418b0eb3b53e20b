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
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

SIZE = "DUALDIFF_LAB_SIZE"
SIZES = ("full", "smoke")
FOLDERS = {"student": ".ipynb", "solutions": ".ipynb", "autograder": ".zip"}


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
            "the labs need otter-grader: install it with `pip install -r requirements-labs.txt`"
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
    command = [sys.executable, "-m", "otter", "assign", "--no-run-tests", "--no-pdfs"]
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
    answers, question, inside = {}, "", False
    for cell in json.loads(source.read_text("utf-8"))["cells"]:
        text = "".join(cell["source"])
        if cell["cell_type"] == "raw":
            if text.startswith("# BEGIN QUESTION"):
                lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
                question = lines["name"].strip()
            elif text.startswith(("# BEGIN SOLUTION", "# END SOLUTION")):
                inside = text.startswith("# BEGIN")
        elif inside and cell["cell_type"] == "code":
            answers[question] = text
    return answers
