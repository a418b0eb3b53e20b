"""The command for the full-scale tables: made, listed, confirmed, exported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from dualdiff.experiments.profiles import parse
from dualdiff.publish.options import ONE_OF_PROFILES, OUTPUT, option
from dualdiff.publish.project import project_root, writable


@click.command(short_help="Run the full-scale tables of the book.")
@click.argument("parts", nargs=-1, metavar="[PART]...")
@option("--profile", default="full", help=f"{ONE_OF_PROFILES} (full)")
@option("--output", **OUTPUT, help="(book/results; another profile: _build/results/PROFILE)")
@option("--jobs", default=1, help="configurations at a time (1)")
@option("--list", "listed", help="the tables, and whether current")
@option(
    "--confirm",
    type=int,
    metavar="N",
    help="compute N trials of each table anew and compare; where none of their numbers moves by "
    "more than a tenth of its half-width, the table says so",
)
@option(
    "--new-seeds",
    help="with --confirm: N configurations, with as many new seeds as the table has; passes if "
    "they differ no more than seeds do (where another processor rounds differently)",
)
@option(
    "--extend", help="compute what the tables lack, though the code of the rest was edited since"
)
@option("--export", type=Path, metavar="FILE.zip", help="all that are there, as one archive")
@option("--force", help="with --export: write over another file")
@option("--quiet", help="no progress bar")
def results(
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
