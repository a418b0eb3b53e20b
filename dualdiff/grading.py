"""A folder of submissions, marked: one table, and what each author should know.

Submissions play side by side, each in its own box (``confine``), and whatever one of them does,
the others are marked. What is marked completely is kept, so that marking goes on after an
interruption and a second call marks only what is new.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from tqdm import tqdm

from dualdiff import arena, confine
from dualdiff.labs import SIZES
from dualdiff.submission import (
    Marked,
    Names,
    Outcome,
    Unreadable,
    archived_tests,
    lab_of,
    mark,
    open_answers,
    parsed,
    plain,
    read,
)
from dualdiff.workers import check_jobs

ROBOT_LAB = "lab5_robot"

Competition = Callable[[Names], dict[str, Any]]


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


def labs_of(folder: Path) -> dict[str, Lab]:
    """The labs that ``dualdiff labs`` has made in a folder.

    Raises
    ------
    ValueError
        If there are none.
    """
    archives = sorted((folder / "autograder").glob("*.zip"))
    if not archives:
        raise ValueError(f"{folder} holds no labs: there is no autograder/*.zip in it")
    return {path.stem: Lab.load(path) for path in archives}


def submissions(folder: Path) -> list[Path]:
    """The notebooks of a folder and of those in it, in order.

    Raises
    ------
    ValueError
        If it is no folder or holds none.
    """
    if not folder.is_dir():
        raise ValueError(f"the submissions are looked for in {folder}, which is not a folder")
    found = [
        path
        for path in sorted(folder.rglob("*.ipynb"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
    if not found:
        raise ValueError(f"there is no notebook (.ipynb) in {folder}; unpack archives first")
    return found


def grade(
    folder: Path,
    out: Path,
    labs: dict[str, Lab],
    limits: confine.Limits,
    *,
    jobs: int = 2,
    size: str = "full",
    confined: bool = True,
    again: bool = False,
    quiet: bool = False,
    competitions: dict[str, Competition] | None = None,
) -> Path:
    """Mark every notebook of a folder.

    Parameters
    ----------
    folder : Path
        The submissions: notebooks, in folders if you like.
    out : Path
        Gets ``marks.csv``, ``open_answers.md``, ``feedback/`` with one page per submission and, if
        there is a competition, ``leaderboard.csv``.
    labs : dict
        How each lab is marked.
    limits : Limits
        What one submission may take.
    jobs : int
        Submissions at a time.
    size : str
        ``full``, what students saw, or ``smoke``: quicker.
    confined : bool
        Play them in boxes.
    again : bool
        Mark those anew that are marked already.
    quiet : bool
        No progress.
    competitions : dict, optional
        What is measured of a lab's submissions after the tests; by default of the robot lab.

    Returns
    -------
    Path
        Of the table.

    Raises
    ------
    ValueError
        If the folder has no notebooks or a parameter is not allowed.
    RuntimeError
        If there is no box on this machine.
    """
    check_jobs(jobs)
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(SIZES)}, not {size!r}")
    paths = submissions(folder)
    if confined:
        confine.check()
    done = out / ".done"
    done.mkdir(parents=True, exist_ok=True)
    if competitions is None:
        competitions = {ROBOT_LAB: _robot_game(done / "seed")}

    def one(path: Path) -> Marked:
        result = Marked(str(path.relative_to(folder)))
        try:
            return marked(path, result)
        except Exception as error:  # whatever it is: the others go on
            why = f"{type(error).__name__}: {error}"
            result.remarks.append(f"it could not be marked: {plain(why)}")
            return result

    def marked(path: Path, result: Marked) -> Marked:
        notebook = _opened(path, labs, result)
        if notebook is None:
            return result
        lab = labs[result.lab]
        kept = done / f"{_key(path, lab, size)}.json"
        if not again and (known := _kept(kept, result.file)) is not None:
            return known
        compete = competitions.get(result.lab)
        mark(result, notebook, lab.tests, limits, size=size, confined=confined, compete=compete)
        if result.complete:
            _write(kept, json.dumps(asdict(result)))
        return result

    results = _all(paths, one, jobs, labs, quiet)
    _write(out / "marks.csv", table(results, labs, _entered(out / "marks.csv")))
    _write(out / "open_answers.md", answers_page(results))
    if any(result.entry for result in results):
        _write(out / "leaderboard.csv", leaderboard(results, done / "leaderboard.json"))
    for result in results:
        _write(out / "feedback" / f"{_flat(result.file)}.md", feedback(result, labs))
    return out / "marks.csv"


def _robot_game(path: Path) -> Competition:
    """A game of the robot lab with a seed that nobody knows, the same in every call.

    An entry has the ``name`` that its author wants to be known by, the notebook's ``ME``.
    """
    if not path.is_file():
        _write(path, str(secrets.randbits(60)))
    seed = int(path.read_text())
    return lambda names: arena.success(names.get("propose"), seed) | {"name": names.get("ME")}


def leaderboard(results: list[Marked], board: Path) -> str:
    """Who achieved what in the competition, as CSV, the best first.

    Whoever chose no name, or one that is taken, is known by the file.
    """
    board.unlink(missing_ok=True)
    taken = {"", "me"}  # nobody, and what the lab begins with
    for result in results:
        if result.entry:
            name = _cell(plain(result.entry.get("name") or "", arena.LONGEST - 5))
            if name in taken:
                name = _cell(plain(_flat(result.file), arena.LONGEST - 5))
            taken.add(name)
            shown = arena.enter(board, name, result.entry)
    return shown.to_csv(index=False, float_format="%.4f", lineterminator="\n")


def _all(
    paths: list[Path],
    one: Callable[[Path], Marked],
    jobs: int,
    labs: dict[str, Lab],
    quiet: bool,
) -> list[Marked]:
    """The result of each, in order, with progress."""
    results: dict[Path, Marked] = {}
    with (
        _one_thread(),
        ThreadPoolExecutor(jobs) as pool,
        tqdm(
            total=len(paths), desc="marking", unit="notebook", disable=quiet, file=sys.stderr
        ) as bar,
    ):
        futures: dict[Future[Marked], Path] = {pool.submit(one, path): path for path in paths}
        try:
            for future in as_completed(futures):
                path = futures[future]
                results[path] = future.result()
                if not quiet:
                    tqdm.write(summary(results[path], labs), file=sys.stderr)
                bar.update()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in psutil.Process().children(recursive=True):
                child.kill()  # the boxes: their threads then come to an end
            words = f"{len(results)} of {len(paths)} are marked; start it again to go on"
            print(words, file=sys.stderr)
            raise
    return [results[path] for path in paths]


@contextmanager
def _one_thread() -> Iterator[None]:
    """Tests compute beside the submissions, which are to have the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _opened(path: Path, labs: dict[str, Lab], result: Marked) -> dict[str, Any] | None:
    """The notebook, if it is one of a lab that we know."""
    try:
        notebook = read(path)
    except (Unreadable, OSError) as error:
        result.remarks.append(plain(error))
        return None
    result.lab = lab_of(notebook)
    if result.lab not in labs:
        says = plain(result.lab) or "nothing"
        result.remarks.append(
            f"its metadata names {says} as its lab, not one of {', '.join(labs)}; was the notebook "
            "begun anew instead of in the copy that was handed out?"
        )
        result.lab = ""
        return None
    result.open_answers = open_answers(notebook)
    return notebook


