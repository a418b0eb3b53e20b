"""A folder of submissions, marked: one table, and what each author should know.

Submissions play side by side, each in its own box (``sandbox``), and whatever one of them does,
the others are marked. What is marked completely is kept, so that marking goes on after an
interruption and a second call marks only what is new.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dualdiff.experiments.workers import check_jobs
from dualdiff.randomness import one_thread
from dualdiff.teaching import competition, sandbox, sheet
from dualdiff.teaching.collected import Piece
from dualdiff.teaching.labs import SIZES
from dualdiff.teaching.marking import Names, mark
from dualdiff.teaching.marks import counted, known_as, summary, write, write_text
from dualdiff.teaching.matching import Past
from dualdiff.teaching.protocol import Closed
from dualdiff.teaching.reading import Notebook, Unreadable, lab_of, notebook_in, open_answers
from dualdiff.teaching.submission import Lab, Marked, Outcome, plain

ROBOT_LAB = "lab5_robot"

_ABOUT = ("file", "lab", "open_answers", "digest", "untouched")  # of a file, not what it did

Competition = Callable[[Names], dict[str, Any]]


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


def grade(
    submissions: tuple[list[Piece], list[str]],
    out: Path,
    labs: dict[str, Lab],
    limits: sandbox.Limits,
    *,
    jobs: int = 2,
    size: str = "full",
    confined: bool = True,
    again: bool = False,
    quiet: bool = False,
    competitions: dict[str, Competition] | None = None,
    lab: str | None = None,
    say: Callable[[str], None] = lambda text: print(text, file=sys.stderr),
) -> Path:
    """Mark all that was handed in.

    Parameters
    ----------
    submissions : tuple
        What :func:`dualdiff.teaching.collected.handed_in` finds in a folder.
    out : Path
        Gets ``marks.csv``, ``open_answers.md``, ``feedback/`` with one page per submission,
        ``ignored.txt`` if files were ignored and, if there is a competition, ``leaderboard.csv``.
        What was entered into ``marks.csv`` stays in it, and every earlier version is kept beside
        it. Pages of submissions that are no longer there are removed.
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
    lab : str, optional
        The lab of the notebooks that do not say it themselves.
    say : callable
        Gets in words what should be looked at, and at last how many are marked.

    Returns
    -------
    Path
        Of the table.

    Raises
    ------
    ValueError
        If a parameter is not allowed, or the table is open in another program or cannot be read;
        nothing is marked then.
    RuntimeError
        If there is no box on this machine, or a result could not be written: all others are.
    """
    check_jobs(jobs)
    if size not in SIZES:
        raise ValueError(f"size must be one of {', '.join(SIZES)}, not {size!r}")
    if lab is not None and lab not in labs:
        raise ValueError(f"lab must be one of {', '.join(labs)}, not {lab!r}")
    found, ignored = submissions
    if confined:
        sandbox.check()
    boxes = sandbox.Boxes()
    done = out / ".done"
    sheet.load(out / "marks.csv", Past.load(done / "table.json").known())
    done.mkdir(parents=True, exist_ok=True)
    if competitions is None:
        competitions = {ROBOT_LAB: _robot_game(done / "seed")}
    handed_out = {name: lab.handed_out for name, lab in labs.items()}
    pieces = {piece.path: piece for piece in found}

    def one(path: Path) -> Marked:
        result = Marked(pieces[path].label)
        try:
            return marked(pieces[path], result)
        except Exception as error:  # whatever it is: the others go on
            why = f"{type(error).__name__}: {error}"
            result.remarks.append(f"it could not be marked: {plain(why)}")
            return result

    def marked(piece: Piece, result: Marked) -> Marked:
        notebook = _opened(piece, handed_out, lab, result)
        if notebook is None:
            return result
        rules = labs[result.lab]
        played = [result.digest, rules.tests, size, asdict(limits), confined]
        kept = done / f"{hashlib.sha256(json.dumps(played).encode()).hexdigest()}.json"
        if not again and (known := _kept(kept, result)) is not None:
            return known
        about, result.remarks = result.remarks, []  # of the file, which says more than was played
        compete = competitions.get(result.lab)
        try:
            how: dict[str, Any] = {"size": size, "confined": confined, "compete": compete}
            mark(result, notebook, rules.tests, limits, boxes=boxes, **how)
            if result.complete:
                with suppress(OSError, TypeError, ValueError):  # it will be marked again, no more
                    write_text(kept, json.dumps(asdict(result)))
        finally:
            result.remarks = about + result.remarks
        return result

    results = _all(list(pieces), one, jobs, labs, quiet, boxes)
    failed = write(results, labs, ignored, out, say)
    say(counted(results, ignored))
    if failed:
        raise RuntimeError(f"these could not be written, all others are: {'; '.join(failed)}")
    return out / "marks.csv"


def _robot_game(path: Path) -> Competition:
    """A game of the robot lab with a seed that nobody knows, the same in every call.

    An entry has the ``name`` that its author wants to be known by, the notebook's ``ME``.
    """
    if not path.is_file():
        write_text(path, str(secrets.randbits(60)))
    seed = int(path.read_text())
    return lambda names: competition.success(names.get("propose"), seed) | {"name": _me(names)}


def _me(names: Names) -> str:
    """The name that a student wants; empty where it is none, which costs nobody the competition."""
    try:
        return known_as(names.get("ME"))
    except Closed:
        raise
    except Exception:  # such as an object that cannot be handed over
        return ""


def _all(
    paths: list[Path],
    one: Callable[[Path], Marked],
    jobs: int,
    labs: dict[str, Lab],
    quiet: bool,
    boxes: sandbox.Boxes,
) -> list[Marked]:
    """The result of each, in order, with progress."""
    results: dict[Path, Marked] = {}
    with (
        one_thread(),  # tests compute beside the submissions, which are to have the cores
        _heeding(boxes),
        ThreadPoolExecutor(jobs) as pool,
        tqdm(
            total=len(paths), desc="marking", unit="notebook", disable=quiet, file=sys.stderr
        ) as bar,
    ):
        futures: dict[Future[Marked], Path] = {}
        try:
            futures |= {pool.submit(one, path): path for path in paths}
            waiting = set(futures)
            while waiting:
                done, waiting = wait(waiting, 0.5, FIRST_COMPLETED)
                if boxes.closed:  # and what a signal raises was lost, say in a destructor
                    raise KeyboardInterrupt
                for future in done:
                    path = futures[future]
                    results[path] = future.result()
                    if not quiet:
                        tqdm.write(summary(results[path], labs), file=sys.stderr)
                    bar.update()
        except BaseException:
            boxes.closed = True
            pool.shutdown(wait=False, cancel_futures=True)
            boxes.close()
            words = f"{len(results)} of {len(paths)} are marked; start it again to go on"
            print(words, file=sys.stderr)
            raise
    return [results[path] for path in paths]


@contextmanager
def _heeding(boxes: sandbox.Boxes) -> Iterator[None]:
    """With the first request to end no box starts any more; a second does not disturb the end."""
    before: dict[int, Callable[..., Any]] = {}

    def heed(number: int, frame: Any) -> None:
        first, boxes.closed = not boxes.closed, True
        if first:
            before[number](number, frame)

    if threading.current_thread() is threading.main_thread():
        for kind in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(kind)
            if callable(handler):  # neither ignored nor left to the system
                before[kind] = handler
                signal.signal(kind, heed)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _opened(
    piece: Piece, handed_out: dict[str, Notebook | None], lab: str | None, result: Marked
) -> Notebook | None:
    """The notebook, if it is one of a lab that we know."""
    if piece.load is None:
        result.skipped = True
        result.remarks.append(piece.reason)
        return None
    try:
        data = piece.load()
        result.digest = hashlib.sha256(data).hexdigest()
        notebook = notebook_in(data)
    except (Unreadable, OSError) as error:
        result.remarks.append(plain(error))
        return None
    says = lab_of(notebook, handed_out)
    result.lab = says if says in handed_out else lab or ""
    if not result.lab:
        result.remarks.append(
            f"it names {plain(says) or 'nothing'} as its lab, not one of {', '.join(handed_out)}; "
            "was the notebook begun anew instead of in the copy that was handed out? "
            "(--lab says which lab it is)"
        )
        return None
    if lab_of(notebook) != result.lab:
        result.remarks.append(f"its metadata do not say its lab; it was taken for {result.lab}")
    given = handed_out[result.lab]
    result.untouched = given is not None and _sources(notebook) == _sources(given)
    result.open_answers, unsure = open_answers(notebook, given)
    result.remarks += unsure
    return notebook


def _sources(notebook: Notebook) -> list[str]:
    return [cell["source"] for cell in notebook["cells"]]


def _kept(path: Path, result: Marked) -> Marked | None:
    """A result with what was marked before; nothing if that is not there or damaged."""
    try:
        values = json.loads(path.read_text("utf-8"))
        tests = {
            name: [Outcome(**test) for test in row] for name, row in values["questions"].items()
        }
        now = {name: getattr(result, name) for name in _ABOUT}
        remarks = result.remarks + values["remarks"]
        return Marked(**values | now | {"remarks": remarks, "questions": tests})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
