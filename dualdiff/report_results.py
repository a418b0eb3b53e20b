"""What the chapter of results says about the full-scale tables: tables and sentences.

Nothing here computes a result. Everything is read from the tables that :mod:`dualdiff.results`
wrote, so that the chapter takes seconds, and a table that is not there is said in one sentence.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from IPython.display import Markdown
from pandas.io.formats.style import Styler
from scipy import stats

from dualdiff import pooling, results
from dualdiff.adaptation import SCORE
from dualdiff.overlap import SETTINGS, shifted_table
from dualdiff.parts import PARTS, SYNTHETIC
from dualdiff.plots import LABELS
from dualdiff.report import TITLES, Ranking, interval, ranking
from dualdiff.thesis import overlap_table, thesis_table

THESIS_METRICS = ("accuracy", "miss_distance")
READINGS = {"specialised": "own disc", "fixed": "fixed disc"}
NOTHING = "None of these tables has been run yet."
INSIDE, ABOVE, BELOW, UNKNOWN = "✓ inside", "▲ above", "▼ below", "? unknown"
# Half transparent, so that the page's own colour of text stays readable, light or dark; blue and
# orange are told apart by every reader, and the word stands beside them.
BLUE, ORANGE = "background-color: #0072b233", "background-color: #e69f0055"
STYLES = {INSIDE: BLUE, ABOVE: ORANGE, BELOW: ORANGE}


class Result(NamedTuple):
    """A committed table pooled over seeds (:func:`with_error`), its provenance, and its rows."""

    pooled: pd.DataFrame
    record: dict[str, Any]
    rows: pd.DataFrame


Results = dict[str, Result]


def read(folder: Path | None = None) -> Results:
    """Every committed table of a synthetic scenario; parts that have not been run are left out."""
    folder = folder or results.FOLDER
    found = {}
    for part in SYNTHETIC:
        with suppress(FileNotFoundError):
            table, record = results.load(part, folder)
            found[part] = Result(with_error(table, record["conditions"]), record, table)
    return found


def show(found: Results, part: str, make: Callable[..., object], *arguments: object) -> object:
    """``make(pooled table of the part, *arguments)``; words, if the part has not been run.

    Text is shown as Markdown.
    """
    if part in found:
        shown = make(found[part].pooled, *arguments)
        return Markdown(shown) if isinstance(shown, str) else shown
    title = PARTS[part].title
    command = f"dualdiff results --profile thesis {part}"
    return Markdown(f"*{title}*: this table has not been run yet; `{command}` makes it.")


def gather(found: Results, parts: Iterable[str]) -> pd.DataFrame:
    """The pooled tables of those parts that have been run, one below the other."""
    tables = [found[part].pooled for part in parts if part in found]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=SCORE)


def with_error(table: pd.DataFrame, conditions: int) -> pd.DataFrame:
    """One row per configuration, target and metric of a committed table.

    Columns: ``value``, the mean over training seeds; ``low`` and ``high``, its 95 % t interval
    (with one seed the interval over test conditions, which does not hold what training varies);
    ``seeds``; ``spread``, the standard deviation over seeds; ``error``, the standard error over
    test conditions of a single seed (root mean square over the seeds; for scores whose interval
    is over conditions, like accuracy).
    """
    pooled = pooling.over_seeds(table)
    quantile = stats.t.ppf(0.975, conditions - 1)
    square = ((table["high"] - table["low"]) / 2 / quantile) ** 2
    error = table.assign(error=square).groupby(SCORE, sort=False)["error"].mean() ** 0.5
    return pooled.merge(error.reset_index(), on=SCORE).assign(conditions=conditions)


def lies(theirs: float, low: float, high: float) -> str:
    """Where the thesis's number lies to our interval, as a symbol and a word."""
    if math.isnan(theirs) or math.isnan(low) or math.isnan(high):
        return UNKNOWN
    return ABOVE if theirs > high else BELOW if theirs < low else INSIDE


def coloured(frame: pd.DataFrame, marks: Callable[[pd.Series], list[str]], title: str) -> Styler:
    """A table as HTML under a title, each row styled by ``marks``.

    The same table gives the same HTML: its identifier is made from the title.
    """
    styler = frame.style.apply(marks, axis=1).set_uuid(re.sub(r"\W+", "-", title))
    return styler.set_caption(title).set_table_attributes('class="dataframe"')


def items(frame: pd.DataFrame) -> Iterator[tuple[Any, Any]]:
    """Index and row."""
    yield from frame.iterrows()


def _rows(pooled: pd.DataFrame, metric: str, target: str = "specialised") -> pd.DataFrame:
    """One metric of a table of one scenario and recipe, by configuration."""
    rows = pooled[(pooled["metric"] == metric) & (pooled["target"] == target)]
    return rows.set_index("configuration")


