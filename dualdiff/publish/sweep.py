"""One notebook at many points of its parameters, into one tidy table.

A notebook takes part by handing over a tidy table with :func:`record`. A point is one run of it:
the notebook executed in a child process, here or of a Dask worker, its table stored under the hash
of all that it depends on (cells, parameters, module). Points that are stored are not run again.
Workers see the folders of the notebook and of the sweep under the same paths as whoever starts it.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualdiff.publish import runner
from dualdiff.publish.children import THREADS, Children, Page, Report, complete, environment
from dualdiff.publish.grid import Point
from dualdiff.publish.progress import Progress
from dualdiff.publish.scheduler import connect, written_in

if TYPE_CHECKING:
    import pandas as pd

VARIABLE = "DUALDIFF_RESULTS"
"""Environment variable of a notebook in a sweep: the file that its table goes to."""
REPORT = Path(__file__).parent / "templates" / "sweep_report.ipynb"


class SweepError(RuntimeError):
    """Some points failed; those that did not are in the table."""


def record(table: pd.DataFrame | Mapping[str, float]) -> None:
    """Hand a notebook's results to the sweep that runs it; outside of a sweep only check them.

    Parameters
    ----------
    table : DataFrame or mapping
        One row per number: the number in ``value``, the ends of its interval, if there is one, in
        ``low`` and ``high``, what it is in the other columns. A mapping gives the columns
        ``metric`` and ``value``.

    Raises
    ------
    ValueError
        If the table has no rows, no numeric column ``value``, or a name that is no text.
    RuntimeError
        If the notebook has handed over results before.
    """
    import pandas as pd

    if isinstance(table, Mapping):
        table = pd.DataFrame({"metric": [*table], "value": [*table.values()]})
    words = f"the table has {len(table)} rows and the columns {list(table.columns)}"
    if table.empty or "value" not in table or not table.columns.is_unique:
        raise ValueError(f"{words}; it must have rows, a column 'value', and each name once")
    if not all(isinstance(name, str) for name in table.columns):
        raise ValueError(f"{words}; names must be text")
    if not pd.api.types.is_numeric_dtype(table["value"]):
        raise ValueError(f"column 'value' is {table['value'].dtype}; it must be numbers")
    if path := os.environ.get(VARIABLE):
        if Path(path).exists():
            raise RuntimeError("record was called before; a notebook hands over one table")
        table.reset_index(drop=True).to_parquet(path)


def check_folder(folder: Path, *given: Path) -> None:
    """Refuse a folder in which a sweep would replace what it reads, or another's table.

    Raises
    ------
    ValueError
        With the folder and the file.
    """
    table, made_from = folder / "table.parquet", folder / "table.json"
    own = (table, made_from, *(folder / f"report{end}.ipynb" for end in ("", "-failed")))
    others = [path for path in own if any(path.exists() and path.samefile(g) for g in given)]
    others += [table] * (table.exists() and not made_from.exists())
    if others:
        raise ValueError(f"output is {folder}; the sweep would replace {others[0]} in it")


def kept(point: Point, folder: Path) -> tuple[pd.DataFrame | None, str]:
    """The stored table of a point, if it is there and whole, and what was wrong with it."""
    from dualdiff.experiments.store import Store, StoreWarning

    def missing() -> pd.DataFrame:
        raise FileNotFoundError(point.name)

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", StoreWarning)
        with suppress(FileNotFoundError):
            return Store(folder).table("points", point.config(), missing), ""
    return None, "; ".join(str(warning.message) for warning in caught)


@dataclass(frozen=True)
class _Job:
    """What the points of a sweep have in common, for the workers."""

    sweep: str
    notebook: Path
    folder: Path
    threads: int


# What runs in this process, by sweep: no executor can end what has begun, `_end` can.
_running: dict[str, Children] = {}
_lock = threading.Lock()


def _children(sweep: str) -> Children:
    with _lock:
        return _running.setdefault(sweep, Children())


def _end(sweep: str) -> None:
    """Where the workers are: let no point of a sweep start, end those that run."""
    _children(sweep).close()


Tell = Callable[[dict[str, Any]], object]
"""Hands what a point has come to to whoever started the sweep."""


def _in_a_thread(job: _Job, tell: Tell, point: Point) -> None:
    _work(job, point, threading.current_thread().name.rpartition("_")[2], tell)


def _at_a_worker(job: _Job, point: Point) -> None:
    from distributed import get_worker

    worker = get_worker()
    _work(job, point, str(worker.name), partial(worker.log_event, job.sweep))


def _work(job: _Job, point: Point, worker: str, tell: Tell) -> None:
    """Run a point, store its table, keep the notebook and a log."""
    files, begun = job.folder / "runs" / point.name, time.monotonic()
    files.parent.mkdir(parents=True, exist_ok=True)

    def log(words: str) -> None:
        with open(f"{files}.log", "a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {words}\n")

    def report(cell: int, cells: int) -> None:
        log(f"cell {cell} of {cells}")
        tell({"name": point.name, "worker": worker, "cell": cell, "cells": cells})

    log(f"started on worker {worker} of {platform.node()}")
    tell({"name": point.name, "worker": worker})
    try:
        _run(job, point, files, report)
    except Exception as error:
        log(f"failed: {error}")
        raise
    log(f"done in {time.monotonic() - begun:.1f} s")


def _run(job: _Job, point: Point, files: Path, report: Report) -> None:
    import pandas as pd

    from dualdiff.experiments.store import Store

    if runner.fingerprint(job.notebook, point.parameters) != point.fingerprint:
        raise RuntimeError(
            f"{job.notebook.name} or the module differ here from what the sweep began with: they "
            "were edited, or the worker has others; start it again"
        )
    page = Page(point.name, job.notebook, point.parameters)
    done, failed = Path(f"{files}.ipynb"), Path(f"{files}-failed.ipynb")
    with tempfile.TemporaryDirectory() as scratch:
        handed = Path(scratch) / "table.parquet"
        # The limits are ours even where the user's environment has others: the number of threads
        # decides how sums are rounded, and the same point shall give the same numbers everywhere.
        own = {**dict.fromkeys(THREADS, str(job.threads)), VARIABLE: str(handed)}
        variables = environment(job.threads, own)
        _children(job.sweep).execute(page, done, failed, report, variables)
        if not handed.exists():
            raise RuntimeError(f"{point.name} ran to its end and never called record")
        table = pd.read_parquet(handed)
    Store(job.folder).table("points", point.config(), lambda: table)


def run(
    notebook: Path,
    points: list[Point],
    folder: Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    scheduler_file: Path | None = None,
    retries: int = 1,
    threads: int = 1,
    quiet: bool = False,
) -> Path:
    """Run the points that are not stored yet and gather the tables of all.

    Parameters
    ----------
    notebook : Path
    points : list of Point
    folder : Path
        Holds what comes out: ``table.parquet`` with its provenance ``table.json``, ``points``,
        and in ``runs`` the notebook and the log of every point.
    workers : int, optional
        Points at a time on this computer (2, or 1 on a single core).
    scheduler : str, optional
        Address of a running Dask scheduler, such as ``tcp://10.0.0.1:8786``; workers are its own.
    scheduler_file : Path, optional
        In place of the address: the file in which the scheduler wrote it.
    retries : int
        How often a point that failed is run again.
    threads : int
        Of the numerical libraries, for each point. The numbers depend on it, but not on `workers`.
    quiet : bool
        No progress.

    Returns
    -------
    Path
        Of the table.

    Raises
    ------
    ValueError
        If a number is too small, or more than one place is given.
    ConnectionError
        If the scheduler cannot be reached, or is lost; finished points are stored.
    SweepError
        At the end, if points failed.
    """
    if retries < 0 or threads < 1:
        raise ValueError(
            f"retries is {retries} and threads is {threads}; they must be at least 0 and 1"
        )
    if sum(given is not None for given in (workers, scheduler, scheduler_file)) > 1:
        raise ValueError("only one of workers, scheduler and scheduler_file may be given")
    if workers is not None and workers < 1:
        raise ValueError(f"workers is {workers}; it must be at least 1")
    job = _Job(f"sweep-{uuid.uuid4().hex}", notebook.resolve(), folder.resolve(), threads)
    tables: dict[str, pd.DataFrame] = {}

    def collect(point: Point) -> None:
        table, wrong = kept(point, folder)
        if table is None:
            raise RuntimeError(wrong or "its table is not there")
        tables[point.name] = table

    with Progress("sweep", "point", len(points), quiet) as progress:
        for point in points:
            table, wrong = kept(point, folder)
            if table is not None:
                tables[point.name] = table
            elif wrong:
                progress.say(f"{point.name}: {wrong}")
        todo = {point.name: point for point in points if point.name not in tables}
        progress.say(f"{len(points)} points: {len(tables)} kept, {len(todo)} to run")
        progress.begin(len(tables))
        if todo:
            address = scheduler if scheduler_file is None else written_in(scheduler_file)
            with _place(job, workers or min(2, os.cpu_count() or 1), address, progress) as place:
                executor, work, end = place
                complete(executor, work, todo, progress, end, check=collect, retries=retries)
    path = folder / "table.parquet"
    if tables:
        gather(notebook, [point for point in points if point.name in tables], tables, folder)
    if failed := progress.failed:
        raise SweepError(
            "\n".join(f"{name} failed: {words}" for name, words in failed.items())
            + f"\n{len(failed)} of {len(points)} points failed; their logs are in {folder / 'runs'}"
        )
    return path


Place = tuple[Executor, Callable[[Point], None], Callable[[], None]]
"""Who works, what with a point, and how all of it ends."""


@contextmanager
def _place(job: _Job, workers: int, address: str | None, progress: Progress) -> Iterator[Place]:
    """So many threads here, as every point has a process of its own, or a scheduler's workers."""
    if address is None:
        with ThreadPoolExecutor(workers) as pool:

            def end() -> None:
                pool.shutdown(wait=False, cancel_futures=True)
                _end(job.sweep)

            yield pool, partial(_in_a_thread, job, lambda said: progress.at(**said)), end
        return
    with connect(address) as client:
        client.subscribe_topic(job.sweep, lambda event: progress.at(**event[1]))
        progress.workers = lambda: len(client.scheduler_info()["workers"])
        executor = client.get_executor(pure=False)

        def end() -> None:
            with suppress(OSError, RuntimeError, ValueError):  # what is lost cannot be ended
                executor.shutdown(wait=False)
                client.run(_end, job.sweep, on_error="ignore")

        yield executor, partial(_at_a_worker, job), end


