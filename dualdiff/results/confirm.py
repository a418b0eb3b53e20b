"""Committed tables under newer code: recompute some of their trials, and note that they agree."""

from __future__ import annotations

import datetime
import json
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from dualdiff.experiments.profiles import PROFILES
from dualdiff.experiments.provenance import revision
from dualdiff.experiments.store import Store
from dualdiff.experiments.trial import KEY, Trial
from dualdiff.files import write
from dualdiff.randomness import one_thread
from dualdiff.results import committed as results
from dualdiff.results.parts import PARTS

MEASURED = ("begun", "finished", "seconds", "memory")
"""Metrics that tell of the machine and the hour, and differ from run to run."""

TESTED = ("accuracy", "total_variation", "energy_distance", "success", "energy_score")
"""What :func:`within_spread` looks at where it is: each metric more makes it blinder."""
LEAST_P = 0.01
"""Where :func:`within_spread` begins to count as a difference."""


MOST_SHARE = 0.1
"""Share of its own half-width by which a number may move with the same seed: in quadrature that
adds half a percent to its interval, so no statement about it changes."""

SHOWN = 0.0005
"""Half a unit of the last of the three decimals to which pages show numbers without an interval."""


class Compared(NamedTuple):
    """A recomputed trial: its key, its number of rows, the largest difference of a value, and the
    largest as a share of the half-width of its interval."""

    trial: str
    rows: int
    difference: float
    share: float


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
    table, some = _asked(part, count, folder)
    for trial, new in _computed([some[place] for place in _spread(len(some), count)]):
        key = dict(zip(KEY, trial.key, strict=True))
        old = table
        for name, value in key.items():
            old = old[old[name] == value]
        yield Compared(" ".join(map(str, key.values())), len(new), *_difference(new, old))


def repeat(part: str, count: int, folder: Path = results.FOLDER) -> Iterator[pd.DataFrame]:
    """Compute ``count`` configurations of a table with as many seeds as it has, all new to it.

    They are spread evenly over those that have all of the table's seeds; a table per trial. Raises
    as :func:`compare` does, and for a table of one seed, which has no spread.
    """
    _, some = _asked(part, count, folder)
    seeds = sorted({trial.seed for trial in some})
    found: dict[tuple[Any, ...], list[Trial]] = {}
    for trial in some:
        found.setdefault(replace(trial, seed=-1).key, []).append(trial)  # type: ignore[type-var]
    whole = [trials[0] for trials in found.values() if len(trials) == len(seeds)]
    if len(seeds) < 2 or not whole:
        raise ValueError(f"{part} has no configuration with several seeds, so no spread over them")
    fresh = [
        replace(whole[place], seed=seeds[-1] + k)  # type: ignore[type-var]
        for k in range(1, 1 + len(seeds))
        for place in _spread(len(whole), count)
    ]
    for trial, new in _computed(fresh):
        yield new.assign(**dict(zip(KEY, trial.key, strict=True)))


def within_spread(part: str, new: pd.DataFrame, folder: Path = results.FOLDER) -> pd.DataFrame:
    r"""Whether a repetition with new seeds lies within what seeds differ by.

    For every metric of :data:`TESTED` (if there is none, every one with intervals) the mean over
    what was repeated, by seed: :math:`A_1 \dots A_k` in the table and :math:`B_1 \dots B_m` now.
    Trials of one seed share networks, so a seed counts as one observation. If seeds are
    exchangeable and normal,

    .. math:: \frac{\bar B - \bar A}{s \sqrt{1/k + 1/m}} \sim t_{k+m-2}

    with the pooled s. Probabilities are two-sided and multiplied by the number of metrics
    (Bonferroni).

    Returns
    -------
    DataFrame
        Columns ``metric, shift, spread, noticed, p``: :math:`\bar B - \bar A`, s, the least shift
        that would count as a difference, and p. Smallest p first.
    """
    table, _ = results.as_written(part, folder)
    places = [*(name for name in KEY if name != "seed"), "target", "metric"]
    new = new[new["low"].notna()]
    if (tested := new["metric"].isin(TESTED)).any():
        new = new[tested]
    old = new[places].drop_duplicates().merge(table, on=places)
    before, after = (
        each.groupby(["metric", "seed"])["value"].mean().unstack() for each in (old, new)
    )
    k, m = before.shape[1], after.shape[1]
    found = pd.DataFrame({"shift": after.mean(axis=1) - before.mean(axis=1)})
    squares = before.var(axis=1) * (k - 1) + after.var(axis=1).fillna(0) * (m - 1)
    found["spread"] = (squares / (k + m - 2)) ** 0.5
    scale = found["spread"] * (1 / k + 1 / m) ** 0.5
    found["noticed"] = scale * stats.t.ppf(1 - LEAST_P / 2 / len(found), k + m - 2)
    away = np.where(found["shift"].abs() < 1e-6, 0.0, found["shift"].abs())  # seven digits
    ratio = np.divide(away, scale, out=np.where(away > 0, np.inf, 0.0), where=scale > 0)
    found["p"] = np.minimum(1, 2 * stats.t.sf(ratio, k + m - 2) * len(found))
    return found.reset_index().sort_values("p", ignore_index=True)