def beside_thesis(pooled: pd.DataFrame, metric: str) -> Styler:
    """The thesis's number, ours with its interval, the difference, and whether it lies inside.

    Parameters
    ----------
    pooled : DataFrame
        Of the cabinet or the round table, one recipe.
    metric : {"accuracy", "miss_distance"}
    """
    (scenario,), (recipe,) = pooled["scenario"].unique(), pooled["recipe"].unique()
    ours, theirs = _rows(pooled, metric), thesis_table(scenario)[metric]
    lines = {
        LABELS[name]: {
            "thesis (printed)": f"{theirs[name]:.4f}",
            "ours": interval(row["value"], row["low"], row["high"]),
            "difference": f"{row['value'] - theirs[name]:+.4f}",
            "thesis lies": lies(theirs[name], row["low"], row["high"]),
        }
        for name, row in items(ours)
    }
    frame = pd.DataFrame.from_dict(lines, orient="index")
    title = f"{scenario.replace('_', ' ').capitalize()}, recipe {recipe}: {TITLES[metric]}"
    return coloured(frame, lambda row: [STYLES.get(row.iloc[-1], "")] * len(row), title)


def _pairs(pairs: list[tuple[Any, Any]]) -> str:
    def label(name: Any) -> str:  # of a configuration, or (setting, configuration)
        return f"“{name[0]}”" if isinstance(name, tuple) else LABELS[name]

    return "; ".join(f"{label(b)} above {label(a)}" for a, b in pairs) or "none"


def overlap_rows(pooled: pd.DataFrame, metric: str, target: str) -> pd.DataFrame:
    """Rows of the overlap study by setting and configuration, in the thesis's order."""
    names = {shifted_table(distance).name: setting for setting, distance in SETTINGS.items()}
    rows = pooled[(pooled["metric"] == metric) & (pooled["target"] == target)]
    rows = rows[rows["scenario"].isin(list(names))]
    return rows.assign(setting=rows["scenario"].map(names)).set_index(["setting", "configuration"])


def _rankings(found: Results) -> Iterator[tuple[str, str, Ranking]]:
    """Table, score and ranking of every comparison with the thesis."""
    for scenario in ("cabinet", "round_table"):
        for part in (scenario, f"{scenario}_tuned"):
            if part in found:
                for metric in THESIS_METRICS:
                    theirs = thesis_table(scenario)[metric]
                    ours = _rows(found[part].rows, metric)
                    yield PARTS[part].title, TITLES[metric], ranking(theirs, ours)
    if "overlap" not in found:
        return
    for target, reading in READINGS.items():
        ours = overlap_rows(found["overlap"].rows, "accuracy", target)
        theirs = overlap_table()["accuracy"]
        title = PARTS["overlap"].title
        yield f"{title}, all cells", f"accuracy, {reading}", ranking(theirs, ours)
        for name in ("specialised", "joint"):
            here = theirs.index[theirs.index.get_level_values("configuration") == name]
            agreement = ranking(theirs[here], ours)
            yield f"{title}, {LABELS[name]}", f"accuracy, {reading}", agreement


def order_table(found: Results) -> pd.DataFrame:
    """Kendall's tau of every table, and how many pairs stand in another order than printed."""
    columns = [
        "table",
        "score",
        "Kendall's tau",
        "swapped in every seed",
        "swapped, seeds disagree",
    ]
    lines = [
        (
            title,
            score,
            "–" if math.isnan(result.tau) else f"{result.tau:+.2f}",
            len(result.clear),
            len(result.unclear),
        )
        for title, score, result in _rankings(found)
    ]
    return pd.DataFrame(lines, columns=columns).set_index(["table", "score"])


def swaps_sentence(found: Results) -> str:
    """Every pair whose order differs from the thesis's, in words; in our order, best first."""
    lines = [
        f"- {title}, {score}: in every seed {_pairs(result.clear)}; on the mean only "
        f"{_pairs(result.unclear)}."
        for title, score, result in _rankings(found)
        if not title.endswith("all cells") and (result.clear or result.unclear)
    ]
    return "\n".join(lines)


def inside_sentence(found: Results) -> str:
    """How many of the thesis's numbers lie inside our intervals, per table, in words."""
    lines = []
    for scenario in ("cabinet", "round_table"):
        if scenario not in found:
            continue
        counts = []
        for metric in THESIS_METRICS:
            ours, theirs = _rows(found[scenario].pooled, metric), thesis_table(scenario)[metric]
            inside = [
                name
                for name, row in items(ours)
                if lies(theirs[name], row["low"], row["high"]) == INSIDE
            ]
            names = f" ({', '.join(LABELS[n] for n in inside)})" if inside else ""
            counts.append(f"{len(inside)} of {len(ours)} by {TITLES[metric]}{names}")
        lines.append(f"- {PARTS[scenario].title}: {'; '.join(counts)}.")
    head = "The thesis's numbers that lie inside our interval over training seeds:\n\n"
    return head + "\n".join(lines) if lines else NOTHING