def gather(
    notebook: Path, points: list[Point], tables: Mapping[str, pd.DataFrame], folder: Path
) -> Path:
    """Write the tables of points, one at least, in their order as one, parameters as columns.

    A column that a notebook recorded under the name of a parameter is left out if it says the same
    in every row, and gets the name ``recorded_...`` if it does not.
    """
    import pandas as pd

    from dualdiff.experiments.store import versions
    from dualdiff.files import write

    parts = []
    for point in points:
        names = {name: f"recorded_{name}" for name in point.parameters}
        own = tables[point.name].rename(columns=names)
        given = {name: _scalar(value) for name, value in point.parameters.items()}
        parts.append(pd.concat([pd.DataFrame(given, index=own.index), own], axis=1))
    table = pd.concat(parts, ignore_index=True)
    for name in table:  # a column of a file has one type
        kinds = set(map(type, table[name].dropna())) if table[name].dtype == object else set()
        if len(kinds) > 1:
            table[name] = table[name].map(str, na_action="ignore")
    table.attrs["parameters"] = list(dict.fromkeys(n for p in points for n in p.parameters))
    for name in [name for name in table if str(name).startswith("recorded_")]:
        if table[name].equals(table[str(name).removeprefix("recorded_")]):
            table = table.drop(columns=name)
    made_from = {
        "notebook": notebook.name,
        "points": [vars(point) for point in points],
        "versions": versions(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "table.parquet", table.to_parquet(index=False))
    write(folder / "table.json", (json.dumps(made_from, indent=2) + "\n").encode())
    return folder / "table.parquet"


def _scalar(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, list | dict) else value


def report(table: Path) -> Path:
    """Execute the report notebook on the table of a sweep, beside it; returns its path."""
    done, failed = (table.with_name(f"report{end}.ipynb") for end in ("", "-failed"))
    page = Page("report", REPORT, {"table": str(table.resolve())})
    with Children() as children:
        children.execute(page, done, failed, lambda *_: None, environment(1))
    return done
