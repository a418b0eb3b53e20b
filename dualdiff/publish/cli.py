"""The command ``dualdiff``."""

from __future__ import annotations

import gc
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click

from dualdiff import EXTRAS, __version__, lacking
from dualdiff.experiments.profiles import parse
from dualdiff.publish.options import ONE_OF_PROFILES, OUTPUT, option
from dualdiff.publish.own import fit, sample
from dualdiff.publish.project import (
    ANYWHERE,
    chapters,
    clean,
    find_notebook,
    project_root,
    writable,
)
from dualdiff.publish.tables import results

_stopped: list[bool] = []


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code: 0, 1 for a failure, 2 for bad input."""
    # A polite request to end unwinds like Ctrl-C does, and so ends the kernels.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    _stopped.clear()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    words = sys.argv[1:] if arguments is None else [*arguments]
    try:
        # Not click's own `main`, which takes an interruption for something else.
        with dualdiff.make_context("dualdiff", words) as context:
            dualdiff.invoke(context)
    except click.exceptions.Exit as done:  # of --help
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except SystemExit:
        raise
    except BaseException as error:
        return _failed(error)
    return 0


def _failed(error: BaseException) -> int:
    """Say what ended the command, and return its exit code; what nobody foresaw goes on."""
    if _stopped or isinstance(error, KeyboardInterrupt):
        print("dualdiff: interrupted", file=sys.stderr)
        gc.freeze()  # or the interpreter's end looks for garbage in all of torch: seconds
        return 130
    if isinstance(error, ModuleNotFoundError) and error.name in EXTRAS:
        print(f"dualdiff: {lacking(error.name)}", file=sys.stderr)
        return 1
    if not isinstance(error, ValueError | FloatingPointError | OSError | RuntimeError):
        raise error
    # A chapter or a book that fails speaks for itself.
    plain = type(error).__name__ in ("ChapterError", "BookError")
    print("" if plain else "dualdiff: ", error, sep="", file=sys.stderr)
    return 2 if isinstance(error, ValueError) else 1


def _stop(*_: object) -> None:
    """Ctrl-C, remembered: a library that is just imported may swallow it."""
    _stopped.append(True)
    raise KeyboardInterrupt


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="dualdiff COMMAND --help tells more about a command. Outside of the project, and of a "
    f"folder that `dualdiff init` wrote, these work: {ANYWHERE}.",
)
@click.version_option(__version__, message="dualdiff %(version)s")
def dualdiff() -> None:
    """Run the chapters and build the book."""


dualdiff.add_command(fit)
dualdiff.add_command(sample)
dualdiff.add_command(results)


@dualdiff.command("init")
@click.argument("folder", type=Path)
def _init(folder: Path) -> None:
    """Write the notebooks and pages of this version into FOLDER, a new or an empty one."""
    from dualdiff.publish import init

    init.init(folder)
    print(f"{os.path.relpath(folder)}: notebooks and pages of dualdiff {__version__}")
    print(f"Go on there: cd {os.path.relpath(folder)}, then dualdiff list, dualdiff book")


@dualdiff.command("book")
@option("--profile", default="quick", help=f"{ONE_OF_PROFILES} (quick)")
@option("--jobs", type=int, help="chapters that run at a time (2, or 1 on one core)")
@option("--verbose", help="show what Sphinx says")
@option(
    "--print",
    "on_paper",
    help="one HTML page and a PDF instead, in _build/print (the PDF needs Chromium)",
)
def _book(profile: str, jobs: int | None, verbose: bool, on_paper: bool) -> None:
    """Execute what has changed and build the HTML book."""
    import sphinx_external_toc  # noqa: F401 - first: its extra has all that a book needs

    from dualdiff.publish import book

    root, profile = project_root(), parse("profile", profile)
    writable(root / "_build")
    if on_paper:
        page, pdf = book.build_print(root, profile, jobs, verbose=verbose)
        print(f"The book on one page: {os.path.relpath(page)}\nOn paper: {os.path.relpath(pdf)}")
        return
    index = book.build(root, profile, jobs, verbose=verbose)
    print(f"The book is ready: {os.path.relpath(index)}\n{index.as_uri()}")


@dualdiff.command("run")
@click.argument("notebook")
@option("-p", "--parameter", type=(str, str), multiple=True, metavar="NAME VALUE")
@option("-o", "--output", type=Path, help="the executed notebook")
def _run(notebook: str, parameter: tuple[tuple[str, str], ...], output: Path | None) -> None:
    """Execute one chapter, with parameters.

    NOTEBOOK is a path, or a chapter's number or name such as 02.
    """
    from dualdiff.publish import declared, runner

    path = find_notebook(notebook)
    known = declared.parameters(path)
    # Names that it does not know go on as they are, to be refused with the right hint.
    given = {n: known[n].parse(text) if n in known else text for n, text in parameter}
    print(runner.run(path, given, output))


@dualdiff.command(
    "sweep",
    short_help="Execute one chapter at many points of its parameters.",
    epilog="grid.yaml, for example: {parameters: {profile: smoke}, grid: {distance: [0, 3], "
    "seed: [0, 1]}, points: [{distance: 4.05}]}",
)
@click.argument("notebook")
@option("-f", "--file", type=Path, required=True, help="the points, as YAML")
@option("-o", "--output", **OUTPUT, help="(NAME-sweep, of FILE)")
@option("--workers", type=int, help="points at a time, here (2, or 1 on one core)")
@option("--scheduler", type=str, metavar="ADDRESS", help="a Dask scheduler, tcp://host:port")
@option("--scheduler-file", type=Path, help="the file in which a Dask scheduler says where it is")
@option("--retries", default=1, help="of a point that fails (1)")
@option("--threads", default=1, help="for each point (1)")
@option("--list", "listed", help="the points, and which are done")
@option("--no-report", help="only the table")
@option("--quiet", help="no progress")
def _sweep(
    notebook: str, file: Path, output: Path | None, listed: bool, no_report: bool, **settings: Any
) -> None:
    """Execute a notebook at every point of a grid and gather the tables that it records.

    They go into FOLDER/table.parquet, with a report beside it. All points are checked before
    anything runs. Points that are done are kept: start it again after an interruption, a failure,
    or with a larger grid. NOTEBOOK is a path, or a chapter's number or name such as 03.
    """
    from dualdiff.publish import grid, sweep

    path = find_notebook(notebook)
    points = grid.points_of(file, path)
    folder = output or Path(f"{file.stem}-sweep")
    if listed:
        for point in points:
            table, wrong = sweep.kept(point, folder)
            print(point.name, "done" if table is not None else wrong or "to run", sep="  ")
        return
    sweep.check_folder(writable(folder), file, path)
    made = sweep.run(path, points, folder, **settings)
    print(os.path.relpath(made))
    if not no_report:
        print(os.path.relpath(sweep.report(made)))


@dualdiff.command("labs", short_help="Make the labs' notebooks for students and for marking.")
@click.argument("names", nargs=-1, metavar="[LAB]...")
@option("-o", "--output", **OUTPUT, help="(_build/labs)")
def _labs(names: tuple[str, ...], output: Path | None) -> None:
    """Make of every LAB in notebooks/labs (all by default) the notebooks and the tests.

    One notebook for students (student/), one with the solutions (solutions/) and the tests that
    mark it (autograder/).
    """
    _make_labs(writable(output or project_root() / "_build" / "labs"), names)


def _make_labs(folder: Path, names: tuple[str, ...] = ()) -> None:
    from dualdiff.teaching import labs

    for name, new in labs.build(project_root(reading=True), folder, [*names] or None):
        if new:
            print(f"{os.path.relpath(folder)}: {name}", file=sys.stderr)


@dualdiff.command("grade", short_help="Mark a folder of submitted labs.")
@click.argument("submissions", type=Path)
@option("-o", "--output", **OUTPUT, help="(SUBMISSIONS-marks)")
@option("--labs", **OUTPUT, help="made by `labs` (_build/labs)")
@option("--lab", type=str, metavar="NAME", help="of notebooks that do not say it themselves")
@option("--jobs", default=os.cpu_count() or 1, help="at a time (cores)")
@option("--seconds", default=600.0, help="for each (600)")
@option("--memory", default=2.0, metavar="GIB", help="for each (2)")
@option("--size", default="full", help="full, as in class, or smoke: quicker (full)")
@option("--again", help="also what is marked already")
@option("--unconfined", help="without a box: trust them all")
@option("--quiet", help="no progress")
def _grade(
    submissions: Path,
    output: Path | None,
    labs: Path | None,
    seconds: float,
    memory: float,
    unconfined: bool,
    **settings: Any,
) -> None:
    """Run every notebook of a folder in a box of its own and write the marks.

    SUBMISSIONS is a folder of notebooks, with folders and zip archives. A box has no network and
    not the hidden tests. What comes out is marks.csv, open_answers.md and feedback/. A second call
    marks only what is new or could not be marked completely, and what was entered into marks.csv
    stays.
    """
    from dualdiff.teaching import collected, grading, sandbox

    given = submissions.resolve()
    out = writable(output or given.with_name(f"{given.name}-marks"))
    if _stopped:
        raise KeyboardInterrupt
    found = collected.handed_in(submissions, out)  # before work is put into anything
    limits = sandbox.Limits(seconds, memory * 2**30)
    if labs is None:
        _make_labs(labs := project_root() / "_build" / "labs")
    said: list[str] = []
    settings |= {"confined": not unconfined, "say": said.append}
    try:
        path = grading.grade(found, out, grading.labs_of(labs), limits, **settings)
        print(os.path.relpath(path), flush=True)
    finally:
        print(*said, sep="\n", end="\n" * bool(said), file=sys.stderr)


@dualdiff.command("list")
def _list() -> None:
    """The chapters, their parameters, what is allowed."""
    from dualdiff.publish import declared

    for notebook in chapters(project_root(reading=True)):
        print(notebook.stem)
        for name, known in declared.parameters(notebook).items():
            words = f"{known.book.help}; {known.allowed}" if known.book else known.allowed
            print(f"  {f'{name} = {known.default!r}':<26}  {words}")


@dualdiff.command(
    "judge",
    short_help="Judge a composition rule or sampler of your own.",
    epilog="my_rule.py, for example: def my_rule(members): from dualdiff.compose import Weighted; "
    "return Weighted(members, dict.fromkeys(members, 0.5))",
)
@click.argument("rule", metavar="FILE.py[:NAME]")
@option("-o", "--output", **OUTPUT, help="of the table and the figure (.)")
@option("--profile", default="full", help=f"{ONE_OF_PROFILES} (full; others have no rank)")
@option("--quiet", help="no progress bar")
def _judge(rule: str, output: Path | None, **settings: Any) -> None:
    """Judge a rule of your own beside all built-in ones, at equal numbers of network calls.

    FILE.py is executed. Its function NAME (the only one, by default) is a rule, make(members) ->
    Denoiser of a mapping of names to denoisers, or a sampler, (members, conditions, generator, *,
    draws) -> samples [n, draws, dy]. The laws that every rule keeps are checked first; then come
    ten problems whose truth is known. The table and the figure are NAME_v1.csv and NAME_v1.png; a
    name of a built-in entry is refused.
    """
    from dualdiff.judging import run

    name, make = run.load(rule)
    run.judge(make, name=name, output=writable(output or Path()), **settings)


@dualdiff.command("clean")
@option("--keep-store", help="keep trained networks and tables")
def _clean(keep_store: bool) -> None:
    """Remove what was built, trained networks too."""
    for words in clean(project_root(), keep_store=keep_store):
        print(words)


if __name__ == "__main__":
    sys.exit(main())