def _asked(part: str, count: int, folder: Path) -> tuple[pd.DataFrame, list[Trial]]:
    """A table as written, and its trials, which must be those of today."""
    table, record = results.as_written(part, folder)
    if count < 1:
        raise ValueError(f"the number of trials to compute must be at least 1, not {count}")
    some = PARTS[part].trials(PROFILES[record["profile"]])
    if record["hashes"].split() != [*map(results.trial_hash, some)]:
        raise ValueError(
            f"{part} is stale: its trials are other ones now; make it with: dualdiff results {part}"
        )
    return table, some


def _spread(n: int, count: int) -> list[int]:
    """``count`` of n places, or all: the middles of equal parts, as tables begin with references
    that train nothing."""
    return ((np.arange(min(count, n)) + 0.5) * n / min(count, n)).astype(int).tolist()


def _computed(some: list[Trial]) -> Iterator[tuple[Trial, pd.DataFrame]]:
    """Trials computed from an empty store."""
    with tempfile.TemporaryDirectory() as empty:
        for trial in some:
            with one_thread():  # as the tables are made; threads would share sums in another way
                new = trial.table(Store(empty))
            yield trial, new


def _difference(new: pd.DataFrame, old: pd.DataFrame) -> tuple[float, float]:
    """Largest difference, absolute and as a share of half the table's interval.

    Infinite for a row or a number that only one of the two tables has. A number without an interval
    has :data:`SHOWN` for half of one. What was measured about the run itself is left out.
    """
    places = ["target", "metric"]
    new, old = (table[~table["metric"].isin(MEASURED)] for table in (new, old))
    both = new.merge(old, on=places, suffixes=("", "_table"), how="outer", indicator=True)
    if (both["_merge"] != "both").any():
        return np.inf, np.inf
    now, before = (both[name].to_numpy(float) for name in ("value", "value_table"))
    rounded = np.array([float(f"{value:.7g}") for value in now])
    gaps = np.where(np.isnan(now) & np.isnan(before), 0.0, np.abs(rounded - before))
    gaps = np.nan_to_num(gaps, nan=np.inf)
    width = np.nan_to_num(both["high_table"] - both["low_table"]) / 2
    shares = gaps / np.where(width > 0, width, SHOWN)
    return float(gaps.max(initial=0.0)), float(shares.max(initial=0.0))


def sources(part: str, folder: Path = results.FOLDER) -> dict[str, str]:
    """Hashes of the code that would make a committed table now."""
    _, record = results.as_written(part, folder)
    return results.sources_of(PARTS[part].trials(PROFILES[record["profile"]]))


def note(
    part: str,
    count: int,
    compared_under: dict[str, str],
    folder: Path = results.FOLDER,
    p: float | None = None,
    share: float = 0.0,
) -> None:
    """Write into a table's provenance that ``count`` of its trials agree under today's code.

    Bit for bit; or up to ``share`` of the half-widths; or with ``p``, the smallest of
    :func:`within_spread`, by the spread over seeds.

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
        **({} if p is None else {"p": round(p, 4)}),
        **({"share": float(f"{share:.2g}")} if share else {}),
        "revision": revision(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
    write(folder / f"{part}.json", (json.dumps(record, indent=2) + "\n").encode())