def _key(path: Path, lab: Lab, size: str) -> str:
    text = json.dumps([lab.tests, size]).encode()
    return hashlib.sha256(path.read_bytes() + text).hexdigest()


def _kept(path: Path, file: str) -> Marked | None:
    """What was marked before; nothing if it is not there or damaged."""
    try:
        values = json.loads(path.read_text("utf-8"))
        tests = {
            name: [Outcome(**test) for test in row] for name, row in values["questions"].items()
        }
        return Marked(**values | {"file": file, "questions": tests})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def status(result: Marked) -> str:
    """In a word: ``marked``, ``stopped`` before its last test, ``unreadable``."""
    if result.complete:
        return "marked"
    return "stopped" if result.lab else "unreadable"


def total(result: Marked, labs: dict[str, Lab]) -> tuple[float, float]:
    """Points, and points that there are."""
    points = labs[result.lab].points if result.lab else {}
    return sum(result.marks(question) for question in points), sum(points.values())


def summary(result: Marked, labs: dict[str, Lab]) -> str:
    """A submission in a line."""
    got, of = total(result, labs)
    words = f"{plain(result.file)}: {got:g} of {of:g}" if result.lab else f"{plain(result.file)}"
    more = "" if status(result) == "marked" else f", {status(result)}: {result.remarks[-1]}"
    return words + more


