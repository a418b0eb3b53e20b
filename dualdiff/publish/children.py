"""Notebooks in child processes, several at a time: the one loop of the book and of sweeps.

Each notebook runs in a child process (`dualdiff.publish.chapter`), which ends with us.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from dualdiff.experiments.provenance import FOLDER
from dualdiff.publish.progress import Progress

POSIX = os.name == "posix"
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
Item = TypeVar("Item")
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


@dataclass(eq=False)
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

    page: str
    error: str
    message: str
    cell: int | None = None
    source: str = ""
    partial: Path | None = None

    def __str__(self) -> str:
        where = f" in cell {self.cell}" if self.cell is not None else ""
        lines = [f"{self.page} failed{where}: {self.error}: {self.message}"]
        source = self.source.splitlines()
        lines += [f"    {line}" for line in source[:8]] + ["    ..."] * (len(source) > 8)
        if self.partial is not None:
            lines.append(f"The notebook as far as it got: {self.partial}")
        return "\n".join(lines)


def _lines(pipe: int) -> Iterator[bytes]:
    """The lines that come through a pipe, until its other end is closed.

    Waiting is cut into slices: a signal that arrives just before a read that blocks would not be
    seen until something can be read, and Ctrl-C would seem to do nothing. Windows has no such
    waiting for pipes.
    """
    rest = b""
    with selectors.DefaultSelector() as selector:
        if POSIX:
            selector.register(pipe, selectors.EVENT_READ)
        while True:
            if not POSIX or selector.select(0.5):
                data = os.read(pipe, 1 << 16)
                if not data:
                    return
                *lines, rest = (rest + data).split(b"\n")
                yield from lines


def environment(threads: int, own: Mapping[str, str] | None = None) -> dict[str, str]:
    """Of a child: the user's own limits of threads win over ours, `own` wins over all."""
    path = os.pathsep.join(filter(None, [str(FOLDER.parent), os.environ.get("PYTHONPATH")]))
    # Kernels import the package that was fingerprinted, this one.
    limits, ours = dict.fromkeys(THREADS, str(threads)), {"PYTHONPATH": path}
    return {**limits, **os.environ, **ours, **(own or {})}


class Children:
    """Child processes that end together: when the block is left, or when it is closed."""

    def __init__(self) -> None:
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

    def execute(
        self,
        page: Page,
        output: Path,
        partial: Path,
        report: Report,
        variables: Mapping[str, str],
    ) -> None:
        """Run a page in a child with these variables, wait for it, and raise what stopped it."""
        job = {
            "notebook": str(page.notebook.resolve()),
            "parameters": page.parameters,
            "output": str(output.resolve()),
            "partial": str(partial.resolve()),
        }
        last: dict[str, Any] = {}
        with tempfile.TemporaryFile("w+", errors="replace") as complaints:
            process = self._start(complaints, variables)
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
        raise ChapterError(
            page.name,
            last.get("error", "its process ended"),
            last.get("message", words[-1]),
            last.get("cell"),
            last.get("source", ""),
            partial if partial.exists() else None,
        )

    def _start(self, complaints: Any, variables: Mapping[str, str]) -> subprocess.Popen[str]:
        with self.lock:  # none may start once the block is being left
            if self.closed:
                raise RuntimeError("the run was ended")
            process = subprocess.Popen(
                [sys.executable, "-m", "dualdiff.publish.chapter"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                env=variables,
                start_new_session=True,  # Ctrl-C reaches us alone, and we end the children
            )
            self.running.add(process)
            return process


def complete(
    executor: Executor,
    work: Callable[[Item], object],
    items: Mapping[str, Item],
    progress: Progress,
    end: Callable[[], object],
    *,
    check: Callable[[Item], object] = lambda _: None,
    retries: int | None = None,
) -> None:
    """Do pieces of work, as many at a time as the executor does; none goes on after this.

    Parameters
    ----------
    executor : Executor
        Threads here, or the workers of a Dask scheduler.
    work : callable
        What is done with an item, where the executor has its workers.
    items : mapping
        By the names that `progress` shows.
    progress : Progress
    end : callable
        Lets no piece begin and ends those at work; called at the end, and so by Ctrl-C.
    check : callable
        Called here with each item that is done; what it raises makes the item fail.
    retries : int, optional
        How often a piece that failed is done again. Those that fail for good are left to
        `progress`; without this the first failure is raised.

    Raises
    ------
    ConnectionError
        If the scheduler is lost.
    """
    left = dict.fromkeys(items, retries or 0)
    pending = {}
    try:
        for name, item in items.items():
            pending[executor.submit(work, item)] = name
        while pending:
            done, _ = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                name = pending.pop(future)
                if future.cancelled():  # by nobody here
                    raise ConnectionError("the scheduler is gone; finished points are stored")
                try:
                    future.result()
                    check(items[name])
                except Exception as error:
                    if retries is None:
                        raise
                    if left[name]:
                        left[name] -= 1
                        progress.again(name, str(error))
                        pending[executor.submit(work, items[name])] = name
                    else:
                        progress.fail(name, str(error))
                else:
                    progress.finish(name)
            if not done:
                progress.tick()
    finally:
        end()