def spread_table(pooled: pd.DataFrame, metric: str = "accuracy") -> pd.DataFrame:
    """The spread over training seeds beside the error over test conditions, per configuration."""
    rows = _rows(pooled, metric)
    frame = pd.DataFrame(
        {
            "mean": rows["value"].map("{:.4f}".format),
            "spread over seeds": rows["spread"].map("{:.5f}".format),
            "error over conditions": rows["error"].map("{:.5f}".format),
            "ratio": (rows["spread"] / rows["error"]).map("{:.1f}".format),
        }
    )
    scenario = rows["scenario"].iloc[0].replace("_", " ")
    return frame.rename(index=LABELS).rename_axis(f"{scenario}: {TITLES[metric]}")


def widening(rows: pd.DataFrame, conditions: int) -> pd.Series:
    """By what factor intervals over seeds grow with fewer test conditions.

    A seed's score varies by tau^2 + e^2, training and conditions; e^2 grows by n / m when m of n
    conditions are used: the square root of (tau^2 + e^2 n / m) / (tau^2 + e^2).
    """
    squared = rows["error"] ** 2
    total = np.maximum(rows["spread"] ** 2, squared)
    return np.sqrt((total - squared + squared * rows["conditions"] / conditions) / total)


def spread_sentence(pooled: pd.DataFrame, fewer: int, more: int, metric: str = "accuracy") -> str:
    """Whether seeds vary more than test conditions explain, and what to spend on instead.

    Compares the intervals over seeds with those of ``more`` seeds at ``fewer`` conditions.
    """
    rows = pooled[(pooled["metric"] == metric) & (pooled["seeds"] > 1) & (pooled["error"] > 0)]
    if rows.empty:
        return "With one training seed per configuration there is no spread over seeds to judge."
    ratio, n, seeds = rows["spread"] / rows["error"], rows["conditions"], rows["seeds"]
    excess = ratio**2 > stats.f.ppf(0.95, seeds - 1, n - 1)
    text = (
        f"By {TITLES[metric]}, the spread over training seeds is {ratio.min():.1f} to "
        f"{ratio.max():.1f} times (median {ratio.median():.1f}) the standard error over test "
        f"conditions of one seed; in {excess.sum()} of {len(rows)} configurations it is larger than"
        " the conditions explain (F test, 5 %)."
    )
    if fewer >= n.max():
        return text
    wider = widening(rows, fewer)
    factor = (stats.t.ppf(0.975, more - 1) / math.sqrt(more)) / (
        stats.t.ppf(0.975, seeds - 1) / np.sqrt(seeds)
    )
    return text + (
        f" With {fewer:,} instead of {n.max():,} conditions the intervals over seeds would be "
        f"{wider.median() - 1:.0%} wider in the median configuration; {more} seeds at {fewer:,} "
        f"conditions would give {(wider * factor).median():.2f} times the width of "
        f"{seeds.max()} seeds at {n.max():,}."
    )


def every_setting(pooled: pd.DataFrame, metric: str) -> pd.DataFrame:
    """One metric by whatever a part varies (rows) and configuration, with intervals over seeds."""
    rows = pooled[(pooled["metric"] == metric) & (pooled["target"] == "specialised")]
    varied = [n for n in SCORE[:4] if n in ("scenario", "recipe") or rows[n].nunique() > 1]
    text = [interval(*v) for v in rows[["value", "low", "high"]].itertuples(index=False)]
    indexed = rows.assign(text=text).set_index([*varied, "configuration"])["text"]
    wide = indexed.unstack("configuration", sort=False).fillna("–").rename(columns=LABELS)
    short = {"n_specialised": "pairs", "finetune_epochs": "epochs"}
    return wide.rename_axis(index=[short.get(n, n) for n in varied], columns=None)


def provenance_table(folder: Path | None = None) -> pd.DataFrame:
    """Where every part's table comes from, and whether the code would still make it."""
    folder, lines = folder or results.FOLDER, []
    for part in PARTS:
        title, state = results.describe(part, folder)
        line = {"part": part, "table": title, "state": state}
        with suppress(FileNotFoundError):
            _, record = results.load(part, folder)
            line |= {
                "conditions × draws": f"{record['conditions']:,} × {record['draws']}",
                "seeds": f"{len(record['seeds'])}",
                "configuration": record["configuration"][:12],
                "revision": " ".join([record["revision"][:12], *record["revision"].split()[1:]]),
                "date": record["date"],
                "compute time": f"{record['seconds'] / 3600:.1f} h",
            }
        lines.append(line)
    return pd.DataFrame(lines).fillna("–").set_index("part")


def compute_sentence(folder: Path | None = None) -> str:
    """How long the tables of :func:`provenance_table` took in all, in words."""
    seconds = []
    for part in PARTS:
        with suppress(FileNotFoundError):
            seconds.append(results.load(part, folder or results.FOLDER)[1]["seconds"])
    return (
        f"Together the {len(seconds)} tables that are here took {sum(seconds) / 3600:.1f} hours of "
        "training, sampling and scoring, summed over the processes that ran at the same time."
    )
