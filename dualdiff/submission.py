"""One submission, marked: its notebook plays in a box, the tests run here."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dualdiff import confine
from dualdiff.handover import Closed, Line, Message
from dualdiff.labs import SIZE
from dualdiff.reading import Notebook, read

CELL_SHARE = 1 / 3  # of the time limit, that one cell may take ...
CALL_SHARE = 1 / 30  # ... and one call of a function in a test


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
    # Without the seconds that `declared.nbformat` explains.
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
        handed_out = read(student) if student.is_file() else None
        points = {name: float(file.possible) for name, file in files.items()}
        return cls(tests, points, handed_out)


def mark(
    result: Marked,
    notebook: dict[str, Any],
    tests: dict[str, str],
    limits: confine.Limits,
    *,
    size: str = "full",
    confined: bool = True,
    compete: Callable[[Names], dict[str, Any]] | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Play a notebook, run its tests, and write down in `result` what came out.

    Parameters
    ----------
    result : Marked
    notebook : dict
    tests : dict
        The source of the tests of each question: see :func:`archived_tests`.
    limits : Limits
    size : str
        ``full`` or ``smoke``: how much the lab computes.
    confined : bool
        Whether it plays in a box.
    compete : callable, optional
        What is measured of the names of the submission after the tests.
    say : callable
        Gets in words what is going on.
    """
    started = time.monotonic()
    at = ["before its first cell"]

    def answer(message: Message) -> None:
        at[0] = f"in cell {int(message['cell'])} of the code"
        say(at[0])

    ended: str | None = None
    with _playing(limits, size, confined) as (connection, watch):
        line = Line(connection, answer)
        names = Names(line)
        cells = [c["source"] for c in notebook["cells"] if c["cell_type"] == "code"]
        try:
            shares = {"cell_seconds": CELL_SHARE, "call_seconds": CALL_SHARE}
            seconds = {name: share * limits.seconds for name, share in shares.items()}
            failed = line.ask({"play": cells} | seconds)
            result.remarks += [
                f"cell {int(number)} of the code: {plain(reason)}" for number, reason in failed[:20]
            ]
            for question, source in tests.items():
                at[0] = f"in the tests of {question}"
                say(at[0])
                _tested(result, question, source, names)
            if compete is not None:
                at[0] = "in the competition"
                result.entry = _competed(compete, names, result)
            result.complete = True
        except Closed:
            ended = watch.exceeded
        except Exception as error:  # of the player: it speaks, but not as it should
            why = f"{type(error).__name__}: {error}"
            result.remarks.append(f"it could not be played: {plain(why)}")
    if ended is not None:
        result.remarks.append(_end(ended, watch.printed, at[0]))
    result.seconds = time.monotonic() - started
    result.memory = watch.peak
    result.printed = watch.printed.decode(errors="replace")


class Names:
    """What a submission has defined, for tests: its functions are called where they live."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self.missing: list[str] = []

    def get(self, name: str, default: Any = None) -> Any:
        """The value of a name; the default if it has none."""
        try:
            return self._line.ask({"get": name})
        except NameError:
            if name not in self.missing:
                self.missing.append(name)
            return default

    def check_open(self) -> None:
        """Raise :class:`Closed` if the submission has ended: a test took that for a failure."""
        self.get("__name__")


def plain(text: object, length: int = 300) -> str:
    """What a submission says, as one line that no terminal or table takes for an instruction."""
    line = "".join(c if c.isprintable() else " " for c in str(text)[: 10 * length])
    line = " ".join(line.split())
    return line if len(line) <= length else line[:length] + " ..."


def _tested(result: Marked, question: str, source: str, names: Names) -> None:
    """Run the tests of a question."""
    names.missing.clear()
    file = parsed(source, question)
    file.run(names)
    result.questions[question] = [_test(case) for case in file.test_case_results]
    result.remarks += [f"{question}: {name} is not defined" for name in names.missing]
    names.check_open()


def _test(case: Any) -> Outcome:
    spec = case.test_case
    reason = "" if case.passed else plain(str(case.message).strip().splitlines()[-1])
    return Outcome(
        float(spec.points), bool(case.passed), spec.hidden, spec.failure_message or "", reason
    )


def _end(exceeded: str, printed: bytes, at: str) -> str:
    """Why a submission ended, and where."""
    if exceeded:
        return f"{exceeded}; it was {at}"
    last = (printed.decode(errors="replace").strip().splitlines() or ["nothing"])[-1]
    return f"its process ended; it was {at}, and the last it printed was: {plain(last, 100)}"


def _competed(
    compete: Callable[[Names], dict[str, Any]], names: Names, result: Marked
) -> dict[str, Any] | None:
    try:
        return compete(names)
    except Closed:
        raise
    except Exception as error:
        result.remarks.append(
            f"not in the competition: {plain(f'{type(error).__name__}: {error}')}"
        )
        return None


@contextmanager
def _playing(
    limits: confine.Limits, size: str, confined: bool
) -> Iterator[tuple[socket.socket, confine.Watch]]:
    """A player in its box, and who watches it; both gone at the end."""
    here, there = socket.socketpair()
    folder = nullcontext("/tmp") if confined else tempfile.TemporaryDirectory()
    with here, folder as home:
        arguments = ["-m", "dualdiff.player", str(there.fileno()), str(limits.memory)]
        store = {SIZE: size, "DUALDIFF_STORE": f"{home}/store"}
        process = subprocess.Popen(
            confine.command(arguments, confined=confined),
            cwd=None if confined else home,
            env=confine.environment(home, **store),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[there.fileno()],
            start_new_session=True,
        )
        there.close()
        watch = confine.Watch(process, limits)
        try:
            yield here, watch
        finally:
            watch.end()
            assert process.stdout is not None
            process.stdout.close()
