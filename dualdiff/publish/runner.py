"""Notebooks run through papermill: checked first, in parallel, never twice for the same thing.

Each notebook runs in a child process (`dualdiff.publish.chapter`), which ends with the runner.
"""

from __future__ import annotations

import hashlib
import json
import os
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tqdm import tqdm

from dualdiff.experiments.provenance import PROJECT, definitions_of, reached_by
from dualdiff.profiles import BOOK, maker_of, scenarios
from dualdiff.publish import declared, notebooks

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_CORES = os.cpu_count() or 1

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Page:
    """A notebook with parameters: what one page of the book shows.

    Parameters
    ----------
    name : str
        The document's name in the book, such as ``notebooks/01_theory``.
    notebook : Path
    parameters : dict
        Those that differ from the notebook's own values.
    """

    name: str
    notebook: Path
    parameters: dict[str, Any] = field(default_factory=dict)


class ChapterError(RuntimeError):
    """A notebook did not run to its end.

    Attributes
    ----------
    page, error, message : str
        The page, the name of the error and its message.
    cell : int or None
        The number of the cell in the source notebook, from 1.
    source : str
        The cell's source.
    partial : Path or None
        The notebook as far as it got.
    """

    def __init__(
        self,
        page: str,
        error: str,
        message: str,
        cell: int | None = None,
        source: str = "",
        partial: Path | None = None,
    ) -> None:
        self.page, self.error, self.message = page, error, message
        self.cell, self.source, self.partial = cell, source, partial
        super().__init__(page, error, message, cell, source, partial)

    def __str__(self) -> str:
        where = f" in cell {self.cell}" if self.cell is not None else ""
        lines = [f"{self.page} failed{where}: {self.error}: {self.message}"]
        source = self.source.splitlines()
        lines += [f"    {line}" for line in source[:8]] + ["    ..."] * (len(source) > 8)
        if self.partial is not None:
            lines.append(f"The notebook as far as it got: {self.partial}")
        return "\n".join(lines)


def parameters_of(notebook: Path) -> dict[str, Any]:
    """Names and defaults of a notebook's parameters; of a computed default its source."""
    return {name: known.default for name, known in declared.parameters(notebook).items()}


def fingerprint(notebook: Path, parameters: dict[str, Any]) -> str:
    """SHA-256 of all that a run depends on.

    Cells (sources and tags), the full parameter set, the package's definitions that it reaches,
    modules of its own folder that it imports, the code of a scenario of another package, the
    committed tables that it can show (``book/results``), the versions of torch and numpy. Not: the
    store, which has keys of its own, and other files that it reads.
    """
    cells = [
        [cell.cell_type, cell.source, cell.metadata.tags] for cell in notebooks.read(notebook).cells
    ]
    code = reached_by(notebooks.code(notebook)) | definitions_of("dualdiff.publish.chapter")
    committed = sorted((PROJECT / "book" / "results").glob("*"))
    tables = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in committed}
    full = {**parameters_of(notebook), **parameters}
    beside = notebooks.modules(notebook).items()
    own = {name: hashlib.sha256(data).hexdigest() for name, data in beside}
    versions = {name: version(name) for name in ("torch", "numpy")}
    scenario = str(full.get("scenario"))
    if scenario not in BOOK and scenario in scenarios():
        from dualdiff.experiments.definitions import digest

        own["scenario"] = digest(maker_of(scenario))
    everything = json.dumps([cells, full, code, own, tables, versions], sort_keys=True)
    return hashlib.sha256(everything.encode()).hexdigest()


def executed_path(page: Page, root: Path) -> Path:
    """Where the executed notebook of a page lies, whether or not it is there."""
    name = f"{page.name}-{fingerprint(page.notebook, page.parameters)[:16]}.ipynb"
    return root / "_build" / "executed" / name


