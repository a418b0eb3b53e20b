"""One submission: its notebook, the tests of its lab, and what comes out of them."""

from __future__ import annotations

import sys
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dualdiff.teaching.reading import Notebook, notebook_in


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
        Its label: the path in the folder of submissions.
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
    digest : str
        Of what was handed in.
    untouched : bool
        Whether that is the notebook as it was handed out.
    skipped : bool
        Whether it is nothing that could be marked.
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
    digest: str = ""
    untouched: bool = False
    skipped: bool = False

    def marks(self, question: str) -> float:
        """Points of a question; 0 if its tests were not run."""
        return sum(test.points for test in self.questions.get(question, ()) if test.passed)


def archived_tests(archive: Path) -> dict[str, str]:
    """The source of the tests of each question, hidden ones too, from Otter's archive."""
    with zipfile.ZipFile(archive) as files:
        names = sorted(name for name in files.namelist() if name.startswith("tests/"))
        return {Path(name).stem: files.read(name).decode() for name in names}


def parsed(source: str, question: str) -> Any:
    """Otter's object for the tests of a question."""
    # Without the seconds that `notebooks.nbformat` explains.
    sys.modules.setdefault("rfc3987_syntax", None)  # type: ignore[arg-type]
    from otter.test_files.exception_test import ExceptionTestFile

    return ExceptionTestFile.from_string(source, question)


@dataclass(frozen=True)
class Lab:
    """How a lab is marked: the tests of each question, their points, and what students got."""

    tests: dict[str, str]
    points: dict[str, float]
    handed_out: Notebook | None = None

    @classmethod
    def load(cls, archive: Path) -> Lab:
        """Read Otter's archive, and the notebook for students where ``build`` has put it."""
        tests = archived_tests(archive)
        files = {name: parsed(text, name) for name, text in tests.items()}
        student = archive.parent.parent / "student" / f"{archive.stem}.ipynb"
        handed_out = notebook_in(student.read_bytes()) if student.is_file() else None
        points = {name: float(file.possible) for name, file in files.items()}
        return cls(tests, points, handed_out)


def plain(text: object, length: int = 300) -> str:
    """What a submission says, as one line that no terminal or table takes for an instruction."""
    line = "".join(c if c.isprintable() else " " for c in str(text)[: 10 * length])
    line = " ".join(line.split())
    return line if len(line) <= length else line[:length] + " ..."
