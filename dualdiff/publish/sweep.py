"""One notebook at many points of its parameters, through Dask, into one tidy table.

A notebook takes part by handing over a tidy table with :func:`record`. A point is one run of it:
the notebook executed in a child process of a Dask worker, its table stored under the hash of all
that it depends on (cells, parameters, module). Points that are stored are not run again. Workers
see the folders of the notebook and of the sweep under the same paths as whoever starts it.
"""

from __future__ import annotations

import json
import os
import platform
import queue
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dualdiff.publish import runner
from dualdiff.publish.grid import Point
from dualdiff.publish.runner import Children, Page

if TYPE_CHECKING:
    import pandas as pd
    from distributed import Client, Future

    from dualdiff.publish.sweep_status import Status

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

    frame = table if isinstance(table, pd.DataFrame) else _from_mapping(table)
    words = f"the table has {len(frame)} rows and the columns {list(frame.columns)}"
    if frame.empty or "value" not in frame or not frame.columns.is_unique:
        raise ValueError(f"{words}; it must have rows, a column 'value', and each name once")
    if not all(isinstance(name, str) for name in frame.columns):
        raise ValueError(f"{words}; names must be text")
    if not pd.api.types.is_numeric_dtype(frame["value"]):
        raise ValueError(f"column 'value' is {frame['value'].dtype}; it must be numbers")
    if path := os.environ.get(VARIABLE):
        if Path(path).exists():
            raise RuntimeError("record was called before; a notebook hands over one table")
        frame.reset_index(drop=True).to_parquet(path)


def _from_mapping(numbers: Mapping[str, float]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"metric": list(numbers), "value": list(numbers.values())})


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
    from dualdiff.store import Store, StoreWarning

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


# What runs in this process, by sweep: Dask cannot end a task that has begun, `_end` can.
_running: dict[str, set[Children]] = {}
_ended: set[str] = set()
_lock = threading.Lock()


def _end(sweep: str) -> None:
    """At a worker: let no point of a sweep start, end those that run."""
    with _lock:
        _ended.add(sweep)
        running = list(_running.get(sweep, ()))
    for children in running:
        children.close()


@contextmanager
def _children(job: _Job, handed: Path) -> Iterator[Children]:
    # The limits are ours even where the user's environment has others: the number of threads
    # decides how sums are rounded, and the same point shall give the same numbers everywhere.
    own = {**dict.fromkeys(runner.THREADS, str(job.threads)), VARIABLE: str(handed)}
    with Children(job.threads, own) as children:
        with _lock:
            if job.sweep in _ended:
                raise RuntimeError("the sweep was ended")
            _running.setdefault(job.sweep, set()).add(children)
        try:
            yield children
        finally:
            with _lock:
                _running[job.sweep].discard(children)


def _work(job: _Job, point: Point) -> None:
    """At a worker: run a point, store its table, keep the notebook and a log."""
    from distributed import get_worker

    worker, files, begun = get_worker(), job.folder / "runs" / point.name, time.monotonic()
    who = str(worker.name).removeprefix("inproc://")
    files.parent.mkdir(parents=True, exist_ok=True)

    def say(words: str, **event: Any) -> None:
        with open(f"{files}.log", "a", encoding="utf-8") as log:
            log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {words}\n")
        worker.log_event(job.sweep, {"point": point.name, "worker": who, **event})

    def report(cell: int, cells: int) -> None:
        say(f"cell {cell} of {cells}", cell=cell, cells=cells)

    say(f"started on worker {who} of {platform.node()}", cell=0, cells=0)
    try:
        _run(job, point, files, report)
    except Exception as error:
        say(f"failed: {error}", failed=str(error))
        raise
    say(f"done in {time.monotonic() - begun:.1f} s")