def _entered(path: Path) -> dict[str, dict[str, str]]:
    """What the marker has put into a table, by submission and column; a foreign table is kept."""
    if not path.is_file():
        return {}
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        found = csv.DictReader(file)
        if "submission" in (found.fieldnames or ()):
            return {row["submission"]: {k: v or "" for k, v in row.items() if k} for row in found}
    os.replace(path, path.with_name("marks-before.csv"))
    return {}


def table(
    results: list[Marked], labs: dict[str, Lab], entered: dict[str, dict[str, str]] | None = None
) -> str:
    """The marks of all as CSV: a row per submission, a column per question.

    Questions that are answered in words have a column for the marker, with what was `entered` into
    it before.
    """
    used = [lab for name, lab in labs.items() if any(result.lab == name for result in results)]
    questions = sorted({question for lab in used for question in lab.points}, key=_natural)
    words = sorted({name for result in results for name in result.open_answers})
    head = ["submission", "lab", "status", "marks", "of", "seconds", "memory_mib", "remarks"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*head, *questions, *words])
    for result in results:
        got, of = total(result, labs)
        points = labs[result.lab].points if result.lab else {}
        marks = [f"{result.marks(q):g}" if q in points else "" for q in questions]
        measured = [f"{result.seconds:.1f}", f"{result.memory / 2**20:.0f}"]
        about = [_cell(result.file), result.lab, status(result), f"{got:g}", f"{of:g}", *measured]
        remarks = _cell("; ".join(result.remarks))
        before = (entered or {}).get(_cell(result.file), {})
        writer.writerow([*about, remarks, *marks, *[before.get(name, "") for name in words]])
    return text.getvalue()


def _natural(name: str) -> tuple[str, int]:
    letters = name.rstrip("0123456789")
    return letters, int(name[len(letters) :] or 0)


def _cell(text: str) -> str:
    """Text that a spreadsheet shows and does not compute."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def feedback(result: Marked, labs: dict[str, Lab]) -> str:
    """A page for the author: the marks, what failed and the hint of each failed test."""
    got, of = total(result, labs)
    lines = [f"# {plain(result.file)}", ""]
    if result.lab:
        lines += [f"{result.lab}: **{got:g} of {of:g} points** (without the open question)", ""]
    lines += [f"- {remark}" for remark in result.remarks]
    for question, points in (labs[result.lab].points if result.lab else {}).items():
        lines += ["", f"## {question}: {result.marks(question):g} of {points:g}"]
        if question not in result.questions:
            lines.append("Its tests were not run.")
        for test in result.questions.get(question, ()):
            if not test.passed:
                lines.append(f"- {test.hint} ({test.points:g}): `{test.reason.replace('`', ' ')}`")
    if result.printed and not result.complete:
        printed = result.printed.replace("```", "'''")
        lines += ["", "The last that it printed:", "", "```", printed, "```"]
    return "\n".join(lines) + "\n"


def answers_page(results: list[Marked]) -> str:
    """What was answered in words, question by question, to be read in one go."""
    lines = ["# Open questions", "", "The rubric is in the notebook with the solutions."]
    labs = sorted({(result.lab, name) for result in results for name in result.open_answers})
    for lab, name in labs:
        lines += ["", f"## {lab}, {name}"]
        for result in results:
            if result.lab == lab and name in result.open_answers:
                text = result.open_answers[name].strip() or "(nothing)"
                quoted = "\n".join(f"> {line}" for line in text.splitlines())
                lines += ["", f"### {plain(result.file)}", "", quoted]
    return "\n".join(lines) + "\n"


def _flat(file: str) -> str:
    return file.removesuffix(".ipynb").replace(os.sep, "__")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    partial.write_text(text, "utf-8", errors="replace")
    os.replace(partial, path)