def run(
    notebook: Path,
    parameters: dict[str, Any],
    output: Path | None = None,
    *,
    threads: int | None = None,
    quiet: bool = False,
) -> Path:
    """Execute a notebook with this interpreter, in the notebook's folder.

    Parameters
    ----------
    notebook : Path
    parameters : dict
        Those that differ from the notebook's own values.
    output : Path, optional
        The executed notebook; by default its name in the current folder, with ``-executed``.
    threads : int, optional
        How many threads the numerical libraries may use; all cores by default.
    quiet : bool
        No lines of progress.

    Returns
    -------
    Path
        Of the executed notebook.

    Raises
    ------
    ValueError
        Before a kernel starts, if a parameter is not allowed or `output` cannot be written.
    ChapterError
        If a cell fails.
    """
    full = declared.validate(notebook, parameters)
    output = output or Path(f"{notebook.stem}-executed.ipynb")
    partial = output.with_name(f"{output.stem}-failed.ipynb")
    _check_output(output, partial, notebook)
    page = Page(notebook.stem, notebook, {name: full[name] for name in parameters})
    with Children(threads or _CORES) as children:
        with _Progress(quiet).of(page.name) as report:
            children.execute(page, output, partial, report)
    return output


def _check_output(output: Path, partial: Path, notebook: Path) -> None:
    """Refuse what could not be written at the end, or would replace the notebook itself."""
    asked = f"output is {output}; it must be a file that ends in .ipynb"
    try:
        if output.suffix != ".ipynb" or output.is_dir():
            raise ValueError(asked)
        for path in (output, partial):
            if path.exists() and path.samefile(notebook):
                raise ValueError(f"{asked}, and {path} is the notebook to run")
        output.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()  # the longer name; the run begins with its removal, too
        partial.unlink()
    except OSError as error:
        raise ValueError(f"{asked} and can be written: {error}") from error


def _whole(executed: Path) -> bool:
    """Whether an executed notebook is there and not cut or damaged."""
    try:
        notebooks.nbformat().validate(notebooks.read(executed))
    except Exception:  # whatever a parser makes of it; it is made again
        return False
    return True