def _run(job: _Job, point: Point, files: Path, report: runner.Report) -> None:
    import pandas as pd

    from dualdiff.store import Store

    if runner.fingerprint(job.notebook, point.parameters) != point.fingerprint:
        raise RuntimeError(
            f"{job.notebook.name} or the module differ here from what the sweep began with: they "
            "were edited, or the worker has others; start it again"
        )
    page = Page(point.name, job.notebook, point.parameters)
    with tempfile.TemporaryDirectory() as scratch:
        handed = Path(scratch) / "table.parquet"
        with _children(job, handed) as children:
            children.execute(page, Path(f"{files}.ipynb"), Path(f"{files}-failed.ipynb"), report)
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
    workers, scheduler, scheduler_file
        Where the points run, see :func:`dualdiff.publish.clusters.connect`.
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
        If a number is too small.
    ConnectionError
        If the scheduler cannot be reached, or is lost; finished points are stored.
    SweepError
        At the end, if points failed.
    """
    from dualdiff.publish.clusters import connect
    from dualdiff.publish.sweep_status import Status

    if retries < 0 or threads < 1:
        raise ValueError(
            f"retries is {retries} and threads is {threads}; they must be at least 0 and 1"
        )
    job = _Job(f"sweep-{uuid.uuid4().hex}", notebook.resolve(), folder.resolve(), threads)
    tables: dict[str, pd.DataFrame] = {}
    with Status(len(points), quiet) as status:
        for point in points:
            table, wrong = kept(point, folder)
            if table is not None:
                tables[point.name] = table
            elif wrong:
                status.say(f"{point.name}: {wrong}")
        todo = [point for point in points if point.name not in tables]
        status.begin(kept=len(tables))
        if todo:
            with connect(workers, scheduler, scheduler_file) as client:
                tables |= _execute(client, job, todo, retries, status)
    path = folder / "table.parquet"
    if tables:
        gather(notebook, [point for point in points if point.name in tables], tables, folder)
    if failed := status.failed:
        raise SweepError(
            "\n".join(f"{name} failed: {words}" for name, words in failed.items())
            + f"\n{len(failed)} of {len(points)} points failed; their logs are in {folder / 'runs'}"
        )
    return path


def _execute(
    client: Client, job: _Job, todo: list[Point], retries: int, status: Status
) -> dict[str, pd.DataFrame]:
    """Run points and return their tables; whatever happens, none runs on after this."""
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
    client.subscribe_topic(job.sweep, lambda event: messages.put(event[1]))
    futures: dict[str, Future[None]] = {}
    tables: dict[str, pd.DataFrame] = {}
    damaged: dict[str, int] = {}

    def start(point: Point) -> None:
        options = {"key": f"{point.name}-{uuid.uuid4().hex}", "pure": False, "retries": retries}
        futures[point.name] = client.submit(_work, job, point, **options)
        futures[point.name].add_done_callback(lambda _: messages.put(point))

    try:
        for point in todo:
            start(point)
        while futures:
            try:
                message = messages.get(timeout=0.5)
            except queue.Empty:
                status.refresh(len(client.scheduler_info()["workers"]))
                continue
            if isinstance(message, dict):
                status.event(message)
                continue
            future = futures.pop(message.name)
            if future.status in ("cancelled", "lost"):  # by nobody here
                raise ConnectionError("the scheduler is gone; finished points are stored")
            if future.status == "error":
                status.fail(message.name, str(future.exception()))
                continue
            table, wrong = kept(message, job.folder)
            if table is not None:
                tables[message.name] = table
                status.finish(message.name)
            elif damaged.setdefault(message.name, 0) < retries:
                damaged[message.name] += 1
                status.say(f"{message.name}: {wrong or 'its table is not there'}; run again")
                start(message)
            else:
                status.fail(message.name, wrong or "its table is not there")
    finally:
        with suppress(OSError, RuntimeError, ValueError):  # what is lost cannot be ended
            client.cancel(list(futures.values()))
            client.run(_end, job.sweep, on_error="ignore")
    return tables


def gather(
    notebook: Path, points: list[Point], tables: Mapping[str, pd.DataFrame], folder: Path
) -> Path:
    """Write the tables of points, one at least, in their order as one, parameters as columns.

    A column that a notebook recorded under the name of a parameter is left out if it says the same
    in every row, and gets the name ``recorded_...`` if it does not.
    """
    import pandas as pd

    from dualdiff.store import versions, write

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
    done, partial = (table.with_name(f"report{end}.ipynb") for end in ("", "-failed"))
    page = Page("report", REPORT, {"table": str(table.resolve())})
    with Children(1) as children:
        children.execute(page, done, partial, lambda *_: None)
    return done
