"""One submission: its notebook, the tests of its lab, and what comes out of them."""

from __future__ import annotations

import json
import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LARGEST = 20 * 2**20  # bytes of a notebook file


@dataclass(frozen=True)
class Outcome:
    """One test of a question: its result."""

    points: float
    passed: bool
    hidden: bool
    hint: str  # what its author says when it fails
    reason: str  # what the failure was


@dataclass
class Marked:
    """What came out of a submission.

    Attributes
    ----------
    file : str
        Its path in the folder of submissions.
    lab : str
        Empty if nobody knows.
    questions : dict
        The tests of each question, empty if they could not be run.
    open_answers : dict
        The text of each question that is answered in words.
    remarks : list of str
        What its author and the teacher should know: cells that failed, limits exceeded.
    complete : bool
        Whether all tests were run.
    entry : dict or None
        What it achieves where a lab has a competition.
    """

    file: str
    lab: str = ""
    questions: dict[str, list[Outcome]] = field(default_factory=dict)
    open_answers: dict[str, str] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    complete: bool = False
    seconds: float = 0.0
    memory: int = 0
    printed: str = ""
    entry: dict[str, Any] | None = None

    def marks(self, question: str) -> float:
        """Points of a question; 0 if its tests were not run."""
        return sum(test.points for test in self.questions.get(question, ()) if test.passed)


class Unreadable(ValueError):
    """Why a file is no submission."""


def read(path: Path) -> dict[str, Any]:
    """The notebook in a file.

    Raises
    ------
    Unreadable
        If there is none.
    """
    if path.stat().st_size > LARGEST:
        size = path.stat().st_size / 2**20
        raise Unreadable(f"the file has {size:.0f} MiB, more than {LARGEST / 2**20:.0f}")
    try:
        notebook = json.loads(path.read_text("utf-8"))
        cells = notebook["cells"]
        for cell in cells:
            cell["source"] = "".join(cell["source"])
            cell["cell_type"] = str(cell["cell_type"])
            cell["tags"] = [str(tag) for tag in cell.get("metadata", {}).get("tags", ())]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unreadable(f"the file is not a notebook ({type(error).__name__}: {error})") from None
    return dict(notebook)


def lab_of(notebook: dict[str, Any]) -> str:
    """The lab that a student's copy says it is; empty if it says nothing."""
    try:
        return str(notebook["metadata"]["otter"]["assignment_name"])
    except (KeyError, TypeError):
        return ""


def archived_tests(archive: Path) -> dict[str, str]:
    """The source of the tests of each question, hidden ones too, from Otter's archive."""
    with zipfile.ZipFile(archive) as files:
        names = sorted(name for name in files.namelist() if name.startswith("tests/"))
        return {Path(name).stem: files.read(name).decode() for name in names}


def parsed(source: str, question: str) -> Any:
    """Otter's object for the tests of a question."""
    # Without the seconds that `chapter.papermill` explains.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    from otter.test_files.exception_test import ExceptionTestFile

    return ExceptionTestFile.from_string(source, question)


@dataclass(frozen=True)
class Lab:
    """How a lab is marked: the tests of each question and the points that they give."""

    tests: dict[str, str]
    points: dict[str, float]

    @classmethod
    def load(cls, archive: Path) -> Lab:
        """Read Otter's archive."""
        tests = archived_tests(archive)
        files = {name: parsed(text, name) for name, text in tests.items()}
        return cls(tests, {name: float(file.possible) for name, file in files.items()})


def open_answers(notebook: dict[str, Any]) -> dict[str, str]:
    """What was answered in words: the cells after the prompts that Otter marks."""
    answers: dict[str, str] = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown" and "otter_answer_cell" in cell["tags"]:
            answers[f"open{len(answers) + 1}"] = cell["source"]
    return answers


def plain(text: object, length: int = 300) -> str:
    """What a submission says, as one line that no terminal or table takes for an instruction."""
    line = "".join(c if c.isprintable() else " " for c in str(text)[: 10 * length])
    line = " ".join(line.split())
    return line if len(line) <= length else line[:length] + " ..."
