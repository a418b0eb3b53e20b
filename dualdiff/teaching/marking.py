"""One submission, marked: its notebook plays in a box, the tests run here."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from dualdiff.teaching import sandbox
from dualdiff.teaching.labs import SIZE
from dualdiff.teaching.protocol import Closed, Line, Message, Silent
from dualdiff.teaching.submission import Marked, Outcome, parsed, plain

CELL_SHARE = 1 / 3  # of the time limit, that one cell may take ...
CALL_SHARE = 1 / 30  # ... and one call of a function in a test, if they can be interrupted
PATIENCE = 1.5  # times as long, until what cannot be interrupted is ended with its process


def mark(
    result: Marked,
    notebook: dict[str, Any],
    tests: dict[str, str],
    limits: sandbox.Limits,
    *,
    size: str = "full",
    confined: bool = True,
    compete: Callable[[Names], dict[str, Any]] | None = None,
    boxes: sandbox.Boxes | None = None,
) -> None:
    """Play a notebook, run its tests, and write down in `result` what came out.

    A cell that ends the process, or has to be ended with it, is left out: the notebook plays again
    without it, in what is left of the time. So does it after a test in which the process ends, for
    the questions that follow.

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
    boxes : Boxes, optional
        Among which its own is.
    """
    started = time.monotonic()
    deadline = started + limits.seconds
    cells = [c["source"] for c in notebook["cells"] if c["cell_type"] == "code"]
    marking = _Marking(result, cells, tests, compete, boxes or sandbox.Boxes())
    while not marking.boxes.closed and marking.attempt(limits, deadline, size, confined):
        pass
    said = [f"cell {n} of the code: {words}" for n, words in sorted(marking.said.items())]
    result.remarks = [*said[:20], *result.remarks]
    result.seconds = time.monotonic() - started


class _Marking:
    """The attempts at one submission, each without what ended the ones before."""

    def __init__(
        self,
        result: Marked,
        cells: list[str],
        tests: dict[str, str],
        compete: Callable[[Names], dict[str, Any]] | None,
        boxes: sandbox.Boxes,
    ) -> None:
        self.result, self.cells, self.tests = result, list(cells), tests
        self.compete, self.boxes = compete, boxes
        self.said: dict[int, str] = {}  # of cells
        self.left_out: dict[int, str] = {}
        self.at: int | str = 0  # the cell, the question, or "" in the competition
        self.again = False  # after an execution that came to no cell

    def attempt(self, limits: sandbox.Limits, deadline: float, size: str, confined: bool) -> bool:
        """Play and test until the process ends; whether another attempt promises more."""
        result, self.at = self.result, 0
        ended: str | None = None
        left = replace(limits, seconds=max(deadline - time.monotonic(), 1))
        with _playing(left, size, confined, self.boxes) as (connection, watch):
            try:
                self._play(connection, left.seconds, limits.seconds)
                result.complete = True
            except Closed as error:
                ended = watch.exceeded or (str(error) if isinstance(error, Silent) else "")
            except Exception as error:  # of the execution: it speaks, but not as it should
                why = f"{type(error).__name__}: {error}"
                result.remarks.append(f"it could not be played: {plain(why)}")
        result.memory = max(result.memory, watch.peak)
        result.printed = watch.printed.decode(errors="replace")
        if ended is None:
            return False
        why = _end(ended, result.printed)
        if watch.late:
            why = f"it took longer than {limits.seconds:g} s"
        over = watch.late or self.boxes.closed or deadline - time.monotonic() < 1
        if over or not self._without(why):
            result.remarks.append(f"{why}; it was {self._place()}")
            return False
        return not result.complete

    def _play(self, connection: socket.socket, left: float, seconds: float) -> None:
        # A share of what is left, or two cells that do not answer would take all of the time.
        cell, call = CELL_SHARE * left, CALL_SHARE * seconds

        def answer(message: Message) -> None:
            self.at = int(message["cell"])
            connection.settimeout(PATIENCE * cell)

        line = Line(connection, answer)
        names = Names(line)
        sources = ["" if n in self.left_out else c for n, c in enumerate(self.cells, 1)]
        said = line.ask({"play": sources, "cell_seconds": cell, "call_seconds": call})
        self.said = self.left_out | {int(number): plain(words) for number, words in said}
        connection.settimeout(PATIENCE * call)
        for question, source in self.tests.items():
            if question not in self.result.questions:
                self.at = question
                _tested(self.result, question, source, names)
        self.at = ""
        if self.compete is not None:
            self.result.entry = _competed(self.compete, names, self.result)

    def _without(self, why: str) -> bool:
        """Leave out what ended the process; whether it was the submission's."""
        if isinstance(self.at, str):  # its tests have failed
            self.result.questions.setdefault(self.at, []) if self.at else None
            what = self.at or "not in the competition"
            self.result.remarks.append(f"{what}: {why}")
            untested = self.tests.keys() - self.result.questions.keys()
            self.result.complete = not untested and (not self.at or self.compete is None)
            return True
        if self.at == 0 and not self.again:  # whatever it was, it was not a cell
            self.again = True
            return True
        if self.at in self.left_out or not 1 <= self.at <= len(self.cells):
            return False
        self.left_out[self.at] = self.said[self.at] = f"left out, because {why}"
        return True

    def _place(self) -> str:
        if isinstance(self.at, int):
            return f"in cell {self.at} of the code" if self.at else "before its first cell"
        return f"in the tests of {self.at}" if self.at else "in the competition"


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


def _end(exceeded: str, printed: str) -> str:
    """Why a submission ended."""
    if exceeded:
        return exceeded
    last = (printed.strip().splitlines() or ["nothing"])[-1]
    return f"its process ended, and the last it printed was: {plain(last, 100)}"


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
    limits: sandbox.Limits, size: str, confined: bool, boxes: sandbox.Boxes
) -> Iterator[tuple[socket.socket, sandbox.Watch]]:
    """An execution in its box, and who watches it; both gone at the end."""
    here, there = socket.socketpair()
    folder = nullcontext("/tmp") if confined else tempfile.TemporaryDirectory()
    with here, there, folder as home:
        arguments = [
            "-m",
            "dualdiff.teaching.execution",
            str(there.fileno()),
            str(int(limits.memory)),
        ]
        store = {SIZE: size, "DUALDIFF_STORE": f"{home}/store"}
        process = subprocess.Popen(
            sandbox.command(arguments, confined=confined),
            cwd=None if confined else home,
            env=sandbox.environment(home, **store),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[there.fileno()],
            start_new_session=True,
        )
        there.close()
        watch = sandbox.Watch(process, limits)
        try:
            with boxes.hold(watch):
                yield here, watch
        finally:
            watch.end()
            assert process.stdout is not None
            process.stdout.close()