def run_all(
    pages: Iterable[Page], *, root: Path, jobs: int | None = None, quiet: bool = False
) -> dict[str, Path]:
    """Execute the pages that have no executed notebook yet, several at a time.

    Parameters
    ----------
    pages : iterable of Page
    root : Path
        The project: results go to its ``_build/executed`` and ``_build/failed``.
    jobs : int, optional
        How many at a time; 2, or 1 on a single core, by default.
    quiet : bool
        No lines of progress.

    Returns
    -------
    dict
        From the page's name to its executed notebook.

    Raises
    ------
    ValueError
        Before any kernel starts, if a parameter is not allowed.
    ChapterError
        From the first page that fails; the others are ended.
    """
    pages = list(pages)
    jobs = min(2, _CORES) if jobs is None else jobs
    if jobs < 1:
        raise ValueError(f"jobs is {jobs}; it must be at least 1")
    for page in pages:
        declared.validate(page.notebook, page.parameters)
    executed = {page.name: executed_path(page, root) for page in pages}
    progress = _Progress(quiet)
    todo = [page for page in pages if not _whole(executed[page.name])]
    for page in pages:
        if page not in todo:
            progress.say(page.name, "up to date")
    threads = max(1, _CORES // max(1, min(jobs, len(todo))))
    with ThreadPoolExecutor(jobs) as pool, Children(threads) as children:

        def work(page: Page) -> None:
            if not children.closed:
                partial = root / "_build" / "failed" / f"{page.name}.ipynb"
                with progress.of(page.name) as report:
                    children.execute(page, executed[page.name], partial, report)
                _remove_older(executed[page.name])

        for future in as_completed([pool.submit(work, page) for page in todo]):
            future.result()
    return executed


class _Progress:
    """A bar per page on a terminal, else a line when it starts and one when it is done."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.bars = sys.stderr.isatty()

    def say(self, name: str, words: str) -> None:
        if not self.quiet:
            tqdm.write(f"{name}: {words}", file=sys.stderr)

    @contextmanager
    def of(self, name: str) -> Iterator[Report]:
        """Around the run of a page; gives what is to be called at each cell."""
        start = time.monotonic()
        bars = self.bars and not self.quiet
        if not bars:
            self.say(name, "started")
        form = "{desc}: {bar:30} cell {n_fmt} of {total_fmt}, {elapsed}"
        with tqdm(desc=name, total=0, leave=False, disable=not bars, bar_format=form) as bar:

            def report(cell: int, cells: int) -> None:
                bar.total, bar.n = cells, cell
                bar.refresh()

            yield report
        self.say(name, f"done in {time.monotonic() - start:.0f} s")


def _remove_older(path: Path) -> None:
    page = path.name.rpartition("-")[0]
    for other in path.parent.glob(f"{page}-{'[0-9a-f]' * 16}.ipynb"):
        if other != path:
            other.unlink()


def _lines(pipe: int) -> Iterator[bytes]:
    """The lines that come through a pipe, until its other end is closed.

    Waiting is cut into slices: a signal that arrives just before a read that blocks would not be
    seen until something can be read, and Ctrl-C would seem to do nothing.
    """
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        while True:
            if selector.select(0.5):
                data = os.read(pipe, 1 << 16)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                yield from lines


class Children:
    """Child processes that end when the block is left; `environment` wins over the user's own."""

    def __init__(self, threads: int, environment: Mapping[str, str] | None = None) -> None:
        package = str(PROJECT)
        path = os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")]))
        # The user's own limits win; kernels import the package that was fingerprinted, this one.
        limits, ours = dict.fromkeys(THREADS, str(threads)), {"PYTHONPATH": path}
        self.environment = {**limits, **os.environ, **ours, **(environment or {})}
        self.running: set[subprocess.Popen[str]] = set()
        self.lock = threading.Lock()
        self.closed = False

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let none start, end those that run."""
        with self.lock:
            self.closed = True
            running = list(self.running)
        for process in running:
            process.terminate()
        for process in running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()

    def execute(self, page: Page, output: Path, partial: Path, report: Report) -> None:
        """Run a page in a child, wait for it, and raise what stopped it."""
        job = {
            "notebook": str(page.notebook.resolve()),
            "parameters": page.parameters,
            "output": str(output.resolve()),
            "partial": str(partial.resolve()),
        }
        last: dict[str, Any] = {}
        with tempfile.TemporaryFile("w+", errors="replace") as complaints:
            process = self._start(complaints)
            assert process.stdin and process.stdout
            with suppress(BrokenPipeError), process:  # it may have ended before it was asked
                process.stdin.write(json.dumps(job) + "\n")
                process.stdin.flush()  # and stays open: its end is how the child sees ours
                for line in _lines(process.stdout.fileno()):
                    last = json.loads(line)
                    if last.keys() == {"cell", "cells"}:
                        report(last["cell"], last["cells"])
            with self.lock:
                self.running.discard(process)
            if last.get("done"):
                return
            complaints.seek(0)
            words = complaints.read().strip().splitlines() or [f"status {process.returncode}"]
        self.closed = True
        raise ChapterError(
            page.name,
            last.get("error", "its process ended"),
            last.get("message", words[-1]),
            last.get("cell"),
            last.get("source", ""),
            partial if partial.exists() else None,
        )

    def _start(self, complaints: Any) -> subprocess.Popen[str]:
        with self.lock:  # none may start once the block is being left
            if self.closed:
                raise RuntimeError("the run was ended")
            process = subprocess.Popen(
                [sys.executable, "-m", "dualdiff.publish.chapter"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                env=self.environment,
                start_new_session=True,  # Ctrl-C reaches us alone, and we end the children
            )
            self.running.add(process)
            return process
