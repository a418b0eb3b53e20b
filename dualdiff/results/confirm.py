"""Committed tables under newer code: recompute some of their trials, and note that they agree."""

from __future__ import annotations

import datetime
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from dualdiff.experiments.profiles import PROFILES
from dualdiff.experiments.store import Store
from dualdiff.experiments.trial import KEY
from dualdiff.files import write
from dualdiff.randomness import one_thread
from dualdiff.results import committed as results
from dualdiff.results import making
from dualdiff.results.parts import PARTS

MEASURED = ("begun", "finished", "seconds", "memory")
"""Metrics that tell of the machine and the hour, and differ from run to run."""


class Compared(NamedTuple):
    """A recomputed trial: its key, its number of rows, and the largest difference of a value."""

    trial: str
    rows: int
    difference: float


def compare(part: str, count: int, folder: Path = results.FOLDER) -> Iterator[Compared]:
    """Compute ``count`` trials of a table anew, from an empty store, and compare with the table.

    The trials are spread evenly over the part. The table holds seven digits, so equal numbers have
    a difference of zero after the same rounding.

    Raises
    ------
    ValueError
        If count is below 1, the part is unknown, or its trials are not those of the table.
    FileNotFoundError
        If the part has not been run.
    """
    table, record = results.as_written(part, folder)
    if count < 1:
        raise ValueError(f"the number of trials to compute must be at least 1, not {count}")
    some = PARTS[part].trials(PROFILES[record["profile"]])
    if record["hashes"].split() != [*map(results.trial_hash, some)]:
        raise ValueError(
            f"{part} is stale: its trials are other ones now; make it with: dualdiff results {part}"
        )
    places = np.unique(np.linspace(0, len(some) - 1, min(count, len(some))).round().astype(int))
    with tempfile.TemporaryDirectory() as empty:
        for place in places:
            trial = some[place]
            with one_thread():  # as the tables are made; threads would share sums in another way
                new = trial.table(Store(empty))
            key = dict(zip(KEY, trial.key, strict=True))
            old = table
            for name, value in key.items():
                old = old[old[name] == value]
            yield Compared(" ".join(map(str, key.values())), len(new), _difference(new, old))


def _difference(new: pd.DataFrame, old: pd.DataFrame) -> float:
    """Largest difference; infinite for a row or a number that only one of the two tables has.

    What was measured about the run itself is left out.
    """
    places = ["target", "metric"]
    new, old = (table[~table["metric"].isin(MEASURED)] for table in (new, old))
    both = new.merge(old, on=places, suffixes=("", "_table"), how="outer", indicator=True)
    if (both["_merge"] != "both").any():
        return np.inf
    now, before = (both[name].to_numpy(float) for name in ("value", "value_table"))
    rounded = np.array([float(f"{value:.7g}") for value in now])
    gaps = np.where(np.isnan(now) & np.isnan(before), 0.0, np.abs(rounded - before))
    return float(np.nan_to_num(gaps, nan=np.inf).max(initial=0.0))


def sources(part: str, folder: Path = results.FOLDER) -> dict[str, str]:
    """Hashes of the code that would make a committed table now."""
    _, record = results.as_written(part, folder)
    return results.sources_of(PARTS[part].trials(PROFILES[record["profile"]]))


def note(
    part: str, count: int, compared_under: dict[str, str], folder: Path = results.FOLDER
) -> None:
    """Write into a table's provenance that ``count`` of its trials agree under today's code.

    Raises
    ------
    RuntimeError
        If the code is not what it was when they were compared, ``compared_under``.
    """
    if sources(part, folder) != compared_under:
        raise RuntimeError(f"the code that makes {part} was edited meanwhile; confirm it again")
    _, record = results.as_written(part, folder)
    record["confirmed"] = {
        "sources": compared_under,
        "trials": count,
        "revision": making.revision(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    write(folder / f"{part}.json", (json.dumps(record, indent=2) + "\n").encode())
