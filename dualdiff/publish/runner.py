"""Notebooks run through papermill: checked first, in parallel, never twice for the same thing."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from dualdiff.experiments.profiles import BOOK, maker_of, scenarios
from dualdiff.experiments.provenance import PROJECT, definitions_of, reached_by
from dualdiff.publish import declared, notebooks
from dualdiff.publish.children import ChapterError, Children, Page, complete, environment
from dualdiff.publish.progress import Progress

_CORES = os.cpu_count() or 1


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
    failed = output.with_name(f"{output.stem}-failed.ipynb")
    _check_output(output, failed, notebook)
    page = Page(notebook.stem, notebook, {name: full[name] for name in parameters})
    with Progress("run", "page", 1, quiet) as progress, Children() as children:
        progress.begin()
        progress.at(page.name)
        report = partial(progress.at, page.name)
        children.execute(page, output, failed, report, environment(threads or _CORES))
        progress.finish(page.name)
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
    """Execute the pages that have no executed notebook yet, several at a time, the longest first.

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
    todo = {page.name: page for page in pages if not _whole(executed[page.name])}
    # The longest first: a long one that begins last would keep all but one core waiting.
    todo = dict(sorted(todo.items(), key=lambda item: -notebooks.seconds(item[1].notebook)))
    variables = environment(max(1, _CORES // max(1, min(jobs, len(todo)))))
    children = Children()
    with Progress("book", "page", len(pages), quiet) as progress, ThreadPoolExecutor(jobs) as pool:

        def work(page: Page) -> None:
            if children.closed:
                return
            progress.at(page.name)
            report, out = partial(progress.at, page.name), executed[page.name]
            failed = root / "_build" / "failed" / f"{page.name}.ipynb"
            try:
                children.execute(page, out, failed, report, variables)
            except ChapterError:
                children.closed = True  # none begins while this is on its way
                raise
            _remove_older(out)

        for page in pages:
            if page.name not in todo:
                progress.say(f"{page.name}: up to date")
        progress.begin(len(pages) - len(todo))
        complete(pool, work, todo, progress, children.close)
    return executed


def _remove_older(path: Path) -> None:
    page = path.name.rpartition("-")[0]
    for other in path.parent.glob(f"{page}-{'[0-9a-f]' * 16}.ipynb"):
        if other != path:
            other.unlink()
