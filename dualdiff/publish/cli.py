"""The command ``dualdiff``."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from dualdiff import EXTRAS, __version__, lacking
from dualdiff.experiments.profiles import PROFILES, parse
from dualdiff.publish.own import fit, sample
from dualdiff.publish.project import (
    ANYWHERE,
    chapters,
    clean,
    find_notebook,
    project_root,
    writable,
)

Command = TypeVar("Command", bound=Callable[..., Any])
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


def _option(*names: str, **settings: Any) -> Callable[[Command], Command]:
    """An option; one without a type or a default of its own is a flag."""
    if not settings.keys() & {"type", "default"}:
        settings["is_flag"] = True
    return click.option(*names, **settings)


_OUTPUT = {"type": Path, "metavar": "FOLDER"}
_PROFILES = f"one of {', '.join(PROFILES)}"


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


@dualdiff.command("init")
@click.argument("folder", type=Path)
def _init(folder: Path) -> None:
    """Write the notebooks and pages of this version into FOLDER, a new or an empty one."""
    from dualdiff.publish import init

    init.init(folder)
    print(f"{os.path.relpath(folder)}: notebooks and pages of dualdiff {__version__}")
    print(f"Go on there: cd {os.path.relpath(folder)}, then dualdiff list, dualdiff book")


@dualdiff.command("book")
@_option("--profile", default="quick", help=f"{_PROFILES} (quick)")
@_option("--jobs", type=int, help="chapters that run at a time (2, or 1 on one core)")
@_option("--verbose", help="show what Sphinx says")
@_option(
    "--print",
    "on_paper",
    help="one HTML page and a PDF instead, in _build/print (the PDF needs Chromium)",
)
def _book(profile: str, jobs: int | None, verbose: bool, on_paper: bool) -> None:
    """Execute what has changed and build the HTML book."""
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
@_option("-p", "--parameter", type=(str, str), multiple=True, metavar="NAME VALUE")
@_option("-o", "--output", type=Path, help="the executed notebook")
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
@_option("-f", "--file", type=Path, required=True, help="the points, as YAML")
@_option("-o", "--output", **_OUTPUT, help="(NAME-sweep, of FILE)")
@_option("--workers", type=int, help="points at a time, here (2, or 1 on one core)")
@_option("--scheduler", type=str, metavar="ADDRESS", help="a Dask scheduler, tcp://host:port")
@_option("--scheduler-file", type=Path, help="the file in which a Dask scheduler says where it is")
@_option("--retries", default=1, help="of a point that fails (1)")
@_option("--threads", default=1, help="for each point (1)")
@_option("--list", "listed", help="the points, and which are done")
@_option("--no-report", help="only the table")
@_option("--quiet", help="no progress")
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
@_option("-o", "--output", **_OUTPUT, help="(_build/labs)")
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
@_option("-o", "--output", **_OUTPUT, help="(SUBMISSIONS-marks)")
@_option("--labs", **_OUTPUT, help="made by `labs` (_build/labs)")
@_option("--lab", type=str, metavar="NAME", help="of notebooks that do not say it themselves")
@_option("--jobs", default=os.cpu_count() or 1, help="at a time (cores)")
@_option("--seconds", default=600.0, help="for each (600)")
@_option("--memory", default=2.0, metavar="GIB", help="for each (2)")
@_option("--size", default="full", help="full, as in class, or smoke: quicker (full)")
@_option("--again", help="also what is marked already")
@_option("--unconfined", help="without a box: trust them all")
@_option("--quiet", help="no progress")
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


@dualdiff.command("results", short_help="Run the full-scale tables of the book.")
@click.argument("parts", nargs=-1, metavar="[PART]...")
@_option("--profile", default="full", help=f"{_PROFILES} (full)")
@_option("--output", **_OUTPUT, help="(book/results; another profile: _build/results/PROFILE)")
@_option("--jobs", default=1, help="configurations at a time (1)")
@_option("--list", "listed", help="the tables, and whether current")
@_option(
    "--confirm",
    type=int,
    metavar="N",
    help="compute N trials of each table anew and compare; where none of their numbers moves by "
    "more than a tenth of its half-width, the table says so",
)
@_option(
    "--new-seeds",
    help="with --confirm: N configurations, with as many new seeds as the table has; passes if "
    "they differ no more than seeds do (where another processor rounds differently)",
)
@_option(
    "--extend", help="compute what the tables lack, though the code of the rest was edited since"
)
@_option("--export", type=Path, metavar="FILE.zip", help="all that are there, as one archive")
@_option("--force", help="with --export: write over another file")
@_option("--quiet", help="no progress bar")
def _results(
    parts: tuple[str, ...],
    profile: str,
    output: Path | None,
    listed: bool,
    confirm: int | None,
    new_seeds: bool,
    export: Path | None,
    force: bool,
    **settings: Any,
) -> None:
    """Run the full-scale tables of the book and write each with its provenance.

    PART is a table to run (all by default); --list names them. An interrupted run goes on where it
    stopped: finished configurations are kept.
    """
    from dualdiff.experiments.store import Store
    from dualdiff.results import committed, making
    from dualdiff.results.parts import PARTS

    profile, names = parse("profile", profile), [*parts] or [*PARTS]
    folder = output or (committed.FOLDER if profile == "full" else None)
    folder = folder or project_root() / "_build" / "results" / profile
    if not (listed or export or output):
        project_root()  # what an installed package brings along stays as it is
    if listed:
        for name in names:
            title, state = committed.describe(name, folder)
            print(f"{name:<20} {title:<45} {state}")
        return
    if export is not None:
        _export(export, names if parts else committed.there(folder), folder, force)
        return
    if confirm is not None:
        for name in names:
            (_repeat if new_seeds else _confirm)(name, confirm, folder)
        return
    if new_seeds:
        raise ValueError("--new-seeds says how --confirm N compares; give both")
    paths = making.run(profile, names, store=Store(), output=writable(folder), **settings)
    print(*(os.path.relpath(path) for path in paths), sep="\n")


def _export(file: Path, names: list[str], folder: Path, force: bool) -> None:
    from dualdiff.pages.names import SCORES, label
    from dualdiff.results import export

    def meaning(metric: str) -> tuple[str, str, bool | None]:
        known = SCORES.get(metric)
        return (known.label, known.unit, known.lower) if known else (label(metric), "", None)

    if file.suffix != ".zip" or file.is_dir():
        raise ValueError(f"export is {file}; it must be a file that ends in .zip")
    writable(file.parent)
    export.export(file, export.archive(names, meaning, folder), force=force)
    print(f"{os.path.relpath(file)}: {len(names)} tables")


def _confirm(part: str, count: int, folder: Path) -> None:
    from dualdiff.results import confirm

    found = []
    sources = confirm.sources(part, folder)
    for compared in confirm.compare(part, count, folder):
        found.append(compared)
        gap, share = compared.difference, compared.share
        word = f"differs by {gap:.2g}, {share:.2g} of a half-width" if gap else "equal"
        print(f"{part:<20} {compared.trial:<55} {compared.rows:>4} rows {word}", flush=True)
    worst = max(compared.share for compared in found)
    if worst > confirm.MOST_SHARE:
        raise ValueError(
            f"a number of {part} moves by {worst:.2g} of its half-width under today's code, or on "
            f"this kind of processor (other rounding, which training amplifies); at most "
            f"{confirm.MOST_SHARE:g} is let pass: compare by the spread of its seeds with "
            f"--new-seeds, or make the table with: dualdiff results {part}"
        )
    confirm.note(part, len(found), sources, folder, share=worst)


def _repeat(part: str, count: int, folder: Path) -> None:
    import pandas as pd

    from dualdiff.results import confirm

    sources, tables = confirm.sources(part, folder), []
    for new in confirm.repeat(part, count, folder):
        tables.append(new)
        name = " ".join(map(str, new[["scenario", "recipe", "configuration", "seed"]].iloc[0]))
        print(f"{part:<20} {name}", flush=True)
    found = confirm.within_spread(part, pd.concat(tables), folder)
    print(found.to_string(index=False, float_format="{:.3g}".format))
    worst = found.iloc[0]
    if worst["p"] < confirm.LEAST_P:
        raise ValueError(
            f"{worst['metric']} of {part} moved by {worst['shift']:+.3g} with new seeds, "
            f"which differ by {worst['spread']:.2g} (p = {worst['p']:.2g}, must be at least "
            f"{confirm.LEAST_P}); make the table with: dualdiff results {part}"
        )
    confirm.note(part, len(tables), sources, folder, p=float(worst["p"]))


@dualdiff.command(
    "judge",
    short_help="Judge a composition rule or sampler of your own.",
    epilog="my_rule.py, for example: def my_rule(members): from dualdiff.compose import Weighted; "
    "return Weighted(members, dict.fromkeys(members, 0.5))",
)
@click.argument("rule", metavar="FILE.py[:NAME]")
@_option("-o", "--output", **_OUTPUT, help="of the table and the figure (.)")
@_option("--profile", default="full", help=f"{_PROFILES} (full; others have no rank)")
@_option("--quiet", help="no progress bar")
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
@_option("--keep-store", help="keep trained networks and tables")
def _clean(keep_store: bool) -> None:
    """Remove what was built, trained networks too."""
    for words in clean(project_root(), keep_store=keep_store):
        print(words)


if __name__ == "__main__":
    sys.exit(main())
