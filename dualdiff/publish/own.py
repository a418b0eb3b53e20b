"""Commands for tables of one's own: chapter 12 on them, and samples of what it has found."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from dualdiff.experiments.profiles import PROFILES, parse
from dualdiff.publish.project import find_notebook, writable


@click.command(short_help="Compare ways to use two tables of yours, and keep the best.")
@click.argument("general", type=Path)
@click.argument("special", type=Path)
@click.option("--targets", required=True, metavar="A,B", help="columns to sample")
@click.option("--conditions", default="", metavar="C,D", help="columns that are given")
@click.option("--transform", multiple=True, metavar="A=asinh", help="asinh, log or log1p")
@click.option(
    "--unit", default="", metavar="COLUMN", help="whose rows these are: patients, days, ..."
)
@click.option("--held-out", default=0.2, help="share of SPECIAL that judges (0.2)")
@click.option("--seed", default=0, help="of every random number (0)")
@click.option("--profile", default="quick", help=f"one of {', '.join(PROFILES)} (quick)")
@click.option(
    "-o", "--output", type=Path, metavar="FOLDER", required=True, help="for what it finds"
)
def fit(
    general: Path, special: Path, transform: tuple[str, ...], output: Path, **settings: Any
) -> None:
    """Run chapter 12 on tables of yours, CSV or parquet: GENERAL with many rows, SPECIAL with few.

    FOLDER gets the chapter with its findings (report.ipynb), the scores (scores.csv), the way that
    it recommends (model.safetensors) and samples of it (samples.parquet).
    """
    from dualdiff.data.pairs import Pairs
    from dualdiff.data.table import Table
    from dualdiff.publish import runner
    from dualdiff.randomness import stream

    if wrong := [one for one in transform if one.count("=") != 1]:
        raise ValueError(f"transform is {wrong[0]!r}; it must be COLUMN=NAME, such as delay=asinh")
    columns = {
        name: [*filter(None, map(str.strip, settings[name].split(",")))]
        for name in ("targets", "conditions")
    }
    given = {**settings, **columns, "transforms": dict(one.split("=") for one in transform)}
    parse("profile", given["profile"])
    # Read now, so that a mistake is told before anything starts.
    unit = given["unit"]
    table = Table.read(general, *columns.values(), transform=given["transforms"], unit=unit)
    rows = Table.read(special, like=table, unit=unit)
    Pairs.of(table, rows, given["held_out"], stream(given["seed"], "split"))
    paths = {"general": general, "special": special, "output": writable(output)}
    given |= {name: str(path.resolve()) for name, path in paths.items()}
    print(runner.run(find_notebook("12"), given, output / "report.ipynb"))


@click.command(short_help="Sample a model of `fit` for conditions of yours.")
@click.argument("model", type=Path)
@click.argument("conditions", type=Path)
@click.option("-n", "--draws", default=1, help="for every row (1)")
@click.option("--seed", default=0, help="of the samples (0)")
@click.option("-o", "--output", type=Path, required=True, metavar="FILE", help=".parquet or .csv")
def sample(model: Path, conditions: Path, draws: int, seed: int, output: Path) -> None:
    """Sample a MODEL of `fit` for the rows of CONDITIONS, CSV or parquet, in their units."""
    from dualdiff.data.model import Model
    from dualdiff.data.table import writer_of
    from dualdiff.randomness import stream

    save = writer_of(output)
    found = Model.load(model).sample(conditions, stream(seed, "samples"), draws=draws)
    save(found)
    print(f"{os.path.relpath(output)}: {len(found):,} rows")
