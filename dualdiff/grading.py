"""A folder of submissions, marked: one table, and what each author should know.

Submissions play side by side, each in its own box (``confine``), and whatever one of them does,
the others are marked. What is marked completely is kept, so that marking goes on after an
interruption and a second call marks only what is new.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dualdiff import arena, confine
from dualdiff.labs import SIZES
from dualdiff.marks import answers_page, entered_in, feedback, flat, leaderboard, summary, table
from dualdiff.playing import Names, mark
from dualdiff.submission import (
    Lab,
    Marked,
    Outcome,
    Unreadable,
    lab_of,
    open_answers,
    plain,
    read,
)
from dualdiff.train import one_thread
from dualdiff.workers import check_jobs

ROBOT_LAB = "lab5_robot"

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
    boxes = confine.Boxes()
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
        mark(
            result,
            notebook,
            lab.tests,
            limits,
            size=size,
            confined=confined,
            compete=competitions.get(result.lab),
            boxes=boxes,
        )
        if result.complete:
            _write(kept, json.dumps(asdict(result)))
        return result

    results = _all(paths, one, jobs, labs, quiet, boxes)
    _write(out / "marks.csv", table(results, labs, entered_in(out / "marks.csv")))
    _write(out / "open_answers.md", answers_page(results))
    if any(result.entry for result in results):
        _write(out / "leaderboard.csv", leaderboard(results, done / "leaderboard.json"))
    for result in results:
        _write(out / "feedback" / f"{flat(result.file)}.md", feedback(result, labs))
    return out / "marks.csv"


def _robot_game(path: Path) -> Competition:
    """A game of the robot lab with a seed that nobody knows, the same in every call.

    An entry has the ``name`` that its author wants to be known by, the notebook's ``ME``.
    """
    if not path.is_file():
        _write(path, str(secrets.randbits(60)))
    seed = int(path.read_text())
    return lambda names: arena.success(names.get("propose"), seed) | {"name": names.get("ME")}


def _all(
    paths: list[Path],
    one: Callable[[Path], Marked],
    jobs: int,
    labs: dict[str, Lab],
    quiet: bool,
    boxes: confine.Boxes,
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
def _heeding(boxes: confine.Boxes) -> Iterator[None]:
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


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        partial.write_text(text, "utf-8", errors="replace")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)  # of an interruption
