"""The command ``dualdiff``."""

from __future__ import annotations

import argparse
import gc
import os
import re
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

from dualdiff import __version__
from dualdiff.experiments.provenance import PROJECT
from dualdiff.profiles import PROFILES, parse


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 for a failure, 2 for bad input."""
    options = _parser().parse_args(arguments)
    # A polite request to end unwinds like Ctrl-C does, and so ends the kernels.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _stopped.clear()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    try:
        options.command(options)
    except SystemExit:
        raise
    except BaseException as error:
        if _stopped or isinstance(error, KeyboardInterrupt):
            print("dualdiff: interrupted", file=sys.stderr)
            gc.freeze()  # or the interpreter's end looks for garbage in all of torch: seconds
            return 130
        if not isinstance(error, ValueError | FloatingPointError | OSError | RuntimeError):
            raise
        # A chapter or a book that fails speaks for itself.
        plain = type(error).__name__ in ("ChapterError", "BookError")
        print("" if plain else "dualdiff: ", error, sep="", file=sys.stderr)
        return 2 if isinstance(error, ValueError) else 1
    return 0


_stopped: list[bool] = []


def _stop(*_: object) -> None:
    """Ctrl-C, remembered: a library that is just imported may swallow it."""
    _stopped.append(True)
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dualdiff",
        description="Run the chapters and build the book.",
        epilog="dualdiff COMMAND --help tells more about a command.",
    )
    parser.add_argument("--version", action="version", version=f"dualdiff {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    book = commands.add_parser("book", help="execute what has changed and build the HTML book")
    book.add_argument("--profile", default="quick", help=f"one of {', '.join(PROFILES)} (quick)")
    book.add_argument("--jobs", type=int, help="chapters that run at a time (2, or 1 on one core)")
    book.add_argument("--verbose", action="store_true", help="show what Sphinx says")
    paper = "one HTML page and a PDF instead, in _build/print (the PDF needs Chromium)"
    book.add_argument("--print", action="store_true", dest="on_paper", help=paper)
    book.set_defaults(command=_book)

    run = commands.add_parser("run", help="execute one chapter, with parameters")
    # Values of parameters, where argparse sees options: it knows no exponents and no infinity.
    run._negative_number_matcher = re.compile(r"-(\.?\d|inf|nan)", re.IGNORECASE)
    run.add_argument("notebook", help="a path, or a chapter's number or name such as 02")
    run.add_argument(
        "-p", "--parameter", nargs=2, action="append", default=[], metavar=("NAME", "VALUE")
    )
    run.add_argument("-o", "--output", type=Path, help="the executed notebook")
    run.set_defaults(command=_run)

    _add_sweep(commands)
    _add_labs(commands)

    chapters = commands.add_parser("list", help="the chapters, their parameters, what is allowed")
    chapters.set_defaults(command=_list)

    _add_results(commands)

    bench = commands.add_parser("bench", help="measure the speed of sampling")
    bench.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    bench.add_argument("--repeats", type=int, default=5, help="the best of so many counts (5)")
    bench.add_argument("--quiet", action="store_true", help="no progress bar")
    bench.set_defaults(command=_bench)

    clean = commands.add_parser("clean", help="remove what was built, trained networks too")
    clean.add_argument("--keep-store", action="store_true", help="keep trained networks and tables")
    clean.set_defaults(command=_clean)
    return parser


def _add_sweep(commands: Any) -> None:
    sweep = commands.add_parser(
        "sweep",
        help="execute one chapter at many points of its parameters",
        description="Execute a notebook at every point of a grid and gather the tables that it "
        "records into FOLDER/table.parquet, with a report beside it. All points are checked "
        "before anything runs. Points that are done are kept: start it again after an "
        "interruption, a failure, or with a larger grid.",
        epilog="grid.yaml, for example: {parameters: {profile: smoke}, grid: {distance: [0, 3], "
        "seed: [0, 1]}, points: [{distance: 4.05}]}",
    )
    sweep.add_argument("notebook", help="a path, or a chapter's number or name such as 03")
    sweep.add_argument("-f", "--file", type=Path, required=True, help="the points, as YAML")
    sweep.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="(NAME-sweep, of FILE)")
    where = sweep.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, help="points at a time, here (2, or 1 on one core)")
    where.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler, tcp://host:port")
    where.add_argument(
        "--jobqueue",
        type=Path,
        metavar="SPEC",
        help="YAML for dask-jobqueue: {cluster: SLURMCluster, jobs: 10, cores: 2, memory: 8GB}",
    )
    sweep.add_argument("--retries", type=int, default=1, help="of a point that fails (1)")
    sweep.add_argument("--threads", type=int, default=1, help="for each point (1)")
    sweep.add_argument("--list", action="store_true", help="the points, and which are done")
    sweep.add_argument("--no-report", action="store_true", help="only the table")
    sweep.add_argument("--quiet", action="store_true", help="no progress")
    sweep.set_defaults(command=_sweep)


def _add_labs(commands: Any) -> None:
    labs = commands.add_parser(
        "labs",
        help="make the labs' notebooks for students and the tests for marking",
        description="Make of every lab in notebooks/labs a notebook for students (student/), one "
        "with the solutions (solutions/) and the tests that mark it (autograder/).",
    )
    labs.add_argument("names", nargs="*", metavar="LAB", help="all by default")
    labs.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="(_build/labs)")
    labs.set_defaults(command=_labs)

    grade = commands.add_parser(
        "grade",
        help="mark a folder of submitted labs",
        description="Run every notebook of a folder in a box of its own, without network and "
        "without the hidden tests, and write marks.csv, open_answers.md and feedback/. A second "
        "call marks only what is new or could not be marked completely, and what was entered into "
        "marks.csv stays.",
    )
    handed = "folder of notebooks, with folders and zip archives"
    grade.add_argument("submissions", type=Path, metavar="SUBMISSIONS", help=handed)
    grade.add_argument("-o", "--output", type=Path, metavar="FOLDER", help="(SUBMISSIONS-marks)")
    grade.add_argument("--labs", type=Path, metavar="FOLDER", help="made by `labs` (_build/labs)")
    grade.add_argument("--lab", metavar="NAME", help="of notebooks that do not say it themselves")
    grade.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time (cores)")
    grade.add_argument("--seconds", type=float, default=600, help="for each (600)")
    grade.add_argument("--memory", type=float, default=2, metavar="GIB", help="for each (2)")
    grade.add_argument("--size", default="full", help="full, as in class, or smoke: quicker (full)")
    grade.add_argument("--again", action="store_true", help="also what is marked already")
    grade.add_argument("--unconfined", action="store_true", help="without a box: trust them all")
    grade.add_argument("--quiet", action="store_true", help="no progress")
    grade.set_defaults(command=_grade)


def _add_results(commands: Any) -> None:
    results = commands.add_parser(
        "results",
        help="run the full-scale tables of the book",
        description="Run the full-scale tables of the book and write each with its provenance. "
        "An interrupted run goes on where it stopped: finished configurations are kept.",
    )
    results.add_argument("parts", nargs="*", help="tables to run (all); --list names them")
    results.add_argument("--profile", default="full", help=f"one of {', '.join(PROFILES)} (full)")
    results.add_argument(
        "--output", type=Path, help="folder (book/results; another profile: _build/results/PROFILE)"
    )
    results.add_argument("--jobs", type=int, default=1, help="configurations at a time (1)")
    results.add_argument("--list", action="store_true", help="the tables, and whether current")
    results.add_argument(
        "--confirm",
        type=int,
        metavar="N",
        help="compute N trials of each table anew and compare; if all agree, the table says so",
    )
    results.add_argument(
        "--extend",
        action="store_true",
        help="compute what the tables lack, though the code of the rest was edited since",
    )
    results.add_argument("--quiet", action="store_true", help="no progress bar")
    results.set_defaults(command=_results)


def project_root() -> Path:
    """The project's folder: the one we stand in or a parent of it, else the checkout.

    Raises
    ------
    ValueError
        If neither is a project, that is, has a ``_config.yml``.
    """
    here = Path.cwd()
    for folder in (here, *here.parents, PROJECT):
        if (folder / "_config.yml").is_file() and (folder / "_toc.yml").is_file():
            return folder
    raise ValueError(f"{here} is not inside the project: there is no _config.yml with a _toc.yml")


def chapters(root: Path) -> list[Path]:
    """The notebooks of the project, in reading order, without the variants that the book writes."""
    from dualdiff.publish.declared import variants

    written = {
        root / f"{name}.ipynb" for name, entry in variants(root).items() if "source" in entry
    }
    return [path for path in sorted((root / "notebooks").glob("*.ipynb")) if path not in written]


def find_notebook(name: str) -> Path:
    """The notebook that a path, a file name or a chapter's number stands for.

    Raises
    ------
    ValueError
        If there is none or more than one.
    """
    path = Path(name)
    if path.suffix == ".ipynb" and path.is_file():
        return path
    known = chapters(project_root())
    exact = [p for p in known if Path(name).stem in (p.stem, p.stem.partition("_")[0])]
    found = exact or [path for path in known if path.stem.startswith(name)]
    if len(found) != 1:
        names = ", ".join(path.stem for path in found or known) or "none"
        what = "more than one notebook" if found else "no notebook"
        raise ValueError(f"{name!r} names {what}; it must be a path or one of: {names}")
    return found[0]


def _writable(folder: Path) -> Path:
    """A folder that is to hold results, before work is put into them.

    Raises
    ------
    ValueError
        If it is no folder, or nothing can be written or made there.
    """
    try:
        there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        with tempfile.TemporaryFile(dir=there):
            return folder
    except OSError as error:
        words = f"output is {folder}; it must be a folder that can be written"
        raise ValueError(f"{words}: {error.strerror}") from error


def _book(options: argparse.Namespace) -> None:
    from dualdiff.publish import book

    root, profile = project_root(), parse("profile", options.profile)
    _writable(root / "_build")
    if options.on_paper:
        page, pdf = book.build_print(root, profile, options.jobs, verbose=options.verbose)
        print(f"The book on one page: {os.path.relpath(page)}\nOn paper: {os.path.relpath(pdf)}")
        return
    index = book.build(root, profile, options.jobs, verbose=options.verbose)
    print(f"The book is ready: {os.path.relpath(index)}\n{index.as_uri()}")


def _run(options: argparse.Namespace) -> None:
    from dualdiff.publish import declared, runner

    notebook = find_notebook(options.notebook)
    known = declared.parameters(notebook)
    # Names that it does not know go on as they are, to be refused with the right hint.
    given = {n: known[n].parse(text) if n in known else text for n, text in options.parameter}
    print(runner.run(notebook, given, options.output))


def _sweep(options: argparse.Namespace) -> None:
    from dualdiff.publish import grid, sweep

    notebook = find_notebook(options.notebook)
    points = grid.points_of(options.file, notebook)
    folder = options.output or Path(f"{options.file.stem}-sweep")
    if options.list:
        for point in points:
            table, wrong = sweep.kept(point, folder)
            print(point.name, "done" if table is not None else wrong or "to run", sep="  ")
        return
    where = {name: getattr(options, name) for name in ("workers", "scheduler", "jobqueue")}
    sizes = {name: getattr(options, name) for name in ("retries", "threads", "quiet")}
    sweep.check_folder(_writable(folder), options.file, notebook)
    path = sweep.run(notebook, points, folder, **where, **sizes)
    print(os.path.relpath(path))
    if not options.no_report:
        print(os.path.relpath(sweep.report(path)))


def _labs(options: argparse.Namespace) -> None:
    folder = options.output or project_root() / "_build" / "labs"
    _make_labs(_writable(folder), options.names)


def _make_labs(folder: Path, names: list[str] | None = None) -> None:
    from dualdiff.teaching import labs

    for name, new in labs.build(project_root(), folder, names or None):
        if new:
            print(f"{os.path.relpath(folder)}: {name}", file=sys.stderr)


def _grade(options: argparse.Namespace) -> None:
    from dualdiff.teaching import collected, grading, sandbox

    given = options.submissions.resolve()
    out = _writable(options.output or given.with_name(f"{given.name}-marks"))
    if _stopped:
        raise KeyboardInterrupt
    found = collected.handed_in(options.submissions, out)  # before work is put into anything
    limits = sandbox.Limits(options.seconds, options.memory * 2**30)
    if (folder := options.labs) is None:
        _make_labs(folder := project_root() / "_build" / "labs")
    labs = grading.labs_of(folder)
    said: list[str] = []
    chosen = {name: getattr(options, name) for name in ("jobs", "size", "again", "quiet", "lab")}
    chosen |= {"confined": not options.unconfined, "say": said.append}
    try:
        path = grading.grade(found, out, labs, limits, **chosen)
        print(os.path.relpath(path), flush=True)
    finally:
        print(*said, sep="\n", end="\n" * bool(said), file=sys.stderr)


def _list(options: argparse.Namespace) -> None:
    from dualdiff.publish import declared

    for notebook in chapters(project_root()):
        print(notebook.stem)
        for name, known in declared.parameters(notebook).items():
            words = f"{known.book.help}; {known.allowed}" if known.book else known.allowed
            print(f"  {f'{name} = {known.default!r}':<26}  {words}")


def _results(options: argparse.Namespace) -> None:
    from dualdiff.results import committed, making
    from dualdiff.results.parts import PARTS
    from dualdiff.store import Store

    options.profile = parse("profile", options.profile)
    parts = options.parts or list(PARTS)
    folder = options.output or (committed.FOLDER if options.profile == "full" else None)
    folder = folder or project_root() / "_build" / "results" / options.profile
    if options.list:
        for name in parts:
            title, state = committed.describe(name, folder)
            print(f"{name:<20} {title:<45} {state}")
        return
    if options.confirm is not None:
        for name in parts:
            _confirm(name, options.confirm, folder)
        return
    sizes = {"jobs": options.jobs, "quiet": options.quiet, "extend": options.extend}
    paths = making.run(options.profile, parts, store=Store(), output=_writable(folder), **sizes)
    print(*(os.path.relpath(path) for path in paths), sep="\n")


def _confirm(part: str, count: int, folder: Path) -> None:
    from dualdiff.results import confirm

    differ = done = 0
    sources = confirm.sources(part, folder)
    for compared in confirm.compare(part, count, folder):
        done += 1
        differ += compared.difference > 0
        word = "equal" if compared.difference == 0 else f"differs by {compared.difference:.2g}"
        print(f"{part:<20} {compared.trial:<55} {compared.rows:>4} rows {word}", flush=True)
    if differ:
        raise ValueError(
            f"{differ} of {done} trials of {part} come out differently under today's code, or on "
            "this kind of processor (other rounding, which training amplifies); make the table "
            f"with: dualdiff results {part}"
        )
    confirm.note(part, done, sources, folder)


def _bench(options: argparse.Namespace) -> None:
    from dualdiff.publish import bench

    bench.main(options.sizes, options.repeats, options.quiet)


def _clean(options: argparse.Namespace) -> None:
    from dualdiff.publish import cleaning

    for words in cleaning.clean(project_root(), keep_store=options.keep_store):
        print(words)


if __name__ == "__main__":
    sys.exit(main())
