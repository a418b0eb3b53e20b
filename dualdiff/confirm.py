"""Committed tables under newer code: recompute some of their trials, and note that they agree."""

from __future__ import annotations

import datetime
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dualdiff import results
from dualdiff.parts import KEY, PARTS, trial_key
from dualdiff.profiles import PROFILES
from dualdiff.store import Store, write
from dualdiff.train import one_thread


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
    table, record = results.load(part, folder)
    if count < 1:
        raise ValueError(f"the number of trials to compute must be at least 1, not {count}")
    some = PARTS[part].trials(PROFILES[record["profile"]])
    if results.configuration_hash(some) != record["configuration"]:
        raise ValueError(
            f"{part} is stale: its trials are other ones now; make it with: dualdiff results {part}"
        )
    places = np.unique(np.linspace(0, len(some) - 1, min(count, len(some))).round().astype(int))
    with tempfile.TemporaryDirectory() as empty:
        for place in places:
            trial = some[place]
            with one_thread():  # as the tables are made; threads would share sums in another way
                new = trial.table(Store(empty))
            key = dict(zip(KEY, trial_key(trial), strict=True))
            old = table
            for name, value in key.items():
                old = old[old[name] == value]
            both = new.merge(old, on=["target", "metric"], suffixes=("", "_table"), how="outer")
            gaps = [
                abs(float(f"{now:.7g}") - before)
                for now, before in zip(both["value"], both["value_table"], strict=True)
                if not (np.isnan(now) and np.isnan(before))
            ]
            # A row that only one of the two has is a difference, too.
            worst = float(np.nan_to_num(max(gaps, default=np.inf), nan=np.inf))
            yield Compared(" ".join(map(str, key.values())), len(both), worst)


def note(part: str, count: int, folder: Path = results.FOLDER) -> None:
    """Write into a table's provenance that ``count`` of its trials agree under today's code."""
    _, record = results.load(part, folder)
    some = PARTS[part].trials(PROFILES[record["profile"]])
    record["confirmed"] = {
        "sources": results.sources_of(some),
        "trials": count,
        "revision": results.revision(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    write(folder / f"{part}.json", (json.dumps(record, indent=2) + "\n").encode())
